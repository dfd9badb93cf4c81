"""The report as a validated document. The lines of records.jsonl are its parts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, FailFast, Field, model_validator

from matrix import oracle
from matrix.axes import Attention, SdpaKernel
from matrix.cell import AXES, SILENT, Cell, parse_cell
from matrix.errors import UsageError
from matrix.expectation import Expectation, Outcome
from matrix.kernels import kernels_seen
from matrix.observation import Comparison, Ending, Observation
from matrix.rows import Family, RowOutcome
from matrix.stack import Stack
from matrix.verdict import Judgement, Verdict
from matrix.waiver import Waiver
from reports.part import Part
from reports.power import PowerSummary
from reports.printable import printable

# A new minor version adds fields; a new major version changes the meaning of old ones. Since 2.0 a matrix.json says
# once what many records say (reports/compact.py).
SCHEMA_VERSION = "2.10"
READ_VERSIONS = ("1", "2")

# How the first problem begins of a run that ended before its plan did.
CUT_OFF = "the run was cut off"

# An architecture, and a digest of what its fixture was made with.
FIXTURE_NAME = r"^[a-z][a-z0-9_]{0,99}-[0-9a-f]{12}$"
Word = Annotated[str, Field(max_length=300)]
Names = Annotated[list[Word], Field(max_length=40)]


class Run(Part):
    """The first line of records.jsonl: what was measured, with what, how."""

    kind: Literal["run"] = "run"
    schema_version: str = SCHEMA_VERSION
    started: AwareDatetime
    launched: AwareDatetime | None = Field(
        default=None, description="when the command began, from which seconds are counted; before 2.0 unknown"
    )
    resumed: list[AwareDatetime] = Field(
        default_factory=list, description="when it went on after it had been cut off; before 2.1 it never did"
    )
    profile: str
    narrowed: str = Field(default="", description="what narrowed the profile, or empty")
    command: list[str] = Field(default_factory=list, description="the arguments given to pytest")
    commit: str = Field(default="", description="of the suite, if it runs from a git checkout")
    python: str = ""
    platform: str = ""
    stack: Stack
    checkpoints: dict[str, str] = Field(default_factory=dict, description="architecture -> the user's checkpoint")
    seed: int = Field(default=0, description="of the fixtures' weights and of the batches")
    required: list[str] = Field(default_factory=list, description="what --require named")
    options: dict[str, str] = Field(
        default_factory=dict, description="what else was asked for that may change a verdict; files by their digest"
    )
    k_max: float = oracle.UNQUANTISED.k_max
    k_mean: float = oracle.UNQUANTISED.k_mean
    k_max_single: float | None = Field(default=None, description="in float32; before 1.7 as in other dtypes")
    k_mean_single: float | None = None
    k_max_quantised: float = oracle.QUANTISED.k_max
    k_mean_quantised: float = oracle.QUANTISED.k_mean
    planned: Annotated[list[str], FailFast()] = Field(description="cell ids in plan order")
    planned_rows: Annotated[list[str], FailFast()] = Field(default_factory=list, description="family:name of each row")
    shard: Sharded | None = Field(default=None, description="which part of a plan this is; of whole runs none")
    guide: list[GuideEntry] = Field(default_factory=list, description="the guide, if the run was one of its profile")
    architectures: dict[str, ArchitectureFacts] = Field(
        default_factory=dict, description="architecture -> what it is; reports before 1.6 have none"
    )


class Sharded(Part):
    """A part of a plan that several machines share, and the whole: what is missing has a name."""

    number: int = Field(ge=1, description="from 1")
    of: int = Field(ge=1, description="how many parts there are")
    planned: Annotated[list[str], FailFast()] = Field(
        default_factory=list, description="the cells of the whole plan, in its order"
    )
    planned_rows: Annotated[list[str], FailFast()] = Field(default_factory=list, description="and its rows")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class ArchitectureFacts(Part):
    """What an architecture of the run is, whatever was measured of it: the pages gather and filter by it."""

    kind: str = Field(default="", description="decoder, encoder or encoder_decoder")
    family: str = Field(default="", description="the group of models that it belongs to, such as text encoder")
    traits: list[str] = Field(default_factory=list, description="what sets it apart: moe, window, alibi, cross")
    model_type: str = ""
    auto_class: str = ""
    weak: str = Field(default="", description="why its fixture shows less than others, or empty")
    parameters: int = Field(default=0, description="of the fixture")


class GuideEntry(Part):
    """One recipe of the guide, and which rows and cells of the run try it."""

    number: str = Field(description="of the guide's row: G1")
    name: str
    about: str = ""
    rows: dict[str, str] = Field(default_factory=dict, description="spelling (guide, today, either) -> key of the row")
    cells: list[str] = Field(default_factory=list, description="the cells that try it")
    cells_spelling: str = "today"


class End(Part):
    """The last line of records.jsonl: what else was found when all cells had ended."""

    kind: Literal["end"] = "end"
    finished: AwareDatetime
    problems: list[str] = Field(default_factory=list)


class Process(Part):
    """What a process that measured spent before it did, as far as it is known by now: the last line of each counts."""

    kind: Literal["process"] = "process"
    worker: str = ""
    began: float = Field(description="seconds after the command")
    died: float | None = Field(default=None, description="when it was gone before its time, seconds after the command")
    seconds: dict[str, float] = Field(default_factory=dict, description="by start, collect, import, device")
    memory: ProcessMemory | None = Field(default=None, description="when it had ended; before 2.1 unknown")


class ProcessMemory(Part):
    """What a process had of the memory, in MiB."""

    host: float = Field(description="the most that was resident at a time")
    gpu: float | None = Field(default=None, description="what torch held of its GPU at the end")
    beside: float | None = Field(default=None, description="what it had there beside that, where it could be read")
    grown: float | None = Field(default=None, description="of it, what came while nothing was new to the process")
    cells: int | None = Field(default=None, description="in the course of how many cells")


class Bound(Part):
    """A measured value against its bound."""

    name: str
    value: float
    allowed: float
    ratio: float = Field(default=0.0, description="value over allowed; may be left out, since it follows from these")

    @model_validator(mode="after")
    def _ratio_follows(self) -> Self:
        if "ratio" not in self.model_fields_set:
            self.ratio = oracle.Bound(self.name, self.value, self.allowed).ratio
        return self


class Waived(Part):
    """The known upstream fault that excuses a verdict."""

    reason: str
    url: str
    reproducer: str = ""


class Point(Part):
    """One measurement of a benchmark, or why there is none."""

    subject: str = Field(description="what was measured, such as Llama-7B")
    backend: str = Field(description="attention implementation and, where pinned, kernel: sdpa (flash)")
    workload: str = "prefill"
    batch: int = 1
    sequence: int = Field(default=0, description="tokens in each row of the batch, padding included")
    padding: float = Field(default=0.0, description="share of the batch's tokens that is padding")
    seconds: list[float] = Field(default_factory=list, description="of each repetition")
    tokens_per_second: float | None = None
    peak_mib: float | None = Field(default=None, description="most memory in use at a time, above the weights")
    kernels: list[str] = Field(default_factory=list, description="the attention kernels that ran")
    failure: str = Field(default="", description="out of memory, or what was raised")


class EagerTrace(Part):
    """What eager attention makes of the fixture's bytes in float32 on a CPU: what another release is held against."""

    fixture: Annotated[str, Field(pattern=FIXTURE_NAME)] = Field(description="the folder of the bytes")
    files: Word = Field(description="digest of its weights and configs")
    inputs: Word = Field(default="", description="digest of what went in")
    padding: Word = ""
    shape: Annotated[list[int], Field(max_length=8)] = Field(default_factory=list, description="of the logits")
    spread: float | None = Field(default=None, description="standard deviation of the logits at attended positions")
    numbers: Annotated[list[float], FailFast(), Field(max_length=512)] = Field(
        default_factory=list, description="logits: the same places among the attended ones in every release"
    )
    missing: Names = Field(default_factory=list, description="parameters that the files lack: they are drawn anew")
    mismatched: Names = Field(default_factory=list, description="parameters that have another shape there: drawn anew")
    unexpected: Names = Field(default_factory=list, description="what the files hold and the model has no place for")
    generation: Annotated[dict[Word, Word], Field(max_length=100)] = Field(
        default_factory=dict, description="the defaults that generate would take, as JSON"
    )
    tokens: Annotated[list[Annotated[list[int], Field(max_length=64)]], Field(max_length=64)] = Field(
        default_factory=list, description="what greedy decoding added to each row"
    )
    unsaved: Names = Field(default_factory=list, description="tensors of the files that saving writes no more")
    renamed: Names = Field(default_factory=list, description="tensors that saving writes and the files lack")
    digests: Annotated[dict[Word, Word], Field(max_length=8)] = Field(
        default_factory=dict, description="by the name of a list of names that was cut, the digest of all of them"
    )
    failures: Annotated[dict[Word, str], Field(max_length=8)] = Field(
        default_factory=dict, description="what was raised, by load, forward, generate, save"
    )
    seconds: float = Field(default=0.0, description="of from_pretrained")
    peak_mib: float | None = Field(default=None, description="host memory that from_pretrained took at most")


