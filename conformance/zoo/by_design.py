"""What types are by design, which no config says and nobody should call a fault."""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matrix.files import read_toml

_TABLE = Path(__file__).parent / "by_design.toml"


@functools.cache
def _tables() -> Mapping[str, Any]:
    return read_toml(_TABLE)


def hears_padding() -> Mapping[str, str]:
    """Types whose tokens hear their neighbours, so that a padded row is another input than the row alone; why."""
    found: Mapping[str, str] = _tables()["hears_padding"]
    return found


def cannot(name: str) -> dict[str, str]:
    """The values of axes that ask an architecture for what it does not promise, and why."""
    return {value: reasons[name] for value, reasons in _tables()["cannot"].items() if name in reasons}


def lacking(name: str, error: str) -> list[str]:
    """What an architecture lacks of which no small model can be made; nothing of one that fails with another error."""
    known = _tables()["unbuilt"].get(name)
    return [known["lacks"]] if known and re.search(known["says"], error) else []
