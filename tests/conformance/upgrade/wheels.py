"""Tiny wheels, as a folder of find-links holds them."""

import base64
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path


def wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, str] | None = None,
    *,
    requires: Iterable[str] = (),
    python: str = "",
    tag: str = "py3-none-any",
) -> Path:
    """Write a wheel of a package with the given modules, and say where it is."""
    told = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    told += [f"Requires-Dist: {one}" for one in requires]
    told += [f"Requires-Python: {python}"] if python else []
    about = f"{name.replace('-', '_')}-{version}.dist-info"
    content = {
        **(files or {f"{name.replace('-', '_')}/__init__.py": f"__version__ = {version!r}\n"}),
        f"{about}/METADATA": "\n".join(told) + "\n",
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text.encode())}\n" for path, text in content.items())
    content[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace('-', '_')}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for place, text in content.items():
            packed.writestr(place, text)
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
