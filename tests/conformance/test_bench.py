"""The engine on real models: seeded faults are caught, honest cells are not accused."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from conformance.bench import Bench
from conformance.course import Course
from conformance.dials import DIALS
from conformance.dials.masks import padding
from conformance.dials.reading import Reader
from conformance.faults import FAULTS
from conformance.faults.catalogue import Attend, sdpa_answered_by
from conformance.models.fixtures import fixture
from conformance.models.loading import Source, load
from conformance.rooms import doing
from matrix.architectures import load_architectures
from matrix.axes import Dtype
from matrix.cell import parse_cell
from matrix.dials import cause
from matrix.expectation import SUPPORTED
from matrix.observation import Ending, Observation, Phase
from matrix.shortage import is_of_the_host
from matrix.stack import Device, detect_stack
from matrix.verdict import Verdict, judge

ARCHITECTURES = load_architectures()
SDPA = torch.nn.functional.scaled_dot_product_attention


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=tmp_path_factory.mktemp("fixtures"))


def observe(bench: Bench, cell_id: str) -> Observation:
    return bench.run(parse_cell(cell_id))


def verdict(bench: Bench, cell_id: str) -> Verdict:
    cell = parse_cell(cell_id)
    return judge(cell, ARCHITECTURES[cell.architecture], bench.run(cell), SUPPORTED, Device.CPU).verdict


@pytest.mark.parametrize(
    "cell_id",
    [
        "llama-float32-sdpa-left-prefill",
        "mistral-bfloat16-sdpa-left-generate",
        "gpt2-float16-sdpa-right-prefill",
        "opt-float32-sdpa-flash-left-generate",
        "bert-bfloat16-sdpa-math-right-prefill",
        "t5-float16-sdpa-left-generate",
        "bloom-float32-eager-left-generate",
        "falcon_alibi-float32-sdpa-left-generate",
        "llama-float16-sdpa-int8-left-generate",
        "gpt2-bfloat16-eager-nf4-left-prefill",
        "opt-bfloat16-sdpa-nf4_double_quant-left-generate",
        "bert-bfloat16-sdpa-fp4-prefill",
        "llama-bfloat16-sdpa-auto-left-prefill",
    ],
)
def test_honest_cells_are_supported(bench: Bench, cell_id: str) -> None:
    assert verdict(bench, cell_id) is Verdict.SUPPORTED


def wrong_scale(factor: float):
    def attention(query, key, value, *args, scale=None, **kwargs):
        scale = (query.shape[-1] ** -0.5 if scale is None else scale) * factor
        return SDPA(query, key, value, *args, scale=scale, **kwargs)

    return attention


def no_mask(query, key, value, attn_mask=None, **kwargs):
    return SDPA(query, key, value, **{**kwargs, "is_causal": query.shape[-2] > 1})


def nan_in_last_row(query, key, value, *args, **kwargs):
    found = SDPA(query, key, value, *args, **kwargs).clone()
    found[-1, ..., -1, :] = float("nan")
    return found


@pytest.mark.parametrize(
    ("fault", "cell_id"),
    [
        (wrong_scale(1.001), "llama-float32-sdpa-prefill"),
        (wrong_scale(1.01), "llama-float16-sdpa-prefill"),
        (wrong_scale(1.02), "llama-bfloat16-sdpa-prefill"),
        (no_mask, "llama-bfloat16-sdpa-left-prefill"),
        (no_mask, "mistral-bfloat16-sdpa-generate"),
        (no_mask, "t5-float16-sdpa-right-generate"),
        (nan_in_last_row, "gpt2-float32-sdpa-left-prefill"),
    ],
)
def test_seeded_attention_faults_are_inaccurate(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fault, cell_id: str
) -> None:
    # The references of these cells are eager and do not pass through SDPA.
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fault)
    assert verdict(bench, cell_id) is Verdict.INACCURATE


def by_hand(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """Right numbers from something that is not the kernel that the cell names."""
    with torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.MATH]):
        return SDPA(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)


def test_another_kernel_with_right_numbers_is_substituted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdict(bench, "opt-float32-sdpa-flash-prefill") is Verdict.SUPPORTED
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", by_hand)
    assert verdict(bench, "opt-float32-sdpa-flash-prefill") is Verdict.SUBSTITUTED


def test_a_decoding_fault_that_prefill_cannot_see_is_caught(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale_cache(query, key, value, *args, **kwargs):
        if query.shape[-2] == 1:
            key = key.clone()
            key[..., -2, :] = key[..., -3, :]
        return SDPA(query, key, value, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", stale_cache)
    assert verdict(bench, "llama-bfloat16-sdpa-prefill") is Verdict.SUPPORTED
    assert verdict(bench, "llama-bfloat16-sdpa-generate") is Verdict.INACCURATE


@pytest.mark.parametrize("kind", ["weights", "left out"])
def test_quantisation_faults_are_caught(bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    from conformance import course

    honest = course.load

    def faulty(*args, **kwargs):
        model = honest(*args, **kwargs)
        layer = model.model.layers[1].mlp
        if kind == "weights":
            packed = layer.down_proj.weight.data
            packed[:64], packed[64:128] = packed[64:128].clone(), packed[:64].clone()
        else:
            plain = torch.nn.Linear(64, 128, bias=False, dtype=torch.bfloat16)
            layer.up_proj = plain
        return model

    monkeypatch.setattr(course, "load", faulty)
    assert verdict(bench, "llama-bfloat16-sdpa-nf4-prefill") is Verdict.INACCURATE
    observation = observe(bench, "llama-bfloat16-sdpa-nf4-prefill")
    assert ("model.layers.1.mlp.up_proj" in observation.evidence.unquantised_linear) == (kind == "left out")


def test_what_a_refused_cell_raises_is_kept_with_its_phase(bench: Bench) -> None:
    observation = observe(bench, "gpt2-float32-sdpa-cudnn-prefill")
    assert observation.failure is not None
    assert (observation.failure.phase, observation.failure.type) == ("forward", "RuntimeError")
    assert "No viable backend" in observation.failure.message
    assert observation.declared["_supports_sdpa"] is True


def test_declared_flags_are_known_even_if_the_load_was_refused(bench: Bench) -> None:
    observation = observe(bench, "bloom-float32-sdpa-prefill")
    assert observation.failure is not None
    assert observation.failure.phase == "load"
    assert observation.declared["_supports_sdpa"] is False


def test_quantisation_costs_something_and_int8_less_than_4_bits(bench: Bench) -> None:
    int8 = observe(bench, "llama-bfloat16-sdpa-int8-prefill").quantisation_cost
    nf4 = observe(bench, "llama-bfloat16-sdpa-nf4-prefill").quantisation_cost
    assert int8 is not None
    assert nf4 is not None
    assert 0 < int8.kl_mean < nf4.kl_mean
    assert int8.top1_agreement > nf4.top1_agreement > 0.3


def test_a_user_checkpoint_runs_the_same_cells(bench: Bench, tmp_path: Path) -> None:
    from conformance.models.batches import inputs_of
    from conformance.models.recipe import build_model

    architecture = ARCHITECTURES["llama"]
    config = {**architecture.config, "num_hidden_layers": 1, "vocab_size": 300}
    inputs = inputs_of(architecture, transformers.AutoConfig.for_model(architecture.model_type, **config))
    made = build_model(architecture.model_type, architecture.auto_class, config, inputs)
    made.save_pretrained(tmp_path)
    theirs = Bench(
        device=Device.CPU,
        architectures=ARCHITECTURES,
        fixture_cache=tmp_path / "unused",
        checkpoints={"llama": str(tmp_path)},
    )
    cell = parse_cell("llama-bfloat16-sdpa-left-generate")
    observation = theirs.run(cell)
    assert judge(cell, architecture, observation, SUPPORTED, Device.CPU).verdict is Verdict.SUPPORTED
    assert observation.evidence.linear_classes == {"Linear": 8}
    assert not (tmp_path / "unused").exists()


class Unspeakable(BaseException):
    """As of a library in another language: no Exception, and its message cannot be read."""

    def __str__(self) -> str:
        raise ValueError("no words")


class Skipped(BaseException):
    """As pytest.skip raises it."""


@pytest.mark.parametrize(
    "raised",
    [SystemExit(3), KeyboardInterrupt(), Skipped("not here"), Unspeakable(), BaseExceptionGroup("", [Skipped()])],
)
@pytest.mark.parametrize("phase", ["load", "forward"])
def test_whatever_a_library_raises_is_an_error_with_phase_and_type(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, raised: BaseException, phase: str
) -> None:
    import transformers

    def fail(*args: object, **kwargs: object) -> None:
        raise raised

    owner, name = {
        "load": (transformers.AutoModelForCausalLM, "from_pretrained"),
        "forward": (torch.nn.functional, "scaled_dot_product_attention"),
    }[phase]
    monkeypatch.setattr(owner, name, fail)
    observation = observe(bench, "gpt2-float32-sdpa-left-prefill")
    assert observation.failure is not None
    assert (observation.failure.phase, observation.failure.type) == (phase, type(raised).__name__)
    assert verdict(bench, "gpt2-float32-sdpa-left-prefill") is Verdict.ERROR


def test_an_interrupted_run_is_interrupted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", interrupt)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        observe(bench, "gpt2-float32-sdpa-left-prefill")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_copy_of_the_process_that_a_library_makes_does_not_go_on_as_if_it_were_the_suite(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdpa, copies = torch.nn.functional.scaled_dot_product_attention, []

    def fork(*args: Any, **kwargs: Any) -> Any:
        if not copies:
            copies.append(os.fork())
            if not copies[0]:  # torch's threads are not there: it could wait for them without end
                raise RuntimeError("in the copy")
        return sdpa(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fork)
    here = os.getpid()
    observation = observe(bench, "gpt2-float32-sdpa-left-prefill")
    if os.getpid() != here:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(copies[0], 0)[1]) == 1
    assert observation.ending is Ending.COMPLETED


def test_a_reference_that_cannot_run_does_not_accuse_the_cell(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.judging import references

    def fail(*args: object, **kwargs: object) -> None:
        raise NotImplementedError("no grouped matrix product in float64")

    monkeypatch.setattr(references, "load_reference", fail)
    monkeypatch.setattr(bench, "_kept", type(bench._kept)())
    assert verdict(bench, "gpt2-float32-sdpa-left-prefill") is Verdict.NOT_BUILT
    failure = observe(bench, "gpt2-float32-sdpa-left-prefill").failure
    assert failure is not None
    assert (failure.phase, failure.type) == ("reference", "NotImplementedError")


def test_a_fixture_that_cannot_be_made_does_not_accuse_the_cell(tmp_path: Path) -> None:
    (tmp_path / "fixtures").write_text("a file where the folder should be")
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=tmp_path / "fixtures")
    assert verdict(bench, "gpt2-float32-sdpa-left-prefill") is Verdict.NOT_BUILT
    failure = observe(bench, "gpt2-float32-sdpa-left-prefill").failure
    assert failure is not None
    assert failure.phase == "build"


def test_a_cell_that_ends_the_process_ends_nothing_but_itself(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With -n 0 the whole run would end with the status that it chose: a gate that passes by not running."""

    def leave(*args: object, **kwargs: object) -> None:
        os._exit(0)

    with monkeypatch.context() as changed:
        changed.setattr(torch.nn.functional, "scaled_dot_product_attention", leave)
        assert verdict(bench, "gpt2-float32-sdpa-left-prefill") is Verdict.CRASHED
        failure = observe(bench, "gpt2-float32-sdpa-left-prefill").failure
    assert failure is not None
    assert (failure.phase, failure.message) == ("forward", "os._exit(0) was called")
    assert verdict(bench, "gpt2-float32-sdpa-left-prefill") is Verdict.SUPPORTED


