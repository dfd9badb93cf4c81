"""The report as one self-contained page: readable without JavaScript, which adds filters and the cells' details."""

import base64
import hashlib
import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from matrix.axes import Attention, Dtype, SdpaKernel
from matrix.expectation import Expectation, Outcome
from matrix.oracle import nan_last
from matrix.rows import Family, RowOutcome
from matrix.stack import Stack
from matrix.verdict import Verdict
from reports import benchmarks, charts
from reports.document import Record, Report, RowRecord, Waived
from reports.guide import ROW_LOOKS, by_stack, guide_lines, splits
from reports.power import RULES, PowerSummary, Tally, Trial
from reports.text import FAMILY_NAMES, backend_of, headline_parts, reproducing_command, row_command

TEMPLATES = Path(__file__).parent / "templates"
# A longer list needs the script: the page should stay below a few megabytes.
LISTED_WITHOUT_SCRIPT = 2000
FILTERS = ("dtype", "quantisation", "transformation", "device_map", "padding", "workload")

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
    Verdict.FLAKY: "a rerun disagreed with the first run",
    Verdict.MISSING: "planned, but no record of it came",
}
_ROWS_GRAVEST_FIRST = (
    RowOutcome.VIOLATED,
    RowOutcome.MISSING,
    RowOutcome.HOLDS,
    RowOutcome.REFUSED,
    RowOutcome.UNAVAILABLE,
)
# In the order in which a reader should see them: what takes a process down, then silent wrong answers.
_GRAVEST_FIRST = (
    Verdict.CRASHED,
    Verdict.DEVICE_LOST,
    Verdict.INACCURATE,
    Verdict.ERROR,
    Verdict.UNEXPECTED,
    Verdict.TIMEOUT,
    Verdict.OUT_OF_MEMORY,
    Verdict.SUBSTITUTED,
    Verdict.FLAKY,
    Verdict.MISSING,
)
_FAMILIES = (
    ("sdpa", ("_supports_sdpa",)),
    ("flash_attention", ("_supports_flash_attn", "_supports_flash_attn_2")),
    ("flex_attention", ("_supports_flex_attn",)),
)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")
_OF_A_KERNEL = re.compile(r"(?P<name>[^\[]+)\[(?P<kernel>.+)\]", re.DOTALL)
_GITHUB = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+)/(?:issues|pull|discussions)/(\d+)", re.ASCII)
_MARKUP = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}

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
class FailureGroup:
    """Failures that differ in nothing but their cell and numbers."""

    word: str
    records: list[Record]

    @property
    def first(self) -> Record:
        """The record that speaks for the group."""
        return self.records[0]

    @property
    def where(self) -> str:
        """The architectures and backends that it spans, and what was expected if not support."""
        architectures = dict.fromkeys(record.axes["architecture"] for record in self.records)
        backends = dict.fromkeys(backend_of(record) for record in self.records)
        where = f"{_few(architectures, 'architectures')} · {_few(backends, 'backends')}"
        expected = self.first.expectation.outcome
        return where if expected is Outcome.SUPPORTED else f"{where} · expected {expected}"


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
    backends: str
    count: int


@dataclass(frozen=True)
class Claim:
    """What a class declares of one attention family, beside what was measured."""

    family: str
    flag: str
    declared: bool | None
    measured: str
    mix: list[Share]

    @property
    def disagrees(self) -> bool:
        """Whether the measurement contradicts the flag."""
        if self.declared is None or self.measured == "not measured":
            return False
        # A class that declares no support owes no particular error, so only success contradicts it.
        return self.declared != (self.measured == "supported")


