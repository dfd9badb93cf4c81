"""What was measured, a line as it comes: the same command goes on with it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matrix.advice.search import Failed, Finding, Sample, Spelled, State
from matrix.errors import UsageError, enumerated
from matrix.files import json_objects

_KINDS = {"finding": Finding, "sample": Sample, "failed": Failed}
Answer = Finding | Sample | Failed


class Journal:
    """Answers by what was asked, in a file of that folder.

    Args:
        facts: what must be the same for what was measured before to count.

    Raises:
        UsageError: the folder holds what was measured of something else, or cannot be written to.
    """

    def __init__(self, folder: Path, facts: Mapping[str, str]) -> None:
        self._path = folder / "journal.jsonl"
        self._known: dict[str, Answer] = {}
        self._spent: dict[str, float] = {}  # seconds that all calls had taken by then
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}") from None
        read = list(json_objects(lines))
        before = read[0].get("facts") if read else None
        if before is not None and before != dict(facts):
            others = [name for name in facts if before.get(name) != facts[name]]
            raise UsageError(f"{folder} holds measurements with another {enumerated(others)}: name another with -o")
        if before is None:
            self._write({"facts": dict(facts)}, "w")
        for document in read[1:]:
            if (answer := _answer(document)) is not None:
                asked, spent = str(document["asked"]), document.get("spent")
                self._known[asked] = answer
                self._spent[asked] = spent if isinstance(spent, int | float) else 0.0

    def __len__(self) -> int:
        return len(self._known)

    def get(self, asked: str) -> Answer | None:
        """What was answered."""
        return self._known.get(asked)

    def spent(self, asked: str = "") -> float:
        """Seconds that all calls had taken when that was answered, or by now."""
        return self._spent.get(asked, 0.0) if asked else max(self._spent.values(), default=0.0)

    def keep(self, asked: str, answer: Answer, spent: float) -> None:
        """Write it down, and how many seconds all calls have taken by now."""
        self._known[asked], self._spent[asked] = answer, spent
        kind = next(name for name, made in _KINDS.items() if isinstance(answer, made))
        self._write({"asked": asked, "kind": kind, "answer": asdict(answer), "spent": round(spent, 1)}, "a")

    def _write(self, document: Mapping[str, Any], mode: str) -> None:
        try:
            with self._path.open(mode, encoding="utf-8") as file:
                file.write(json.dumps(document) + "\n")
        except OSError as error:
            raise UsageError(f"{self._path}: {error.strerror}") from None


def _answer(document: Mapping[str, Any]) -> Answer | None:
    try:
        given = dict(document["answer"])
        if "state" in given:
            given["state"] = State(given["state"])
        if "spelled" in given:
            given["spelled"] = Spelled(**{name: tuple(lines) for name, lines in given["spelled"].items()})
        answer: Answer = _KINDS[document["kind"]](**given)
        return answer
    except (KeyError, TypeError, ValueError):
        return None
