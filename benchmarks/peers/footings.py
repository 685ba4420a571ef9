"""The two footings on which every tool is timed, so that each script here says only what its tool does.

    python <script> warm <reference> <current> <sample> <runs>   load + drift, again and again in one warm process
    python <script> whole <reference> <current>                  everything once; whoever starts it takes the time

Needs nothing but Python: the environments of the tools have no more than this in common.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

Fitted = TypeVar("Fitted")
Verdicts = dict[str, bool]


def cpu_seconds() -> float:
    """Return the CPU time of this process, its threads and the processes it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def run(fit: Callable[[str], Fitted], compare: Callable[[Fitted, str], Verdicts]) -> None:
    """Print seconds and verdicts as JSON: `fit` reads the reference, `compare` reads the current rows and judges them.

    A first comparison with a sample loads what the tool loads late.
    """
    footing, reference, current, *rest = sys.argv[1:]
    fitted = fit(reference)
    taken = []
    if footing == "warm":
        sample, runs = rest
        compare(fitted, sample)
    for _ in range(int(runs) if footing == "warm" else 1):
        cpu, wall = cpu_seconds(), time.perf_counter()
        verdicts = compare(fitted, current)
        taken.append({"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu})
    print(json.dumps({"load_and_drift": taken, "verdicts": verdicts}))
