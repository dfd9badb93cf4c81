"""What a campaign measures, a line for each trial as it comes: the same command goes on with it."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from conformance.plugin.recording import commit_of_suite
from matrix.errors import UsageError, enumerated
from matrix.files import json_objects, read_file
from matrix.stack import Stack
from reports.packed import LARGEST
from reports.part import Part

Trial = TypeVar("Trial", bound=Part)

_STACK = TypeAdapter(Stack)


@dataclass(frozen=True)
class Notes:
    """A file beside a document, until all of that is measured: who is killed loses the trial at hand and no more."""

    path: Path

    @classmethod
    def beside(cls, document: Path) -> "Notes":
        """Those of the command that writes this document in the end.

        Raises:
            UsageError: it is a folder.
        """
        if document.is_dir():
            raise UsageError(f"{document}: a folder; name a file in it")
        return cls(document.with_name(f"{document.name}.trials.jsonl"))

    @contextlib.contextmanager
    def held(self, command: str, stack: Stack, asked: str) -> Iterator[None]:
        """Have them to oneself, with what the same command has noted on this stack.

        Raises:
            UsageError: they are of something else, or somebody else is at it, or they cannot be written.
        """
        facts = {"command": command, "selection": asked, "commit": commit_of_suite()}
        with contextlib.ExitStack() as held:
            try:
                file = held.enter_context(self.path.open("a+", encoding="utf-8"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                head = next(self._lines(), None)
                if head is None:
                    file.truncate(0)
                    file.write(json.dumps({**facts, "stack": _STACK.dump_python(stack, mode="json")}) + "\n")
                    file.flush()
            except BlockingIOError:
                raise UsageError(f"{self.path}: somebody is measuring into it; name another output") from None
            except OSError as error:
                raise UsageError(f"{self.path}: {error.strerror}") from None
            if head is not None and (others := _others(head, facts, stack)):
                said = f"{self.path} holds trials of another {enumerated(others)}"
                raise UsageError(f"{said}: name another output, or remove it to begin anew")
            yield

    def write(self, part: str, trial: Part | None = None) -> None:
        """One more trial of a part, or that all of it is measured. Several processes may, at the same time.

        Raises:
            OSError: the disk is full, or somebody has taken the file away.
        """
        line: dict[str, object] = {"part": part}
        if trial is not None:
            line["trial"] = trial.model_dump(mode="json", exclude_defaults=True)
        with open(os.open(self.path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0) as file:
            file.write(f"\n{json.dumps(line)}\n".encode())  # apart from what somebody could not end

    def read(self) -> "dict[str, Noted]":
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

    def _lines(self) -> Iterator[dict[str, Any]]:
        return json_objects(read_file(self.path, LARGEST).splitlines() if self.path.is_file() else ())


@dataclass
class Noted:
    """What is known of a part."""

    trials: list[object] = field(default_factory=list)
    is_whole: bool = False

    def of(self, kind: type[Trial]) -> list[Trial]:
        """Its trials."""
        return [kind.model_validate(trial) for trial in self.trials]


def _others(head: dict[str, Any], facts: dict[str, str], stack: Stack) -> list[str]:
    """Which facts the notes are of another of."""
    others = [name for name in facts if head.get(name) != facts[name]]
    with contextlib.suppress(ValueError):
        if _STACK.validate_python(head.get("stack")) == stack:
            return others
    return [*others, "stack"]
