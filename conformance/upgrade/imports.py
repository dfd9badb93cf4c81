"""Imports the packages of a distribution: `python -P imports.py NAME`. Ends as Python does where one cannot be.

Knows nothing of the project: it runs where the project is not installed.
"""

import sys
from importlib import import_module, metadata


def modules(name: str) -> list[str]:
    """The package of the distribution's own name; else all that it has; none where there is no such distribution."""
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        return []
    tops = sorted({file.parts[0] for file in files if len(file.parts) == 2 and file.name == "__init__.py"})
    own = name.replace("-", "_")
    return [own] if own in tops else tops


if __name__ == "__main__":
    for module in modules(sys.argv[1]):
        import_module(module)
