"""What a Python has installed, told as JSON by that Python itself: `python -P probe.py NAME …`.

Knows nothing of the project: it runs where the project is not installed. Of the packages that it is given it also says
whether an import would find their files.
"""

import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def installed() -> Iterator[dict[str, Any]]:
    """Each distribution that this Python sees, the one that counts where there are two of a name."""
    seen = set()
    for one in metadata.distributions():
        name = one.metadata["Name"]
        key = re.sub(r"[-_.]+", "-", name or "").lower()
        if name and key not in seen:
            seen.add(key)
            yield {
                "name": key,
                "version": one.version,
                "needs": one.requires or [],
                "origin": origin_of(one),
                "bytes": size_of(one),
            }


def origin_of(one: metadata.Distribution) -> Any:
    """What its installer wrote of where it came from, if not from an index."""
    try:
        return json.loads(one.read_text("direct_url.json") or "null")
    except ValueError:
        return None


def size_of(one: metadata.Distribution) -> int:
    """What its files hold, as far as it says so."""
    return sum(file.size or 0 for file in one.files or ())


def hidden(name: str) -> str:
    """The file that an import finds in place of one of this distribution, or empty."""
    one = metadata.distribution(name)
    place = Path(str(one.locate_file(""))).resolve()
    tops = {file.parts[0] for file in one.files or () if len(file.parts) == 2 and file.name == "__init__.py"}
    for top in sorted(tops):
        found = find_spec(top)
        if found is not None and found.origin and not Path(found.origin).resolve().is_relative_to(place):
            return found.origin
    return ""


if __name__ == "__main__":
    print(json.dumps({"installed": list(installed()), "hidden": {name: hidden(name) for name in sys.argv[1:]}}))
