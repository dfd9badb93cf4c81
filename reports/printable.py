"""Text that may be published: no paths of the machine, nothing that UTF-8 cannot hold, not without end."""

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_LONGEST = 4000
# A fixture's folder ends with a digest of what it was made with, which differs between any two releases.
_FIXTURE = re.compile(r"(FIXTURES/\w+)-[0-9a-f]{12}\b")
# What a terminal takes for a command; not the ends of lines and tabs.
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def private_places(fixture_cache: Path) -> dict[str, str]:
    """What to write instead of the folders that say where and whose a machine is."""
    places = {
        str(fixture_cache): "FIXTURES",
        sys.prefix: "PYTHON",
        sys.base_prefix: "PYTHON",
        os.getcwd(): ".",
        tempfile.gettempdir(): "TMP",
        str(Path.home()): "~",
    }
    return {place: name for place, name in places.items() if len(place) > 1}


def printable(text: str, places: Mapping[str, str], longest: int = _LONGEST) -> str:
    """The text with private folders replaced, odd characters as escapes, and its middle left out if it is long."""
    for place in sorted(places, key=len, reverse=True):
        text = text.replace(place, places[place])
    text = _FIXTURE.sub(r"\1", text)
    text = text.encode("utf-8", "backslashreplace").decode()
    text = _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    if len(text) > longest:
        half = longest // 2 - 20  # what is shortened once is short enough the next time, too
        text = f"{text[:half]} [... {len(text) - 2 * half} characters ...] {text[-half:]}"
    return text
