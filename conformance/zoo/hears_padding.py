"""Types whose tokens hear their neighbours by design, so that a padded row is another input than the row alone."""

import functools
import tomllib
from pathlib import Path

_TABLE = Path(__file__).parent / "hears_padding.toml"


@functools.cache
def hears_padding() -> dict[str, str]:
    """By type the reason."""
    found: dict[str, str] = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    return found