class RowRecord(Part):
    """One row of one run: a reported failure, a property, a recipe or claim of the guide, what eager computes."""

    kind: Literal["row"] = "row"
    family: Family
    name: str
    about: str = ""
    urls: list[str] = Field(default_factory=list, description="where it was reported")
    outcome: RowOutcome
    reason: str = ""
    example: str = Field(default="", description="the smallest example that was found, and how to run it again")
    waived: Waived | None = None
    seconds: float = 0.0
    began: float | None = Field(default=None, description="seconds after the command; before 2.0 unknown")
    worker: str = ""
    figures: dict[str, float] = Field(default_factory=dict, description="what a claim is judged by, by name")
    points: list[Point] = Field(default_factory=list, description="the measurements behind a claim")
    eager: EagerTrace | None = Field(default=None, description="of that family; before 2.2 nobody looked")

    @property
    def key(self) -> str:
        """Its name among all rows."""
        return f"{self.family}:{self.name}"

    @property
    def word(self) -> str:
        """Its outcome in the words of its family."""
        return self.outcome.of(self.family)

    @property
    def fails(self) -> bool:
        """Whether this row alone makes the run fail.

        A claim that does not hold is an answer, and what eager attention cannot compute its cells judge.
        """
        if self.family in (Family.CLAIM, Family.EAGER) and self.outcome is RowOutcome.VIOLATED:
            return False
        return self.outcome in (RowOutcome.VIOLATED, RowOutcome.MISSING) and self.waived is None


