import pytest

from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.serve.instrument import families
from monitoring_pipeline.serve.metrics import Metrics
from monitoring_pipeline.serve.reloading import Models
from monitoring_pipeline.serve.routing import CHALLENGER, CHAMPION, SHADOW
from monitoring_pipeline.serve.scoring import Scorer
from monitoring_pipeline_tests.scoring import CONTRACT, MODEL, Registered, Steady, chains, scorer


def models(registered: Registered) -> Models:
    metrics = Metrics(families())
    return Models(
        registered,
        lambda scorers: chains(scorers, metrics),
        aliases=(CHAMPION, CHALLENGER, SHADOW),
        accept=CONTRACT.check,
        metrics=metrics,
    )


def versions(found: Models) -> dict[str, str]:
    return {alias: each.version for alias, each in found.serving.scorers.items()}


@pytest.fixture
def registered() -> Registered:
    return Registered({name: scorer(name, 0.5) for name in "123"}, {CHAMPION: "1"})


def test_an_alias_that_moves_is_followed_and_one_that_stays_costs_no_download(registered: Registered) -> None:
    found = models(registered)
    assert found.refresh()
    assert not found.refresh()
    registered.pointers = {CHAMPION: "2", "something_else": "3"}
    assert found.refresh()
    assert (versions(found), registered.loads) == ({CHAMPION: "2"}, ["1", "2"])


def test_a_challenger_that_is_promoted_is_in_memory_already(registered: Registered) -> None:
    registered.pointers = {CHAMPION: "1", CHALLENGER: "2"}
    found = models(registered)
    found.refresh()
    registered.pointers = {CHAMPION: "2"}
    found.refresh()
    assert (versions(found), sorted(registered.loads)) == ({CHAMPION: "2"}, ["1", "2"])


def test_what_serves_goes_on_while_the_registry_does_not_answer(registered: Registered) -> None:
    found = models(registered)
    before = found.serving
    registered.reachable = False
    assert not found.refresh()
    assert found.serving is before
    assert found.problem.startswith("the registry does not answer")
    registered.reachable = True
    found.refresh()
    assert found.problem == ""


def test_a_version_that_cannot_be_loaded_or_does_not_fit_serves_nobody(registered: Registered) -> None:
    registered.scorers["4"] = Scorer(MODEL, "4", ("tenure", "postcode"), Steady(0.5))
    registered.scorers["5"] = scorer("5", 0.5, broken=True)
    found = models(registered)
    found.refresh()
    for version, words in (
        ("4", "asks for postcode"),
        ("5", "cannot score the example row"),
        ("6", "cannot be fetched"),
    ):
        registered.pointers[CHAMPION] = version
        assert not found.refresh()
        assert (versions(found), words in found.problem) == ({CHAMPION: "1"}, True)


def test_a_broken_challenger_does_not_keep_a_new_champion_out(registered: Registered) -> None:
    found = models(registered)
    registered.pointers = {CHAMPION: "1", CHALLENGER: "2"}
    found.refresh()
    registered.pointers = {CHAMPION: "3", CHALLENGER: "missing"}
    assert found.refresh()
    assert versions(found) == {CHAMPION: "3", CHALLENGER: "2"}
    assert "missing cannot be fetched" in found.problem


def test_without_a_champion_there_is_nothing_to_begin_with(registered: Registered) -> None:
    registered.pointers = {}
    with pytest.raises(RegistryError, match="no version has the alias 'champion'"):
        models(registered).refresh()