def render_html(report: Report) -> str:
    """The page."""
    environment = _environment()
    reported, properties, recipes, _ = (gravest_first(report.rows, family) for family in Family)
    guide_claims = [row for row in report.rows if row.family is Family.CLAIM]  # as the guide numbers them
    points = benchmarks.all_points(guide_claims)
    columns = backends(report.records)
    own = by_stack([report])
    script, style = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.js", "report.css"))
    return environment.get_template("index.html.j2").render(
        report=report,
        headline=list(headline_parts(report)),
        duration=_duration(report.finished - report.run.started),
        command=shlex.join(report.run.command),
        verdicts=[verdict for verdict in Verdict if any(record.verdict is verdict for record in report.records)],
        symbols=SYMBOLS,
        meanings=MEANINGS,
        failures=failure_groups(report.failures),
        rows=matrix_rows(report.records),
        backends=columns,
        choices={axis: _distinct(record.axes[axis] for record in report.records) for axis in FILTERS},
        claims=declared_and_measured(report.records),
        faults=known_faults(report.records, report.rows),
        reported=reported,
        properties=by_property(properties),
        kernels=kernels(properties),
        violated=[row for row in properties if row.outcome is RowOutcome.VIOLATED],
        unreached=Counter(row.reason for row in properties if row.outcome is RowOutcome.UNAVAILABLE),
        stacks=own,
        lines=guide_lines(own),
        failing_rows=[row for row in [*reported, *properties, *recipes, *guide_claims] if row.fails],
        guide_claims=guide_claims,
        benchmark_plots=benchmarks.plots(points),
        benchmark_rates=benchmarks.rates(points),
        geometry=benchmarks,
        figure_text=benchmarks.figure_text,
        row_looks=ROW_LOOKS,
        family_names=FAMILY_NAMES,
        row_command=row_command,
        closeness=charts.closeness(report.records),
        panels={
            title: charts.panels(filter(wanted, report.records), columns)
            for title, wanted in (("Prefill and generate", charts.is_direct), ("Relations", charts.is_relation))
        },
        strip=charts.strip,
        axis=charts.axis(),
        ratio_text=charts.ratio_text,
        power=report.power,
        power_dtypes=power_dtypes(report.power),
        power_rules=RULES,
        other_versions=other_versions(report.power.stack, report.run.stack) if report.power else [],
        limited_architectures=limited_architectures(report.power),
        limit_text=limit_text,
        misses=gravest_misses_first(report.power.misses) if report.power else [],
        missed=sum(not miss.below_noise for miss in report.power.misses) if report.power else 0,
        share_text=share_text,
        absences=absences(report.records),
        listed=report.records if len(report.records) <= LISTED_WITHOUT_SCRIPT else [],
        worst_ratio=worst_ratio,
        reproducing_command=reproducing_command,
        # Not escaped: the suite's own files, and JSON in which nothing can end the block.
        script=Markup(script),
        style=Markup(style),
        data=Markup(script_data(report)),
        policy=content_policy(script, style),
    )


