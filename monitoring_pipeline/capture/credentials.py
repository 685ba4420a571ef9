"""The Credential: a text that opens something, and that nothing shows.

Wrap what is read from the environment or a file at once; `reveal` it where it goes over the wire. Keep the key of
personal data out: it digests, and is never read again (privacy).
"""

from typing import NoReturn


class Credential:
    """A token, password, key or secret address: it does not print, is no JSON, and is not pickled or copied."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Credential(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential does not leave its process: read it where it is needed")
