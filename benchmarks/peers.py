"""Claim: on the same rows we are far ahead of everything a user would pick instead, on two footings.

Load + drift: a warm process reads the current rows from Parquet and compares them with a reference that was fitted
before. Whole process: imports, reference and comparison, timed from outside. Every tool runs in a process of its own,
peers in environments of their own below --envs, which are made when they are missing; one script of peers/ for each.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from workload import SHIFTED, write_workload

SCRIPTS = Path(__file__).parent / "peers"
PAGE = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- begin peers -->", "<!-- end peers -->"
SAMPLE_ROWS = 5000
OURS = "ours"
# Nothing reports home, which would be timed too.
QUIET = {"DO_NOT_TRACK": "true", "NML_DISABLE_USAGE_LOGGING": "true"}
BEFORE_PANDAS_3 = ("pandas==2.3.3", "numpy==2.2.6", "pyarrow==26.0.1")


@dataclass(frozen=True)
class Tool:
    """A script of peers/ and what its environment needs; ours serves where that is nothing."""

    script: str
    pins: tuple[str, ...] = ()
    slow: bool = False


TOOLS = {
    OURS: Tool("ours.py"),
    f"Evidently {version('evidently')}, PSI": Tool("evidently_preset.py", slow=True),
    f"loop over scipy {version('scipy')}": Tool("scipy_loop.py"),
    "popmon 1.4.12": Tool("popmon_stability.py", ("popmon==1.4.12", *BEFORE_PANDAS_3)),
    "NannyML 0.13.1, JS": Tool("nannyml_univariate.py", ("nannyml==0.13.1", "statsmodels==0.15.0", *BEFORE_PANDAS_3)),
    "frouros 0.9.0, PSI": Tool("frouros_psi.py", ("frouros==0.9.0", "pyarrow==26.0.1")),
}


@dataclass
class Result:
    """Seconds of every run on both footings, and what the tool said of each column."""

    warm: list[dict[str, float]] = field(default_factory=list)
    whole: list[dict[str, float]] = field(default_factory=list)
    verdicts: dict[str, bool] = field(default_factory=dict)


def interpreter(tool: Tool, envs: Path) -> str:
    """Return the Python that runs a tool; its environment is made first if it is missing or was left half made."""
    if not tool.pins:
        return sys.executable
    folder = envs / Path(tool.script).stem
    python, made = folder / "bin" / "python", folder / "pins.txt"
    if not made.is_file() or made.read_text() != "\n".join(tool.pins):
        print(f"making {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *tool.pins]
        subprocess.run(install, check=True)  # noqa: S603 - the pins above
        made.write_text("\n".join(tool.pins))
    return str(python)


def write_tables(folder: Path, rows: int, reference_rows: int) -> tuple[list[str], str]:
    """Write the reference, current rows of which some columns shifted, and a sample; return their paths."""
    reference = write_workload(folder, reference_rows, 1)
    current = write_workload(folder, rows, 2, shifted=True)
    sample = folder / "sample.parquet"
    pq.write_table(pq.read_table(current).slice(0, SAMPLE_ROWS), sample)
    return [str(reference), str(current)], str(sample)


def call(command: list[str]) -> tuple[dict[str, Any], dict[str, float]]:
    """Run a script; return what it printed, and the seconds the whole process took."""
    cpu, wall = _children(), time.perf_counter()
    done = subprocess.run(  # noqa: S603 - scripts of this folder
        command, env=os.environ | QUIET, capture_output=True, text=True, check=False
    )
    taken = {"wall": time.perf_counter() - wall, "cpu": _children() - cpu}
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1]), taken


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(tool: Tool, envs: Path, tables: list[str], sample: str, runs: int) -> Result:
    """Return the times of one tool on both footings."""
    command = [interpreter(tool, envs), str(SCRIPTS / tool.script)]
    printed, _ = call([*command, "warm", *tables, sample, str(runs)])
    whole = [call([*command, "whole", *tables])[1] for _ in range(runs)]
    return Result(printed["load_and_drift"], whole, printed["verdicts"])


def machine() -> str:
    """Return what the numbers were measured on."""
    described = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    names = [line.partition(": ")[2] for line in described.splitlines() if line.startswith("model name")]
    cpu = names[0] if names else platform.processor()
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pyarrow", "pandas"))
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def table(results: dict[str, Result], columns: int) -> list[str]:
    """Return the results as a Markdown table: seconds that passed and, in brackets, of CPU."""
    lines = [
        "| | load + drift, s (CPU) | times ours | whole process, s (CPU) | times ours | runs "
        f"| found of {len(SHIFTED)} shifted | alarms on the rest | columns |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, result in results.items():
        cells = []
        for footing in ("warm", "whole"):
            wall, cpu = (_median(getattr(result, footing), clock) for clock in ("wall", "cpu"))
            own = getattr(results[OURS], footing)
            cells += [f"{wall:.2f} ({cpu:.2f})", f"{wall / _median(own, 'wall'):.1f} ({cpu / _median(own, 'cpu'):.1f})"]
        alarms = {column for column, drifted in result.verdicts.items() if drifted}
        said = [str(len(alarms & {*SHIFTED})), str(len(alarms - {*SHIFTED})), f"{len(result.verdicts)} of {columns}"]
        lines.append(f"| {' | '.join([name, *cells, str(len(result.whole)), *said])} |")
    return lines


def write(lines: list[str]) -> None:
    """Replace the results on the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([before + BEGIN, *lines, END + after]), encoding="utf-8")


def _median(runs: list[dict[str, float]], clock: str) -> float:
    return statistics.median(run[clock] for run in runs)


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--reference-rows", type=int, default=200_000)
    asked.add_argument("--runs", type=int, default=5, help="of all but the slow; medians are printed")
    asked.add_argument("--slow-runs", type=int, default=1, help="of Evidently, which takes minutes")
    asked.add_argument("--only", default="", help="tools whose name contains this, besides ours")
    default = os.environ.get("BENCH_ENVS", "~/.cache/monitoring-pipeline-bench")
    asked.add_argument("--envs", type=Path, default=default, help="folder of the peers' environments (BENCH_ENVS)")
    asked.add_argument("--write", action="store_true", help="replace the table in README.md")
    given = asked.parse_args()
    chosen = {name: tool for name, tool in TOOLS.items() if name == OURS or given.only.lower() in name.lower()}
    with tempfile.TemporaryDirectory() as folder:
        tables, sample = write_tables(Path(folder), given.rows, given.reference_rows)
        columns = pq.read_schema(tables[1]).names
        head = f"{given.rows:,} rows x {len(columns)} columns, reference {given.reference_rows:,} rows. {machine()}."
        results = {}
        for name, tool in chosen.items():
            runs = given.slow_runs if tool.slow else given.runs
            print(f"measuring {name}, {runs} times", file=sys.stderr)
            results[name] = measure(tool, given.envs.expanduser(), tables, sample, runs)
    lines = [head, "", *table(results, len(columns))]
    print("\n".join(lines))
    if given.write:
        write(lines)


if __name__ == "__main__":
    main()
