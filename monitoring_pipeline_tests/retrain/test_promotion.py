from datetime import UTC, datetime, timedelta

import pytest
from mlflow import MlflowClient

from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.retrain.gate import Outcome
from monitoring_pipeline.retrain.promotion import CHAMPION, Promotion, promote
from monitoring_pipeline.retrain.registry import ModelRegistry
from monitoring_pipeline.stores.mlflow_registry import MlflowRegistry
from monitoring_pipeline_tests.mlflow_store import new_mlflow_store

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=3)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_mlflow_store(tmp_path_factory.mktemp("promotion"))


@pytest.fixture
def model(uri: str, request: pytest.FixtureRequest) -> str:
    """A model of its own for each test, with three versions of which the first is champion."""
    client, name = MlflowClient(uri, uri), str(request.node.name)
    client.create_registered_model(name)
    for _ in range(3):
        client.create_model_version(name, source="file:///nowhere")
    client.set_registered_model_alias(name, CHAMPION, "1")
    return name


@pytest.fixture
def registry(uri: str) -> MlflowRegistry:
    return MlflowRegistry(uri)


def decided(
    registry: ModelRegistry,
    model: str,
    outcome: Outcome = Outcome.PROMOTE,
    *,
    challenger: str = "2",
    now: datetime = NOW,
) -> Promotion:
    return promote(
        registry, model=model, challenger=challenger, champion="1", outcome=outcome, reason="roc_auc +0.02", now=now
    )


def test_a_better_challenger_becomes_champion_and_both_versions_say_when_and_why(
    registry: ModelRegistry, model: str
) -> None:
    assert decided(registry, model) == Promotion(model, "2", "2", True, "roc_auc +0.02")
    assert registry.version(model, CHAMPION).version == "2"
    assert registry.version(model, "2").tags == {"deployed_at": NOW.isoformat(), "promotion_reason": "roc_auc +0.02"}
    assert registry.version(model, "1").tags == {"replaced_at": NOW.isoformat(), "replaced_by": "2"}


def test_promoting_twice_is_promoting_once(registry: ModelRegistry, model: str) -> None:
    first = decided(registry, model)
    before = registry.versions(model)
    assert decided(registry, model, now=LATER) == first
    assert registry.versions(model) == before


def test_a_promotion_that_was_cut_short_is_finished_when_it_is_tried_again(registry: ModelRegistry, model: str) -> None:
    registry.set_alias(model, CHAMPION, "2", expected="1")
    assert decided(registry, model, now=LATER).promoted
    assert registry.version(model, "2").tags["deployed_at"] == LATER.isoformat()
    assert registry.version(model, "1").tags["replaced_by"] == "2"


class Faster(MlflowRegistry):
    """A registry in which somebody else moves the alias between the look at it and the move."""

    def set_alias(self, model_name: str, alias: str, version: str | int, *, expected: str | None) -> None:
        MlflowClient(self.tracking_uri, self.tracking_uri).set_registered_model_alias(model_name, alias, "3")
        MlflowRegistry.set_alias(self, model_name, alias, version, expected=expected)


@pytest.mark.parametrize("late", [False, True], ids=["before the look", "after the look"])
def test_an_alias_that_moved_meanwhile_is_left_where_it_is_and_the_challenger_says_why(
    registry: MlflowRegistry, model: str, late: bool
) -> None:
    if late:
        registry = Faster(registry.tracking_uri)
    else:
        registry.set_alias(model, CHAMPION, "3", expected="1")
    found = decided(registry, model)
    assert (found.promoted, found.champion) == (False, "3")
    assert "moved to version 3 meanwhile, and version 2 was compared with version 1" in found.reason
    first, challenger, third = registry.versions(model)
    assert (first.tags, third.tags, third.aliases) == ({}, {}, (CHAMPION,))
    assert challenger.tags == {"rejected_at": NOW.isoformat(), "rejection_reason": found.reason}


def test_an_old_promotion_tried_again_does_not_undo_a_newer_one(registry: ModelRegistry, model: str) -> None:
    decided(registry, model)
    registry.set_alias(model, CHAMPION, "3", expected="2")
    before = registry.versions(model)
    assert not decided(registry, model, now=LATER).promoted
    assert registry.versions(model) == before


def test_a_challenger_that_is_kept_out_says_why_and_the_champion_stays(registry: ModelRegistry, model: str) -> None:
    for now in (NOW, LATER):
        assert not decided(registry, model, Outcome.KEEP_CHAMPION, now=now).promoted
    assert registry.version(model, CHAMPION).version == "1"
    assert registry.version(model, "2").tags == {"rejected_at": NOW.isoformat(), "rejection_reason": "roc_auc +0.02"}


def test_a_version_that_comes_back_is_deployed_anew(registry: ModelRegistry, model: str) -> None:
    decided(registry, model)
    registry.set_alias(model, CHAMPION, "1", expected="2")
    decided(registry, model, now=LATER)
    assert registry.version(model, "2").tags["deployed_at"] == LATER.isoformat()


def test_a_challenger_that_does_not_exist_is_not_promoted(registry: ModelRegistry, model: str) -> None:
    with pytest.raises(RegistryError, match="99"):
        decided(registry, model, challenger="99")
    assert registry.version(model, CHAMPION).version == "1"
