import importlib
import inspect
import pkgutil
import re
import runpy
from pathlib import Path

import pytest

import monitoring_pipeline.stats
from monitoring_pipeline_tests.pages import ROOT, links

INDEX = ROOT / "docs" / "statistics.md"
PAGES = sorted((ROOT / "docs" / "statistics").glob("*.md"))
MODULES = [each.name for each in pkgutil.iter_modules(monitoring_pipeline.stats.__path__, "monitoring_pipeline.stats.")]


def headings(page: Path) -> list[str]:
    return re.findall(r"^## (\w+)$", page.read_text(encoding="utf-8"), flags=re.M)


def test_the_pages_of_statistics_say_what_the_docstrings_say_now() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "build_statistics.py"))["pages"]()
    kept = {str(page.relative_to(ROOT / "docs")): page.read_text(encoding="utf-8") for page in (INDEX, *PAGES)}
    differing = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))
    assert differing == [], "A docstring of monitoring_pipeline/stats changed since its page was made: run `make docs`."


def test_the_index_links_every_page_of_statistics_and_every_heading_on_it() -> None:
    wanted = {f"statistics/{page.name}" for page in PAGES}
    wanted |= {f"statistics/{page.name}#{name.lower()}" for page in PAGES for name in headings(page)}
    assert set(links(INDEX)) == wanted


@pytest.mark.parametrize("name", MODULES)
def test_every_public_statistic_is_on_the_page_of_its_module_and_no_other(name: str) -> None:
    module = importlib.import_module(name)
    things = [each for each in vars(module).values() if inspect.isfunction(each) or inspect.isclass(each)]
    public = [each.__name__ for each in things if each.__module__ == name and not each.__name__.startswith("_")]
    for thing in public:
        assert [page.stem for page in PAGES if thing in headings(page)] == [name.rpartition(".")[2]]
