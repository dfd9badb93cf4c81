"""The claims of the guide: each can fall both ways, and what measures them runs without a GPU."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from conformance.claims import latency
from conformance.claims.latency import TOO_LARGE, Backend, Benchmarks, Grid, failure_of, lengths, padded_batch
from conformance.claims.pipelines import compare_pipeline, make_prompts, make_tokenizer
from conformance.claims.quality import measure_quality
from conformance.claims.shapes import FALCON_7B, LLAMA_7B, Shape, Weights
from conformance.claims.sizes import measure_sizes
from conformance.models.fixtures import fixture
from matrix import claims
from matrix.claims import CLAIMS, EAGER, FLASH, OUT_OF_MEMORY, SDPA, Quality, Sizes, slower_or_hungrier
from matrix.rows import Family, RowOutcome
from matrix.stack import Device, detect_stack
from reports.document import Point
from tests.builders import ARCHITECTURES, cuda_stack, make_stack
from tests.sessions import run_pytest

HOLDS, VIOLATED, UNAVAILABLE = RowOutcome.HOLDS, RowOutcome.VIOLATED, RowOutcome.UNAVAILABLE
TINY = Shape(
    "tiny Llama",
    "llama",
    {
        "vocab_size": 256,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    },
)
TINY_FALCON = Shape(
    "tiny Falcon", "falcon", {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
)
GRID = Grid(
    shapes=(TINY, TINY_FALCON),
    sequence=32,
    batches=(1, 2),
    short=16,
    sequences=(16, 32),
    generated_batch=4,
    prompt=16,
    new_tokens=4,
)
CPU = torch.device("cpu")

needs_quantisation = pytest.mark.skipif(
    bool(CLAIMS["C5"].why_unreachable(replace(detect_stack(), device=Device.CPU))),
    reason="nothing quantised can be loaded on a CPU",
)


def point(backend: str = EAGER, seconds: float = 1.0, **changes: Any) -> Point:
    given = {"subject": "Llama-7B", "sequence": 4096, "seconds": [seconds] * 3, **changes}
    return Point(backend=backend, **given)


def pair(eager: float, flash: float, **changes: Any) -> list[Point]:
    return [point(EAGER, eager, **changes), point(FLASH, flash, **changes)]


def memory(eager: float, flash: float, **changes: Any) -> list[Point]:
    return [point(EAGER, peak_mib=eager, **changes), point(FLASH, peak_mib=flash, **changes)]


def generations(flash: tuple[float, float], sdpa: tuple[float, float], subject: str = "Llama-7B") -> list[Point]:
    return [
        point(backend, subject=subject, workload="generate", batch=8, padding=padding, tokens_per_second=rate)
        for backend, rates in ((FLASH, flash), (SDPA, sdpa))
        for padding, rate in zip((0.0, 0.5), rates, strict=True)
    ]


@pytest.mark.parametrize(
    ("points", "outcome", "words"),
    [
        (pair(3.0, 1.0), HOLDS, ["3.00 times as fast for Llama-7B", "batch 1", "length 4096"]),
        (pair(3.0, 1.0) + pair(1.4, 1.0, batch=4), VIOLATED, ["1.40 to 3.00", "batches 1, 4"]),
        (pair(3.0, 1.0) + pair(1.0, 2.0, subject="Falcon-7B"), VIOLATED, ["0.50 times as fast for Falcon-7B"]),
        (pair(3.0, 1.0) + [point(seconds=1, failure=OUT_OF_MEMORY, batch=8)], HOLDS, ["out of memory", "batch 8"]),
        (pair(3.0, 1.0) + pair(1.0, 1.0, padding=0.5), HOLDS, []),
        (pair(math.nan, 1.0), UNAVAILABLE, ["Not measured"]),
        ([point(), point(FLASH, failure="ImportError: no")], UNAVAILABLE, ["flash_attention_2: ImportError: no"]),
        ([], UNAVAILABLE, ["Not measured"]),
    ],
)
def test_a_speed_up_is_considerable_or_not(points: list[Point], outcome: RowOutcome, words: list[str]) -> None:
    answer = claims.judge_speed_up(points)
    assert answer.outcome is outcome
    assert [word for word in words if word not in answer.sentence] == []


@pytest.mark.parametrize(
    ("short", "long", "outcome"),
    [(1.1, 2.0, HOLDS), (1.6, 2.0, VIOLATED), (0.9, 1.0, VIOLATED), (1.4, 1.2, VIOLATED), (math.inf, 2.0, UNAVAILABLE)],
)
def test_padding_takes_the_gain_of_short_sequences_and_leaves_that_of_long_ones(
    short: float, long: float, outcome: RowOutcome
) -> None:
    points = pair(short, 1.0, sequence=512, padding=0.3) + pair(long, 1.0, padding=0.9) + pair(9.0, 1.0)
    answer = claims.judge_padding(points)
    assert answer.outcome is outcome
    if outcome is not UNAVAILABLE:
        assert f"{short:.2f} times as fast at length 512 (30 % padding)" in answer.sentence
        assert f"{long:.2f} times at length 4096 (90 % padding)" in answer.sentence


@pytest.mark.parametrize(
    ("points", "outcome", "words"),
    [
        (memory(100, 50, sequence=512) + memory(20480, 1024), HOLDS, ["20.0 times", "20,480 to 1,024 MiB"]),
        (memory(100, 50), VIOLATED, ["2.00 times", "length 4096"]),
        (memory(2000, 100) + memory(900, 100, subject="Falcon-7B"), HOLDS, ["9.00 times for Falcon-7B"]),
        (memory(math.nan, 50), UNAVAILABLE, ["Not measured"]),
        (pair(3.0, 1.0), UNAVAILABLE, ["no peak memory"]),
    ],
)
def test_memory_falls_as_far_as_was_said_or_not(points: list[Point], outcome: RowOutcome, words: list[str]) -> None:
    answer = claims.judge_memory(points)
    assert answer.outcome is outcome
    assert [word for word in words if word not in answer.sentence] == []


@pytest.mark.parametrize(
    ("points", "outcome", "words"),
    [
        (generations((100, 70), (100, 95)), HOLDS, ["FlashAttention-2 loses 30 %", "SDPA loses 5 %"]),
        (generations((100, 95), (100, 90)), VIOLATED, ["loses 5 % (100 to 95 tokens/s)"]),
        (generations((100, 120), (100, 95)), VIOLATED, ["FlashAttention-2 gains 20 %"]),
        (generations((100, 70), (100, 95)) + generations((9, 9), (9, 9), "Falcon-7B"), VIOLATED, ["Falcon-7B"]),
        (generations((100, math.nan), (100, 95)), UNAVAILABLE, ["Not measured"]),
        (generations((100, 70), (100, 95))[:2], UNAVAILABLE, ["Not measured"]),
    ],
)
def test_padding_slows_generation_significantly_or_not(
    points: list[Point], outcome: RowOutcome, words: list[str]
) -> None:
    answer = claims.judge_padded_generation(points)
    assert answer.outcome is outcome
    assert [word for word in words if word not in answer.sentence] == []


def sizes(**linear: int) -> Sizes:
    return Sizes("Llama-7B", {"float32": 4000, "bfloat16": 2000, "int8": 1001, "fp4": 560, **linear}, 32, 1000)


@pytest.mark.parametrize(
    ("measured", "four", "eight"),
    [
        (sizes(), HOLDS, HOLDS),
        (sizes(fp4=700), VIOLATED, HOLDS),
        (sizes(int8=1100), HOLDS, VIOLATED),
        (sizes(int8=2000, fp4=2000), VIOLATED, VIOLATED),
    ],
)
def test_weights_shrink_as_was_said_or_not(measured: Sizes, four: RowOutcome, eight: RowOutcome) -> None:
    answers = claims.judge_four_bits(measured), claims.judge_eight_bits(measured)
    assert tuple(answer.outcome for answer in answers) == (four, eight)
    assert answers[0].figures["float32/fp4 linear weights"] == 4000 / measured.linear["fp4"]
    assert answers[0].figures["float32/fp4 whole model"] == (32 * 4000 + 4000) / (32 * measured.linear["fp4"] + 2000)


@pytest.mark.parametrize(
    ("divergence", "outcome"), [(0.001, HOLDS), (0.5, VIOLATED), (math.nan, VIOLATED), (None, UNAVAILABLE)]
)
def test_int8_costs_almost_nothing_or_something(divergence: float | None, outcome: RowOutcome) -> None:
    found = [Quality("llama", "float16", "none", 0.0001, 1.0), Quality("opt", "float16", "nf4", 0.2, 0.5)]
    if divergence is not None:
        found += [Quality("llama", "float16", "int8", 0.002, 0.98), Quality("opt", "float16", "int8", divergence, 0.95)]
    answer = claims.judge_quality(found)
    assert answer.outcome is outcome
    assert ("not finite for opt float16" in answer.sentence) == (divergence is not None and math.isnan(divergence))


@pytest.mark.parametrize(("ratio", "outcome"), [(1.5, HOLDS), (1.0, VIOLATED), (math.nan, UNAVAILABLE)])
def test_a_pipeline_is_slower_or_not(ratio: float, outcome: RowOutcome) -> None:
    several = {"workload": "generate", "batch": 4}
    points = [point("generate()", workload="generate"), point("pipeline()", ratio, workload="generate")]
    points += [point("generate()", **several), point("pipeline()", 3.0, **several)]
    answer = claims.judge_pipeline(points, same_tokens=True)
    assert answer.outcome is outcome
    if outcome is not UNAVAILABLE:
        assert f"{ratio:.2f} times as long" in answer.sentence
        assert "3.00 times for 4 prompts, with the same greedy tokens" in answer.sentence


def test_what_is_slower_or_hungrier_than_eager_attention_is_said_in_words() -> None:
    points = [
        point(peak_mib=100),
        point("sdpa (math)", 1.5, peak_mib=90),
        point(FLASH, 1.01, peak_mib=300),
        point(SDPA, math.nan, peak_mib=math.inf),
        point("sdpa (cudnn)", failure=OUT_OF_MEMORY),
    ]
    assert slower_or_hungrier(points) == [
        "sdpa (math) is slower than eager attention at 1 of 1 points, at worst 1.50 times "
        "(Llama-7B, batch 1, length 4096).",
        "flash_attention_2 needs more memory than eager attention at 1 of 1 points, at worst 3.00 times "
        "(Llama-7B, batch 1, length 4096).",
    ]
    assert slower_or_hungrier([]) == []


def test_a_claim_says_what_it_needs() -> None:
    libraries = {"bitsandbytes": "0.50.2", "accelerate": "1.15.0"}
    legacy = libraries | {"transformers": "4.48.3"}
    assert list(CLAIMS) == [f"C{number}" for number in range(1, 9)]
    assert CLAIMS["C1"].why_unreachable(make_stack()) == "needs cuda, flash-attn"
    assert CLAIMS["C1"].why_unreachable(cuda_stack({"flash-attn": "2.8.3"})) == ""
    assert CLAIMS["C5"].why_unreachable(make_stack()) == "needs bitsandbytes, accelerate"
    assert CLAIMS["C5"].why_unreachable(make_stack(libraries)) == ""
    assert CLAIMS["C5"].why_unreachable(make_stack(legacy)) == "needs cuda or transformers >=4.49 (here 4.48.3)"
    assert CLAIMS["C5"].why_unreachable(cuda_stack(legacy)) == ""


@pytest.mark.parametrize("rows", [1, 4, 8])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_rows_are_uneven_and_together_padded_as_wanted(rows: int, share: float) -> None:
    found = lengths(rows, 512, share)
    assert len(found) == rows
    assert all(1 <= length <= 512 for length in found)
    assert sum(found) == max(rows, round((1 - share) * rows * 512))
    assert (len(set(found)) > 1) == (rows > 1 and 0 < share < 1)
    mask = padded_batch(rows, 512, share, 256)["attention_mask"]
    assert mask.sum(1).tolist() == found
    assert torch.equal(mask, mask.sort(1).values)  # padding is on the left


def test_the_grid_asks_for_real_shapes_and_for_what_claims_need_first() -> None:
    with torch.device("meta"):
        counts = [
            sum(weight.numel() for weight in shape.model("eager", torch.bfloat16).parameters())
            for shape in (LLAMA_7B, FALCON_7B)
        ]
    assert [round(count / 1e9, 2) for count in counts] == [6.74, 6.92]
    places = Grid().places("C1", LLAMA_7B)
    assert {place.backend.name for place in places[:8]} == {EAGER, FLASH}
    assert [place.batch for place in places[:4]] == [1, 2, 4, 8]
    assert [(place.backend.name, place.batch) for place in places[-2:]] == [("sdpa (math)", 1), ("flex_attention", 1)]


def test_twins_share_weights_and_agree() -> None:
    for shape in GRID.shapes:
        weights = Weights(shape, CPU, torch.float32)
        eager, sdpa = weights.under("eager"), weights.under("sdpa")
        assert sdpa is weights.under("sdpa")
        assert [p.data_ptr() for p in eager.parameters()] == [p.data_ptr() for p in sdpa.parameters()]
        batch = padded_batch(2, 16, 0.0, 256)
        with torch.no_grad():
            torch.testing.assert_close(eager(**batch).logits, sdpa(**batch).logits)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost such small models far more than they give."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Benchmarks:
    monkeypatch.setattr(latency, "ENOUGH_SECONDS", 0.0)
    kept = [backend for backend in latency.SLOW if backend.attention != "flex_attention"]  # it compiles for long
    monkeypatch.setattr(latency, "SLOW", kept)
    return Benchmarks(CPU, GRID, flash_attention="sdpa")


def test_points_are_measured_once_and_refusals_are_points(benchmarks: Benchmarks) -> None:
    points = benchmarks.points("C1")
    found = {(p.subject, p.backend, p.batch): p for p in points}
    assert len(found) == len(points) == 2 * (6 * 2 + 1)
    plain = found["tiny Llama", "sdpa", 2]
    assert (len(plain.seconds), plain.kernels, plain.failure, plain.sequence) == (3, ["flash"], "", 32)
    refused = found["tiny Llama", "sdpa (cudnn)", 1]
    assert refused.failure.startswith("RuntimeError: No ")
    assert "\n" not in refused.failure
    assert not refused.seconds
    longest = [p for p in benchmarks.points("C3") if p.sequence == 32]
    assert all(p is found[p.subject, p.backend, 1] for p in longest)
    assert claims.judge_speed_up(points).outcome in (HOLDS, VIOLATED)


def test_padded_prefills_and_generations_are_measured(benchmarks: Benchmarks) -> None:
    padded = benchmarks.points("C2")
    assert not any(p.failure for p in padded)
    assert {p.padding for p in padded if p.sequence == 32} == {0.0, 0.2969, 0.6016, 0.8984}
    assert claims.judge_padding(padded).outcome in (HOLDS, VIOLATED)
    generated = benchmarks.points("C4")
    assert {(p.workload, p.backend, p.padding) for p in generated} == {
        ("generate", backend, padding) for backend in (FLASH, SDPA) for padding in (0.0, 0.5)
    }
    assert all(p.tokens_per_second and p.tokens_per_second > 0 for p in generated)


def test_what_is_out_of_memory_is_not_tried_larger(benchmarks: Benchmarks, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def timed(weights: Weights, place: latency.Place) -> Point:
        tried.append(place)
        if place.backend == Backend(EAGER):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 64 GiB")
        return place.point

    monkeypatch.setattr(benchmarks, "_timed", timed)
    points = [p for p in benchmarks.points("C1") if p.subject == "tiny Llama" and p.backend in (EAGER, SDPA)]
    assert [p.failure for p in points] == [OUT_OF_MEMORY, TOO_LARGE, "", ""]
    assert sum(place.backend == Backend(EAGER) for place in tried) == 2  # once for each model
    assert claims.judge_speed_up(points).outcome is UNAVAILABLE


def test_a_claim_whose_time_is_spent_says_so(benchmarks: Benchmarks, monkeypatch: pytest.MonkeyPatch) -> None:
    hurried = Benchmarks(CPU, replace(GRID, seconds=(("C1", -1.0),)), flash_attention="sdpa")
    points = hurried.points("C1")
    assert {p.failure for p in points} == {latency.OUT_OF_TIME}
    assert claims.judge_speed_up(points).outcome is UNAVAILABLE


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("x"), OUT_OF_MEMORY),
        (RuntimeError("CUDA error: out of memory\nmore"), OUT_OF_MEMORY),
        (RuntimeError("No available kernel.\nmore"), "RuntimeError: No available kernel."),
        (ValueError(), "ValueError: "),
    ],
)
def test_a_failure_is_one_line(error: Exception, said: str) -> None:
    assert failure_of(error) == said


@needs_quantisation
def test_sizes_are_those_of_the_weights_and_their_scales() -> None:
    found = measure_sizes(CPU, TINY)
    weights = 4 * 64 * 64 + 3 * 64 * 128
    assert (found.linear["float32"], found.linear["bfloat16"]) == (4 * weights, 2 * weights)
    assert found.linear["int8"] == weights + 4 * (4 * 64 + 2 * 128 + 64)  # a scale for each row
    # A scale in 32 bits for each block of 64, and a code book of 16 numbers for each of the seven modules.
    assert found.linear["fp4"] == found.linear["nf4"] == weights // 2 + 4 * weights // 64 + 7 * 64
    assert (found.layers, found.other_parameters) == (2, 2 * 256 * 64 + 5 * 64)


@needs_quantisation
def test_quality_is_measured_for_each_format(tmp_path: Path, one_thread: None) -> None:
    found = measure_quality(Device.CPU, ARCHITECTURES, tmp_path, ("llama",))
    assert {(quality.dtype, quality.quantisation) for quality in found} == {
        (dtype, form) for dtype in ("float16", "bfloat16") for form in ("none", "int8", "fp4", "nf4")
    }
    by_form = {quality.quantisation: quality.kl_mean for quality in found if quality.dtype == "float16"}
    assert by_form["none"] < by_form["int8"] < by_form["nf4"]


@needs_quantisation
def test_a_pipeline_and_generate_take_turns(tmp_path: Path, one_thread: None) -> None:
    checkpoint = str(fixture(ARCHITECTURES["opt"], tmp_path))
    compared = compare_pipeline("small", checkpoint, CPU, new_tokens=4, rounds=2)
    assert [(p.backend, p.batch, len(p.seconds)) for p in compared.points] == [
        ("generate()", 1, 2),
        ("pipeline()", 1, 2),
        ("generate()", 4, 2),
        ("pipeline()", 4, 2),
    ]
    assert compared.same_tokens
    assert claims.judge_pipeline(compared.points, same_tokens=True).outcome in (HOLDS, VIOLATED)


def test_every_token_has_a_word_and_every_word_is_one_token() -> None:
    tokenizer = make_tokenizer(256)
    for prompt in make_prompts(256):
        tokens = tokenizer(prompt)["input_ids"]
        assert len(tokens) == 16
        assert tokenizer.decode(tokens).split() == prompt.split()


def test_marked_benchmarks_are_claims_and_those_of_time_want_to_be_alone(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", "-n", "0", "-m", "benchmark", "-k", "C1 or C2 or C3 or C4", tests="")
    rows = {row.name: row for row in session.report.rows}
    assert session.status == 1  # nothing could be measured, and an empty run is a failed run
    assert session.report.problems == ["no cell was executed: an empty run is a failed run"]
    assert list(rows) == list(CLAIMS)[:4]
    assert {row.family for row in rows.values()} == {Family.CLAIM}
    assert session.report.records == []
    assert rows["C1"].outcome is UNAVAILABLE
    assert rows["C1"].reason.startswith("needs cuda")
    assert rows["C1"].about == CLAIMS["C1"].about


@needs_quantisation
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-n", "0"], "measures time, alone on its device: python -m pytest -m benchmark"),
        (["-n", "1", "-m", "benchmark"], "measures time, and other workers would disturb it: run without -n"),
    ],
)
def test_time_is_not_measured_beside_others(tmp_path: Path, arguments: list[str], reason: str) -> None:
    session = run_pytest(tmp_path / "out", *arguments, "-k", "C8", tests="conformance/test_claims.py")
    (row,) = session.report.rows
    assert (row.name, row.outcome, row.reason) == ("C8", UNAVAILABLE, reason)
