"""Processes that hold one model together: what they observe, honestly and with faults, and how they end."""

import os
import select
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from conformance import ranks as module
from conformance.bench import Bench
from conformance.faults import find
from conformance.ranks import can_go_on, frames_in, together, variables
from matrix.cell import parse_cell
from matrix.expectation import SUPPORTED
from matrix.observation import Comparison, Ending, Evidence, Failure, Observation, Phase
from matrix.stack import Device
from matrix.verdict import Judgement, Verdict, judge
from tests.builders import ARCHITECTURES

CELL = "gpt_neox-float32-sdpa-tp2-left-prefill"
ADAPTED = "llama-float32-sdpa-tp2-adapter_added"
HALF = Evidence(weight_bytes=50, divided=3)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One for all, since to start two processes takes as long as ten cells."""
    cache = tmp_path_factory.mktemp("fixtures")
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, dials=False)
    yield bench
    bench.give_back()


def judged(bench: Bench, cell_id: str, fault: str = "") -> tuple[Observation, Judgement]:
    cell = parse_cell(cell_id)
    bench.fault = find(fault) if fault else None
    observation = bench.run(cell)
    return observation, judge(cell, ARCHITECTURES[cell.architecture], observation, SUPPORTED, Device.CPU)


@pytest.mark.parametrize(
    "cell_id",
    [CELL, "llama-bfloat16-sdpa-tp2-reload", "llama-float16-sdpa-tp2-left-prefill"],  # the last with dials
)
def test_two_processes_are_one(bench: Bench, cell_id: str) -> None:
    observation, judgement = judged(bench, cell_id)
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
    first, second = observation.evidence.rank_bytes
    assert observation.evidence.divided > 10
    assert max(first, second) < 0.6 * observation.evidence.whole_bytes
    assert len(observation.comparisons) == 1  # the second found the very same


@pytest.mark.parametrize(
    "fault", ["shards_swapped", "parts_not_summed", "bias_of_each_process", "one_process_says_otherwise"]
)
def test_what_goes_wrong_between_them_is_seen(bench: Bench, fault: str) -> None:
    observation, judgement = judged(bench, CELL, fault)
    assert judgement.verdict is Verdict.INACCURATE, judgement.reason
    # Only where they do not agree each is held against golden.
    assert len(observation.comparisons) == (2 if fault == "one_process_says_otherwise" else 1)


def test_an_adapter_is_divided_with_the_model_and_a_fault_of_it_is_seen(bench: Bench) -> None:
    pytest.importorskip("peft")
    observation, judgement = judged(bench, ADAPTED)
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
    assert len(observation.comparisons) == 1
    assert judged(bench, ADAPTED, "adapter_scaled_twice")[1].verdict is Verdict.INACCURATE


def test_a_process_that_is_gone_is_one_record_and_the_next_cell_has_others(bench: Bench) -> None:
    judged(bench, CELL)
    assert bench._ranks is not None
    os.kill(bench._ranks._ranks[1].pid, signal.SIGKILL)
    observation, judgement = judged(bench, CELL)
    assert judgement.verdict is Verdict.CRASHED
    assert observation.failure is not None
    assert "process 1 of 2 ended" in observation.failure.message
    assert judged(bench, CELL)[1].verdict is Verdict.SUPPORTED


def test_processes_that_hang_are_one_record_and_are_ended(bench: Bench) -> None:
    judged(bench, CELL)
    assert bench._ranks is not None
    stopped = os.pidfd_open(bench._ranks._ranks[1].pid)
    signal.pidfd_send_signal(stopped, signal.SIGSTOP)
    bench._ranks.seconds = 1.0
    observation, judgement = judged(bench, CELL)
    bench._ranks.seconds = module.SECONDS
    assert judgement.verdict is Verdict.TIMEOUT
    assert observation.failure is not None
    assert "no answer after 1 s" in observation.failure.message
    assert select.select([stopped], [], [], 10.0)[0]  # which can be read once it has ended


def raised(message: str, ending: Ending = Ending.RAISED) -> Observation:
    return Observation(ending, Failure(Phase.FORWARD, "RuntimeError", message, frames=(message,)))


@pytest.mark.parametrize(
    ("answers", "message", "goes_on"),
    [
        pytest.param({0: raised("it"), 1: raised("it")}, "it", True, id="both the same"),
        pytest.param({1: raised("it"), 0: raised("gone")}, "it", False, id="the first that came"),
        pytest.param({0: raised("gone"), 1: raised("it", Ending.CRASHED)}, "it", False, id="who died"),
        pytest.param({1: raised("it")}, "it", False, id="the other waits"),
        pytest.param({0: Observation(Ending.COMPLETED), 1: raised("it")}, "it", False, id="one alone"),
    ],
)
def test_of_failures_it_is_the_one_that_others_came_from(
    answers: Mapping[int, Observation], message: str, goes_on: bool
) -> None:
    failure = together(answers).failure
    assert failure is not None
    assert failure.message == message
    assert can_go_on(answers, 2) is goes_on


def test_what_each_process_found_stands_side_by_side() -> None:
    numbers = dict.fromkeys(
        ("candidate_max", "candidate_mean", "baseline_max", "baseline_mean", "floor_max", "floor_mean"), 1.0
    )
    one = Comparison("logits", 1, shape_matches=True, dtype_matches=True, finite=True, **numbers)
    answers = {
        1: Observation(Ending.COMPLETED, comparisons=(one,), evidence=replace(HALF, divided=2), peak_memory_mib=2.0),
        0: Observation(Ending.COMPLETED, comparisons=(one,), evidence=HALF, peak_memory_mib=1.0),
    }
    seen = together(answers)
    assert [comparison.name for comparison in seen.comparisons] == ["logits", "process 1: logits"]
    assert (seen.evidence.rank_bytes, seen.evidence.divided, seen.peak_memory_mib) == ((50, 50), 2, 2.0)


def test_each_process_is_told_what_torchrun_would_tell_it() -> None:
    told = variables({"OMP_NUM_THREADS": "8", "CUDA_VISIBLE_DEVICES": "1", "CONFORMANCE_GPUS": "2,3"}, 1, 2)
    assert (told["RANK"], told["LOCAL_RANK"], told["WORLD_SIZE"], told["OMP_NUM_THREADS"]) == ("1", "1", "2", "4")
    assert told["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert "CUDA_VISIBLE_DEVICES" not in variables({"CUDA_VISIBLE_DEVICES": "1", "CONFORMANCE_GPUS": ""}, 0, 2)


def test_where_a_process_was_is_read_off_what_it_wrote_last(tmp_path: Path) -> None:
    first = 'Current thread 0x1 (most recent call first):\n  File "/a/b/c/d.py", line 1 in old\n'
    last = first.replace("old", "inner") + f'  File "{module.ROOT}/conformance/bench.py", line 2 in run\n'
    assert frames_in(first + last + '  File "/x/y/z.py", line 3 in outer\n') == ("x/y/z.py:3 outer", "b/c/d.py:1 inner")
    assert frames_in("nothing of the kind") == ()
