"""What the pages show of a report: counted, gathered and put into the order in which a reader should see it."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from matrix.cell import AXES
from matrix.oracle import nan_last
from matrix.rows import Family, RowOutcome
from matrix.stack import DISTRIBUTIONS
from matrix.verdict import Verdict
from reports.causes import GRAVEST_FIRST, few
from reports.document import Record, Report, RowRecord, Waived, backend_of
from reports.explained import Account, accounts

# Beside the colour, so that no meaning hangs on colour alone.
SYMBOLS = {
    Verdict.SUPPORTED: "✓",
    Verdict.REFUSED: "⊘",
    Verdict.UNAVAILABLE: "–",
    Verdict.SUBSTITUTED: "⇄",
    Verdict.INACCURATE: "≠",
    Verdict.UNEXPECTED: "!",
    Verdict.ERROR: "✕",
    Verdict.CRASHED: "C",
    Verdict.TIMEOUT: "…",
    Verdict.OUT_OF_MEMORY: "M",
    Verdict.DEVICE_LOST: "D",
    Verdict.NOT_BUILT: "N",
    Verdict.FLAKY: "~",
    Verdict.MISSING: "?",
}


MEANINGS = {
    Verdict.SUPPORTED: "within its error bound, and what ran is what the cell names",
    Verdict.REFUSED: "raised exactly the documented error",
    Verdict.UNAVAILABLE: "a package, GPU or compiler that it needs is not on this machine",
    Verdict.SUBSTITUTED: "within its error bound, but something other than what the cell names ran",
    Verdict.INACCURATE: "out of its error bound, or not finite",
    Verdict.UNEXPECTED: "the documented error did not come",
    Verdict.ERROR: "raised something that is not documented, or in another phase",
    Verdict.CRASHED: "the process died",
    Verdict.TIMEOUT: "no answer in time",
    Verdict.OUT_OF_MEMORY: "ran out of memory",
    Verdict.DEVICE_LOST: "left the CUDA context beyond use",
    Verdict.NOT_BUILT: "the fixture or a reference could not be made, which says nothing of the cell",
    Verdict.FLAKY: "a rerun disagreed with the first run",
    Verdict.MISSING: "planned, but no record of it came",
}


# What would make it available, for each requirement that is a word of its own.
REMEDIES = {
    "cuda": "an NVIDIA GPU, and a torch built for CUDA",
    "compiler": "a C++ compiler on the PATH: g++ or clang++",
    "avx512_bf16": "a processor with AVX512-BF16",
    "amx_bf16": "a processor with AMX-BF16",
    "GPUs": "more GPUs in one machine, and a run without -n",
    **{name: f"pip install {name}" for name in DISTRIBUTIONS},
    "flash-attn": "pip install flash-attn --no-build-isolation (compute 8.0 or newer)",
    "flash-attn-3": "flash-attn 3, built from the hopper folder of its repository (compute 9.0)",
    "flash-attn-4": "pip install flash-attn-4 (compute 9.0 or newer)",
}
# A matrix with more rows than this is drawn line by line.
MANY = 100
# An axis that is no part of a cell: the group of models that its architecture belongs to.
FAMILY = "family"
_OTHERS = "others"
_DOCUMENTED_LAST = (Verdict.REFUSED, Verdict.SUPPORTED, Verdict.UNAVAILABLE)

_ROWS_GRAVEST_FIRST = (
    RowOutcome.VIOLATED,
    RowOutcome.MISSING,
    RowOutcome.HOLDS,
    RowOutcome.REFUSED,
    RowOutcome.UNAVAILABLE,
)


_REQUIREMENT = re.compile(r"(?:\d+ )?(?P<name>[\w-]+)(?: (?P<release>[<>=!~][\w.<>=!~]+))?(?: \(here .*\))?")
_OF_A_KERNEL = re.compile(r"(?P<name>[^\[]+)\[(?P<kernel>.+)\]", re.DOTALL)


T = TypeVar("T")


K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Share:
    """How many cells have one verdict, and where that lies in a bar of 100 units."""

    verdict: Verdict
    known: bool
    count: int
    start: float
    width: float


@dataclass(frozen=True)
class Fault:
    """A known upstream fault, and the cells and rows that show it."""

    waived: Waived
    records: list[Record] = field(default_factory=list)
    rows: list[RowRecord] = field(default_factory=list)

    @property
    def mix(self) -> list[Share]:
        """The verdicts of the cells."""
        return mix(self.records)

    @property
    def accounts(self) -> list[Account]:
        """What the dials say of the cells with wrong numbers."""
        return accounts(self.records)


@dataclass(frozen=True)
class Property:
    """One property, and what was found of it for each kernel."""

    name: str
    about: str
    by_kernel: dict[str, RowRecord]


@dataclass(frozen=True)
class Absence:
    """Something that is not on this machine, and what could not be measured for it."""

    what: str
    remedies: list[str]
    backends: str
    count: int
    rows: int = 0


def worst_ratio(record: Record) -> float | None:
    """The highest ratio of error to bound, NaN above all; None if nothing was compared."""
    ratios = (bound.ratio for bound in record.bounds)
    return max(ratios, key=nan_last, default=None)


def backends(records: Iterable[Record]) -> list[str]:
    """The columns of the matrix, in the order of the axes, transformed models after all others."""

    def rank(record: Record) -> tuple[int, ...]:
        return tuple(
            _place(record.axes[axis], AXES[axis].values) for axis in ("transformation", "attention", "sdpa_kernel")
        )

    return _distinct(backend_of(record) for record in sorted(records, key=rank))


def axis_values(records: Iterable[Record]) -> dict[str, list[str]]:
    """What can be the rows and columns of the matrix, each with its values in the order of the axis."""
    records = list(records)
    found = {"architecture": _distinct(record.axes["architecture"] for record in records), "backend": backends(records)}
    for axis in AXES:
        taken = _distinct(record.axes[axis] for record in records)
        found[axis] = sorted(taken, key=lambda value, axis=axis: _place(value, AXES[axis].values))  # type: ignore[misc]
    return found


def report_axes(report: Report) -> dict[str, list[str]]:
    """The axes of a report: those of its cells, and the families of its architectures if it tells them."""
    axes = axis_values(report.records)
    if not report.run.architectures:
        return axes
    families = _distinct(family_of(record, report) for record in report.records)
    return {"architecture": axes.pop("architecture"), FAMILY: families, **axes}


def family_of(record: Record, report: Report) -> str:
    """The group of models that a cell's architecture belongs to."""
    facts = report.run.architectures.get(record.axes["architecture"])
    return (facts and facts.family) or _OTHERS


