"""What is asked of every engine: the profile of rows it is told the place of.

Add here what all engines are given. Keep counting out: it belongs in `describe.kernel`, and is the same for all.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from monitoring_pipeline.describe.columns import Column
from monitoring_pipeline.describe.profiles import Profile
from monitoring_pipeline.describe.reference_json import profile_from_json, profile_to_json

Rows = TypeVar("Rows", contravariant=True)


@dataclass(frozen=True, slots=True)
class ProfilePlan:
    """What is counted of the rows of one version; `time` names the rows' own time, which ages are counted from."""

    version: str
    columns: Mapping[str, Column]
    time: str | None = None

    def nothing(self) -> Profile:
        """Return the profile of no rows."""
        return Profile.empty(self.version, self.columns)

    def sources(self) -> list[str]:
        """Return the columns that have to be read."""
        asked = (column.read_from for column in self.columns.values())
        return list(dict.fromkeys([*asked, *([self.time] if self.time is not None else [])]))

    def to_json(self) -> str:
        columns = [column.to_json() for column in self.columns.values()]
        return json.dumps({"version": self.version, "columns": columns, "time": self.time})

    @classmethod
    def from_json(cls, text: str) -> "ProfilePlan":
        document = json.loads(text)
        columns = [Column.from_json(column) for column in document["columns"]]
        return cls(document["version"], {column.name: column for column in columns}, document["time"])


class Engine(Protocol[Rows]):
    """Profiles rows where they are: files, or a table. Counts are those of one pass over them, sums but for rounding.

    A column that is not there counts as null in every row. Raises TableError that names what cannot be read.
    """

    def profile(self, rows: Rows, plan: ProfilePlan) -> Profile: ...


def profile_text(profile: Profile) -> str:
    """Return a profile as JSON, the form in which parts of it travel."""
    return json.dumps(
        {
            "version": profile.version,
            "rows": profile.rows,
            "segment": profile.segment,
            "bins": profile.bins,
            "columns": {name: profile_to_json(column) for name, column in profile.columns.items()},
        }
    )


def profile_of_text(text: str) -> Profile:
    """Read what `profile_text` wrote."""
    document = json.loads(text)
    columns = {name: profile_from_json(column) for name, column in document.pop("columns").items()}
    return Profile(columns=columns, **document)
