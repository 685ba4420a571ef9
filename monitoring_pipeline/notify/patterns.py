r"""Patterns that people write and a daemon matches: regular expressions small enough to never hang it.

Literals, `.`, `[a-z]`, `\w`, each with `*`, `+` or `?`, and `|` between whole patterns. Without groups, matching takes
time in proportion to pattern times text; Python's own engine can take years over `(a+)+$`.
"""

import re
from functools import lru_cache

LONGEST_PATTERN = 200
_ATOM = re.compile(r"(\\[wdsWDS]|\\[^\w\s]|\[\^?(?:\w-\w|[\w.:/@, ])+-?\]|[^\\\[\](){}^$*+?|])([*+?]?)")
_Atoms = tuple[tuple[re.Pattern[str], str], ...]


@lru_cache(maxsize=512)
def parse_pattern(pattern: str) -> tuple[_Atoms, ...]:
    """Return the alternatives of a pattern, each as atoms with `*`, `?` or nothing; raises ValueError."""
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"the pattern has {len(pattern)} characters: at most {LONGEST_PATTERN}")
    alternatives: list[list[tuple[re.Pattern[str], str]]] = [[]]
    end = 0
    while end < len(pattern):
        if pattern[end] == "|":
            alternatives.append([])
            end += 1
            continue
        found = _ATOM.match(pattern, end)
        if found is None:
            raise ValueError(
                f"{pattern!r} has {pattern[end]!r} at character {end + 1}, which patterns here do not know: use plain "
                "characters, . [a-z] \\w \\d with * + or ?, and | between whole patterns"
            )
        atom, end = _compiled(pattern, found[1]), found.end()
        if found[2] == "+":
            alternatives[-1].append((atom, ""))
        alternatives[-1].append((atom, "*" if found[2] == "+" else found[2]))
    return tuple(map(tuple, alternatives))


def _compiled(pattern: str, atom: str) -> re.Pattern[str]:
    try:
        return re.compile(atom, re.DOTALL)
    except re.error as error:
        raise ValueError(f"{pattern!r}: {atom} is not a class of characters: {error}") from None


def matches(pattern: str, text: str) -> bool:
    """Return whether the whole of `text` is what `pattern` says."""
    return any(_is(atoms, text) for atoms in parse_pattern(pattern))


def _is(atoms: _Atoms, text: str) -> bool:
    places = _onward(atoms, {0})
    for char in text:
        stepped = {
            place if atoms[place][1] == "*" else place + 1
            for place in places
            if place < len(atoms) and atoms[place][0].fullmatch(char)
        }
        places = _onward(atoms, stepped)
    return len(atoms) in places


def _onward(atoms: _Atoms, places: set[int]) -> set[int]:
    """Return the places, and those behind atoms that may be left out."""
    reached = set()
    for place in places:
        reached.add(place)
        while place < len(atoms) and atoms[place][1]:
            place += 1
            reached.add(place)
    return reached
