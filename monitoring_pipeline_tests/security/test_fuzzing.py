"""Whatever is read from others is taken or refused in words, and in a moment. `make fuzz` tries for longer."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS, run, seeds
from monitoring_pipeline_tests.mlflow_store import load_mlflow

EXAMPLES = {"settings": 8, "services_file": 60, "scoring": 60, "webhook": 60, "reference": 60, "skops_model": 100}
"""Of each target; those that take long get fewer."""

YAML = ("settings", "services_file", "model_description")
"""Whose parser takes two seconds of ten thousand brackets before it gives up."""

PIECES = (
    *(
        b"\x00",
        b"\xff\xfe",
        b"{" * 500,
        b"[" * 500,
        b"- " * 500,
        b"&a [*a]",
        b"*a",
        b"!!binary x",
        b"!!python/name:os.system",
    ),
    *(
        b"1e999",
        b"-0",
        b"9" * 5000,
        b"0x" + b"f" * 9000,
        b"null",
        b".nan",
        b"~",
        b"\xed\xa0\x80",
        b'"\\ud800"',
        b"2026-13-45",
    ),
    *(
        b"<<: {a: 1}",
        b"? [a]\n: 1\n",
        b"%YAML 9.9\n---\n",
        b"\n---\n",
        b"'",
        b'"',
        b"\x1b[2J",
        b"!!set {a}",
        b"!!float x",
    ),
)
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just("A" * 40),
)


@st.composite
def spoilt(draw: st.DrawFn, name: str) -> bytes:
    """Return an input that is nearly right: a seed with pieces cut out, put in or said twice."""
    data = bytearray(draw(st.sampled_from(seeds(name))))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 2, 5, 20, 200])))
        data[start:end] = draw(
            st.one_of(st.sampled_from(PIECES), st.binary(max_size=4), st.just(bytes(data[start:end] * 2)))
        )
    return bytes(data)


@st.composite
def altered(draw: st.DrawFn, name: str) -> bytes:
    """Return a JSON seed with something in it replaced by a value of any other kind."""
    document = json.loads(draw(st.sampled_from(seeds(name))))
    for _ in range(draw(st.integers(1, 2))):
        place: Any = document
        while isinstance(place, dict | list) and place:
            key = (
                draw(st.sampled_from(sorted(place)))
                if isinstance(place, dict)
                else draw(st.integers(0, len(place) - 1))
            )
            if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 5)) == 0:
                place[key] = draw(LEAVES)
                break
            place = place[key]
    return json.dumps(document).encode()


def inputs(name: str) -> st.SearchStrategy[bytes]:
    forms = [spoilt(name), st.binary(max_size=200), st.sampled_from(PIECES)]
    if name in ("reference", "webhook", "scoring"):
        forms += [altered(name)] * 3
    return st.one_of(forms)


@pytest.mark.filterwarnings("ignore")  # of what libraries say of nonsense
@pytest.mark.parametrize("name", TARGETS)
def test_nonsense_is_refused_in_words(name: str) -> None:
    load_mlflow()
    for seed in seeds(name):
        run(name, seed)  # and loads what it needs

    @settings(
        max_examples=EXAMPLES.get(name, 100),
        deadline=timedelta(seconds=30),
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(inputs(name))
    @example(b"")
    @example(b"[" * (2_000 if name in YAML else 100_000))
    @example(b'{"a":' * 50_000)
    def nonsense(data: bytes) -> None:
        run(name, data)

    nonsense()


@pytest.mark.parametrize("name", YAML)
def test_aliases_that_say_each_other_again_and_again_come_to_an_end(name: str) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]" for number in range(1, 12)]
    run(name, "\n".join(lines).encode())


@pytest.mark.parametrize(
    "text", ["a: !!binary aGk=", "a: 0x" + "f" * 9000, "a: .nan", "a: !!int x", "? {a: 1}\n: 2", "<<: 1"]
)
def test_values_that_json_does_not_have_are_named(text: str) -> None:
    run("settings", text.encode())
    run("services_file", text.encode())