def render_stacks(reports: Iterable[Report]) -> str:
    """The page on which the guide's recipes stand stack by stack, one self-contained file without a script."""
    stacks = by_stack(reports)
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("stacks.html.j2")
        .render(
            stacks=stacks,
            lines=guide_lines(stacks),
            splits=list(splits(stacks)),
            symbols=SYMBOLS,
            style=Markup(style),
            policy=content_policy("", style),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.tests["web_address"] = is_web_address
    environment.filters["reference"] = reference
    return environment


def worst_ratio(record: Record) -> float | None:
    """The highest ratio of error to bound, NaN above all; None if nothing was compared."""
    ratios = (bound.ratio for bound in record.bounds)
    return max(ratios, key=nan_last, default=None)


def content_policy(script: str, style: str) -> str:
    """A Content-Security-Policy that allows this script and this style and nothing else."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def is_web_address(text: str) -> bool:
    """Whether a text may become a link."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def reference(url: str) -> str:
    """An address as a person would write it: an issue by its repository and number, anything else as it is."""
    found = _GITHUB.fullmatch(url)
    return f"{found[1]}#{found[2]}" if found else url


def backends(records: Iterable[Record]) -> list[str]:
    """The columns of the matrix, in the order of the axes; a name that no axis knows comes last."""

    def rank(record: Record) -> tuple[int, int]:
        return _place(record.axes["attention"], Attention), _place(record.axes["sdpa_kernel"], SdpaKernel)

    return _distinct(backend_of(record) for record in sorted(records, key=rank))


def matrix_rows(records: list[Record]) -> dict[str, dict[str, list[Share]]]:
    """By architecture and backend, the mix of verdicts."""
    cells = _grouped(records, lambda record: (record.axes["architecture"], backend_of(record)))
    rows: dict[str, dict[str, list[Share]]] = {}
    for (architecture, backend), group in cells.items():
        rows.setdefault(architecture, {})[backend] = mix(group)
    return rows


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


def failure_groups(failures: list[Record]) -> list[FailureGroup]:
    """Failures gathered by verdict, reason and expectation, the gravest first, then the most frequent."""

    def same(record: Record) -> tuple[str, str, Expectation]:
        return _failure_word(record), _NUMBER.sub("#", record.reason), record.expectation

    def gravity(group: FailureGroup) -> tuple[int, int]:
        verdict = group.first.verdict
        rank = _GRAVEST_FIRST.index(verdict) if verdict in _GRAVEST_FIRST else len(_GRAVEST_FIRST)
        return rank, -len(group.records)

    return sorted((FailureGroup(key[0], group) for key, group in _grouped(failures, same).items()), key=gravity)


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
    return sorted(found, key=lambda kernel: _place(kernel, SdpaKernel))


def _property_and_kernel(row: RowRecord) -> tuple[str, str]:
    found = _OF_A_KERNEL.fullmatch(row.name)
    return (found["name"], found["kernel"]) if found else (row.name, "")


def power_dtypes(power: PowerSummary | None) -> list[Dtype]:
    """The dtypes in which anything was seeded."""
    if power is None:
        return []
    return [dtype for dtype in Dtype if dtype in {*power.total, *power.honest, *power.limits}]


def limited_architectures(power: PowerSummary | None) -> list[str]:
    """The architectures whose detection limit was looked for."""
    return _distinct(name for limits in (power.limits if power else {}).values() for name in limits)


def limit_text(limit: float | None) -> str:
    """A detection limit in per cent of the softmax scale."""
    return "none found" if limit is None else f"{limit:g} %"


def gravest_misses_first(misses: Iterable[Trial]) -> list[Trial]:
    """What should have been caught, then what no comparison of logits in that dtype could tell."""
    return sorted(misses, key=lambda miss: miss.below_noise)


def share_text(tally: Tally | None, rule: str = "suite") -> str:
    """How many of how many, or nothing where the rule was not asked."""
    asked = tally.asked.get(rule, 0) if tally else 0
    if tally is None or not asked:
        return ""
    return f"{tally.caught.get(rule, 0):,} of {asked:,}"


def other_versions(there: Stack, here: Stack) -> list[str]:
    """In which libraries two stacks differ."""
    names = _distinct([*there.versions, *here.versions])
    pairs = [(name, there.versions.get(name), here.versions.get(name)) for name in names]
    return [f"{name} {one or 'absent'}, here {other or 'absent'}" for name, one, other in pairs if one != other]


def absences(records: Iterable[Record]) -> list[Absence]:
    """What is not here, the costliest first."""

    def what(record: Record) -> str:
        return ", ".join(record.observation.missing or record.expectation.missing) or record.reason

    groups = _grouped((record for record in records if record.verdict is Verdict.UNAVAILABLE), what)
    found = [
        Absence(name, _few(dict.fromkeys(backend_of(record) for record in group), "backends"), len(group))
        for name, group in groups.items()
    ]
    return sorted(found, key=lambda absence: -absence.count)


def declared_and_measured(records: Iterable[Record]) -> dict[str, list[Claim]]:
    """By architecture, a claim for each attention family; architectures with a disagreement first."""
    groups = _grouped(records, lambda record: record.axes["architecture"])
    claims = {name: [_claim(family, flags, group) for family, flags in _FAMILIES] for name, group in groups.items()}
    return dict(sorted(claims.items(), key=lambda item: not any(claim.disagrees for claim in item[1])))


def _claim(family: str, flags: tuple[str, ...], records: list[Record]) -> Claim:
    declared = next((record.observation.declared for record in records if record.observation.declared), {})
    flag = next((flag for flag in flags if flag in declared), flags[0])
    # SDPA's pinned kernels count: the flag speaks of SDPA as a whole.
    ran = [record for record in records if record.axes["attention"].startswith(family) and record.verdict.executed]
    verdicts = Counter(record.verdict for record in ran)
    if not verdicts:
        measured = "not measured"
    elif verdicts[Verdict.SUPPORTED]:
        measured = "supported"
    elif set(verdicts) == {Verdict.REFUSED}:
        measured = "refused"
    else:
        measured = "not supported"
    return Claim(family, flag, declared.get(flag), measured, mix(ran))


def script_data(report: Report) -> str:
    """What the script needs, as JSON that is safe inside a script element.

    A row holds, for each field, an index into `values`, where 0 says that there is nothing: most values
    recur in many cells.
    """
    panels = [_panel(record) for record in report.records]
    fields = _distinct(name for panel in panels for name in panel)
    values: list[Any] = [None]
    places: dict[str, int] = {}

    def place(value: Any) -> int:
        if value is None:
            return 0
        key = json.dumps(value)
        if key not in places:
            places[key] = len(values)
            values.append(value)
        return places[key]

    data = {
        "command": reproducing_command("{cell}", report.run.seed),
        "verdicts": [[verdict.value, SYMBOLS[verdict], MEANINGS[verdict]] for verdict in Verdict],
        "fields": fields,
        "rows": [[place(panel.get(name)) for name in fields] for panel in panels],
        "values": values,
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).translate(_MARKUP)


def _panel(record: Record) -> dict[str, Any]:
    dumped = record.model_dump(mode="json")
    observation = dumped["observation"]
    evidence = {f"evidence.{name}": value for name, value in observation["evidence"].items() if value}
    fields = {
        "cell": record.cell,
        "architecture": record.axes["architecture"],
        "backend": backend_of(record),
        **{axis: record.axes[axis] for axis in FILTERS},
        "verdict": record.verdict.value,
        "fails": record.fails or None,
        "worst": worst_ratio(record),
        **{name: dumped[name] for name in ("reason", "first_verdict", "waived", "demanded", "expectation")},
        **{name: dumped[name] for name in ("bounds", "kernels", "worker")},
        **{name: value for name, value in observation.items() if name != "evidence"},
        **evidence,
    }
    trimmed = {name: _trim(value) for name, value in fields.items()}
    return {name: value for name, value in trimmed.items() if value is not None}


def _trim(value: Any) -> Any:
    """The value without its empty parts, floats with the digits that a reader can use; None if nothing is left."""
    if isinstance(value, dict):
        parts = {key: _trim(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part is not None} or None
    if isinstance(value, list):
        return [_trim(part) for part in value] or None
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else str(value)
    return None if value == "" else value


def _failure_word(record: Record) -> str:
    return f"required but {record.verdict.value}" if record.demanded else record.verdict.value


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _duration(time: timedelta) -> str:
    minutes, seconds = divmod(round(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (seconds, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def _few(names: Iterable[str], plural: str) -> str:
    listed = list(names)
    return ", ".join(listed) if len(listed) <= 4 else f"{len(listed)} {plural}"


def _place(value: str, axis: type[StrEnum]) -> int:
    names = [member.value for member in axis]
    return names.index(value) if value in names else len(names)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
