"""The one exception for input that a person can put right, and how it quotes what it was given."""

from collections.abc import Iterable

_LONGEST = 1_900  # characters of a message
_LONGEST_VALUE = 200
_LONGEST_LIST = 900


class UsageError(ValueError):
    """Bad input: the message names the value, and the allowed values or the place to mend.

    It is one line of moderate length in which nothing steers a terminal, whatever it quotes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_shortened(harmless(message, kept=""), _LONGEST))


def harmless(text: str, *, kept: str = "\n") -> str:
    """The text with what could steer a terminal spelled out, but for the characters that are `kept`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def quoted(value: object) -> str:
    """The value as Python writes it, the middle of a long one left out."""
    return _shortened(repr(value), _LONGEST_VALUE)


def enumerated(names: Iterable[str]) -> str:
    """The names, as many as a message can bear, and how many there are beyond."""
    shown: list[str] = []
    names = list(names)
    room = _LONGEST_LIST
    for name in names:
        room -= len(name) + len(", ")
        if room < 0:
            return f"{', '.join(shown)} and {len(names) - len(shown):,} more"
        shown.append(name)
    return ", ".join(shown)


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    kept = longest // 2 - 20  # on each side of the words between
    return f"{text[:kept]}[... {len(text) - 2 * kept:,} characters ...]{text[-kept:]}"