def test_what_a_cell_forks_may_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = []

    def fork(*args: object, **kwargs: object) -> torch.Tensor:
        child = os.fork()
        if child == 0:
            os._exit(7)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return SDPA(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fork)
    assert verdict(bench, "gpt2-float32-sdpa-left-prefill") is Verdict.SUPPORTED
    assert set(statuses) == {7}


def test_the_experts_of_a_mixture_that_no_quantiser_holds_are_named_with_their_share(bench: Bench) -> None:
    """transformers 5 stacks them in one parameter a layer, which is no linear module."""
    evidence = observe(bench, "qwen3_moe-bfloat16-sdpa-nf4-prefill").evidence
    left = evidence.unquantised_parameters
    experts = {name: share for name, share in left.items() if ".mlp.experts." in name}
    assert experts, left
    assert all(name.startswith("model.layers.*.") for name in experts)
    assert evidence.unquantised_stacked == pytest.approx(sum(experts.values()), abs=1e-3)
    assert 0.1 < evidence.unquantised_stacked < sum(left.values()) <= 1
    dense = observe(bench, "llama-bfloat16-sdpa-nf4-prefill").evidence
    assert dense.unquantised_stacked == 0
    assert "lm_head.weight" in dense.unquantised_parameters
    assert not observe(bench, "llama-bfloat16-sdpa-prefill").evidence.unquantised_parameters


