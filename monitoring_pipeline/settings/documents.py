"""YAML text as plain data that remembers the line of every key and item.

Add what concerns the syntax of any settings file here. Keep the meaning of keys out: it belongs in `monitor`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from monitoring_pipeline.errors import Problem

Path = tuple[str | int, ...]

MOST_ENTRIES = 20_000
"""Keys and items of a file, aliases written out: a few lines of aliases of aliases stand for more than fit anywhere."""

_SECRET = re.compile(
    r"xox[a-z]-|xapp-|whsec_|hooks\.slack\.com/services/|AKIA[0-9A-Z]{16}|-----BEGIN|://[^/\s:@]+:[^/\s@]+@",
    re.IGNORECASE,
)
"""What tokens, webhook addresses, keys and passwords in addresses look like."""


def looks_secret(value: object) -> bool:
    """Return whether a value must not stand in a file, nor in a message about it."""
    return isinstance(value, str) and _SECRET.search(value) is not None


@dataclass(frozen=True, slots=True)
class Document:
    """The data of one file, the line of every path in it, and what was wrong with its syntax."""

    file: str
    data: dict[str, Any]
    lines: Mapping[Path, int]
    problems: tuple[Problem, ...]

    def line_of(self, path: Path) -> int | None:
        """Return the line of `path`, or of the nearest thing around it that has one."""
        return next((self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), None)

    def problem(self, path: Path, message: str, fix: str) -> Problem:
        """Return a problem at `path`, with its file and line."""
        return Problem(self.file, self.line_of(path), dotted(path), message, fix)


def dotted(path: Path) -> str:
    """Return a path as people write it: `rules[0].condition.metric`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the file"


def read_document(text: str, file: str) -> Document:
    """Return the plain data of `text`; a syntax error ends the reading and is the file's only problem."""
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return _unreadable(file, str(error.problem or error.context), mark.line + 1 if mark else None)
    except YAMLError as error:
        return _unreadable(file, str(error).splitlines()[0], None)
    except RecursionError:
        return _unreadable(file, "lists or mappings lie too deep in one another", None)
    if not isinstance(root, MappingNode):
        found = "is empty" if root is None else "does not hold a mapping"
        fix = "Start with `model: <name>`."
        return Document(file, {}, {}, (Problem(file, 1, "the file", f"{found}.", fix),))
    lines: dict[Path, int] = {(): 1}
    problems: list[Problem] = []
    try:
        data = _Reader(file, yaml, lines, problems).plain(root, (), ())
    except _TooMuchError:
        return _unreadable(file, f"it has more than {MOST_ENTRIES:,} entries, aliases written out", None)
    return Document(file, data, lines, tuple(problems))


def strings(data: object, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield every text in plain data with its path."""
    if isinstance(data, str):
        yield path, data
    elif isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from strings(value, (*path, key))


def _unreadable(file: str, message: str, line: int | None) -> Document:
    problem = Problem(file, line, "syntax", f"{message}.", "Correct the YAML there; nothing after it was checked.")
    return Document(file, {}, {}, (problem,))


class _TooMuchError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class _Reader:
    file: str
    yaml: YAML
    lines: dict[Path, int]
    problems: list[Problem]

    def plain(self, node: Node, path: Path, inside: tuple[Node, ...]) -> Any:
        """Return the data of a node, noting lines and repeated keys on the way."""
        if any(node is outer for outer in inside):
            self._add(node, path, "refers to itself.", "Write it out instead of using the alias.")
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        inside = (*inside, node)
        if len(self.lines) + len(node.value) > MOST_ENTRIES:
            raise _TooMuchError
        if isinstance(node, SequenceNode):
            for index, item in enumerate(node.value):
                self.lines[(*path, index)] = item.start_mark.line + 1
            return [self.plain(item, (*path, index), inside) for index, item in enumerate(node.value)]
        data: dict[str, Any] = {}
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node.value, str) else "?"
            place = (*path, key)
            if key in data:
                first = self.lines[place]
                self._add(key_node, place, f"is there twice; line {first} has it already.", "Keep one of the two.")
                continue
            self.lines[place] = key_node.start_mark.line + 1
            data[key] = self.plain(value, place, inside)
        return data

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        # A time stays text: the parser would turn one with an offset into a time without any.
        if str(node.tag).endswith(":timestamp"):
            return node.value
        try:
            value = self.yaml.constructor.construct_object(node)
            json.dumps(value)  # no bytes, and no number of thousands of digits
            return value
        except (YAMLError, ValueError, TypeError, LookupError):
            self._add(node, path, f"has a value that tag {node.tag} cannot hold.", "Write plain text or a number.")
            return None

    def _add(self, node: Node, path: Path, message: str, fix: str) -> None:
        self.problems.append(Problem(self.file, node.start_mark.line + 1, dotted(path), message, fix))
