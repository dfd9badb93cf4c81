"""Sets of releases, each tried on a few cells and rows, once: what blame and bisect ask."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.children import planned
from conformance.plugin.rows import CELLS, FAMILY_OF_FILE
from conformance.upgrade.environments import Environment
from conformance.upgrade.sides import Say
from matrix.delta import Answer
from matrix.errors import UsageError, enumerated, quoted
from matrix.releases import Pin
from matrix.rows import Family
from matrix.verdict import Verdict
from reports.diff import compare
from reports.differences import Aspect
from reports.document import Record, Report, RowRecord
from reports.files import write_whole
from reports.standing import Standing, standing_of

# Where not even this is right nothing runs, and what becomes of other cells there says nothing of them.
CONTROL = "llama-float32-eager-prefill"
# What one run says nothing of: machines are never so still.
_NOISE = (Aspect.TIME, Aspect.MEMORY, Aspect.FIGURES)

Build = Callable[[Sequence[Pin]], Environment]
Measure = Callable[[Environment, Path, Sequence[str]], Report]


@dataclass(frozen=True)
class Trial:
    """What was found with a set of releases, or why nothing can be told of it."""

    report: Report | None
    why_not: str = ""

    def found(self, name: str) -> Record | RowRecord | None:
        """The record of a cell or row."""
        if self.report is None:
            return None
        every: list[Record | RowRecord] = [*self.report.records, *self.report.rows]
        return next((one for one in every if (one.cell if isinstance(one, Record) else one.key) == name), None)

    def standing(self, name: str) -> Standing:
        """Where it stands."""
        found = self.found(name)
        if found is None or self.report is None:
            return Standing.UNKNOWN
        return standing_of(found, self.report.run.stack.device)

    def said(self, name: str) -> str:
        """What was found of it, in a few words."""
        found = self.found(name)
        return found.word if found else self.why_not or "not measured"


class Trials:
    """Tries sets of releases on the same cells and rows. What was built and measured is kept in their folders."""

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        build: Build,
        measure: Measure,
        arguments: Sequence[str] = (),
        known: Mapping[frozenset[Pin], Environment] | None = None,
        ground: Sequence[str] = (),
        say: Say = lambda line: None,
    ) -> None:
        """Of cells and rows by name.

        Args:
            names: ids of cells and keys of rows.
            folder: for the runs; those of other names or arguments are left alone.
            build: makes the environment of some pins, or raises UsageError.
            measure: runs pytest there with these arguments, the report in that folder, or raises UsageError.
            arguments: pytest's further ones.
            known: environments that need not be built.
            ground: what else must be the same for what was measured to count.
            say: hears what is tried.

        Raises:
            UsageError: a name is that of a claim, which is measured alone on its device and never the same twice.
        """
        self.names = tuple(dict.fromkeys(names))
        arguments = [one for one in arguments if not one.partition("::")[0].endswith(".py")]  # tests are named here
        wanted = [*self.names, CONTROL, *arguments, *ground]
        self._folder = folder / hashlib.sha256("\0".join(wanted).encode()).hexdigest()[:10]
        self._arguments = (*arguments, *_arguments(self.names, self._folder / "names.txt"))
        self._build, self._measure, self._say = build, measure, say
        self._environments = dict(known or {})
        self._tried: dict[frozenset[Pin], Trial] = {}

    def refuse_unknown(self, environment: Environment) -> None:
        """Raise UsageError for a name that is no cell and no row there, or in pytest's words if it refuses."""
        self._write_names()
        cells, rows = planned(self._arguments, str(environment.python), environment.environ())
        for name in self.names:
            if name not in (*cells, *rows):
                raise UsageError(f"{quoted(name)} is no cell and no row that is planned here")

    def environment(self, pins: Iterable[Pin]) -> Environment:
        """The environment with these releases.

        Raises:
            UsageError: it cannot be built.
        """
        key = frozenset(pins)
        if key not in self._environments:
            self._say(f"building {enumerated(map(str, sorted(key)))}")
            self._environments[key] = self._build(sorted(key))
        return self._environments[key]

    def of(self, pins: Iterable[Pin]) -> Trial:
        """What is found with these releases; measured when it is first asked."""
        key = frozenset(pins)
        if key not in self._tried:
            self._tried[key] = self._try(key)
        return self._tried[key]

    def _try(self, pins: frozenset[Pin]) -> Trial:
        self._say(f"trying {enumerated(map(str, sorted(pins))) or 'what is here'}")
        self._write_names()
        try:
            report = self._measure(self.environment(pins), self._folder / _folder_name(pins), self._arguments)
        except UsageError as error:
            return Trial(None, str(error))
        trial = Trial(report)
        control = trial.found(CONTROL)
        if control is None:
            return Trial(
                None, f"{CONTROL}, which must be right where anything is, was not measured: leave out -k and -m"
            )
        if not isinstance(control, Record) or control.verdict is not Verdict.SUPPORTED:
            return Trial(None, f"nothing runs there: {CONTROL} is {control.word}: {control.reason}")
        return trial

    def _write_names(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / "names.txt", "\n".join([CONTROL, *self.names]) + "\n")
        except OSError as error:
            raise UsageError(f"{self._folder}: cannot be written to: {error.strerror}") from None


def answer_of(name: str, before: Trial, there: Trial, after: Trial) -> Answer:
    """Whether what is found of a cell or row there is as it was after (it fails), as before (it passes), or neither."""
    was, stands, now = (trial.standing(name) for trial in (before, there, after))
    if Standing.UNKNOWN in (was, stands, now):
        return Answer.UNKNOWN
    if was is not now:
        return {was: Answer.PASSES, now: Answer.FAILS}.get(stands, Answer.UNKNOWN)
    moved, moves_yet = _differ(name, before, there), _differ(name, there, after)
    if moved is moves_yet:
        return Answer.UNKNOWN
    return Answer.FAILS if moved else Answer.PASSES


def answer_of_all(names: Iterable[str], before: Trial, there: Trial, after: Trial) -> Answer:
    """The answer that all of them give; where they do not give one, nothing can be told."""
    answers = {answer_of(name, before, there, after) for name in names}
    return answers.pop() if len(answers) == 1 else Answer.UNKNOWN


def _differ(name: str, one: Trial, other: Trial) -> bool:
    assert one.report is not None
    assert other.report is not None
    differences = compare(one.report, other.report).differences
    return any(difference.name == name and difference.aspect not in _NOISE for difference in differences)


def _arguments(names: Sequence[str], listed: Path) -> list[str]:
    """What has pytest measure these, wherever they are planned."""
    files = {family: file for file, family in FAMILY_OF_FILE.items()}
    cells = [name for name in names if ":" not in name]
    families = dict.fromkeys(name.partition(":")[0] for name in names if ":" in name)
    for family in families:
        if family == Family.CLAIM or family not in files:
            raise UsageError(
                f"{family}: rows of this family are not measured again; name cells, or rows of {_FAMILIES}"
            )
    named = [f"--cell={cell}" for cell in dict.fromkeys((CONTROL, *cells))]
    return [CELLS, *(files[Family(family)] for family in families), *named, f"--only={listed.absolute()}"]


_FAMILIES = ", ".join(family for family in FAMILY_OF_FILE.values() if family is not Family.CLAIM)


def _folder_name(pins: frozenset[Pin]) -> str:
    named = "-".join(f"{pin.name}-{pin.version}" for pin in sorted(pins)) or "as-here"
    if len(named) <= 100:
        return named
    return f"{named[:80]}-{hashlib.sha256(named.encode()).hexdigest()[:10]}"