def test_what_the_hosts_memory_cannot_hold_is_out_of_memory_and_what_is_kept_can_be_given_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU's allocator raises an error of no type of its own."""
    cell = "gpt2-float32-sdpa-left-prefill"
    assert observe(bench, cell).ending is Ending.COMPLETED
    assert bench._kept.models
    bench.give_back()
    assert not bench._kept.models
    assert not bench._kept.logits

    def greedy(*args, **kwargs):
        return torch.empty(2**50)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", greedy)
    observation = observe(bench, cell)
    assert observation.ending is Ending.OUT_OF_MEMORY
    assert observation.failure is not None
    assert is_of_the_host(observation.failure)


@pytest.mark.skipif(not detect_stack().compiler, reason="torch.compile needs a C++ compiler on a CPU")
def test_what_was_compiled_and_what_the_compiler_had_in_its_cache_is_told(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    assert observe(bench, "llama-float32-flex_attention-prefill").evidence.graphs.keys() == {"compiled"}
    assert observe(bench, "llama-float32-eager-prefill").evidence.graphs == {}


def readings_of(bench: Bench, cell_id: str) -> int:
    return sum(len(comparison.readings) for comparison in observe(bench, cell_id).comparisons)


def test_dials_are_read_in_16_bits_and_where_golden_has_any(bench: Bench) -> None:
    assert readings_of(bench, "llama-bfloat16-sdpa-left-prefill") > 5
    assert readings_of(bench, "llama-float32-sdpa-left-prefill") == 0  # there they explain what is out of bounds
    for others in (
        "bloom-bfloat16-eager-left-prefill",
        "llama-bfloat16-sdpa-left-generate",
        "gpt2-bfloat16-eager-nf4-left-prefill",
    ):
        assert readings_of(bench, others) == 0


@pytest.mark.parametrize(("dials", "expected"), [(True, Verdict.INACCURATE), (False, Verdict.SUPPORTED)])
def test_what_is_below_the_bounds_of_its_size_fails_by_its_dial(
    tmp_path_factory: pytest.TempPathFactory, dials: bool, expected: Verdict
) -> None:
    cache = tmp_path_factory.mktemp("fixtures")
    spoiled = Bench(
        device=Device.CPU,
        architectures=ARCHITECTURES,
        fixture_cache=cache,
        fault=FAULTS["scale_1_percent"],
        dials=dials,
    )
    assert verdict(spoiled, "gpt2-bfloat16-sdpa-left-prefill") is expected


@pytest.mark.parametrize(("size", "expected"), [(0.02, Verdict.INACCURATE), (0.0, Verdict.SUPPORTED)])
def test_other_batches_tell_what_the_first_leaves_in_doubt(
    tmp_path_factory: pytest.TempPathFactory, size: float, expected: Verdict
) -> None:
    """Two hundredths of a percent of softmax scale, in float16: less than rounding moves any logit by."""
    dial = DIALS["scale"]
    spoiled = Bench(
        device=Device.CPU,
        architectures=ARCHITECTURES,
        fixture_cache=tmp_path_factory.mktemp("fixtures"),
        fault=replace(FAULTS["scale_1_percent"], running=lambda model: dial.turning(model, size)),
    )
    cell = "bert-float16-sdpa-left-prefill"
    observation = observe(spoiled, cell)
    (read,) = (one for one in observation.readings if one.dial == "scale")
    assert read.batches > 1
    assert read.is_off is (expected is Verdict.INACCURATE)
    assert verdict(spoiled, cell) is expected


def test_a_model_that_was_handed_in_is_read_once(bench: Bench, tmp_path: Path) -> None:
    cell = parse_cell("bert-float16-sdpa-left-prefill")
    architecture = ARCHITECTURES[cell.architecture]
    handed = load(cell, Source(architecture, str(fixture(architecture, tmp_path, 0))), doing(cell))
    assert {one.batches for one in bench.run(cell, handed).readings} == {1}
    assert {one.batches for one in bench.run(cell).readings} != {1}


def test_what_raises_with_another_batch_is_the_cells_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Course.run

    def run(course: Course, model: Any = None) -> Any:
        if course.seed != 0:
            course.phase = "forward"
            raise IndexError("a token that the first batch has not")
        return usual(course, model)

    monkeypatch.setattr(Course, "run", run)
    observation = observe(bench, "bert-float16-sdpa-left-prefill")
    assert observation.failure is not None
    assert (observation.ending, observation.failure.phase) == (Ending.RAISED, Phase.FORWARD)


@pytest.mark.parametrize(
    ("fault", "cell", "dial", "size"),
    [
        ("causal_off_by_one", "llama-float32-sdpa-left-prefill", "next_token", 100),
        ("scale_5_percent", "llama-float16-sdpa-left-generate", "scale", 5),
        ("scale_5_percent", "llama-float16-sdpa-left-cache_crop", "scale", 5),
        ("scale_10_percent", "llama-bfloat16-sdpa-left-beam", "scale", 10),
        ("alibi_missing", "falcon_alibi-float16-sdpa-left-generate", "alibi", -100),
        # Of the two runs one is right: the padded one of these, the one with the other tokens of those.
        ("padding_ignored", "gpt2-float32-sdpa-left-padding_invariance", "padding", 100),
        ("causal_off_by_one", "llama-float32-sdpa-causality", "next_token", 100),
        ("scale_5_percent", "llama-float16-sdpa-int8-left-prefill", "scale", 5),
    ],
)
def test_what_is_out_of_bounds_is_explained_by_its_dial_where_dials_do_not_judge(
    tmp_path_factory: pytest.TempPathFactory, fault: str, cell: str, dial: str, size: int
) -> None:
    cache = tmp_path_factory.mktemp("fixtures")
    spoiled = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=FAULTS[fault])
    (comparison,) = observe(spoiled, cell).comparisons
    found = cause(comparison.readings)
    assert found is not None
    assert (found.dial, round(found.value)) == (dial, size)


