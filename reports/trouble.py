"""What became of trouble that was planted into real runs: the document, what is wrong in it, and its tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import AwareDatetime, Field

from matrix.stack import Stack
from matrix.verdict import Verdict
from reports.part import Part


class Kind(Part):
    """One kind of trouble."""

    about: str
    verdict: Verdict = Field(description="what the cell that meets it is to have")


class Attribution(Part):
    """One cell that met trouble, in one run."""

    run: str
    trouble: str
    moment: str = Field(description="when it struck: load, forward, generate, after")
    cell: str
    verdict: Verdict
    phase: str = Field(default="", description="that its record names; empty where nothing failed")
    said: str = Field(default="", description="the reason of its verdict")
    wrong: list[str] = Field(default=[], description="what is not as it is to be")


class Changed(Part):
    """A cell that met no trouble, and has another verdict than without it."""

    cell: str
    was: Verdict
    now: Verdict


class TroubledRun(Part):
    """One run of the plan."""

    name: str = Field(description="its options, and what was special of it")
    planned: int
    met: int = Field(description="cells that met trouble")
    seconds: float
    status: int | None = Field(description="of pytest; None if it did not end by itself")
    changed: list[Changed] = Field(default=[], description="cells that answer for others")
    lost: list[str] = Field(default=[], description="cells without a record")
    helped: list[str] = Field(
        default=[], description="cells that others' trouble made go wrong, and that were right alone: none was accused"
    )
    problems: list[str] = Field(default=[], description="what else is not as it is to be")


class Campaign(Part):
    """All runs of one machine."""

    started: AwareDatetime
    finished: AwareDatetime
    stack: Stack
    kinds: dict[str, Kind]
    undisturbed: dict[str, int] = Field(description="verdict -> how many cells, of the run without trouble")
    runs: list[TroubledRun]
    attributions: list[Attribution]


def wrong_in(campaign: Campaign) -> Iterator[str]:
    """What is not as it is to be, a line each."""
    for one in campaign.attributions:
        for wrong in one.wrong:
            yield f"{one.run}: {one.trouble} in {one.moment} of {one.cell}: {wrong}"
    for run in campaign.runs:
        if run.status is None:
            yield f"{run.name}: it did not end by itself"
        yield from (f"{run.name}: {one.cell} was {one.was} and is {one.now}" for one in run.changed)
        yield from (f"{run.name}: {cell} has no record" for cell in run.lost)
        yield from (f"{run.name}: {problem}" for problem in run.problems)


def trouble_lines(campaign: Campaign) -> Iterator[str]:
    """The tables for a terminal."""
    width = max(map(len, campaign.kinds), default=0)
    for name, kind in campaign.kinds.items():
        by_moment = _by_moment(campaign, name)
        found = "  ".join(f"{moment} {_outcome(ones)}" for moment, ones in by_moment.items())
        yield f"{name:<{width}}  {kind.verdict:<13}  {found}"
    yield ""
    for run in campaign.runs:
        ended = "did not end" if run.status is None else f"exit {run.status}"
        yield (
            f"{run.name}: {run.planned} cells, {run.met} met trouble, {len(run.changed)} others changed, "
            f"{len(run.lost)} records lost, {len(run.helped)} helped, {ended} after {run.seconds:.0f} s"
        )
    right = sum(not one.wrong for one in campaign.attributions)
    yield f"{right} of {_met(campaign)} are what they should be, in their cell and phase"
    yield from (f"WRONG {line}" for line in wrong_in(campaign))


def trouble_markdown(campaign: Campaign) -> str:
    """The same as a page."""
    versions = ", ".join(f"{name} {campaign.stack.versions[name]}" for name in ("torch", "transformers"))
    right = sum(not one.wrong for one in campaign.attributions)
    changed = sum(len(run.changed) for run in campaign.runs)
    lost = sum(len(run.lost) for run in campaign.runs)
    lines = [
        "# Trouble in cells of real runs",
        "",
        f"`python -m conformance.trouble` on {campaign.stack.hardware}, {versions}, {campaign.finished:%Y-%m-%d}: "
        f"{len(campaign.kinds)} kinds, planted {_met(campaign)} times. "
        f"{right} were attributed to their cell and phase with the verdict that they should have, "
        f"{changed} other cells have another verdict than without them, {lost} records are lost.",
        "",
        "| run | cells | met trouble | others changed | records lost | helped | exit | seconds |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for run in campaign.runs:
        status = "did not end" if run.status is None else run.status
        lines.append(
            f"| {run.name} | {run.planned} | {run.met} | {len(run.changed)} | {len(run.lost)} | {len(run.helped)} "
            f"| {status} | {run.seconds:.0f} |"
        )
    lines += [
        "",
        "*Helped*: what an earlier cell left behind made it go wrong, and it was right in a process of its own.",
    ]
    moments = list(dict.fromkeys(one.moment for one in campaign.attributions))
    lines += [
        "",
        f"| trouble | what happens | its cell is to be | {' | '.join(moments)} |",
        "|---" * (3 + len(moments)) + "|",
    ]
    for name, kind in campaign.kinds.items():
        found = _by_moment(campaign, name)
        cells = [_outcome(found[moment]) if moment in found else "" for moment in moments]
        lines.append(f"| {name} | {kind.about} | {kind.verdict} | {' | '.join(cells)} |")
    wrong = list(wrong_in(campaign))
    lines += ["", "Nothing is wrong." if not wrong else "## Wrong", ""]
    lines += [f"- {line}" for line in wrong]
    return "\n".join(lines).rstrip() + "\n"


def _met(campaign: Campaign) -> int:
    """How often trouble was planted; of a cell whose record is lost there is no attribution."""
    return sum(run.met for run in campaign.runs)


def _by_moment(campaign: Campaign, trouble: str) -> dict[str, list[Attribution]]:
    found: dict[str, list[Attribution]] = {}
    for one in campaign.attributions:
        if one.trouble == trouble:
            found.setdefault(one.moment, []).append(one)
    return found


def _outcome(ones: Iterable[Attribution]) -> str:
    """How many were as they should be; of the others the verdict and the run."""
    ones = list(ones)
    wrong = [f"{one.run} {one.verdict}{f' in {one.phase}' if one.phase else ''}" for one in ones if one.wrong]
    said = f"{len(ones) - len(wrong)} of {len(ones)}"
    return f"{said} ({', '.join(wrong)})" if wrong else said
