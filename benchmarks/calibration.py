"""Claim: what is called an alarm is as rare as was asked for when nothing changed, and changes are still noticed.

Columns whose law is known, with and without a change, go through the functions a monitor uses. Prints Markdown;
--write puts it between the markers of docs/calibration.md.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the flights are described in examples/

from worlds.alarms import autocorrelated, independent
from worlds.flights import flights
from worlds.peers import evidently, power
from worlds.sliding import sliding

PARTS: dict[str, Callable[[bool], Iterator[str]]] = {
    "sliding": sliding,
    "independent": independent,
    "autocorrelated": autocorrelated,
    "evidently": evidently,
    "power": power,
    "flights": flights,
}
PAGE = Path(__file__).parents[1] / "docs" / "calibration.md"
BEGIN, END = "<!-- begin {} -->", "<!-- end {} -->"


def main() -> None:
    """Print the tables of every part, or of one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few simulations, to see that everything runs")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--write", action="store_true", help="replace the parts in docs/calibration.md")
    asked = parser.parse_args()
    for name in [asked.only] if asked.only else PARTS:
        began = time.process_time()
        text = "\n\n".join(PARTS[name](asked.quick))
        text += f"\n\n{time.process_time() - began:.0f} s of CPU; {_versions()}."
        print(text, end="\n\n", flush=True)
        if asked.write:
            _write(name, text)


def _versions() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "evidently"))
    return f"Python {platform.python_version()}, {packages}, {platform.machine()}"


def _write(name: str, text: str) -> None:
    begin, end = BEGIN.format(name), END.format(name)
    before, rest = PAGE.read_text().split(begin)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}")


if __name__ == "__main__":
    main()
