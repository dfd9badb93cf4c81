"""Stand-ins for environments and runs: what is found follows from the versions, and what is asked is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.upgrade.environments import Environment
from conformance.upgrade.trials import CONTROL, Trials
from matrix.errors import UsageError
from matrix.releases import Pin
from matrix.rows import Family, RowOutcome
from matrix.verdict import Verdict
from reports.document import Record, Report, RowRecord, make_report
from tests.builders import ended, make_run, make_stack, record_of

CELL, OTHER = "llama-bfloat16-sdpa-prefill", "opt-float16-sdpa-flash-generate"
ROW = "guide:G1-a-guide"
Seen = Callable[[Mapping[str, str], str], Verdict | RowOutcome]  # versions, name


@dataclass(frozen=True)
class Place(Environment):
    """An environment of which only the versions are known."""

    held: tuple[Pin, ...] = ()

    def versions(self) -> dict[str, str]:
        return {pin.name: pin.version for pin in self.held}

    def installed(self) -> list[dict[str, Any]]:
        return [{"name": name, "version": version} for name, version in self.versions().items()]


@dataclass
class World:
    """What there is, and what was done in it."""

    seen: Seen
    here: dict[str, str] = field(default_factory=dict)
    broken: tuple[Pin, ...] = ()  # cannot be installed
    needs: Mapping[Pin, Pin] = field(default_factory=dict)  # what an installer brings along
    built: list[tuple[Pin, ...]] = field(default_factory=list)
    asked: list[tuple[str, ...]] = field(default_factory=list)  # arguments of pytest
    folders: list[Path] = field(default_factory=list)

    def build(self, pins: Sequence[Pin]) -> Environment:
        self.built.append(tuple(pins))
        for pin in pins:
            if pin in self.broken:
                raise UsageError(f"{pin} cannot be installed: no matching distribution")
        along = [self.needs[pin] for pin in pins if pin in self.needs]
        return self.place(*along, *pins)

    def place(self, *pins: Pin) -> Place:
        versions = self.here | {pin.name: pin.version for pin in pins}
        return Place(Path("python"), held=tuple(Pin(*one) for one in versions.items()))

    def measure(self, environment: Environment, folder: Path, arguments: Sequence[str]) -> Report:
        self.asked.append(tuple(arguments))
        self.folders.append(folder)
        (only,) = (argument.removeprefix("--only=") for argument in arguments if argument.startswith("--only="))
        names = Path(only).read_text(encoding="utf-8").split()
        return report_of({name: self.seen(environment.versions(), name) for name in names}, environment.versions())

    def trials(self, folder: Path, *names: str, **more: object) -> Trials:
        return Trials(names, folder, self.build, self.measure, **more)  # type: ignore[arg-type]


def report_of(seen: Mapping[str, Verdict | RowOutcome], versions: Mapping[str, str] | None = None) -> Report:
    """A report that says so of cells and rows."""
    records: list[Record] = []
    rows: list[RowRecord] = []
    for name, said in seen.items():
        if isinstance(said, Verdict):
            records.append(record_of(name, said))
        else:
            family, _, plain = name.partition(":")
            rows.append(RowRecord(family=Family(family), name=plain, outcome=said))
    planned = [record.cell for record in records]
    run = make_run(*planned, planned_rows=[row.key for row in rows], stack=make_stack(versions))
    return make_report(run, records, rows=rows, end=ended())


def right_but(name: str, wrong: Callable[[Mapping[str, str]], Verdict | RowOutcome | None]) -> Seen:
    """Everything is right, but for one cell or row where the versions say so."""

    def seen(versions: Mapping[str, str], asked: str) -> Verdict | RowOutcome:
        found = wrong(versions) if asked == name else None
        return found or (RowOutcome.HOLDS if ":" in asked else Verdict.SUPPORTED)

    return seen


def nothing_runs(versions: Mapping[str, str], name: str) -> Verdict:
    """Not even the control is right."""
    return Verdict.ERROR


__all__ = ["CELL", "CONTROL", "OTHER", "ROW", "Place", "World", "nothing_runs", "report_of", "right_but"]