@pytest.mark.parametrize(("fault", "read"), [("scale_10_percent", False), ("scale_1_percent", True)])
def test_where_nothing_is_to_be_explained_dials_only_judge(
    tmp_path_factory: pytest.TempPathFactory, fault: str, read: bool
) -> None:
    cache = tmp_path_factory.mktemp("fixtures")
    spoiled = Bench(
        device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=FAULTS[fault], explains=False
    )
    cell = "gpt2-bfloat16-sdpa-left-prefill"
    assert bool(observe(spoiled, cell).readings) is read
    assert verdict(spoiled, cell) is Verdict.INACCURATE


def test_of_two_runs_that_disagree_the_cause_is_not_what_both_do_wrong(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    @contextlib.contextmanager
    def both(model: Any) -> Iterator[None]:
        def answer(call: Attend) -> torch.Tensor:
            return padding(replace(call, scale=1.2 * call.scale), 0.05)

        with sdpa_answered_by(answer, model):
            yield

    cache = tmp_path_factory.mktemp("fixtures")
    fault = replace(FAULTS["padding_ignored"], running=both)
    spoiled = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=fault)
    (comparison,) = observe(spoiled, "llama-float32-sdpa-left-padding_invariance").comparisons
    found = cause(comparison.readings)
    assert found is not None
    assert found.dial == "padding"


