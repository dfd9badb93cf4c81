"""The power command, reduced: what is caught, what drowns in noise and why, and what common rules say beside it."""

from pathlib import Path

import pytest
import torch

from conformance import power
from conformance.common_rules import Logits, assert_close_passes, transformers_passes
from conformance.faults import Fault, catalogue
from conformance.faults.attention import wrong_scale
from conformance.faults.catalogue import sdpa_answered_by
from conformance.power import Share, measure_share
from matrix.axes import Dtype
from matrix.verdict import Verdict
from reports.power import Trial
from tests.builders import make_stack

FAULTS = ("scale_1_percent", "scale_2_percent", "served_by_eager", "stale_cache_slot")
HIDDEN = Fault(
    "scale_0_02_percent",
    "an error that no comparison of logits could tell",
    lambda architecture: True,
    running=lambda model: sdpa_answered_by(wrong_scale(0.02), model),
)


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trial]:
    # Of the last eager attention does the same in bfloat16.
    asked = (*FAULTS, HIDDEN.name, "probabilities_in_bfloat16")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalogue.FAULTS, HIDDEN.name, HIDDEN)
        share = Share("gpt2", Dtype.BFLOAT16, make_stack(), tmp_path_factory.mktemp("fixtures"), asked)
        found = list(measure_share(share))
        known = [trial for trial in found if trial.fault != "scale_2_percent"]
        assert list(measure_share(share, known)) == [trial for trial in found if trial not in known]
    assert [trial.fault for trial in found] == ["", "", *FAULTS, HIDDEN.name]
    return {trial.fault: trial for trial in found}


def test_an_honest_run_is_not_accused(trials: dict[str, Trial]) -> None:
    assert trials[""].verdict is Verdict.SUPPORTED
    assert not trials[""].caught.suite


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(trials: dict[str, Trial], fault: str) -> None:
    assert trials[fault].caught.suite


def test_the_greedy_text_is_compared_with_eagers(trials: dict[str, Trial]) -> None:
    said = {name: trials[name].caught.greedy_text for name in ("served_by_eager", "stale_cache_slot")}
    assert said == {"served_by_eager": False, "stale_cache_slot": True}


def test_evidence_sees_what_numbers_cannot(trials: dict[str, Trial]) -> None:
    assert trials["served_by_eager"].verdict is Verdict.SUBSTITUTED
    assert not trials["served_by_eager"].caught.transformers


def test_what_a_dial_sees_is_told_from_what_the_size_of_the_error_shows(trials: dict[str, Trial]) -> None:
    by_size = {name: trials[name].caught.size for name in ("", *FAULTS[:2])}
    assert by_size == {"": False, "scale_1_percent": False, "scale_2_percent": True}


def test_a_miss_is_measured_against_the_noise(trials: dict[str, Trial]) -> None:
    missed = trials[HIDDEN.name]
    assert not missed.caught.suite
    assert missed.signal_to_noise is not None
    assert 0 < missed.signal_to_noise < 1
    assert missed.below_noise


def test_a_format_that_is_dequantised_at_load_is_tried_for_the_library_is_heard(tmp_path: Path) -> None:
    share = Share("llama_blocks", Dtype.BFLOAT16, make_stack(), tmp_path, ("fp8_scales_transposed",))
    honest, seeded = measure_share(share)
    assert (honest.fault, honest.verdict) == ("", Verdict.SUPPORTED)
    assert seeded.caught.suite


@pytest.mark.parametrize(
    ("architecture", "fault", "swept"), [("gpt_oss", "mxfp4_block_scale", False), ("bert", "scale_10_percent", True)]
)
def test_the_softmax_scale_is_swept_where_its_cell_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, fault: str, swept: bool
) -> None:
    monkeypatch.setattr(power, "FAULTS", {fault: catalogue.FAULTS[fault]})
    monkeypatch.setattr(power, "SWEEP", (10,))
    found = list(measure_share(Share(architecture, Dtype.FLOAT32, make_stack(), tmp_path, ())))
    assert [trial.fault for trial in found[:2]] == ["", fault]
    assert [trial.percent for trial in found[2:]] == ([10] if swept else [])


def logits(error: float, *, rows: int = 1) -> Logits:
    """Five rows, of which so many are off by so much where they are attended to, and wildly off where not."""
    eager = torch.ones(5, 3, 4)
    ours = eager.clone()
    ours[:rows, :2] += error
    ours[:, 2] = 99
    attended = torch.tensor([[True, True, False]] * 5)
    return Logits(ours, eager, eager.double(), attended, None, {})


@pytest.mark.parametrize(
    ("error", "rows", "transformers", "torch_testing"),
    [
        (0.0, 5, True, True),
        (5e-6, 5, True, True),
        (5e-5, 5, True, False),
        (0.1, 1, True, False),
        (0.1, 2, False, False),
    ],
)
def test_common_rules_are_applied_as_they_stand(
    error: float, rows: int, transformers: bool, torch_testing: bool
) -> None:
    found = logits(error, rows=rows)
    assert transformers_passes(found, Dtype.FLOAT32) is transformers
    assert assert_close_passes(found, Dtype.FLOAT32) is torch_testing


def test_nothing_is_seeded_into_a_cell_that_the_matrix_does_not_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power, "why_impossible", lambda cell, architecture: "its canvas is told of by other arguments")
    assert list(measure_share(Share("llama", Dtype.FLOAT32, make_stack(), tmp_path, ("scale_1_percent",)))) == []
