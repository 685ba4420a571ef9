"""The tree of errors this package raises on purpose.

    MonitoringError
    ├── SettingsError        a YAML file is wrong: every problem at once, each with file, line and fix
    ├── TableError           a table the user gave lacks columns or has unusable types
    ├── ReferenceError       a reference is missing, corrupt, or not of the version it claims
    ├── RegistryError        the model registry has no such model, version or alias, or refused a change
    │   └── RegistryUnreachableError  it did not answer, or not as it should: that may pass
    ├── StoreError           a store of files or a database could not be read or written
    ├── DeliveryError        a channel refused a message; says whether trying again can help
    └── ActionError          what a person asked of an incident makes no sense

Add an error here when a caller can act on it. Too little data is not an error: it is a Signal with an absence.
Every message says what failed, where, what was found against what is needed, and what to do. None shows a password.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass


def without_password(text: str) -> str:
    """Return a text with everything hidden that stands between user and host of an address, and in password options."""
    text = re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", text)
    return re.sub(r"(?i)((?:password|passwd|token|secret|key)=)[^&\s]+", r"\1***", text)


class MonitoringError(Exception):
    """Base of every error raised on purpose.

    Whoever put them into its message, it shows no password of an address, and nothing that steers a terminal.
    """

    def __init__(self, message: str = "") -> None:
        shown = (
            each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in without_password(message)
        )
        super().__init__("".join(shown))


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a settings file."""

    file: str
    line: int | None
    where: str
    message: str
    fix: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.where}: {self.message} {self.fix}".rstrip()


class SettingsError(MonitoringError):
    """A settings file is wrong; `problems` lists everything found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class TableError(MonitoringError):
    """A table lacks columns or has types that cannot be used."""

    @classmethod
    def missing_columns(cls, table: str, missing: Sequence[str], present: Sequence[str]) -> "TableError":
        return cls(
            f"{table}: column(s) {', '.join(map(repr, missing))} not found; it has {', '.join(map(repr, present))}. "
            "Correct the names in the monitor's YAML or on the command line."
        )


class ReferenceError(MonitoringError):  # noqa: A001 - the domain's word; the builtin is about weak references
    """A reference is missing, corrupt, or not of the version it claims."""


class RegistryError(MonitoringError):
    """The model registry has no such thing, or refused a change."""


class RegistryUnreachableError(RegistryError):
    """The model registry did not answer, or with an error of its own: asked later it may."""


class StoreError(MonitoringError):
    """A store could not be read or written."""


class DeliveryError(MonitoringError):
    """A channel did not take a message.

    `retryable` says whether trying again can help; `retry_after` is the channel's own wish in seconds;
    `outcome_unknown` marks the case where the message may have been accepted (a time-out after sending).
    """

    def __init__(
        self, message: str, *, retryable: bool, retry_after: float | None = None, outcome_unknown: bool = False
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after = retry_after
        self.outcome_unknown = outcome_unknown


class ActionError(MonitoringError):
    """What a person asked of an incident makes no sense: it does not exist, is over, or somebody else has it."""
