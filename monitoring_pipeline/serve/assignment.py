"""Which arm of an experiment a unit belongs to: a matter of its name alone, so that every process gives one answer.

Add a way of splitting traffic here. Keep what the arms showed out: it is counted in describe and compared in evaluate.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

CONTROL, TREATMENT = "control", "treatment"


def hash_shares(salt: str, unit: str) -> tuple[float, float]:
    """Return two independent numbers, uniform on [0, 1), that belong to a unit of an experiment."""
    digest = sha256(f"{salt}\0{unit}".encode("utf-8", "surrogatepass")).digest()
    first, second = (int.from_bytes(digest[at : at + 8]) >> 11 for at in (0, 8))  # the 53 bits a float holds
    return first / 2**53, second / 2**53


@dataclass(frozen=True, slots=True)
class Assignment:
    """The split of an experiment: `excluded` of the units take no part, `treatment_share` of the others are treated.

    Raising `excluded` or lowering it moves units in and out, never from arm to arm; a new `treatment_share` moves only
    as many as it has to. Experiments of different names split independently of each other.
    """

    experiment: str
    treatment_share: float = 0.5
    excluded: float = 0.0

    def arm(self, unit: str) -> str | None:
        """Return the arm of a unit (whatever requests of the same user have in common), None where it takes no part."""
        arm, part = hash_shares(self.experiment, unit)
        if part < self.excluded:
            return None
        return TREATMENT if arm < self.treatment_share else CONTROL

    def arms(self, units: Iterable[str | None]) -> list[str | None]:
        """Return the arm of each unit; who is not known takes no part."""
        return [None if unit is None else self.arm(unit) for unit in units]
