"""What a command measures for long: a document that says what is left, so that the same command goes on."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import AwareDatetime, Field, TypeAdapter

from matrix.errors import UsageError
from matrix.files import read_file
from matrix.stack import Stack
from reports.files import write_whole
from reports.packed import LARGEST, read_plain
from reports.part import Part

Kind = TypeVar("Kind", bound="Campaign")
Trial = TypeVar("Trial", bound=Part)

_STACK = TypeAdapter(Stack)


class Campaign(Part):
    """All that was measured on one machine."""

    started: AwareDatetime
    finished: AwareDatetime
    stack: Stack
    asked: str = Field(default="", description="what it was narrowed to; empty for all")
    left: int = Field(default=0, description="parts that were interrupted or failed")


def read_campaign(path: Path, kind: type[Kind], command: str) -> Kind:
    """What a command wrote.

    Raises:
        UsageError: the file cannot be read, or is something else.
    """
    content = read_plain(path)
    try:
        return kind.model_validate_json(content)
    except ValueError as error:
        raise UsageError(f"{path}: not what {command} writes: {str(error).splitlines()[0]}") from None


@dataclass(frozen=True)
class Notes:
    """What a command measures, a line for each trial as it comes: who is killed loses the trial at hand and no more."""

    path: Path

    @classmethod
    def beside(cls, document: Path) -> Notes:
        """Those of the command that writes this document in the end."""
        return cls(document.with_suffix(".trials.jsonl"))

    def begin(self, command: str, stack: Stack, asked: str) -> None:
        """Leave what the same command wrote down on this stack, and begin anew otherwise.

        Raises:
            UsageError: the file cannot be written.
        """
        head = {"command": command, "stack": _STACK.dump_python(stack, mode="json"), "asked": asked}
        if next(self._lines(), None) != head:
            try:
                write_whole(self.path, json.dumps(head) + "\n")
            except OSError as error:
                raise UsageError(f"{self.path}: {error.strerror}") from None

    def write(self, part: str, trial: Part | None = None) -> None:
        """One more trial of a part, or that all of it is measured. Several processes may, at the same time."""
        line: dict[str, object] = {"part": part}
        if trial is not None:
            line["trial"] = trial.model_dump(mode="json", exclude_defaults=True)
        with self.path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(f"\n{json.dumps(line)}\n".encode())  # apart from what somebody could not end

    def read(self) -> dict[str, Noted]:
        """What is known by part."""
        found: dict[str, Noted] = {}
        for line in self._lines():
            if isinstance(part := line.get("part"), str):
                noted = found.setdefault(part, Noted())
                if "trial" in line:
                    noted.trials.append(line["trial"])
                else:
                    noted.is_whole = True
        return found

    def _lines(self) -> Iterator[dict[str, object]]:
        if not self.path.is_file():
            return
        for line in read_file(self.path, LARGEST).splitlines():
            with contextlib.suppress(ValueError):
                if isinstance(document := json.loads(line), dict):
                    yield document


@dataclass
class Noted:
    """What is known of a part."""

    trials: list[object] = field(default_factory=list)
    is_whole: bool = False

    def of(self, kind: type[Trial]) -> list[Trial]:
        """Its trials, but for such as an older release has measured and this one would not."""
        found = []
        for trial in self.trials:
            with contextlib.suppress(ValueError):
                found.append(kind.model_validate(trial))
        return found
