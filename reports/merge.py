"""The reports of a plan's shards, joined into the report of the whole."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from matrix.architectures import Architecture, Family, Kind
from matrix.errors import UsageError
from matrix.guide import load_guide
from matrix.installed import PROFILE
from matrix.verdict import Verdict
from matrix.waiver import Waiver
from reports.document import (
    CUT_OFF,
    End,
    GuideEntry,
    Process,
    Record,
    Report,
    RowRecord,
    Run,
    Sharded,
    complaint,
    make_report,
    missing_row,
)
from reports.guide import place_of
from reports.packed import report_file
from reports.problems import problems_of
from reports.reading import read_report

P = TypeVar("P", Record, RowRecord, Process)
W = TypeVar("W", Family, Kind)
_NAMED = 20  # tests that a line names
_LINES = "records.jsonl"


@dataclass(frozen=True)
class Part:
    """The report of a shard, and where it is."""

    source: Path
    report: Report
    shard: Sharded

    def __str__(self) -> str:
        return f"shard {self.shard} ({self.source})"

    @property
    def begun(self) -> datetime:
        """When its seconds began."""
        return self.report.run.launched or self.report.run.started

    @property
    def records(self) -> list[Record]:
        """What it has of its cells."""
        return [record for record in self.report.records if record.verdict is not Verdict.MISSING]

    @property
    def rows(self) -> list[RowRecord]:
        """What it has of its rows; a claim is `missing` too where measuring it broke down, which is an answer."""
        return [row for row in self.report.rows if row != missing_row(row.key)]

    @property
    def outcomes(self) -> dict[str, str]:
        """What it found, by cell and row."""
        return {record.cell: record.verdict.value for record in self.records} | {row.key: row.word for row in self.rows}


def read_part(source: Path) -> Part:
    """The report of a shard in a file or a folder; of a run that was cut off its records.

    Raises:
        UsageError: there is none, or it is of no shard.
    """
    lines = source / _LINES
    # Unlike Path.is_file, these answer for what can be no path.
    whole = any(os.path.isfile(source / name) for name in ("matrix.json", "matrix.json.gz"))
    report = read_report(lines if os.path.isfile(lines) and not whole else report_file(source))
    if report.run.shard is None:
        raise UsageError(f"{source}: not the report of a shard; python -m pytest --shard I/N makes one")
    return Part(source, report, report.run.shard)


def merge(
    parts: Sequence[Part], waivers: Collection[Waiver] = (), architectures: Mapping[str, Architecture] | None = None
) -> Report:
    """One report, cell by cell that of the run that nobody divided; what is missing stands first in its problems.

    `waivers` are asked whether they are idle once everything is there; `architectures` are those that they know.

    Raises:
        UsageError: the same shard twice, shards of different runs, or two that disagree about a cell or row.
    """
    _refuse_twice(parts)
    _refuse_strangers(parts)
    _refuse_conflicts(parts)
    parts = sorted(parts, key=lambda part: (part.shard.of, part.shard.number))
    run = _whole_run(parts)
    records = [_moved(record, part, run) for part in reversed(parts) for record in part.records]
    rows = [_moved(row, part, run) for part in reversed(parts) for row in part.rows]
    processes = [_moved(process, part, run) for part in parts for process in part.report.processes]
    lacking = list(_lacking(parts))
    # What is idle, and whether anything ran, only a whole run can tell.
    asked = run.model_copy(update={"shard": parts[0].shard}) if lacking else run
    problems = list(
        problems_of(asked, records, rows, waivers=waivers, architectures=architectures or {}, guide=load_guide())
    )
    told = [(part.shard, problem) for part in parts for problem in part.report.problems]
    of_parts = [f"shard {shard}: {problem}" for shard, problem in told if problem not in problems]
    return make_report(
        run,
        records,
        rows=rows,
        processes=processes,
        power=parts[0].report.power,
        end=End(finished=max(part.report.finished for part in parts), problems=[*lacking, *of_parts, *problems]),
        unreadable=[complaint(f"shard {part.shard}: {line}") for part in parts for line in part.report.unreadable],
    )


def architectures_of(parts: Iterable[Part], known: Mapping[str, Architecture]) -> dict[str, Architecture]:
    """Those that are known here, and of what the parts planned beside them what their reports say: of types that only
    the installed library has, which need not be here, and of checkpoints."""
    facts = {name: fact for part in parts for name, fact in part.report.run.architectures.items()}
    found = dict(known)
    for name, fact in facts.items():
        if name not in known:
            found[name] = Architecture(
                name=name,
                model_type=fact.model_type,
                kind=_one_of(Kind, fact.kind) or Kind.DECODER,
                auto_class=fact.auto_class,
                config={},
                profiles=(PROFILE,),
                modality=_one_of(Family, fact.family),
                traits=tuple(fact.traits),
            )
    return found


def _one_of(words: type[W], word: str) -> W | None:
    return words(word) if word in {one.value for one in words} else None


def _refuse_twice(parts: Sequence[Part]) -> None:
    seen: dict[str, Part] = {}
    for part in parts:
        other = seen.setdefault(str(part.shard), part)
        if other is not part:
            raise UsageError(f"shard {part.shard} twice: {other.source} and {part.source}; leave one of them out")


# What must be the same in all shards, in the order in which a difference explains others.
_SAME: Mapping[str, Callable[[Run], Any]] = {
    "profile": lambda run: run.profile,
    "narrowed to": lambda run: run.narrowed,
    "seed": lambda run: run.seed,
    "checkpoints": lambda run: run.checkpoints,
    "required": lambda run: run.required,
    "options": lambda run: run.options,
    "commit of the suite": lambda run: run.commit,
    "versions": lambda run: dict(run.stack.versions),
    "device": lambda run: run.stack.device.value,
    "GPUs": lambda run: ", ".join(f"{n} × {name}" for name, n in Counter(gpu.name for gpu in run.stack.gpus).items()),
    "CUDA of torch": lambda run: run.stack.cuda,
    "compiler": lambda run: run.stack.compiler,
    "bounds": lambda run: {name: value for name, value in run if name.startswith("k_m")},
    "plan": lambda run: [*run.shard.planned, *run.shard.planned_rows] if run.shard else [],
}
_REMEDIES = dict.fromkeys(("device", "GPUs"), "make a report of each, and python -m reports stacks A B -o C")


def refuse_difference(one: Run, other: Run, here: object, there: object) -> None:
    """Turn down runs, from here and from there, that cannot be parts of one.

    Raises:
        UsageError: what differs first.
    """
    for what, value_of in _SAME.items():
        if value_of(one) != value_of(other):
            this, that = _differing(value_of(one), value_of(other))
            remedy = f"; {_REMEDIES[what]}" if what in _REMEDIES else ""
            raise UsageError(f"{what}: {this} in {here}, but {that} in {there}{remedy}")


def _refuse_strangers(parts: Sequence[Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        refuse_difference(first.report.run, part.report.run, first, part)
    for part in parts:
        strange = part.outcomes.keys() - {*part.shard.planned, *part.shard.planned_rows}
        if strange:
            raise UsageError(f"{part} holds {min(strange)}, which is not in its plan")


def _differing(one: Any, other: Any) -> tuple[str, str]:
    """Two values, cut to what differs."""
    if isinstance(one, dict):
        names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
        here, there = ([f"{name} {of.get(name, 'not there')}" for name in names] for of in (one, other))
        return _listed(here), _listed(there)
    if isinstance(one, list):
        return tuple(  # type: ignore[return-value]
            f"{len(of):,}{f', among them {_listed(more)}' if (more := [n for n in of if n not in set(rest)]) else ''}"
            for of, rest in ((one, other), (other, one))
        )
    return repr(one), repr(other)


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def _refuse_conflicts(parts: Sequence[Part]) -> None:
    found: dict[str, tuple[str, Part]] = {}
    for part in parts:
        for name, outcome in part.outcomes.items():
            said, by = found.setdefault(name, (outcome, part))
            if said != outcome:
                raise UsageError(f"{name}: {said} in {by}, but {outcome} in {part}; leave one of them out")


def _whole_run(parts: Sequence[Part]) -> Run:
    """The run as if nobody had divided it.

    Processors, drivers and releases of Python may differ, as they do among rented machines: those of all are told, and
    of the processors' features what all have.
    """
    runs, first = [part.report.run for part in parts], parts[0]
    stack = replace(
        first.report.run.stack,
        driver=_each_once(run.stack.driver for run in runs),
        cpu_flags=tuple(f for f in first.report.run.stack.cpu_flags if all(f in run.stack.cpu_flags for run in runs)),
    )
    facts = {name: fact for run in runs for name, fact in run.architectures.items()}
    named = dict.fromkeys(cell.partition("-")[0] for cell in first.shard.planned)
    return first.report.run.model_copy(
        update={
            "started": min(run.started for run in runs),
            "launched": min(part.begun for part in parts),
            "resumed": [],
            "command": list(_without_shard(first.report.run.command)),
            "python": _each_once(run.python for run in runs),
            "platform": _each_once(run.platform for run in runs),
            "stack": stack,
            "planned": first.shard.planned,
            "planned_rows": first.shard.planned_rows,
            "shard": None,
            "guide": _whole_guide(runs, first.shard.planned),
            "architectures": {name: facts[name] for name in named if name in facts},
        }
    )


def _each_once(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _without_shard(command: Sequence[str]) -> Iterator[str]:
    for before, argument in zip(["", *command], command, strict=False):
        if before != "--shard" and argument != "--shard" and not argument.startswith("--shard="):
            yield argument


def _whole_guide(runs: Sequence[Run], planned: Sequence[str]) -> list[GuideEntry]:
    entries: dict[tuple[str, str], GuideEntry] = {}
    places = {cell: place for place, cell in enumerate(planned)}
    for entry in (entry for run in runs for entry in run.guide):
        known = entries.get((entry.number, entry.name), entry)
        cells = sorted({*known.cells, *entry.cells}, key=lambda cell: places.get(cell, len(places)))
        whole = known.model_copy(update={"cells": cells, "rows": known.rows | entry.rows})
        entries[entry.number, entry.name] = whole
    return sorted(entries.values(), key=lambda entry: place_of(entry.number))


def _moved(one: P, part: Part, run: Run) -> P:
    """With a worker's name that no other shard has, and seconds after the command that came first."""
    later = (part.begun - (run.launched or run.started)).total_seconds()
    changes: dict[str, Any] = {"worker": f"{part.shard} {one.worker}".strip()}
    for name in ("began", "died"):
        if (moment := getattr(one, name, None)) is not None:
            changes[name] = round(moment + later, 3)
    return one.model_copy(update=changes)


def _lacking(parts: Sequence[Part]) -> Iterator[str]:
    """What is not there, by shard."""
    here = {name for part in parts for name in part.outcomes}
    whole = [*parts[0].shard.planned, *parts[0].shard.planned_rows]
    missing = [name for name in dict.fromkeys(whole) if name not in here]
    for part in parts:
        mine = {*part.report.run.planned, *part.report.run.planned_rows}
        if own := [name for name in missing if name in mine]:
            yield f"{CUT_OFF}: shard {part.shard} lacks {len(own):,} of its {len(mine):,} tests: {_named(own)}"
            missing = [name for name in missing if name not in mine]
    if missing:
        of = {part.shard.of for part in parts}
        numbers = {part.shard.number for part in parts}
        absent = [f"{n}/{max(of)}" for n in range(1, max(of) + 1) if n not in numbers] if len(of) == 1 else []
        which = f"shard{'s' if len(absent) > 1 else ''} {_named(absent)}" if absent else "part of the plan"
        yield f"{CUT_OFF}: missing: {which}, {len(missing):,} of {len(whole):,} tests: {_named(missing)}"


def _named(names: Sequence[str]) -> str:
    return _listed(names, _NAMED)
