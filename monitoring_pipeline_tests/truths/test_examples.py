"""Every example in a docstring of `stats` is run: its answer has a closed form."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import monitoring_pipeline.stats

MODULES = [each.name for each in pkgutil.iter_modules(monitoring_pipeline.stats.__path__, "monitoring_pipeline.stats.")]


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_has_an_example_and_the_examples_hold(name: str) -> None:
    module = importlib.import_module(name)
    found = {test.name: test for test in doctest.DocTestFinder().find(module)}
    public = [
        function for function, _ in inspect.getmembers(module, inspect.isfunction) if not function.startswith("_")
    ]
    own = [function for function in public if getattr(module, function).__module__ == name]
    assert [function for function in own if not found[f"{name}.{function}"].examples] == []
    assert doctest.testmod(module).failed == 0
