"""Where a Python has the sources of a package, told as JSON by that Python itself: `python -P sources.py NAME`.

Knows nothing of the project: it runs where the project is not installed.
"""

import json
import sys
from importlib import metadata


def folders(name: str) -> dict[str, str]:
    """The folders of the distribution's packages, by the names by which they are imported."""
    try:
        one = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return {}
    tops = {file.parts[0] for file in one.files or () if len(file.parts) > 1 and file.suffix == ".py"}
    return {top: str(one.locate_file(top)) for top in sorted(tops) if top.isidentifier()}


if __name__ == "__main__":
    print(json.dumps(folders(sys.argv[1])))
