"""The report as one self-contained page: readable without JavaScript, which adds filters and the cells' details."""

import base64
import hashlib
import re
import shlex
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from itertools import product
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment
from markupsafe import Markup

from matrix.advice.search import spelled_bytes
from matrix.quantisers import QUANTISATIONS
from matrix.rows import Family, RowOutcome
from matrix.verdict import Verdict
from reports import benchmarks, charts, computed, power, prices
from reports.advice import Advice, avoided, gains
from reports.advice_picture import picture
from reports.causes import failure_groups, row_groups
from reports.cell_data import cells_json, details_json, scripts_json
from reports.declared import by_architecture, claims_of, disagreements
from reports.diff import is_beyond_noise, transitions
from reports.differences import Diff, Group, Kind, groups
from reports.document import ArchitectureFacts, Report
from reports.explained import accounts
from reports.flaky import flaky_cells
from reports.front import LOOKS, MARKS, Measured, front_json, is_pinned
from reports.gate import Gate, headline
from reports.guide import ROW_LOOKS, by_stack, guide_lines, splits
from reports.intervals import CameTo
from reports.runs import Collection, Comparison, Published
from reports.sizes import sizes
from reports.spent import MEANINGS as USES
from reports.spent import bars, spent_by
from reports.support import Series, State
from reports.templating import TEMPLATES, template_environment
from reports.text import FAMILY_NAMES, device_of, headline_parts, reproducing_command, row_command, row_headlines
from reports.views import (
    MANY,
    MEANINGS,
    SYMBOLS,
    absences,
    by_property,
    families_of,
    gravest_first,
    gravest_share,
    kernels,
    known_faults,
    matrix_rows,
    mix,
    report_axes,
    rows_gravest_first,
    traits_of,
    worst_ratio,
)

# Longer lists need the script, or the file itself: a page should stay below a few megabytes.
LISTED_WITHOUT_SCRIPT = 2000
LISTED_OF_A_GROUP = 200
# Of more causes the rest is folded: the matrix should be no journey away.
CAUSES_SHOWN = 30
# In the order in which they read each other's names.
_SCRIPTS = ("dom.js", "cells.js", "pivot.js", "heat.js", "detail.js", "report.js")
_SCRIPTS_OF_THE_FRONT = ("dom.js", "known.js", "config.js", "answer.js", "site.js")
_PIVOTS = {"rows": "rows", "rows2": "and", "columns": "columns", "columns2": "and"}
_KINDS = {
    Kind.REGRESSION: "It got worse: wrong, refused, something else than was asked for, less exact, slower, larger.",
    Kind.CHANGE: "Neither worse nor better: other kernels, other words of an error, other figures.",
    Kind.IMPROVEMENT: "It got better: what was wrong or refused is right now.",
    Kind.ADDED: "Not measured in the first run.",
    Kind.DELETED: "Not measured in the second run.",
}
_LOOKS = {State.SUPPORTED: Verdict.SUPPORTED, State.REFUSED: Verdict.REFUSED, State.WRONG: Verdict.ERROR}
_STANDINGS = {
    CameTo.SUPPORTED: "right wherever it ran",
    CameTo.MIXED: "wrong in part",
    CameTo.WRONG: "wrong, or fails",
    CameTo.REFUSED: "refused in documented words",
}
_LIBRARIES = ("transformers", "torch", "flash-attn", "bitsandbytes", "accelerate", "peft", "optimum")

_GITHUB = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+)/(?:issues|pull|discussions)/(\d+)", re.ASCII)