class Record(Part):
    """One cell of one run."""

    kind: Literal["record"] = "record"
    cell: str
    axes: dict[str, str] = Field(
        default_factory=dict, description="may be left out, since they follow from the cell's id"
    )
    verdict: Verdict
    reason: str
    first_verdict: Verdict | None = Field(
        default=None, description="what it was among others, where alone it was something else"
    )
    first_observation: Observation | None = Field(default=None, description="what was seen then; before 2.1 unknown")
    waived: Waived | None = None
    demanded: list[str] = Field(default_factory=list, description="what is not here although --require named it")
    expectation: Expectation
    observation: Observation
    bounds: list[Bound] = Field(default_factory=list)
    kernels: list[str] = Field(default_factory=list, description="the attention kernels that ran")
    worker: str = ""
    seed: int = Field(default=0, description="of the fixture's weights and of the batch")
    began: float | None = Field(default=None, description="seconds after the command; before 2.0 unknown")
    took: float = Field(default=0.0, description="seconds, with all that was done to be sure of it")

    @model_validator(mode="after")
    def _axes_are_complete(self) -> Self:
        if not self.axes:
            try:
                self.axes = dict(parse_cell(self.cell).axis_values())
            except UsageError as error:
                raise ValueError(str(error)) from None
        # An axis that came later: reports from before it did nothing of the kind.
        for axis, silent in SILENT.items():
            self.axes.setdefault(axis, silent)
        missing = [axis for axis in ("architecture", *AXES) if axis not in self.axes]
        if missing:
            raise ValueError(f"axes lack {', '.join(missing)}")
        return self

    @property
    def word(self) -> str:
        """Its verdict, and whether more was required."""
        return f"required but {self.verdict.value}" if self.demanded else self.verdict.value

    @property
    def fails(self) -> bool:
        """Whether this record alone makes the run fail."""
        return bool(self.demanded) or (not self.verdict.is_documented and self.waived is None)


