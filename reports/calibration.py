"""Honest cells beside seeded faults: how far the ones stay below their bounds, and the others lie beyond."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pydantic import Field

from matrix import oracle
from matrix.cell import SILENT
from matrix.observation import Comparison
from matrix.quantisers import QUANTISATIONS
from matrix.verdict import Verdict
from reports.document import Record, Report
from reports.part import Part
from reports.power import Power
from reports.templating import template_environment

# Ratios of error to bound, in powers of ten; what lies outside is counted at the ends.
LOWEST, HIGHEST, BINS_A_DECADE = -3, 5, 4
_JUDGED = (Verdict.SUPPORTED, Verdict.INACCURATE, Verdict.FLAKY)


class Honest(Part):
    """One cell without a fault, judged by the bounds of this release."""

    cell: str
    device: str
    seed: int
    ratio: float = Field(description="the worst ratio of error to bound")
    k_max: float = Field(description="how many times the baseline's largest error it erred, beyond the floor")
    k_mean: float = Field(description="how many times the baseline's mean error it erred")
    accused: bool = Field(description="whether a bound or a gate is broken")

    @property
    def quantised(self) -> bool:
        """Whether its weights are."""
        return any(f"-{value}" in self.cell for value in QUANTISATIONS if value != SILENT["quantisation"])


class Calibration(Part):
    """What the bounds were chosen from."""

    honest: list[Honest]
    faults: list[float] = Field(description="the worst ratio of error to bound of each trial with a fault in numbers")

    @property
    def alarms(self) -> list[Honest]:
        """The honest cells that would be accused."""
        return [cell for cell in self.honest if cell.accused]


def calibrate(reports: Iterable[Report], powers: Iterable[Power]) -> Calibration:
    """Judge the observations of these reports anew; cells that show a known upstream fault are not honest."""
    honest = [
        _honest(record, comparison, report)
        for report in reports
        for record in report.records
        if record.waived is None and record.verdict in _JUDGED
        for comparison in record.observation.comparisons
    ]
    trials = [trial for power in powers for trial in power.trials if trial.fault and trial.percent is None]
    faults = [trial.ratio for trial in trials if trial.ratio is not None and trial.verdict is not Verdict.SUBSTITUTED]
    return Calibration(honest=honest, faults=faults)


def _honest(record: Record, comparison: Comparison, report: Report) -> Honest:
    comparison = replace(comparison, quantised=record.axes["quantisation"] != SILENT["quantisation"])
    usual = max(comparison.baseline_mean, comparison.floor_mean)
    return Honest(
        cell=record.cell,
        device=report.run.stack.hardware,
        seed=report.run.seed,
        ratio=max((bound.ratio for bound in oracle.bounds(comparison)), key=oracle.nan_last),
        k_max=(comparison.candidate_max / comparison.runs - comparison.floor_max) / (comparison.baseline_max or 1),
        k_mean=comparison.candidate_mean / comparison.runs / usual if usual else 0.0,
        accused=bool(oracle.problems(comparison)),
    )


def calibration_lines(calibration: Calibration) -> Iterator[str]:
    """By device, seed and weights: how many cells, what they needed, how many would be accused."""
    columns = f"{'cells':>6}{'k_max':>8}{'k_mean':>8}{'worst ratio':>13}{'alarms':>8}"
    yield f"{'device':<24}{'seed':>5}  {'weights':<12}{columns}"
    groups: dict[tuple[str, int, bool], list[Honest]] = {}
    for cell in calibration.honest:
        groups.setdefault((cell.device, cell.seed, cell.quantised), []).append(cell)
    for (device, seed, quantised), cells in sorted(groups.items()):
        worst = [max(getattr(cell, name) for cell in cells) for name in ("k_max", "k_mean", "ratio")]
        alarms = sum(cell.accused for cell in cells)
        weights = "quantised" if quantised else "unquantised"
        numbers = f"{worst[0]:>8.2f}{worst[1]:>8.2f}{worst[2]:>13.2f}{alarms:>8}"
        yield f"{device:<24}{seed:>5}  {weights:<12}{len(cells):>6}{numbers}"
    missed = sum(ratio <= 1 for ratio in calibration.faults)
    yield f"{len(calibration.honest):,} honest cells, {len(calibration.alarms)} accused"
    yield f"{len(calibration.faults):,} trials with a fault in the numbers, {missed} below their bound"


def histogram(ratios: Iterable[float]) -> list[int]:
    """Each ratio in one bin of equal width on a logarithmic axis; 0 at its lower end, NaN at its upper."""
    counts = [0] * ((HIGHEST - LOWEST) * BINS_A_DECADE)
    for ratio in ratios:
        place = math.inf if math.isnan(ratio) else math.log10(ratio) if ratio > 0 else -math.inf
        index = (max(min(place, HIGHEST), LOWEST) - LOWEST) * BINS_A_DECADE
        counts[min(int(index), len(counts) - 1)] += 1
    return counts


def calibration_svg(calibration: Calibration) -> str:
    """The plot: honest cells upwards, faults downwards, the bound between them."""
    environment = template_environment()
    return environment.get_template("calibration.svg.j2").render(
        honest=histogram(cell.ratio for cell in calibration.honest),
        faults=histogram(calibration.faults),
        cells=len(calibration.honest),
        trials=len(calibration.faults),
        lowest=LOWEST,
        highest=HIGHEST,
        per_decade=BINS_A_DECADE,
    )
