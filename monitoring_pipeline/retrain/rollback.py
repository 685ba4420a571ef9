"""Rollback: the alias goes back to the version before, and when that is to be proposed.

Add a question about a new champion's first rows here. Keep what a challenger must show out: it belongs in gate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from monitoring_pipeline.errors import RegistryError
from monitoring_pipeline.evaluate.gains import FEWEST_DAYS, FloatArray, GateMetric, gains, mean_of, per_row, units_of
from monitoring_pipeline.retrain.promotion import CHAMPION, move_champion
from monitoring_pipeline.retrain.registry import ModelRegistry, ModelVersion
from monitoring_pipeline.stats.experiments import student_limit
from monitoring_pipeline.stats.spending import spending_limits

LOOKS = 4
"""Looks at a new champion, at equal numbers of rows: a bad one is found early, for a few more rows in all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """From which version to which, and the words it is put on record with."""

    champion: str
    target: str
    by: str
    why: str


def replaced_version(versions: Sequence[ModelVersion], champion: str) -> ModelVersion | None:
    """Return the version that the champion was promoted over, as the tags tell; rollbacks do not count."""
    before = [each for each in _replaced_by(versions, champion) if not _rolled_back(each)]
    return before[-1] if before else None


def rolled_back_from(versions: Sequence[ModelVersion], champion: str) -> ModelVersion | None:
    """Return the version whose rollback made this one champion; None where the champion came otherwise."""
    before = _replaced_by(versions, champion)
    return before[-1] if before and _rolled_back(before[-1]) else None


def _replaced_by(versions: Sequence[ModelVersion], champion: str) -> list[ModelVersion]:
    found = [each for each in versions if each.tags.get("replaced_by") == champion and each.version != champion]
    return sorted(found, key=lambda each: each.tags.get("replaced_at", ""))


def _rolled_back(version: ModelVersion) -> bool:
    return "rolled_back_at" in version.tags and version.tags["rolled_back_at"] == version.tags.get("replaced_at")


def plan_rollback(versions: Sequence[ModelVersion], *, to: str | None, by: str, why: str) -> Plan:
    """Return what a rollback would do now; raises RegistryError where that is not certain.

    Without `to` it is the version that was replaced last. A second rollback has to name its version: two people who
    answer the same alarm must not go back twice.
    """
    model = versions[0].name
    champion = next((each.version for each in versions if CHAMPION in each.aliases), None)
    if champion is None:
        raise RegistryError(f"{model}: no version is {CHAMPION}, so there is none to roll back. Set the alias.")
    before = replaced_version(versions, champion)
    if to is None:
        if (bad := rolled_back_from(versions, champion)) is not None:
            tags = bad.tags
            raise RegistryError(
                f"{model}: version {champion} is {CHAMPION} because {tags.get('rolled_back_by')} rolled back version "
                f"{bad.version} at {tags['rolled_back_at']}: {tags.get('rollback_reason')}. To go back one more, "
                f"name the version: --to {before.version if before else 'VERSION'}."
            )
        if before is None:
            raise RegistryError(
                f"{model}: no version says that {champion} replaced it, so the one before is not known. Name it: "
                f"--to VERSION; there are {', '.join(each.version for each in versions)}."
            )
        to = before.version
    if to == champion:
        raise RegistryError(f"{model}: version {to} is {CHAMPION} already. Nothing was changed.")
    if to not in {each.version for each in versions}:
        known = ", ".join(each.version for each in versions)
        raise RegistryError(f"{model}: there is no version {to}: there are {known}. Nothing was changed.")
    return Plan(champion, to, by, why)


def carry_out_rollback(registry: ModelRegistry, model: str, plan: Plan, *, now: datetime) -> None:
    """Move the alias and put on both versions when, by whom and why; the same again changes nothing.

    Raises RegistryError where the champion is neither of the two versions any more.
    """
    standing = registry.version(model, CHAMPION).version
    if standing == plan.champion:
        standing = move_champion(registry, model, plan.target, expected=plan.champion)
    if standing != plan.target:
        raise RegistryError(
            f"{model}: the alias {CHAMPION} was moved to version {standing} meanwhile, and version {plan.champion} was "
            "to be rolled back. Nothing was changed; decide again from the present state."
        )
    at = now.isoformat()
    gone = {"rolled_back_at": at, "rolled_back_to": plan.target, "rolled_back_by": plan.by, "rollback_reason": plan.why}
    registry.set_tags(model, plan.champion, gone | {"replaced_at": at, "replaced_by": plan.target})
    reason = f"rolled back from version {plan.champion} by {plan.by}: {plan.why}"
    registry.set_tags(model, plan.target, {"deployed_at": at, "promotion_reason": reason})


@dataclass(frozen=True, slots=True)
class Probation:
    """What a new champion is asked in its first `rows` labelled rows: whether it is worse than the one before.

    A champion that is no worse is blamed with a probability of `alpha` at most, over all looks.
    """

    metric: GateMetric
    rows: int = 1000
    alpha: float = 0.05

    @property
    def looks(self) -> tuple[int, ...]:
        """How many rows each look takes."""
        return tuple(dict.fromkeys(-(-self.rows * number // LOOKS) for number in range(1, LOOKS + 1)))

    @property
    def most_of_an_hour(self) -> int:
        """How many rows of one hour are looked at, so that they span the days it takes to see how days differ."""
        return -(-self.rows // (24 * FEWEST_DAYS))


@dataclass(frozen=True, slots=True)
class Look:
    """Both versions on the first rows: `z` is how many standard errors the new one is worse by."""

    rows: int
    previous: float
    champion: float
    z: float
    limit: float

    @property
    def is_worse(self) -> bool:
        return self.z > self.limit


def look_at(
    truth: FloatArray, previous: FloatArray, champion: FloatArray, times: npt.ArrayLike, probation: Probation
) -> list[Look]:
    """Return every look that the rows so far suffice for, shapes (rows,), in the order in which labels came.

    The looks are at fixed numbers of rows, so those already taken come out as they did, and nothing has to be kept.
    """
    taken, moments = [rows for rows in probation.looks if rows <= len(truth)], np.asarray(times)
    if not taken:
        return []
    # Of two sides at twice alpha one is left: nobody rolls back a champion for being better.
    fractions = np.array(taken) / probation.rows
    limits = spending_limits(fractions, shape="obrien_fleming", alpha=2 * probation.alpha)
    found = []
    for rows, limit in zip(taken, limits, strict=True):
        old, new = (per_row(probation.metric, truth[:rows], each[:rows]) for each in (previous, champion))
        units = units_of(moments[:rows])
        gain = mean_of(gains(probation.metric, old, new), units.of_row)
        # Hours of one day are no witnesses of how days differ: where they do, it blamed in up to 17 % instead of 5.
        known = units.name == "day" and np.isfinite(gain.value) and gain.error > 0
        z, bound = (
            (-gain.value / gain.error, student_limit(float(limit), freedom=gain.freedom)) if known else (0, np.inf)
        )
        found.append(Look(rows, float(old.mean()), float(new.mean()), float(z), float(bound)))
    return found
