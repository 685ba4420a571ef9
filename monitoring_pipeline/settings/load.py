"""Monitors from YAML files: read, checked, and refused with every problem at once.

Add ways to find files here. Keep checks of their content out: those of one key belong in `monitor`, the others
in `section_checks` and `condition_checks`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from monitoring_pipeline.errors import Problem, SettingsError
from monitoring_pipeline.settings import condition_checks, section_checks
from monitoring_pipeline.settings.conditions import FORMS, choices
from monitoring_pipeline.settings.documents import Document, looks_secret, read_document
from monitoring_pipeline.settings.monitor import Monitor

_PLAIN_WORDS = {
    "Input should": "It should",
    "valid array": "list",
    "an object": "a mapping",
    "a valid string": "text",
}
"""What the validator says, and what somebody who writes YAML calls it."""


def load_monitor(path: Path) -> Monitor:
    """Return the monitor a file describes; raises SettingsError with everything that is wrong with it."""
    monitor, problems = _read(path)
    if monitor is None:
        raise SettingsError(problems)
    return monitor


def load_monitors(directory: Path) -> list[Monitor]:
    """Return the monitors of all YAML files of a directory, by file name; one SettingsError covers all files."""
    return load_files(monitor_files(directory))


def monitor_files(directory: Path) -> list[Path]:
    """Return the YAML files of a directory in the order of their names; raises SettingsError when there is none."""
    files = sorted(path for path in directory.glob("*") if path.suffix in (".yaml", ".yml"))
    if not files:
        found = "holds no YAML file." if directory.is_dir() else "is not a directory."
        fix = "Add one file per monitored model, or point MONITORING_MONITORS elsewhere."
        raise SettingsError([Problem(str(directory), None, "monitors", found, fix)])
    return files


def load_files(files: Sequence[Path]) -> list[Monitor]:
    """Return the monitor of each file; one SettingsError covers all files."""
    problems: list[Problem] = []
    monitors: dict[str, tuple[Path, Monitor]] = {}
    for path in files:
        monitor, found_there = _read(path)
        problems.extend(found_there)
        if monitor is not None and monitor.model in monitors:
            line = read_document(path.read_text(encoding="utf-8"), str(path)).line_of(("model",))
            message = f"{monitor.model!r} is already monitored by {monitors[monitor.model][0].name}."
            problems.append(Problem(str(path), line, "model", message, "Merge the two files, or rename one model."))
        elif monitor is not None:
            monitors[monitor.model] = path, monitor
    if problems:
        raise SettingsError(problems)
    return [monitor for _, monitor in monitors.values()]


def parse_monitor(data: Mapping[str, Any], *, name: str = "settings") -> Monitor:
    """Return the monitor that plain data describes, with the same checks as a file."""
    monitor, problems = _check(Document(name, dict(data), {}, ()))
    if monitor is None:
        raise SettingsError(problems)
    return monitor


def _read(path: Path) -> tuple[Monitor | None, tuple[Problem, ...]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        fix = "Check the path and its permissions."
        return None, (Problem(str(path), None, "the file", f"cannot be read: {reason}.", fix),)
    document = read_document(text, str(path))
    if not document.data:
        return None, document.problems
    return _check(document)


def _check(document: Document) -> tuple[Monitor | None, tuple[Problem, ...]]:
    """Return the monitor, or None and its problems in the order of the file."""
    problems = list(document.problems)
    monitor = None
    try:
        # As JSON, because there strictness still lets a list be a tuple and text be a time.
        monitor = Monitor.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        problems.extend(_pydantic_problems(error, document))
    for check in (*section_checks.CHECKS, *condition_checks.CHECKS):
        problems.extend(document.problem(*finding) for finding in check(document.data))
    if problems:
        return None, tuple(sorted(problems, key=lambda problem: (problem.line or 0, problem.where)))
    return monitor, ()


def _pydantic_problems(error: ValidationError, document: Document) -> Iterator[Problem]:
    details = error.errors(include_url=False)
    for detail in details:
        location, kind, found = detail["loc"], detail["type"], detail["input"]
        if kind == "too_short" and any(other["loc"][: len(location)] == location != other["loc"] for other in details):
            continue  # the items are there, but none of them was valid: they have problems of their own
        path = _path_in(document.data, location, missing=kind == "missing")
        name = str(path[-1]) if path else ""
        if kind == "missing":
            yield document.problem(path, "is missing.", f"Add `{name}:`.")
        elif kind in ("extra_forbidden", "unexpected_keyword_argument"):
            yield document.problem(path, f"{name!r} is not a setting.", choices(name, _keys_at(location[:-1])))
        else:
            shown = "a secret" if looks_secret(found) else f"{found!r:.60}"
            fix = detail["msg"].removeprefix("Value error, ")
            if kind.startswith(("datetime", "timezone")):
                fix = "Write a whole hour with its offset, such as 2026-04-01T00:00Z."
            for word, plain in _PLAIN_WORDS.items():
                fix = fix.replace(word, plain)
            yield document.problem(path, f"{shown} cannot be used.", fix if fix.endswith(".") else f"{fix}.")


def _path_in(data: Any, location: tuple[str | int, ...], *, missing: bool) -> tuple[str | int, ...]:
    """Return where in the data an error lies: its location without the parts that name types and forms."""
    path: list[str | int] = []
    for part in location:
        if (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int)):
            data = data[part]  # type: ignore[index]  # mypy does not follow the two cases
            path.append(part)
    return (*path, location[-1]) if missing else tuple(path)


def _keys_at(location: tuple[str | int, ...]) -> list[str]:
    """Return the keys that can stand in the mapping at `location`."""
    kind: Any = Monitor
    for part in location:
        kind = FORMS[part] if part in FORMS else _kind_of_part(kind, part)  # type: ignore[index]  # a tag is text
    if is_dataclass(kind):
        return [entry.name for entry in fields(kind)]
    return [entry.alias or name for name, entry in kind.model_fields.items()]


def _kind_of_part(kind: Any, part: str | int) -> Any:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        found = next(entry for name, entry in kind.model_fields.items() if part in (name, entry.alias))
        return _bare(found.annotation)
    return _bare(get_args(kind)[0 if isinstance(part, int) else -1]) if get_args(kind) else kind


def _bare(kind: Any) -> Any:
    """Return a type without its annotations and without None."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        known = [option for option in get_args(kind) if option is not NoneType]
        return _bare(known[0]) if len(known) == 1 else kind
    return kind
