"""How the tests are dealt out to workers: a file at a time, those that take longest first.

Keep fixtures out: the conftest of a folder says which it takes.
"""

import gc
from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Search what is imported once, and never again, for garbage: a fifth of the time goes into that otherwise."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have one worker run all of a file, which makes its fixtures and caches once, and begin with the slow ones."""
    slow = set()
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
        if item.get_closest_marker("slow") is not None:
            slow.add(group_of(item))
    items.sort(key=lambda item: group_of(item) not in slow)


def group_of(item: pytest.Item) -> object:
    mark = item.get_closest_marker("xdist_group")
    assert mark is not None
    return mark.args[0]
