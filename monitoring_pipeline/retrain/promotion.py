"""Promotion: the champion alias moves to the challenger, or the reason why it did not is kept.

Add a record a promotion leaves behind here. Keep the comparison out: it belongs in gate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline.crash_points import reached
from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.retrain.gate import Outcome
from monitoring_pipeline.retrain.registry import ModelRegistry

CHAMPION = "champion"
CHALLENGER = "challenger"


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of a challenger; `champion` is the version the alias points to now."""

    model: str
    challenger: str
    champion: str
    promoted: bool
    reason: str


def promote(
    registry: ModelRegistry, *, model: str, challenger: str, champion: str, outcome: Outcome, reason: str, now: datetime
) -> Promotion:
    """Move the alias if the gate said so and the champion is still the version that was judged.

    Doing it twice is doing it once: times already on record stay. The reason is recorded on the challenger either way.
    """
    promoted, standing = outcome is Outcome.PROMOTE, registry.version(model, CHAMPION).version
    if promoted:
        if moved := standing == champion:
            standing = move_champion(registry, model, challenger, expected=champion)
        if standing == challenger:
            _tag(registry, model, challenger, {"deployed_at": now.isoformat(), "promotion_reason": reason}, again=moved)
            _tag(registry, model, champion, {"replaced_at": now.isoformat(), "replaced_by": challenger}, again=moved)
            return Promotion(model, challenger, standing, True, reason)
        reason = (
            f"the alias {CHAMPION} was moved to version {standing} meanwhile, and version {challenger} was compared "
            f"with version {champion}: nothing was changed"
        )
    if not (promoted and "deployed_at" in registry.version(model, challenger).tags):  # one replaced since was no reject
        _tag(registry, model, challenger, {"rejected_at": now.isoformat(), "rejection_reason": reason}, again=False)
    return Promotion(model, challenger, standing, False, reason)


def move_champion(registry: ModelRegistry, model: str, version: str, *, expected: str) -> str:
    """Point the alias to a version unless somebody was faster; returns the version it points to then."""
    try:
        registry.set_alias(model, CHAMPION, version, expected=expected)
    except RegistryError:
        standing = registry.version(model, CHAMPION).version
        if standing == expected:
            raise
        return standing
    reached("alias.after_move")
    return version


def _tag(registry: ModelRegistry, model: str, version: str, tags: Mapping[str, str], *, again: bool) -> None:
    """Set tags that are not there yet; all of them when what they tell of has happened `again`."""
    present = {} if again else registry.version(model, version).tags
    registry.set_tags(model, version, {name: value for name, value in tags.items() if name not in present})
