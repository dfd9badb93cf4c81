"""What a command measures for long: a document that says how much of it is left."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import AwareDatetime, Field

from matrix.errors import UsageError
from matrix.stack import Stack
from reports.packed import read_plain
from reports.part import Part

Kind = TypeVar("Kind", bound="Campaign")


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
