"""Pages of docs/statistics, one for each module of `stats`, and their index: all of it from the docstrings.

Add a section here when docstrings get a new one. Keep sentences about statistics out: they belong in the docstrings.
"""

import ast
import re
import textwrap
from pathlib import Path

DOCS = Path(__file__).parent
MODULES = DOCS.parent / "monitoring_pipeline" / "stats"
INTRODUCTION = "What each of them measures, its formula, when it holds, and an example. Made by `make docs`."

_SECTION = re.compile(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", re.M)
_PARAMETER = re.compile(r"^(\S[^\n]*?) : (.*(?:\n(?:[ ]+.*)?)*)", re.M)
# What Markdown would take for emphasis, a tag or a link, outside of backticks.
_MISREAD = re.compile(r"(?<=[^\s*])\*+|\*+(?=[^\s*])|<(?=[A-Za-z/!?])|(?<=\])\(")

Definition = ast.FunctionDef | ast.ClassDef


def pages() -> dict[str, str]:
    """Return the text of every page by its path below docs."""
    modules = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(MODULES.glob("[!_]*.py"))}
    each = {f"statistics/{path.stem}.md": _page(path, tree) for path, tree in modules.items()}
    return {"statistics.md": _index(modules)} | each


def _index(modules: dict[Path, ast.Module]) -> str:
    parts = ["# Every statistic", INTRODUCTION]
    for path, tree in modules.items():
        page = f"statistics/{path.stem}.md"
        rows = [f"| [`{node.name}`]({page}#{node.name.lower()}) | {_cell(node)} |" for node in _public(tree.body)]
        parts += [f"## [{_title(path)}]({page})", _cell(tree), "\n".join(["| name | |", "|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def _page(path: Path, tree: ast.Module) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    parts = [f"# {_title(path)}", *_text(ast.get_docstring(tree) or "")]
    for node in _public(tree.body):
        parts += [f"## {node.name}", *_definition(node, lines)]
        if isinstance(node, ast.ClassDef):
            for method in _public(node.body):
                parts += [f"### {node.name}.{method.name}", *_definition(method, lines)]
    parts.append(f"[Source](../../monitoring_pipeline/stats/{path.name}) · [every statistic](../statistics.md)")
    return "\n\n".join(parts) + "\n"


def _public(body: list[ast.stmt]) -> list[Definition]:
    return [node for node in body if isinstance(node, Definition) and not node.name.startswith("_")]


def _title(path: Path) -> str:
    return path.stem.replace("_", " ").capitalize()


def _cell(node: Definition | ast.Module) -> str:
    """Return the first line of a docstring, what the thing is, fit for a cell of a table."""
    return _prose((ast.get_docstring(node) or "").partition("\n")[0]).replace("|", r"\|")


def _definition(node: Definition, lines: list[str]) -> list[str]:
    """Return signature and docstring, a block each part."""
    summary, *sections = _SECTION.split(ast.get_docstring(node) or "")
    parts = [f"```text\n{_signature(node, lines)}\n```", *_text(summary)]
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        parts += [f"**{name}**", *(_parameters(body) or _text(body))]
    return parts


def _signature(node: Definition, lines: list[str]) -> str:
    """Return the signature as it is written; of a class, its fields."""
    if isinstance(node, ast.ClassDef):
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
        return "\n".join([f"class {node.name}", *(f"    {ast.unparse(part)}" for part in fields)])
    written = textwrap.dedent("\n".join(lines[node.lineno - 1 : node.body[0].lineno - 1]))
    return written.removeprefix("def ").removesuffix(":")


def _parameters(body: str) -> list[str]:
    """Return a list of `name : what it is`; nothing where the section is written as sentences."""
    found = _PARAMETER.findall(body)
    return ["\n".join(f"- `{name}`: {_prose(' '.join(what.split()))}" for name, what in found)] if found else []


def _text(text: str) -> list[str]:
    """Return paragraphs on a line each, lists and indented formulas as they are, examples as blocks."""
    blocks = []
    for paragraph in filter(str.strip, re.split(r"\n\s*\n", text)):
        if paragraph.startswith((">>>", "    ", "==", "| ")):
            language = "pycon" if paragraph.startswith(">>>") else "text"
            blocks.append(f"```{language}\n{textwrap.dedent(paragraph).rstrip()}\n```")
        elif re.match(r"[-*] ", paragraph):
            blocks.append(_prose(paragraph.rstrip()))
        else:
            blocks.append(_prose(" ".join(paragraph.split())))
    return blocks


def _prose(text: str) -> str:
    pieces = re.split(r"(`[^`]*`)", text)
    pieces[::2] = [_MISREAD.sub(lambda sign: re.sub("(.)", r"\\\1", sign[0]), piece) for piece in pieces[::2]]
    return "".join(pieces)


def main() -> None:
    """Write the pages, and remove those whose module is gone."""
    written = pages()
    (DOCS / "statistics").mkdir(exist_ok=True)
    for path in set((DOCS / "statistics").glob("*.md")) - {DOCS / name for name in written}:
        path.unlink()
    for name, text in written.items():
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
