"""How the tests are dealt out to workers: a file at a time, those that take longest first.

Name files here that share what takes long to make. Keep fixtures out: the conftest of a folder says which it takes.
"""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

TOGETHER = {
    "bikes": ("examples/test_bike_demand.py", "stories/test_retraining_a_regressor.py"),
    "documentation": ("docs/test_readme.py", "docs/test_runbooks.py"),
    "evidently": (
        *("publish/test_evidently_report.py", "stores/test_evidently_reports.py", "truths/test_compat_evidently.py"),
        "workflow/test_daily_assets.py",
    ),
    "flights": (
        *("examples/test_flight_delays.py", "examples/test_flight_root_causes.py"),
        "workflow/test_scoring_service.py",
    ),
    "forks": (*("faults/test_dispatcher_killed.py", "faults/test_exactly_one_retraining.py", "stores/test_engine.py"),),
    "spark": ("laws/test_engines.py", "workflow/test_engines.py"),
}
"""Files that one worker runs: a model they train, programs they load, a library that takes seconds to load."""

# How long an example takes is up to the machine.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

PART_OF = {f"{Path(__file__).parent.name}/{file}": name for name, files in TOGETHER.items() for file in files}


def part_of(nodeid: str) -> str:
    """Return what is run by one worker."""
    file = nodeid.partition("::")[0]
    return PART_OF.get(file, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal out files, whose fixtures and caches are then made once; marks of xdist do nothing with pytest 9.2."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    config.option.loadscopereorder = False  # they come in the order of below, not by how many tests there are
    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = part_of
    return scheduler if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with files that hold a slow test: one that begins last would be waited for by all others."""
    slow = {part_of(item.nodeid) for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: part_of(item.nodeid) not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Search what is imported once, and never again, for garbage: a fifth of the time goes into that otherwise."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
