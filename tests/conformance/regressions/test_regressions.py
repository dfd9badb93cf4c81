"""Rows of reported failures: their data, a probe for each, and that the probes see what was reported."""

import contextlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from conformance import course
from conformance.faults import FAULTS
from conformance.faults.catalogue import Attend, Fault, sdpa_answered_by
from conformance.lab import Lab, Raised, Violated
from conformance.regressions import causality, load_probes, positions, quantisation, try_again
from matrix.architectures import load_architectures
from matrix.cell import parse_cell
from matrix.errors import UsageError
from matrix.expectation import read_condition
from matrix.observation import Failure, Phase
from matrix.regressions import Regression, load_regressions
from matrix.stack import Stack, detect_stack
from tests.builders import ROOT, cuda_stack, make_stack, toml_table

REGRESSIONS = load_regressions()
PROBES = load_probes()
ARCHITECTURES = load_architectures()
ROW: dict[str, str | None] = {"name": '"row"', "urls": '["https://example.org/1"]', "about": '"it breaks"'}

# Needs its own package, so that nothing can stand in for it.
WITHOUT_STAND_IN = {"flash_attention_4_gqa_wrong"}
# What needs a GPU for its flash attention or its kernels, and can be played by SDPA on a CPU.
NEEDS_CUDA = [
    name
    for name, regression in REGRESSIONS.items()
    if regression.condition.device is not None and name not in WITHOUT_STAND_IN
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fixtures")


def lab_with(cache: Path, fault: Fault | None = None) -> Lab:
    return Lab(make_stack(), cache, ARCHITECTURES, flash_attention="sdpa", fault=fault)


def skip_unless_models_exist(name: str) -> None:
    """Older releases lack some; a GPU and its packages are played by a stand-in."""
    needs = REGRESSIONS[name].why_unreachable(cuda_stack(detect_stack().versions | {"flash-attn": "2"}))
    if needs:
        pytest.skip(needs)


def regressions_from(folder: Path, *tables: dict[str, str | None]) -> dict[str, Regression]:
    path = folder / "mine.toml"
    path.write_text("".join(toml_table("regression", table) for table in tables), encoding="utf-8")
    return load_regressions(path)


def test_there_is_a_row_for_each_probe_and_a_probe_for_each_row() -> None:
    assert set(PROBES) == set(REGRESSIONS)
    assert len(REGRESSIONS) >= 25


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"name": None}, ["name"], id="no name"),
        pytest.param({"name": '"Row 1"'}, ["'Row 1'", "lower-case"], id="bad name"),
        pytest.param({"name": '"first"'}, ["'first'", "taken"], id="name twice"),
        pytest.param({"about": '""'}, ["about"], id="says nothing"),
        pytest.param({"urls": None}, ["urls"], id="no link"),
        pytest.param({"urls": '["issue 5"]'}, ["'issue 5'", "https://"], id="no address"),
        pytest.param({"urls": "[5]"}, ["5", "https://"], id="a number for a link"),
        pytest.param({"refusal": '"("'}, ["'('", "regular expression"], id="bad pattern"),
        pytest.param({"refusal": "5"}, ["refusal"], id="a number for a pattern"),
        pytest.param({"when": '{ jax = ">=1" }'}, ["'jax'", "torch"], id="unknown library"),
        pytest.param({"url": '"x"'}, ["unknown key 'url'", "urls"], id="unknown key"),
    ],
)
def test_a_broken_row_is_refused_with_its_place(
    tmp_path: Path, changes: dict[str, str | None], words: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        regressions_from(tmp_path, {**ROW, "name": '"first"'}, {**ROW, **changes})
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'mine.toml'}: regression 2: ")
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("when", "stack", "wanted"),
    [
        ({}, make_stack(), ""),
        ({"device": "cuda"}, cuda_stack(), ""),
        ({"device": "cuda", "present": ["flash-attn"]}, make_stack(), "needs cuda, flash-attn"),
        ({"device": "cuda", "present": ["cuda"]}, make_stack(), "needs cuda"),
        ({"transformers": "<5"}, make_stack(), "needs transformers <5 (here 5.23.0)"),
        ({"optimum": "<2"}, make_stack(), "needs optimum <2 (here none)"),
        ({"capability": ">=10"}, cuda_stack(), "needs compute capability >=10 (here 9.0)"),
        ({"capability": ">=10"}, make_stack(), "needs compute capability >=10 (here no GPU)"),
        ({"absent": ["torch"]}, make_stack(), "needs no torch"),
        ({}, Stack({}, make_stack().device), "needs torch, transformers"),
    ],
)
def test_a_row_says_why_it_is_out_of_reach(when: dict[str, Any], stack: Stack, wanted: str) -> None:
    condition = read_condition(when, "here")
    regression = Regression("row", ("https://example.org",), "about", condition)
    assert regression.why_unreachable(stack) == wanted
    if "torch" in stack.versions:
        assert condition.holds(stack) == (not wanted)


