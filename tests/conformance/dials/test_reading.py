"""What a reader keeps of the batches that it has read."""

from dataclasses import dataclass
from typing import Any

import pytest

from conformance.dials.reading import Reader


@dataclass
class Kept:
    """Directions, of which nobody asks more than what keeping them takes."""

    nbytes: int


class Keys:
    """References, of which nobody asks more than what tells batches apart."""

    def key(self, batch: Any, *, golden: bool) -> tuple[object, ...]:
        return (batch,)


def test_what_grows_after_it_was_made_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turning dials is remembered with directions, long after they were made."""
    made: list[str] = []

    def directions_of(references: Any, batch: Any, like: Any) -> Kept:
        made.append(batch)
        return Kept(10)

    monkeypatch.setitem(Reader.directions.__globals__, "directions_of", directions_of)
    reader, keys = Reader(30), Keys()

    def ask(batch: str) -> Any:
        return reader.directions(keys, batch)  # type: ignore[arg-type]

    for batch in ("one", "two", "one", "two"):
        ask(batch)
    assert made == ["one", "two"]
    ask("two").nbytes = 25
    ask("two")
    ask("one")
    assert made == ["one", "two", "one"], "what was asked the longest ago had gone"
    ask("one").nbytes = 100
    assert ask("one").nbytes == 100, "the last stays, however large"
    assert made == ["one", "two", "one"]
