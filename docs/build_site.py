"""What mkdocs is told beyond mkdocs.yml: folders in the navigation, and pages for linked files outside of docs/.

Add what the site needs and the pages on GitHub do not here. Keep text out: it belongs in the pages.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

DOCS = Path(__file__).parent
ROOT = DOCS.parent
REPOSITORY = "repository"
"""Where the site has what is not in docs/."""

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(?=[)#])")
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.M | re.S)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Write out what the navigation calls `<folder>/*`, and name headings as GitHub does."""
    config.nav = _written_out(config.nav)
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every file or folder that some page links to and docs/ does not have."""
    waiting = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    waiting += [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    places: set[str] = {file.src_uri for file in files}
    while waiting:
        source = waiting.pop()
        if (place := _place(source)) not in places:
            places.add(place)
            files.append(File.generated(config, place, content=_shown(source)))
        if source.suffix == ".md":
            waiting += [target for target in _targets(source) if _place(target) not in places]
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Point the links of a page to where the site has their targets."""
    source = _source(page.file.src_uri)
    parts = _CODE.split(markdown)
    parts[::2] = [_LINK.sub(lambda link: _relative(source, link[1], page.file.src_uri), part) for part in parts[::2]]
    return "\n".join(_deeper("".join(parts).splitlines()))


def _deeper(lines: list[str]) -> Iterator[str]:
    """Yield the lines, one space deeper what belongs to a numbered item: GitHub asks for three, Markdown for four."""
    inside = False
    for line in lines:
        inside = bool(re.match(r"\d+\. ", line)) or (inside and (not line or line.startswith("   ")))
        yield f" {line}" if inside and line.startswith("   ") else line


def _written_out(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {title: _written_out(inner) for title, inner in entry.items()}
    if isinstance(entry, list):
        return [_written_out(inner) for inner in entry]
    if isinstance(entry, str) and entry.endswith("/*"):
        return [str(path.relative_to(DOCS)) for path in sorted(DOCS.glob(f"{entry[:-1]}*.md"))]
    return entry


def _targets(source: Path) -> Iterator[Path]:
    for part in _CODE.split(source.read_text(encoding="utf-8"))[::2]:
        for link in _LINK.findall(part):
            target = (source.parent / link).resolve()
            if target.exists():  # what does not exist is left for mkdocs to complain about
                yield target


def _place(target: Path) -> str:
    """Return the path in the site of a file or folder of the repository."""
    inside = target.is_relative_to(DOCS)
    place = target.relative_to(DOCS) if inside else Path(REPOSITORY) / target.relative_to(ROOT)
    if target.is_dir():
        return f"{place}/index.md"
    return str(place) if inside or target.suffix == ".md" else f"{place}.md"


def _source(place: str) -> Path:
    """Return the file that is at a path in the site."""
    place = place.removesuffix("/index.md") if not (DOCS / place).exists() else place
    if not place.startswith(f"{REPOSITORY}/"):
        return DOCS / place
    path = ROOT / place.removeprefix(f"{REPOSITORY}/")
    return path if path.exists() else path.with_suffix("")


def _relative(source: Path, link: str, place: str) -> str:
    target = (source.parent / link).resolve()
    return os.path.relpath(_place(target), Path(place).parent) if target.exists() else link


def _shown(source: Path) -> str:
    """Return the page of a file that is none: a list of what a folder has, or the text itself."""
    hidden = "---\nsearch:\n  exclude: true\n---\n\n"
    if source.suffix == ".md":
        return source.read_text(encoding="utf-8")
    name = source.relative_to(ROOT)
    if source.is_dir():
        return f"{hidden}# {name}\n\n" + "\n".join(map(_listed, sorted(source.glob("*.md"))))
    language = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json"}.get(source.suffix, "text")
    return f"{hidden}# {name}\n\n````{language}\n{source.read_text(encoding='utf-8')}````\n"


def _listed(page: Path) -> str:
    heading = page.read_text(encoding="utf-8").splitlines()[0]
    return f"- [{heading.lstrip('# ')}]({page.name})"