def test_a_refusal_in_the_rows_words_counts_as_gone_and_no_other_error_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(error: Exception) -> dict[str, Callable[[Lab], None]]:
        def probe(lab: Lab) -> None:
            raise error

        return {"row": probe}

    regression = Regression("row", ("https://example.org",), "about", read_condition({}, "here"), "no soft")
    refusal, other = ValueError("no softcap here"), ValueError("bad shape")
    said = "ValueError: no softcap here"
    for error, gone in ((refusal, True), (other, False), (Violated("ValueError: no soft"), False)):
        monkeypatch.setattr("conformance.regressions.load_probes", lambda error=error: raising(error))
        with contextlib.nullcontext() if gone else pytest.raises(type(error)):
            assert try_again(regression, None) == said  # type: ignore[arg-type]
    monkeypatch.setattr("conformance.regressions.load_probes", lambda: {"row": lambda lab: None})
    assert try_again(regression, None) == ""  # type: ignore[arg-type]
    of_a_cell = Raised("llama-prefill: ValueError in load: no softcap here, and")
    of_a_cell.failure = Failure(Phase.LOAD, "ValueError", "no softcap here\nand so on")
    monkeypatch.setattr("conformance.regressions.load_probes", lambda: raising(of_a_cell))
    assert try_again(regression, None) == said  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NEEDS_CUDA)