def families_of(report: Report) -> dict[str, int]:
    """How many architectures with cells are of each family; none if the report tells of no families."""
    if not report.run.architectures:
        return {}
    by_architecture = {record.axes["architecture"]: family_of(record, report) for record in report.records}
    return dict(Counter(by_architecture.values()))


def traits_of(report: Report) -> dict[str, int]:
    """How many architectures with cells have each trait, the most frequent first."""
    measured = {record.axes["architecture"] for record in report.records}
    found = Counter(
        trait
        for name, facts in report.run.architectures.items()
        if name in measured
        for trait in dict.fromkeys(facts.traits)
    )
    return dict(found.most_common())


def gravity(verdict: Verdict, *, known: bool) -> int:
    """The place of a verdict where what fails comes first, then known faults, then what is documented."""
    if verdict in _DOCUMENTED_LAST:
        return 2 * len(GRAVEST_FIRST) + _DOCUMENTED_LAST.index(verdict)
    return GRAVEST_FIRST.index(verdict) + (len(GRAVEST_FIRST) if known else 0)


def gravest_share(shares: Iterable[Share]) -> Share:
    """The share that stands for all of them where there is room for one."""
    return min(shares, key=lambda share: gravity(share.verdict, known=share.known))


def matrix_rows(records: list[Record]) -> dict[str, dict[str, list[Share]]]:
    """By architecture and backend, the mix of verdicts."""
    cells = _grouped(records, lambda record: (record.axes["architecture"], backend_of(record)))
    rows: dict[str, dict[str, list[Share]]] = {}
    for (architecture, backend), group in cells.items():
        rows.setdefault(architecture, {})[backend] = mix(group)
    return rows


