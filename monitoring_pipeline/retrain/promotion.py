"""Promotion: the champion alias moves to the challenger, or the reason why it did not is kept.

Add a record a promotion leaves behind here. Keep the comparison out: it belongs in gate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline.retrain.gate import Outcome
from monitoring_pipeline.retrain.registry import ModelRegistry

CHAMPION = "champion"
CHALLENGER = "challenger"


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of a challenger."""

    model: str
    challenger: str
    previous_champion: str
    promoted: bool
    reason: str


def promote(
    registry: ModelRegistry,
    *,
    model: str,
    challenger: str,
    champion: str,
    outcome: Outcome,
    reason: str,
    now: datetime,
) -> Promotion:
    """Move the alias if the gate said so and the champion is still the version that was judged.

    Doing it twice is doing it once: times already on record stay. The reason is recorded on the challenger either way.
    """
    promoted = outcome is Outcome.PROMOTE
    if promoted:
        if moved := registry.version(model, CHAMPION).version != challenger:
            registry.set_alias(model, CHAMPION, challenger, expected=champion)
        _tag(registry, model, challenger, {"deployed_at": now.isoformat(), "promotion_reason": reason}, again=moved)
        _tag(registry, model, champion, {"replaced_at": now.isoformat(), "replaced_by": challenger}, again=moved)
    else:
        _tag(registry, model, challenger, {"rejected_at": now.isoformat(), "rejection_reason": reason}, again=False)
    return Promotion(model, challenger, champion, promoted, reason)


def _tag(registry: ModelRegistry, model: str, version: str, tags: Mapping[str, str], *, again: bool) -> None:
    """Set tags that are not there yet; all of them when what they tell of has happened `again`."""
    present = {} if again else registry.version(model, version).tags
    registry.set_tags(model, version, {name: value for name, value in tags.items() if name not in present})
