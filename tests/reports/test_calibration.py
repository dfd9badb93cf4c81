"""Honest cells and seeded faults beside the bounds."""

import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cell import parse_cell
from matrix.verdict import Verdict
from reports.calibration import BINS_A_DECADE, HIGHEST, LOWEST, calibrate, calibration_lines, calibration_svg, histogram
from reports.document import Record, Report, Waived, make_report
from reports.power import Power, Rules, Trial
from tests.builders import HONEST, PROPERTY, ROOT, completed, make_run, make_stack, record_of

ONE, QUANTISED = "llama-float32-eager-prefill", "llama-float32-eager-nf4-prefill"
WAIVED = Waived(reason="a fault", url="https://example.org/1")


def report(*records: Record) -> Report:
    return make_report(make_run(seed=2), list(records))


def judged(cell: str, verdict: Verdict = Verdict.SUPPORTED, **errors: float) -> Record:
    observation = completed(parse_cell(cell), comparisons=(replace(HONEST, **errors),))
    return record_of(cell, verdict, observation=observation)


def power(ratio: float, verdict: Verdict = Verdict.INACCURATE) -> Power:
    trial = Trial(
        fault="a",
        cell=ONE,
        dtype="float32",
        architecture="llama",
        verdict=verdict,
        ratio=ratio,
        caught=Rules(suite=True),
    )
    run = make_run()
    return Power(started=run.started, finished=run.started, stack=make_stack(), faults={"a": "b"}, trials=[trial])


def test_what_a_cell_needed_is_what_it_erred_over_what_the_baseline_erred() -> None:
    (cell,) = calibrate([report(judged(ONE, candidate_max=1.75, candidate_mean=0.3))], []).honest
    assert (cell.k_max, cell.k_mean, cell.seed, cell.quantised) == (1.5, 1.2, 2, False)
    assert math.isclose(cell.ratio, 0.3 / (1.4 * 0.25))


def test_cells_are_judged_anew_by_the_bounds_of_this_release() -> None:
    """A report of another release may have accused a cell that today's bounds let pass, or the other way round."""
    accused = judged(QUANTISED, Verdict.INACCURATE, candidate_mean=0.4)
    passed = judged(ONE, Verdict.SUPPORTED, candidate_mean=0.4)
    found = calibrate([report(accused, passed)], [])
    assert [cell.cell for cell in found.alarms] == [ONE]


def test_a_broken_gate_accuses_as_a_broken_bound_does() -> None:
    found = calibrate([report(judged(ONE, Verdict.INACCURATE, dtype_matches=False))], [])
    assert len(found.alarms) == 1


def test_known_upstream_faults_are_not_honest() -> None:
    faulty = judged(ONE, Verdict.INACCURATE, candidate_mean=9.0).model_copy(update={"waived": WAIVED})
    assert calibrate([report(faulty)], []).honest == []


def test_faults_that_only_evidence_sees_are_not_in_the_numbers() -> None:
    assert calibrate([], [power(3.0), power(0.5, Verdict.SUBSTITUTED)]).faults == [3.0]


def test_the_table_counts_alarms_and_misses() -> None:
    lines = list(calibration_lines(calibrate([report(judged(ONE, candidate_mean=9.0))], [power(0.5), power(2.0)])))
    assert lines[-2] == "1 honest cells, 1 accused"
    assert lines[-1] == "2 trials with a fault in the numbers, 1 below their bound"


@PROPERTY
@given(st.lists(st.floats(min_value=0) | st.just(math.nan)))
def test_each_ratio_lands_in_one_bin(ratios: list[float]) -> None:
    assert sum(histogram(ratios)) == len(ratios)


def test_the_bound_lies_between_two_bins() -> None:
    edge = -LOWEST * BINS_A_DECADE
    assert histogram([0.999]).index(1) == edge - 1
    assert histogram([1.001]).index(1) == edge
    assert histogram([0.0]).index(1) == 0
    assert histogram([math.inf, math.nan])[-1] == 2
    assert len(histogram([])) == (HIGHEST - LOWEST) * BINS_A_DECADE


def test_the_plot_is_well_formed_and_has_a_bar_for_every_bin() -> None:
    root = ElementTree.fromstring(calibration_svg(calibrate([report(judged(ONE))], [power(3.0)])))
    bars = [part for part in root.iter() if part.tag.endswith("rect") and part.get("fill") in ("#1a7f37", "#b3261e")]
    assert len(bars) == 2 * len(histogram([]))
    assert sum(float(bar.get("height", "0")) > 0 for bar in bars) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run.json", "--power", "gone.json"], ["gone.json", "No such file"]),
        (["run.json", "--power", "run.json"], ["run.json", "conformance.power"]),
        (["run.json", "-o", "plot.png"], ["plot.png", ".svg"]),
        (["run.json", "-o", "run.svg"], ["run.json", "sources"]),
        (["run.json", "-o", "no/such/plot.svg"], ["no/such/plot.svg", "cannot be written"]),
        (["gone.json"], ["gone.json", "No such file"]),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    (tmp_path / "run.json").write_text(report(judged(ONE)).model_dump_json(), encoding="utf-8")
    before = (tmp_path / "run.json").read_text(encoding="utf-8")
    command = [sys.executable, "-m", "reports", "calibrate", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    (line,) = answer.stderr.splitlines()
    assert answer.returncode != 0
    assert all(word in line for word in words), line
    assert (tmp_path / "run.json").read_text(encoding="utf-8") == before