def rows_gravest_first(rows: dict[str, dict[str, list[Share]]]) -> dict[str, dict[str, list[Share]]]:
    """The rows of a matrix, those with the gravest entry first."""

    def worst(item: tuple[str, dict[str, list[Share]]]) -> int:
        share = gravest_share(share for shares in item[1].values() for share in shares)
        return gravity(share.verdict, known=share.known)

    return dict(sorted(rows.items(), key=worst))


def mix(records: Iterable[Record]) -> list[Share]:
    """How often each verdict occurs, those that a waiver excuses apart."""
    counts = Counter((record.verdict, record.waived is not None) for record in records)
    unit = 100 / max(counts.total(), 1)
    shares: list[Share] = []
    before = 0
    for verdict in Verdict:
        for known in (False, True):
            if count := counts[verdict, known]:
                shares.append(Share(verdict, known, count, round(before * unit, 2), round(count * unit, 2)))
                before += count
    return shares


def known_faults(records: Iterable[Record], rows: Iterable[RowRecord] = ()) -> list[Fault]:
    """The waivers that excused something."""
    faults: dict[tuple[str, str], Fault] = {}

    def fault(waived: Waived) -> Fault:
        return faults.setdefault((waived.url, waived.reason), Fault(waived))

    for record in records:
        if record.waived:
            fault(record.waived).records.append(record)
    for row in rows:
        if row.waived:
            fault(row.waived).rows.append(row)
    return list(faults.values())


def gravest_first(rows: Iterable[RowRecord], family: Family) -> list[RowRecord]:
    """The rows of one family: those that are violated before all others, and of these the known ones last."""

    def gravity(row: RowRecord) -> tuple[int, bool]:
        return _ROWS_GRAVEST_FIRST.index(row.outcome), row.waived is not None

    return sorted((row for row in rows if row.family is family), key=gravity)


def by_property(rows: Iterable[RowRecord]) -> list[Property]:
    """Rows gathered by what they ask, in the order in which the first of each comes."""
    groups = _grouped(rows, lambda row: _property_and_kernel(row)[0])
    return [
        Property(
            name,
            next((row.about for row in group if row.about), ""),
            {_property_and_kernel(row)[1]: row for row in group},
        )
        for name, group in groups.items()
    ]


def kernels(rows: Iterable[RowRecord]) -> list[str]:
    """The columns of the properties, in the order of the axis."""
    found = _distinct(_property_and_kernel(row)[1] for row in rows)
    return sorted(found, key=lambda kernel: _place(kernel, AXES["sdpa_kernel"].values))


def _property_and_kernel(row: RowRecord) -> tuple[str, str]:
    found = _OF_A_KERNEL.fullmatch(row.name)
    return (found["name"], found["kernel"]) if found else (row.name, "")


def absences(records: Iterable[Record], rows: Iterable[RowRecord] = ()) -> list[Absence]:
    """What is not here, the costliest first, and what would make it available."""

    def what(record: Record) -> str:
        return ", ".join(record.observation.missing or record.expectation.missing) or record.reason

    groups = _grouped((record for record in records if record.verdict is Verdict.UNAVAILABLE), what)
    found = [
        Absence(name, _remedies(name), few(dict.fromkeys(map(backend_of, group)), "backends"), len(group))
        for name, group in groups.items()
    ]
    # A row's own words say what it needs.
    of_rows = Counter(row.reason for row in rows if row.outcome is RowOutcome.UNAVAILABLE)
    found += [
        Absence(reason or "no reason given", _remedies(reason), "", 0, count) for reason, count in of_rows.items()
    ]
    return sorted(found, key=lambda absence: (-absence.count, -absence.rows))


def _remedies(missing: str) -> list[str]:
    found = []
    for part in re.split(", | or ", missing.removeprefix("needs ")):
        asked = _REQUIREMENT.fullmatch(part)
        if asked and asked["name"] in REMEDIES:
            found.append(
                f"pip install '{asked['name']}{asked['release']}'" if asked["release"] else REMEDIES[asked["name"]]
            )
    return found


def _place(value: str, axis: Iterable[str]) -> int:
    names = list(axis)
    return names.index(value) if value in names else len(names)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