def render_html(report: Report, *, document: str = "matrix.json", home: str = "") -> str:
    """The page of one run. `document` is its data beside it, `home` leads to the site that it is part of, if any."""
    reported, properties, recipes, *_ = (gravest_first(report.rows, family) for family in Family)
    guide_claims = [row for row in report.rows if row.family is Family.CLAIM]  # as the guide numbers them
    points = benchmarks.all_points(guide_claims)
    axes = report_axes(report)
    own = by_stack([report])
    failing_rows = [row for row in [*reported, *properties, *recipes, *guide_claims] if row.fails]
    rows = matrix_rows(report.records)
    many = len(axes["architecture"]) > MANY
    families, traits = families_of(report), traits_of(report)
    claims = claims_of(report.records)
    faults = known_faults(report.records, report.rows)
    told = [one for fault in faults for one in fault.accounts]
    sized = sizes(report.records)
    tried = {size.quantisation for one in sized for size in one.by_quantisation}
    dial_rows = computed.rows(report.records, list(axes["backend"]))
    return _render(
        "report.html.j2",
        script=_joined(_SCRIPTS),
        home=home,
        report=report,
        document=document,
        title=title_of(report),
        headline=list(headline_parts(report)),
        duration=_duration(report.finished - report.run.started),
        command=shlex.join(report.run.command),
        verdicts=[verdict for verdict in Verdict if any(record.verdict is verdict for record in report.records)],
        failures=failure_groups(report.failures),
        listed_of_a_group=LISTED_OF_A_GROUP,
        causes_shown=CAUSES_SHOWN,
        rows=rows_gravest_first(rows) if many else rows,
        many=many,
        families=families,
        traits=traits,
        chips=[
            ("family", "Only one family", families),
            ("trait", "Only one trait", traits),
            ("backend", "Only one backend", dict.fromkeys(axes["backend"], 0)),
        ],
        gravest_share=gravest_share,
        axes=axes,
        pivots=_PIVOTS,
        # One that has a single value leaves nothing to choose.
        choices={axis: values for axis, values in axes.items() if len(values) > 1},
        claims=by_architecture(claims),
        disagreements=disagreements(claims),
        faults=faults,
        dials_of_faults=any(one.is_read for one in told) if told else None,
        reported=reported,
        properties=by_property(properties),
        kernels=kernels(properties),
        violated=[row for row in properties if row.outcome is RowOutcome.VIOLATED],
        unreached=Counter(row.reason for row in properties if row.outcome is RowOutcome.UNAVAILABLE),
        stacks=own,
        lines=guide_lines(own),
        failing_rows=failing_rows,
        failing_groups=row_groups(failing_rows),
        guide_claims=guide_claims,
        eager_rows=[row for row in report.rows if row.family is Family.EAGER],
        benchmark_plots=benchmarks.plots(points),
        benchmark_rates=benchmarks.rates(points),
        geometry=benchmarks,
        figure_text=benchmarks.figure_text,
        closeness=charts.closeness(report.records),
        panels={
            title: charts.panels(filter(wanted, report.records), axes["backend"])
            for title, wanted in (("Prefill and generate", charts.is_direct), ("Relations", charts.is_relation))
        },
        strip=charts.strip,
        axis=charts.axis(),
        ratio_text=charts.ratio_text,
        dial_rows=dial_rows,
        dial_backends=[name for name in axes["backend"] if any(name in row.by_backend for row in dial_rows)],
        dial_outliers=computed.outliers(report.records),
        dial_text=computed.number_text,
        whisker=computed.whisker,
        price_lines=[line for axis in ("cache", "transformation") for line in prices.lines(report.records, axis)],
        format_lines=prices.lines(report.records, "quantisation"),
        columns=prices.COLUMNS,
        sizes=sized,
        formats=[name for name in QUANTISATIONS if name in tried],
        size_bar=charts.size_bar,
        spent=spent_by(report),
        spent_bars=bars,
        spent_meanings=USES,
        power=report.power,
        power_dtypes=power.power_dtypes(report.power),
        power_rules=power.RULES,
        other_versions=power.other_versions(report.power.stack, report.run.stack) if report.power else [],
        limited_architectures=power.limited_architectures(report.power),
        limit_text=power.limit_text,
        misses=power.gravest_misses_first(report.power.misses) if report.power else [],
        missed=sum(not miss.below_noise for miss in report.power.misses) if report.power else 0,
        share_text=power.share_text,
        sabotage=power.sabotage_by_name(report.power.sabotage) if report.power else {},
        ending=power.ending,
        absences=absences(report.records, report.rows),
        listed=report.records if len(report.records) <= LISTED_WITHOUT_SCRIPT else [],
        worst_ratio=worst_ratio,
        # Not escaped: JSON in which nothing can end the block.
        data=Markup(cells_json(report)),
        details=Markup(details_json(report)),
        scripts=Markup(scripts_json(report)),
    )


def render_stacks(reports: Iterable[Report], *, home: str = "") -> str:
    """The page on which the guide's recipes stand stack by stack, one self-contained file without a script."""
    stacks = by_stack(reports)
    return _render("stacks.html.j2", home=home, stacks=stacks, lines=guide_lines(stacks), splits=list(splits(stacks)))


def render_diff(diff: Diff, before: Report, after: Report, *, pages: tuple[str, str] | None = None) -> str:
    """The page of what changed between two runs; `pages` names their pages where it is part of a site."""
    moved = transitions(before, after)
    by_kind: dict[Kind, list[Group]] = {}
    for group in groups(diff.differences):
        by_kind.setdefault(group.kind, []).append(group)
    return _render(
        "diff.html.j2",
        home="../index.html" if pages else "",
        diff=diff,
        sides=[
            {"title": title_of(report), "run": report.run, "headline": list(headline_parts(report))}
            for report in (before, after)
        ],
        pages=pages,
        by_kind=by_kind,
        kinds=_KINDS,
        listed=LISTED_OF_A_GROUP,
        moved=moved,
        beyond=[pace for pace in diff.paces if is_beyond_noise(pace)],
        words=list(_words({word for pair in moved for word in pair})),
    )