def test_a_probe_for_a_gpu_runs_with_a_stand_in(cache: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_unless_models_exist(name)
    monkeypatch.setattr(Lab, "isolated", lambda lab, attempt: attempt(lab))
    PROBES[name](lab_with(cache))


def _causal(call: Attend) -> torch.Tensor:
    future = torch.ones(call.query.shape[-2], call.key.shape[-2], dtype=torch.bool).triu(1)
    return call(bias=call.with_mask(call.masked | future))


def _wider(call: Attend) -> torch.Tensor:
    """Each window one key wider on both sides, what is masked throughout excepted."""
    masked = call.masked.clone()
    masked[..., 1:] &= call.masked[..., :-1]
    masked[..., :-1] &= call.masked[..., 1:]
    return call(bias=call.with_mask(masked | call.masked.all(-2, keepdim=True)))


def _answering(wrong: Callable[[Attend], torch.Tensor]) -> Fault:
    return Fault("mine", "for a test", lambda architecture: True, running=lambda model: sdpa_answered_by(wrong, model))


def _done(change: Callable[[Any], Any]) -> Fault:
    return Fault("mine", "for a test", lambda architecture: True, loaded=lambda model, cell: change(model))


def _forget_window(model: Any) -> None:
    model.config.layer_types = ["full_attention"]


def _forget_scaling(model: Any) -> None:
    """The frequencies are those of a model that knows no longer texts."""
    rotary = model.model.rotary_emb
    rotary.inv_freq = 10_000.0 ** (-torch.arange(0, 16, 2) / 16)
    rotary.attention_scaling = 1.0


def _never_reset(model: Any) -> None:
    """No text is so short that the frequencies are set back."""
    model.model.rotary_emb.original_max_seq_len = 0


SEEDED: dict[str, Fault] = {
    "mistral_flash_left_padding_garbage": FAULTS["padding_forgotten_in_decoding"],
    "gpt2_flash_causal_dropped_by_mask": FAULTS["causal_dropped"],
    "bert_sdpa_bfloat16_padding_nan": FAULTS["nan_in_padded_rows_only"],
    "sdpa_kernel_padding_nan": FAULTS["nan_in_fully_masked_rows"],
    "gemma4_float16_left_padding_nan": FAULTS["nan_in_padded_rows_only"],
    "falcon_alibi_sdpa_not_causal_without_mask": FAULTS["causal_dropped"],
    "doge_sdpa_not_causal": FAULTS["causal_dropped"],
    "sdpa_is_causal_false_ignored": _answering(_causal),
    "flash_is_causal_false_ignored": _answering(_causal),
    "flash_4d_mask_crash": FAULTS["causal_dropped"],
    "flash_window_off_by_one": FAULTS["window_off_by_one"],
    "qwen2_eager_window_lost": _done(_forget_window),
    "mistral_sdpa_window_lost": FAULTS["window_ignored"],
    "qwen2_sdpa_window_lost": FAULTS["window_ignored"],
    "embedding_gemma_window_wrong": _answering(_wider),
    "embedding_gemma_flash_window_wrong": _answering(_wider),
    "flash_static_cache_unfilled_slots": FAULTS["unfilled_slots_attended"],
    "sdpa_static_cache_zeros_attended": FAULTS["unfilled_slots_attended"],
    "cudnn_gqa_long_decode_degrades": FAULTS["one_kv_head_for_all"],
    "flash_shifted_position_ids": FAULTS["rope_shifted_on_queries"],
    "flash_position_ids_in_a_batch": FAULTS["rope_missing_on_keys"],
    "qwen3_5_flash_mrope_illegal_access": FAULTS["causal_dropped"],
    "flash_checkpointing_with_cache": FAULTS["scale_10_percent"],
    "qlora_flash_float32_norms": FAULTS["heads_swapped"],
    "int8_nan_on_this_gpu": FAULTS["int8_scales_rolled"],
    "qwen3_next_offloaded_decode_garbage": FAULTS["stale_cache_slot"],
    "t5_float16_feed_forward_overflow": _done(lambda model: model.half()),
    "yarn_beyond_its_limit": _done(_forget_scaling),
    "llama_3_rope_beyond_its_limit": _done(_forget_scaling),
    "dynamic_ntk_after_a_longer_text": _done(_never_reset),
}


@pytest.mark.parametrize("name", SEEDED)
def test_a_probe_sees_the_seeded_fault(cache: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_unless_models_exist(name)
    monkeypatch.setattr(Lab, "isolated", lambda lab, attempt: attempt(lab))
    with pytest.raises(Violated):
        PROBES[name](lab_with(cache, SEEDED[name]))


def _all_that_was_recorded(usual: Any) -> Any:
    def update(layer: Any, *given: Any, **others: Any) -> Any:
        found = usual(layer, *given, **others)
        return (layer.keys, layer.values) if layer.record_past else found

    return update


def _unmasked_if_alone(usual: Any) -> Any:
    return lambda states, mask: states if len(states) == 1 else usual(states, mask)


# What the library did before, as a function of what it does now: the rows that must see it, and where it is.
def _noted_before_it_is_there(usual: Callable[..., Any]) -> Callable[..., Any]:
    """What failed once is taken for loaded."""
    noted: list[object] = []

    def before(implementation: object, *args: Any, **named: Any) -> Any:
        if implementation in noted:
            return None
        noted.append(implementation)
        return usual(implementation, *args, **named)

    return before


BEFORE: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("mamba_beams_keep_their_states", "cache_utils.Cache.reorder_cache", lambda usual: lambda cache, beams: None),
    *(
        ("recurrent_layers_see_padding_of_one_row", f"models.{place}.apply_mask_to_padding_states", _unmasked_if_alone)
        for place in ("qwen3_5.modeling_qwen3_5", "bamba.modeling_bamba", "falcon_h1.modeling_falcon_h1")
    ),
    (  # the padding of a block that was not full did something to the state
        "qwen3_5_steps_from_another_state",
        "cache_utils.Cache.update_recurrent_state",
        lambda usual: lambda cache, states, layer: usual(cache, states * 0.9, layer),
    ),
    ("assisted_draft_beyond_its_window", "cache_utils.DynamicSlidingWindowLayer.update", _all_that_was_recorded),
    ("assisted_with_a_static_cache", "cache_utils.StaticLayer.crop", lambda usual: lambda layer, dropped: None),
    (
        "t5_generates_without_its_mask",
        "models.t5.modeling_t5.create_bidirectional_mask",
        lambda usual: lambda **given: None,
    ),
    (
        "recurrent_gemma_prompt_beyond_its_window",
        "cache_utils.DynamicSlidingWindowLayer.get_mask_sizes",
        lambda usual: lambda layer, queries: (layer.cumulative_length + queries, 0),
    ),
    ("hub_attention_asked_twice", "modeling_utils.lazy_import_flash_attention", _noted_before_it_is_there),
]


@pytest.mark.parametrize(("name", "place", "before"), BEFORE)
def test_a_probe_sees_what_the_library_did_before(
    cache: Path, name: str, place: str, before: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_unless_models_exist(name)
    place = f"transformers.{place}"
    monkeypatch.setattr(place, before(pkgutil.resolve_name(place)))
    with pytest.raises((Violated, Raised)):
        PROBES[name](lab_with(cache))


@pytest.mark.parametrize(
    "name",
    [
        "sdpa_fully_masked_row_nan",
        "sdpa_masked_strided_inputs_garbage",
        "sdpa_expanded_keys_length_33",
        "sdpa_cudnn_backward_nan_length_704",
        "sdpa_default_backward_nan",
    ],
)
def test_a_kernel_probe_sees_wrong_kernels(cache: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = torch.nn.functional.scaled_dot_product_attention

    def wrong(*args: Any, **kwargs: Any) -> torch.Tensor:
        if "backward" not in name:
            return usual(*args, **kwargs) * 1.2
        output = usual(*args, **kwargs)
        output.register_hook(lambda gradient: gradient * float("nan"))
        return output

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", wrong)
    with pytest.raises(Violated):
        PROBES[name](lab_with(cache))


@pytest.mark.parametrize("name", ["int8_reloaded_is_nonsense", "int8_reloaded_breaks_generation"])
def test_a_reload_with_other_scales_is_seen(cache: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = quantisation._saved_and_reloaded

    def damaged(*args: Any) -> Any:
        first, second = usual(*args)
        FAULTS["int8_scales_rolled"].loaded(second, None)  # type: ignore[arg-type]
        return first, second

    monkeypatch.setattr(quantisation, "_saved_and_reloaded", damaged)
    with pytest.raises(Violated):
        PROBES[name](lab_with(cache))


@pytest.mark.parametrize("name", ["lora_merged_into_nf4_drifts", "lora_merged_bfloat16_drifts"])
def test_a_merge_that_counts_the_adapter_twice_is_seen(cache: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from peft.tuners.lora import Linear, bnb

    twice = {layer: layer.get_delta_weight for layer in (Linear, bnb.Linear4bit)}
    calls: Iterator[int] = iter(range(1000))

    def wrong(layer: Any, adapter: str) -> torch.Tensor:
        # The probe for 4 bits asks for the right weight first.
        factor = 1 if name.endswith("nf4_drifts") and next(calls) == 0 else 2
        return factor * twice[type(layer)](layer, adapter)

    for layer in twice:
        monkeypatch.setattr(layer, "get_delta_weight", wrong)
    with pytest.raises(Violated):
        PROBES[name](lab_with(cache))


@pytest.mark.parametrize("name", [name for name in PROBES if name.startswith("generate_batch_")])
def test_processors_that_know_all_tokens_are_what_was_asked_for(
    cache: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same requests through `generate`: the rows are still there because of what continuous batching does."""
    skip_unless_models_exist(name)

    def one_by_one(model: Any, inputs: list[list[int]], generation_config: Any, **others: Any) -> dict[int, Any]:
        found = {}
        for number, tokens in enumerate(inputs):
            prompt = torch.tensor([tokens])
            mask = torch.ones_like(prompt)
            made = model.generate(prompt, attention_mask=mask, generation_config=generation_config)[0, len(tokens) :]
            found[number] = SimpleNamespace(error=None, generated_tokens=made.tolist())
        return found

    with pytest.raises(Violated):
        PROBES[name](lab_with(cache))
    monkeypatch.setattr(transformers.LlamaForCausalLM, "generate_batch", one_by_one)
    PROBES[name](lab_with(cache))


@pytest.mark.parametrize("name", ["dynamic_ntk_keeps_old_frequencies", "longrope_keeps_old_frequencies"])
def test_frequencies_that_do_not_change_are_none_of_a_length(
    cache: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call is given all tokens so far: the keys have the frequencies of their length."""
    skip_unless_models_exist(name)

    def whole(model: Any, batch: Any, *others: Any) -> torch.Tensor:
        logits: torch.Tensor = model(**batch, use_cache=False).logits
        return logits

    monkeypatch.setattr(positions, "cached", whole)
    PROBES[name](lab_with(cache))


def test_a_leftover_window_would_not_matter_to_a_cache_that_keeps_all(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is about the cache alone: the same cell holds where its layers are those of a model without a window."""
    usual = transformers.DynamicCache.__init__
    monkeypatch.setattr(transformers.DynamicCache, "__init__", lambda self, *args, **kwargs: usual(self))
    PROBES["llama_leftover_window_in_cache"](lab_with(cache))


def test_a_backend_that_another_one_plays_is_seen(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = course.load

    def replaced(cell: Any, *others: Any) -> Any:
        return usual(parse_cell("llama-bfloat16-sdpa-prefill"), *others)

    monkeypatch.setattr(course, "load", replaced)
    with pytest.raises(Violated, match="substituted"):
        PROBES["flash_attention_3_silently_replaced"](lab_with(cache))


def test_a_vision_tower_with_another_backend_is_seen(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = transformers.LlavaForConditionalGeneration.from_pretrained

    def mixed(*args: Any, **kwargs: Any) -> Any:
        model = usual(*args, **kwargs)
        model.config.vision_config._attn_implementation = "sdpa"
        return model

    monkeypatch.setattr(transformers.LlavaForConditionalGeneration, "from_pretrained", mixed)
    with pytest.raises(Violated, match="eager was asked for"):
        PROBES["vision_tower_keeps_other_backend"](lab_with(cache))


def test_eager_where_another_backend_was_asked_for_is_seen(cache: Path) -> None:
    lab = lab_with(cache, FAULTS["served_by_eager"])
    model = lab.load("llama", "sdpa")
    with pytest.raises(Violated, match="sdpa was asked for and eager ran"):
        lab.logits(model, {"input_ids": torch.full((1, 4), 5)})


def _die(lab: Lab) -> None:
    os.abort()


def _violate(lab: Lab) -> None:
    raise Violated("off by 5: as reported")


def test_a_process_of_its_own_tells_what_became_of_it(cache: Path) -> None:
    lab = lab_with(cache)
    lab.isolated(positions._attend_with_mrope)
    with pytest.raises(Violated, match="ended with -6"):
        lab.isolated(_die)
    with pytest.raises(Violated, match=r"^off by 5: as reported$"):
        lab.isolated(_violate)
    lab.flash_attention = "nonsense"
    with pytest.raises(Raised, match=r"ValueError.*nonsense"):
        lab.isolated(causality._forward_with_4d_mask)


def test_rows_are_collected_without_torch() -> None:
    script = "import sys, conformance.test_regressions; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