class Report(Part):
    """A whole run: matrix.json."""

    schema_version: str = SCHEMA_VERSION
    run: Run
    finished: AwareDatetime
    counts: dict[str, int] = Field(description="how many cells have each verdict")
    waived: int = Field(description="how many of them a waiver excuses")
    records: list[Record]
    rows: list[RowRecord] = Field(default_factory=list)
    processes: list[Process] = Field(default_factory=list, description="those that measured, as they began")
    power: PowerSummary | None = Field(
        default=None, description="what the suite's oracle was measured to catch on such a device"
    )
    problems: list[str] = Field(
        default_factory=list, description="what else makes the run fail: idle waivers, requirements that are not here"
    )
    unreadable: list[str] = Field(default_factory=list, description="lines of records.jsonl that could not be read")

    @property
    def cut_off(self) -> str:
        """How the run was cut off, or empty if it reached its end."""
        return next((problem for problem in self.problems if problem.startswith(CUT_OFF)), "")

    @property
    def failures(self) -> list[Record]:
        """The records that make the run fail."""
        return [record for record in self.records if record.fails]

    @property
    def failing_rows(self) -> list[RowRecord]:
        """The rows that make the run fail."""
        return [row for row in self.rows if row.fails]


def make_record(
    cell: Cell,
    *,
    judgement: Judgement,
    expectation: Expectation,
    observation: Observation,
    waiver: Waiver | None = None,
    first: tuple[Verdict, Observation] | None = None,
    worker: str = "",
    seed: int = 0,
) -> Record:
    """The record of a judged observation."""
    observation = replace(observation, comparisons=tuple(map(_rounded, observation.comparisons)))
    found = [bound for comparison in observation.comparisons for bound in oracle.bounds(comparison)]
    completed = observation.ending is Ending.COMPLETED
    return Record(
        cell=cell.id,
        axes=dict(cell.axis_values()),
        verdict=judgement.verdict,
        reason=judgement.reason,
        first_verdict=first[0] if first else None,
        first_observation=replace(first[1], comparisons=tuple(map(_rounded, first[1].comparisons))) if first else None,
        waived=waived_by(waiver),
        expectation=expectation,
        observation=observation,
        bounds=[Bound(name=b.name, value=six_digits(b.value), allowed=six_digits(b.allowed)) for b in found],
        kernels=list(kernels_seen(observation.evidence)) if completed else [],
        worker=worker,
        seed=seed,
    )


def _rounded(comparison: Comparison) -> Comparison:
    """The comparison with six digits of each number: more say nothing of errors, and are most of a report."""
    numbers: dict[str, Any] = {
        n: six_digits(value) for n, value in vars(comparison).items() if isinstance(value, float)
    }
    consequences = {what: six_digits(off) for what, off in comparison.consequences.items()}
    readings = tuple(
        replace(one, value=six_digits(one.value), bar=six_digits(one.bar), explains=round(one.explains, 4))
        for one in comparison.readings
    )
    return replace(comparison, **numbers, consequences=consequences, readings=readings)


def six_digits(number: float) -> float:
    """A number as a report keeps it."""
    return float(f"{number:.6g}")


def backend_of(record: Record) -> str:
    """Attention implementation and, where pinned, kernel: the columns of the matrix."""
    attention, kernel, changed = (record.axes[axis] for axis in ("attention", "sdpa_kernel", "transformation"))
    if changed != SILENT["transformation"]:
        attention = changed if attention == Attention.EAGER else f"{changed} on {attention}"
    return attention + ("" if kernel == SdpaKernel.UNPINNED else f" ({kernel})")


