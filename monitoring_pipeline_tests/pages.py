"""The documentation as tests read it: blocks of code to run, links to follow.

A block of `python` or `bash` is run; one that starts with a comment naming a file (`# train.py`), in whatever language,
is saved under that name first. A block of `text` right after it is its output: those lines, in that order, others
between them. `<!-- not run: why -->` on the line before a block leaves it out.
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
METRICS_PAGE = ROOT / "docs" / "metrics.md"
GUIDES = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]

_FENCE = re.compile(r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
_FILE = re.compile(r"# (?P<path>[\w/.-]+\.\w+)\n")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page: where it starts, its text, why it is not run, and the output that is shown."""

    page: Path
    line: int
    language: str
    code: str
    not_run: str | None = None
    output: str = ""

    @property
    def file(self) -> str | None:
        """Name of the file the block is."""
        named = _FILE.match(self.code)
        return named["path"] if named else None

    @property
    def is_run(self) -> bool:
        return self.language in ("python", "bash") and self.not_run is None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in its order."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        block = Block(page, line, match["language"], match["code"], match["why"])
        if block.language == "text" and found and not text[end : match.start()].strip():
            found[-1] = replace(found[-1], output=block.code)
        found.append(block)
        end = match.end()
    return found


def run_block(block: Block, folder: Path, programs: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Save the block if it is a file, run it in `folder` if it is to be run; what it exports, later blocks find set.

    programs: the folder of a `python` and a `monitoring-pipeline` to use instead of those a reader has.
    """
    if block.file is not None:
        path = folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code, encoding="utf-8")
    command = "true"
    if block.is_run:
        python = f"python {shlex.quote(block.file or '-')}"
        command = block.code if block.language == "bash" else f"{python} <<'END_OF_BLOCK'\n{block.code}END_OF_BLOCK"
    exports = folder / ".exports"
    env = environment(programs or readers_programs(folder))
    set_again = f"[ ! -e {exports} ] || . {exports}\nPATH={shlex.quote(env['PATH'])}"
    script = f"set -e\n{set_again}\n{command}\nexport -p > {exports}\n"
    return subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False)


def readers_programs(folder: Path) -> Path:
    """Return a folder with this tree's command line."""
    programs = folder / ".bin"
    programs.mkdir(exist_ok=True)
    command = programs / "monitoring-pipeline"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m monitoring_pipeline.cli "$@"\n')
    command.chmod(0o755)
    return programs


def environment(programs: Path) -> dict[str, str]:
    """Return what a reader's shell has after the installation, with some programs in front."""
    ours = ("MONITORING_", "DAGSTER_", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    quiet = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return kept | quiet | {"PATH": path, "PYTHONPATH": str(ROOT)}


def lines_missing(shown: str, printed: str) -> list[str]:
    """Return the lines of `shown` that `printed` does not have in that order, whatever stands between them."""
    rest = iter([line.rstrip() for line in printed.splitlines()])
    return [line for line in shown.splitlines() if line.rstrip() not in rest]


def prose(page: Path) -> str:
    """Return a page without its blocks and its code in backticks."""
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text(encoding="utf-8")))


def links(page: Path) -> list[str]:
    """Return what a page links to or shows inside this repository: paths and #headings."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """Return the anchors a page's headings have, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text(encoding="utf-8")), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows_of_metrics() -> dict[str, list[str]]:
    """Return the cells after the metric's name, by metric, of every table on the page.

    A row may be of several: `.p95` after `operations.latency_p50` is of the same report, and units are in their order.
    """
    found = {}
    for row in (line.strip("| ").split(" | ") for line in METRICS_PAGE.read_text().splitlines() if line[:3] == "| `"):
        names = re.findall(r"`([a-z_0-9.]+)`", row[0])
        units = row[1].split(", ")
        for place, name in enumerate(names):
            unit = units[place] if len(units) == len(names) else row[1]
            metric = names[0].partition(".")[0] + name if name.startswith(".") else name
            assert metric not in found, f"{metric} is explained twice"
            found[metric] = [unit, *row[2:]]
    return found
