"""Releases of packages as somebody names them: one of them, a range, and what goes with a part of a range."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from matrix.errors import UsageError, quoted

_LONGEST = 500  # characters of what names releases


@dataclass(frozen=True, order=True)
class Pin:
    """One release of one package."""

    name: str  # as package indexes write it: flash-attn, not Flash_Attn
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Companions:
    """Releases that go with a part of a range: of its time, where what is resolved today is not."""

    of: Requirement
    pins: tuple[Pin, ...]

    def go_with(self, pin: Pin) -> bool:
        """Whether that release is in the part of the range that they are for."""
        return self.of.name == pin.name and self.of.specifier.contains(pin.version, prereleases=True)


def parse_pin(text: str, option: str = "--to") -> Pin:
    """Read `name==version`.

    Raises:
        UsageError: it is nothing of that form.
    """
    wanted = _requirement(text, option, "name==version, as in transformers==5.24.0")
    clauses = list(wanted.specifier)
    if len(clauses) != 1 or clauses[0].operator != "==" or clauses[0].version.endswith(".*"):
        raise UsageError(f"{option} {quoted(text)}: must name one release, as in {wanted.name}==1.2.3")
    return Pin(wanted.name, str(Version(clauses[0].version)))


def parse_range(text: str, option: str = "--sweep") -> Requirement:
    """Read `name` and the clauses that bound its releases, `>=4.48,<5.25`; the name as package indexes write it.

    Raises:
        UsageError: it is nothing of that form, or has no clause.
    """
    wanted = _requirement(text, option, "name and range, as in transformers>=4.48,<5.25")
    if not wanted.specifier or any(clause.operator == "===" for clause in wanted.specifier):
        raise UsageError(f"{option} {quoted(text)}: must bound the releases, as in {wanted.name}>=1.2,<3")
    return wanted


def parse_companions(text: str, option: str = "--with") -> Companions:
    """Read `name<2: other==1.2 another==3.4`: what goes with a part of a range of releases.

    Raises:
        UsageError: it is nothing of that form, a package is named twice, or goes with itself.
    """
    of, colon, listed = text.partition(":")
    if not colon or not listed.split():
        example = '"transformers<4.50: peft==0.15.2 accelerate==1.4.0"'
        raise UsageError(f"{option} {quoted(text)}: must be a range and what goes with it, as in {example}")
    wanted = parse_range(of, option)
    pins = tuple(parse_pin(word, option) for word in listed.split())
    names = [wanted.name, *(pin.name for pin in pins)]
    if len(set(names)) < len(names):
        raise UsageError(f"{option} {quoted(text)}: names a package twice")
    return Companions(wanted, pins)


def companions_of(pin: Pin, said: Sequence[Companions]) -> tuple[Pin, ...]:
    """What goes with a release; of what is said of one package twice, the first."""
    found: dict[str, Pin] = {}
    for one in said:
        for companion in one.pins if one.go_with(pin) else ():
            found.setdefault(companion.name, companion)
    return tuple(found.values())


def in_range(available: Iterable[Version], specifier: SpecifierSet) -> list[Version]:
    """Those in the range, oldest first, without pre-releases."""
    return sorted(specifier.filter(set(available), prereleases=False))


def last_of_each_minor(available: Iterable[Version], specifier: SpecifierSet) -> list[Version]:
    """The newest release of every minor one in the range, oldest first, without pre-releases."""
    newest = {(one.epoch, one.major, one.minor): one for one in in_range(available, specifier)}
    return list(newest.values())


def _requirement(text: str, option: str, form: str) -> Requirement:
    refused = UsageError(f"{option} {quoted(text)}: must be {form}")
    if len(text) > _LONGEST:
        raise refused
    try:
        wanted = Requirement(text)
        for clause in wanted.specifier:
            Version(clause.version.removesuffix(".*"))
    except ValueError:  # InvalidRequirement and InvalidVersion are, and so is a number of too many digits
        raise refused from None
    if wanted.url or wanted.marker or wanted.extras:
        raise refused
    wanted.name = canonicalize_name(wanted.name)
    return wanted
