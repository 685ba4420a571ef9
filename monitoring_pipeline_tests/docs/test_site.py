"""The site as `make docs` builds it: no warning, and nothing that a browser would fetch from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from monitoring_pipeline_tests.pages import GUIDES, ROOT

pytestmark = pytest.mark.slow  # mkdocs takes five to ten seconds for a hundred pages

FETCHED = re.compile(
    r'<(?:script|img|iframe|source)\b[^>]*?\ssrc="?([^"\s>]+)|<link\b(?=[^>]*stylesheet)[^>]*?href="?([^"\s>]+)'
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_every_guide_has_a_page_and_so_have_the_files_that_guides_link_to(site: Path, pages: dict[str, str]) -> None:
    wanted = {f"{page.stem}.html" for page in GUIDES}
    wanted |= {"reference/monitor.html", "repository/index.html", "repository/benchmarks/index.html"}
    wanted |= {"adr/index.html", "repository/monitoring_pipeline/stats/distances.py.html", "statistics/distances.html"}
    assert wanted - pages.keys() == set()
    assert (site / "reference" / "monitor.schema.json").is_file()


def test_no_page_makes_a_browser_ask_another_host(pages: dict[str, str]) -> None:
    fetched = {name: ["".join(found) for found in FETCHED.findall(text)] for name, text in pages.items()}
    assert all(len(addresses) >= 2 for name, addresses in fetched.items() if name != "404.html")
    elsewhere = {name for name, found in fetched.items() if [each for each in found if re.match(r"(\w+:)?//", each)]}
    # For a figure of this class the theme would fetch a script.
    assert elsewhere | {name for name, text in pages.items() if 'class="mermaid"' in text} == set()


def test_lists_are_lists_and_no_link_leads_out_of_the_site(pages: dict[str, str]) -> None:
    """GitHub starts a list without a blank line before it; this site would run it into the paragraph."""
    wrong = [name for name, text in pages.items() if re.search(r"<p>[^<]*\n(- |1\. )", text)]
    wrong += [name for name, text in pages.items() if re.search(r'href="(\.\./)+[^"]*\.(py|ya?ml)"', text)]
    assert wrong == []