def test_what_is_wrong_in_no_logit_is_not_laid_to_a_dial(tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = tmp_path_factory.mktemp("fixtures")
    spoiled = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=FAULTS["min_p_ignored"])
    cell = "llama-float32-sdpa-left-sampled"
    assert verdict(spoiled, cell) is Verdict.INACCURATE
    assert observe(spoiled, cell).readings == ()


def test_no_dial_speaks_of_what_is_no_logit(tmp_path_factory: pytest.TempPathFactory) -> None:
    cache, fault = tmp_path_factory.mktemp("fixtures"), FAULTS["requests_mixed"]
    spoiled = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=fault)
    observation = spoiled.run(fault.cell(ARCHITECTURES["llama"], Dtype.FLOAT32))
    assert [one.name for one in observation.comparisons] == ["log-probabilities"]
    assert observation.readings == ()


@pytest.mark.parametrize(("dtype", "ending"), [("float32", Ending.COMPLETED), ("bfloat16", Ending.RAISED)])
def test_dials_that_only_explain_fail_nothing_when_they_cannot_be_read(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, dtype: str, ending: Ending
) -> None:
    def unreadable(self: Any, *asked: Any) -> Any:
        raise TypeError("SDPA is called in another way")

    monkeypatch.setattr(Reader, "__call__", unreadable)
    cache = tmp_path_factory.mktemp("fixtures")
    spoiled = Bench(
        device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=FAULTS["causal_off_by_one"]
    )
    assert observe(spoiled, f"llama-{dtype}-sdpa-left-prefill").ending is ending


def test_an_explanation_that_takes_the_device_with_it_is_told(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(self: Any, *asked: Any) -> Any:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(Reader, "__call__", lost)
    cache, fault = tmp_path_factory.mktemp("fixtures"), FAULTS["causal_off_by_one"]
    spoiled = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache, fault=fault)
    monkeypatch.setattr(spoiled, "_ending_of", lambda error: Ending.DEVICE_LOST)
    assert observe(spoiled, "llama-float32-sdpa-left-prefill").ending is Ending.DEVICE_LOST
