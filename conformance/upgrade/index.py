"""Which releases of a package there are: those that pip would choose from, or those of a folder of wheels."""

import subprocess
import zipfile
from email import message_from_bytes
from pathlib import Path
from platform import python_version

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from matrix.errors import UsageError, enumerated

_LISTED = "Available versions: "
_LARGEST_METADATA = 1_000_000  # bytes


def releases_of(name: str, python: Path, find_links: Path | None = None) -> list[Version]:
    """The releases of a package that can be installed for an interpreter, oldest first.

    Pre-releases, those whose Requires-Python or platform does not fit, and local builds (2.0+cpu) beside their release
    are left out. Yanked ones are not: pip installs one that is named.

    Args:
        name: of the package.
        python: the interpreter. It is asked for its pip, and must be of this one's version where there is a folder.
        find_links: a folder of wheels, beside which no index is asked.

    Raises:
        UsageError: pip cannot say, or there is none.
    """
    if find_links is not None:
        found = [version for wheel in sorted(find_links.glob("*.whl")) for version in _of_wheel(wheel, name)]
        where = str(find_links)
    else:
        found = _of_index(name, python)
        where = "the package index"
    known = {version for version in found if not version.is_prerelease}
    releases = sorted(one for one in known if one.local is None or Version(one.public) not in known)
    if not releases:
        raise UsageError(f"{name}: {where} has no release of it that fits {python}")
    return releases


def _of_index(name: str, python: Path) -> list[Version]:
    command = [str(python), "-m", "pip", "index", "versions", "--disable-pip-version-check", name]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    listed = [line.removeprefix(_LISTED) for line in answer.stdout.splitlines() if line.startswith(_LISTED)]
    if answer.returncode or not listed:
        said = [line.removeprefix("ERROR: ") for line in answer.stderr.splitlines() if line.startswith("ERROR: ")]
        raise UsageError(f"{name}: pip cannot say which releases there are: {enumerated(said[-1:]) or answer.stderr}")
    return [version for text in listed[0].split(", ") for version in _versions(text)]


def _of_wheel(wheel: Path, name: str) -> list[Version]:
    """The version of a wheel, if it is one of the package and fits this interpreter; else none."""
    try:
        package, version, _, tags = parse_wheel_filename(wheel.name)
    except (InvalidWheelFilename, InvalidVersion):
        return []
    if package != canonicalize_name(name) or tags.isdisjoint(sys_tags()) or not _python_fits(wheel):
        return []
    return [version]


def _python_fits(wheel: Path) -> bool:
    try:
        with zipfile.ZipFile(wheel) as content:
            names = [one for one in content.namelist() if one.endswith(".dist-info/METADATA")]
            metadata = min(names, key=len)  # others may be of packages that it brings along
            with content.open(metadata) as file:
                required = message_from_bytes(file.read(_LARGEST_METADATA))["Requires-Python"]
        return required is None or SpecifierSet(required).contains(python_version())
    except (OSError, ValueError, zipfile.BadZipFile, InvalidSpecifier):
        return False


def _versions(text: str) -> list[Version]:
    """The version, or none: packages have had names for releases that are no versions."""
    try:
        return [Version(text.strip())]
    except InvalidVersion:
        return []