def waived_by(waiver: Waiver | None) -> Waived | None:
    """What a record keeps of the waiver that excuses it."""
    return Waived(reason=waiver.reason, url=waiver.url, reproducer=waiver.reproducer) if waiver else None


def make_report(
    run: Run,
    records: list[Record],
    *,
    rows: list[RowRecord] | None = None,
    processes: list[Process] | None = None,
    power: PowerSummary | None = None,
    end: End | None = None,
    unreadable: list[str] | None = None,
) -> Report:
    """Records in plan order; the last one counts where a cell has several; planned cells without one are `missing`.

    Without an end the run was cut off: it ended, as far as anybody knows, when the last record came.
    """
    end = end or _end_of_what_came(run, records, rows or [])
    last = {record.cell: record for record in records}
    unreadable = list(unreadable or [])
    ordered = []
    for cell in dict.fromkeys(run.planned):
        try:
            ordered.append(last.pop(cell) if cell in last else missing_record(cell))
        except UsageError as error:
            unreadable.append(complaint(f"planned: {error}"))
    ordered += last.values()
    families = {family.value for family in Family}
    known = [key for key in run.planned_rows if key.partition(":")[0] in families]
    strange = (key for key in run.planned_rows if key not in known)
    unreadable += [complaint(f"planned: {key!r} is no row of this release") for key in strange]
    return Report(
        run=run,
        finished=end.finished,
        counts=dict(Counter(record.verdict.value for record in ordered)),
        waived=sum(record.waived is not None for record in ordered),
        records=ordered,
        rows=_in_plan_order(known, rows or []),
        processes=sorted({one.worker: one for one in processes or ()}.values(), key=lambda one: one.began),
        power=power,
        problems=end.problems,
        unreadable=unreadable,
    )


def _end_of_what_came(run: Run, records: list[Record], rows: list[RowRecord]) -> End:
    launched = run.launched or run.started
    spent = [
        *(record.began + record.took for record in records if record.began is not None),
        *(row.began + row.seconds for row in rows if row.began is not None),
    ]
    try:
        last = max([run.started, *(launched + timedelta(seconds=seconds) for seconds in spent)])
    except (OverflowError, ValueError):  # a file from elsewhere, with times that no run can have
        last = run.started
    return End(finished=last, problems=[cut_off_after(run, records, rows, "nothing says that it ended")])


def cut_off_after(run: Run, records: list[Record], rows: list[RowRecord], why: str) -> str:
    """The problem of a run that ended before its plan did."""
    came = {*(record.cell for record in records), *(row.key for row in rows)}
    planned = [*run.planned, *run.planned_rows]
    left = sum(name not in came for name in planned)
    return f"{CUT_OFF}: {why}; {left:,} of {len(planned):,} have no record; --resume goes on with it"


def complaint(text: str) -> str:
    """What is wrong with a part of a report, as short as a page can bear; it may quote what is there."""
    return printable(text, {}, longest=1000)


def _in_plan_order(planned: list[str], rows: list[RowRecord]) -> list[RowRecord]:
    last = {row.key: row for row in rows}
    return [*(last.pop(key) if key in last else missing_row(key) for key in dict.fromkeys(planned)), *last.values()]


def missing_row(key: str) -> RowRecord:
    """The record of a planned row of which nothing was heard."""
    family, _, name = key.partition(":")
    return RowRecord(family=Family(family), name=name, outcome=RowOutcome.MISSING, reason="planned, but nothing came")


def missing_record(cell_id: str) -> Record:
    """The record of a planned cell of which nothing was heard.

    Raises:
        UsageError: the id is not one of this release.
    """
    return make_record(
        parse_cell(cell_id),
        judgement=Judgement(Verdict.MISSING, "planned, but no record of it came"),
        expectation=Expectation(Outcome.SUPPORTED, source="not looked up: the cell was never reached"),
        observation=Observation(Ending.NOT_RUN),
    )
