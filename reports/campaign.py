"""What a command measures for long: a document that says what is left, so that the same command goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import AwareDatetime, Field

from matrix.errors import UsageError
from matrix.stack import Stack
from reports.packed import read_plain
from reports.part import Part

Kind = TypeVar("Kind", bound="Campaign")
Trial = TypeVar("Trial")
Share = TypeVar("Share")


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


def taken_up(
    found: Iterable[Trial], work: Iterable[Share], part: Callable[[Trial | Share], object]
) -> tuple[list[Trial], list[Share]]:
    """Of what an interrupted campaign found that which is asked for still, and the work that is left.

    Args:
        found: its trials.
        work: in shares, as it is asked for now.
        part: which part of the work a share is, or a trial is of.
    """
    shares = list(work)
    wanted = {part(share) for share in shares}
    kept = [trial for trial in found if part(trial) in wanted]
    measured = {part(trial) for trial in kept}
    return kept, [share for share in shares if part(share) not in measured]


def interrupted(path: Path, kind: type[Kind], command: str, stack: Stack, asked: str) -> Kind | None:
    """What the same command found on this stack before it was interrupted, or None.

    Raises:
        UsageError: the file is something else.
    """
    if not path.is_file():
        return None
    before = read_campaign(path, kind, command)
    return before if before.left and (before.stack, before.asked) == (stack, asked) else None
