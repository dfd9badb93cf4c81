"""What makes a whole run fail beside its cells and rows."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from matrix.architectures import Architecture
from matrix.cell import parse_cell
from matrix.guide import Guide
from matrix.plan import load_profiles, make_plan
from matrix.rows import Family, RowOutcome
from matrix.verdict import Judgement
from matrix.waiver import Waiver, idle_row_waivers, idle_waivers
from reports.document import Record, RowRecord, Run

_OF_EVERYTHING = ("full", "zoo")  # what these alone plan, no other run is asked about


def problems_of(
    run: Run,
    records: Sequence[Record],
    rows: Sequence[RowRecord],
    *,
    waivers: Collection[Waiver],
    architectures: Mapping[str, Architecture],
    guide: Guide,
) -> Iterator[str]:
    """An empty run, what was required and is not here, waivers that excuse nothing.

    Of a shard only what was required: the rest is asked of the whole, where its shards are merged.
    """
    yield from (f"--require {name}: not here" for name in run.required if run.stack.lacks(name))
    if run.shard is not None:
        return
    ran = any(record.verdict.executed for record in records)
    if not ran and (run.planned or all(row.outcome is RowOutcome.UNAVAILABLE for row in rows)):
        yield "no cell was executed: an empty run is a failed run"
    judgements = {parse_cell(record.cell): Judgement(record.verdict, record.reason) for record in records}
    # Only pairwise holds every kind of cell that a waiver may speak of, but for what others try alone.
    narrowed = bool(run.narrowed) or run.profile != "pairwise"
    narrowed = narrowed or len(run.planned) < len(make_plan(run.profile, architectures))
    # A narrowed run does not ask which cells are nowhere.
    others = [] if narrowed else [name for name in load_profiles() if name not in (run.profile, *_OF_EVERYTHING)]
    elsewhere = [cell for profile in others for cell in make_plan(profile, architectures)]
    yield from idle_waivers(judgements, run.stack, waivers, narrowed=narrowed, elsewhere=elsewhere)
    # The rows of recipes are tried by the guide alone: in other profiles they are not there to be excused.
    outcomes = dict.fromkeys(guide.rows, RowOutcome.UNAVAILABLE)
    outcomes |= {row.name: row.outcome for row in rows}
    tried = {key.partition(":")[0] for key in run.planned_rows}
    every_family = {Family.REGRESSION, Family.PROPERTY} <= tried
    yield from idle_row_waivers(outcomes, run.stack, waivers, narrowed=not every_family)