def render_gate(gate: Gate) -> str:
    """The page of a gate, one self-contained file without a script."""
    by_kind = {kind: [one for one in gate.groups if one.kind is kind] for kind in Kind}
    return _render(
        "gate.html.j2",
        gate=gate,
        headline=headline(gate),
        by_kind={kind: causes for kind, causes in by_kind.items() if causes},
        kinds=_KINDS,
        listed=LISTED_OF_A_GROUP,
    )


def render_advice(advice: Advice, *, home: str = "") -> str:
    """The page of an advice, one self-contained file without a script."""
    said = list(gains(advice)) if advice.advised is not None else []
    return _render("advice.html.j2", home=home, advice=advice, gains=said, picture=picture(advice), bytes=spelled_bytes)


def render_support(series: Iterable[Series]) -> str:
    """The page that tells support as version intervals."""
    return _render("support.html.j2", home="index.html", series=list(series), looks=_LOOKS)


def render_index(
    found: Collection,
    compared: Mapping[tuple[str, str], Comparison],
    steps: Sequence[Comparison] = (),
    measured: Sequence[Measured] = (),
    facts: Mapping[str, ArchitectureFacts] = MappingProxyType({}),
    *,
    most: int,
    has_guide: bool,
) -> str:
    """The first page of a site; `most` runs are compared with each other, those of a sweep step by step."""
    devices: dict[str, list[Published]] = {}
    for run in found.runs:
        devices.setdefault(run.device, []).append(run)
    asked, answers = front_json(measured, facts)
    return _render(
        "site.html.j2",
        script=_joined(_SCRIPTS_OF_THE_FRONT),
        styles=("report.css", "site.css"),
        found=found,
        devices=devices,
        numbers={run.name: number for number, run in enumerate(found.runs, start=1)},
        numbered=[run for run in found.runs if any(run.name in pair for pair in compared)],
        steps=steps,
        cells=sum(record.verdict.executed for run in found.runs for record in run.report.records),
        rows=sum(len(run.report.rows) for run in found.runs),
        failing=sum(_failing(run.report) for run in found.runs),
        failing_of=_failing,
        avoided=avoided,
        libraries=_LIBRARIES,
        mix=mix,
        row_headlines=row_headlines,
        compared=compared,
        kinds=list(Kind),
        most=most,
        has_guide=has_guide,
        flaky=flaky_cells(found.runs),
        measured=measured,
        place_of={one.number: place for place, one in enumerate(measured)},
        is_pinned=is_pinned,
        types=len({subject.architecture for one in measured for subject in one.subjects}),
        told=any(one.told for one in measured),
        standings=list(CameTo),
        meanings_of_standings=_STANDINGS,
        marks=MARKS,
        looks=LOOKS,
        # Not escaped: JSON in which nothing can end the block.
        data=Markup(asked),
        details=Markup(answers),
    )


def title_of(report: Report) -> str:
    """What ran where, in short."""
    stack = report.run.stack
    versions = [f"{name} {stack.versions[name]}" for name in _LIBRARIES[:2] if name in stack.versions]
    return ", ".join([device_of(stack), *versions, report.run.profile])


def _failing(report: Report) -> int:
    return len(report.failures) + len(report.failing_rows) + len(report.problems) + len(report.unreadable)


def _words(found: Container[str]) -> Iterator[str]:
    """These words of cells in the order of the verdicts."""
    for verdict, required, known in product(Verdict, ("", "required but "), ("", ", known")):
        if (word := f"{required}{verdict}{known}") in found:
            yield word


def _joined(names: Iterable[str]) -> str:
    return "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def _render(
    template: str, *, script: str = "", styles: Iterable[str] = ("report.css",), home: str = "", **given: Any
) -> str:
    style = _joined(styles)
    return (
        _environment()
        .get_template(template)
        .render(
            # Not escaped: the suite's own files.
            script=Markup(script),
            style=Markup(style),
            policy=content_policy(script, style),
            home=home,
            **given,
        )
    )


@cache
def _environment() -> Environment:
    environment = template_environment()
    environment.tests["web_address"] = is_web_address
    environment.filters["reference"] = reference
    environment.globals |= {
        "symbols": SYMBOLS,
        "meanings": MEANINGS,
        "row_looks": ROW_LOOKS,
        "family_names": FAMILY_NAMES,
        "row_command": row_command,
        "reproducing_command": reproducing_command,
        "accounts": accounts,
    }
    return environment


def content_policy(script: str, style: str) -> str:
    """A Content-Security-Policy that allows this style, this script if there is one, and nothing else."""
    allowed = f"'{_digest(script)}'" if script else "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src '{_digest(style)}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
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


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _duration(time: timedelta) -> str:
    minutes, seconds = divmod(round(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (seconds, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
