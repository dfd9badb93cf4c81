"""What model classes declare with their flags, held against what was measured."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from matrix.cell import SILENT
from matrix.verdict import Verdict
from reports.document import Record, Report
from reports.views import Share, mix

# Attention implementations, and the flags that speak of them: transformers 5 has one for all flash attention.
_FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("sdpa", ("_supports_sdpa",)),
    ("flash_attention", ("_supports_flash_attn", "_supports_flash_attn_2")),
    ("flex_attention", ("_supports_flex_attn",)),
)
# What a flag speaks of. Other workloads, and what is done to a model beside, may break for reasons of their own.
_PLAIN_WORKLOADS = ("prefill", "generate")
_PLAIN_AXES = ("quantisation", "transformation", "device_map")
_WRONG = (Verdict.INACCURATE, Verdict.ERROR, Verdict.SUBSTITUTED, Verdict.CRASHED, Verdict.DEVICE_LOST)


class Finding(StrEnum):
    """How a flag and the measurement disagree."""

    WRONG = "declared and wrong"
    REFUSED = "declared and refused"
    UNDECLARED = "undeclared and right"


@dataclass(frozen=True)
class Claim:
    """What a class declares of one attention family, beside what was measured."""

    architecture: str
    family: str
    flag: str
    declared: bool | None
    measured: str
    mix: list[Share]
    finding: Finding | None
    shown_by: list[Record]  # the cells that contradict the flag, the shortest to reproduce first


def claims_of(records: Iterable[Record]) -> list[Claim]:
    """A claim for each architecture and attention family."""
    by_architecture: dict[str, list[Record]] = {}
    for record in records:
        by_architecture.setdefault(record.axes["architecture"], []).append(record)
    return [
        _claim(name, family, flags, group) for name, group in by_architecture.items() for family, flags in _FAMILIES
    ]


def by_architecture(claims: Iterable[Claim]) -> dict[str, list[Claim]]:
    """The claims of each architecture; architectures with a disagreement first."""
    found: dict[str, list[Claim]] = {}
    for claim in claims:
        found.setdefault(claim.architecture, []).append(claim)
    return dict(sorted(found.items(), key=lambda item: not any(claim.finding for claim in item[1])))


def disagreements(claims: Iterable[Claim]) -> dict[Finding, dict[str, list[Claim]]]:
    """By finding and flag, the claims that the measurement contradicts."""
    found: dict[Finding, dict[str, list[Claim]]] = {finding: {} for finding in Finding}
    for claim in claims:
        if claim.finding:
            found[claim.finding].setdefault(claim.flag, []).append(claim)
    return found


def disagreement_line(report: Report) -> Iterator[str]:
    """How often flags and measurement disagree, in one line; none if they nowhere do."""
    counts = Counter(claim.finding for claim in claims_of(report.records) if claim.finding)
    if counts:
        said = ", ".join(f"{counts[finding]:,} {finding}" for finding in Finding)
        yield f"flags of model classes against what was measured: {said}"


def _claim(architecture: str, family: str, flags: tuple[str, ...], records: list[Record]) -> Claim:
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
    # Of a class of which nothing is known, nothing is contradicted.
    finding, shown_by = _finding(declared.get(flag), ran) if declared else (None, [])
    return Claim(architecture, family, flag, declared.get(flag), measured, mix(ran), finding, shown_by)


def _finding(declared: bool | None, ran: list[Record]) -> tuple[Finding | None, list[Record]]:
    plain = sorted(filter(_is_plain, ran), key=lambda record: len(record.cell))
    wrong = [record for record in plain if record.verdict in _WRONG]
    right = [record for record in plain if record.verdict is Verdict.SUPPORTED]
    refused = [record for record in plain if record.verdict is Verdict.REFUSED]
    if declared and wrong:
        return Finding.WRONG, wrong
    # A dtype or a kernel that is refused where others are right is no refusal of the implementation.
    if declared and refused and not right:
        return Finding.REFUSED, refused
    # A class that declares no support owes no particular error, so only success contradicts it.
    if not declared and right and not wrong:
        return Finding.UNDECLARED, right
    return None, []


def _is_plain(record: Record) -> bool:
    return record.axes["workload"] in _PLAIN_WORKLOADS and all(
        record.axes[axis] == SILENT[axis] for axis in _PLAIN_AXES
    )
