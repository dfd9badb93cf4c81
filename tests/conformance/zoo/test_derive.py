"""What types are told of one release alone, and what of a config is not handed on."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conformance import spellings
from conformance.models.batches import PLAIN
from conformance.zoo import derive
from conformance.zoo.by_design import lacking
from conformance.zoo.census import _counts_from_zero
from conformance.zoo.derive import CAUSAL, derived_config, own_fields, repairs


@pytest.fixture
def read_anew() -> Iterator[None]:
    """The table of repairs is read for another release, and again for this one."""
    repairs.cache_clear()
    yield
    repairs.cache_clear()


@pytest.mark.parametrize(
    ("release", "kinds", "kernels"),
    [
        ((4, 57, 6), ["mamba", "hybrid", "mamba", "hybrid"], False),
        ((5, 23, 0), ["linear_attention", "hybrid", "linear_attention", "hybrid"], None),
    ],
)
def test_a_release_is_told_what_it_alone_needs(
    monkeypatch: pytest.MonkeyPatch,
    read_anew: None,
    release: tuple[int, int, int],
    kinds: list[str],
    kernels: bool | None,
) -> None:
    monkeypatch.setattr(derive, "RELEASE", release)
    told = repairs()["zamba"]
    assert told["layers_block_type"] == kinds
    assert told["num_hidden_layers"] == 4  # which holds for all
    assert told.get("use_mamba_kernels") is kernels


def test_a_part_that_is_no_model_is_not_told_what_is_said_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derive, "FIELDS_OF_EVERY_CONFIG", frozenset({"model_type", "num_beams", "torchscript"}))
    of_every = {"num_beams": 1, "torchscript": False}
    part, whole = {"model_type": "", "clip_qkv": 8.0, **of_every}, {"model_type": "vit", "depth": 2, **of_every}
    found = own_fields({"attn_config": part, "vision_config": {**whole, "ffn_config": part}, **of_every})
    assert found == {
        "attn_config": {"clip_qkv": 8.0},
        "vision_config": {**whole, "ffn_config": {"clip_qkv": 8.0}},
        **of_every,
    }


def test_releases_since_5_say_nothing_of_models_in_their_parts() -> None:
    assert bool(spellings.FIELDS_OF_EVERY_CONFIG) is (spellings.RELEASE < (5,))


def test_where_a_class_is_given_the_whole_it_finds_what_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    causal = "AutoModelForCausalLM"
    monkeypatch.setattr(derive, "made_of_text", lambda auto_class, config: False)
    usual = derived_config("emu3", causal)
    assert "vocab_size" not in usual
    monkeypatch.setattr(derive, "made_of_text", lambda auto_class, config: auto_class == causal)
    told = derived_config("emu3", causal)
    assert {name: told[name] for name in usual} == usual
    assert told["vocab_size"] == usual["text_config"]["vocab_size"]
    assert "model_type" not in told  # it stays what it is


@pytest.mark.skipif(spellings.RELEASE < (5,), reason="both of its ways to make a model take the text part since 5")
def test_the_text_part_is_taken_by_both_ways() -> None:
    config = spellings.transformers.AutoConfig.for_model("emu3")
    assert not spellings.made_of_text("AutoModelForCausalLM", config)


def test_what_reads_numbers_while_it_is_made_is_made_for_real() -> None:
    def reads() -> torch.nn.Module:
        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # as transformers 4.48 leaves it behind when a load raises
        layer = torch.nn.Linear(2, 3)
        layer.rate = torch.ones(2)[0].item()
        torch.set_default_dtype(usual)
        return layer

    def fails() -> None:
        raise RuntimeError("not for want of memory")

    assert spellings.without_memory(lambda: torch.nn.Linear(2, 3)).weight.device.type == "meta"
    with spellings.default_dtype_kept():
        assert spellings.without_memory(reads).weight.device.type == "cpu"
        assert torch.get_default_dtype() is torch.float32
    with pytest.raises(RuntimeError, match="not for want of memory"):
        spellings.without_memory(fails)


@pytest.mark.parametrize("counts", [True, False])
def test_positions_that_a_model_writes_to_are_its_own(counts: bool) -> None:
    class Writes(torch.nn.Module):
        device, dtype = torch.device("cpu"), torch.float32

        def forward(self, input_ids: torch.Tensor, attention_mask: Any = None, position_ids: Any = None) -> Any:
            positions = torch.arange(0 if counts else 5, input_ids.shape[1] + (0 if counts else 5))
            places = positions.repeat(len(input_ids), 1) if position_ids is None else position_ids
            places += 2
            return SimpleNamespace(logits=places[..., None].float())

    assert _counts_from_zero(Writes(), {**PLAIN, "highest": 256}) is counts


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (
            "transfo_xl",
            'inputs: NotFoundError: text: TypeError: type_as() missing 1 required positional arguments: "o"',
        ),
        (
            "xlstm",
            "inputs: NotFoundError: text: RuntimeError: shape '[2, 4, 2, 16, 32]' is invalid for input of size 4",
        ),
        ("emu3", "build: AttributeError: 'Emu3Config' object has no attribute 'vocab_size'"),
        ("musicgen", "config: ValueError: Config has to be initialized with text_encoder, audio_encoder and decoder"),
        (
            "speech_to_text_2",
            "build: AttributeError: 'Speech2Text2SinusoidalPositionalEmbedding' object has no attribute 'weight'",
        ),
    ],
)
def test_what_older_releases_lack_is_excused_for_their_error_alone(name: str, error: str) -> None:
    assert lacking(name, error)
    assert not lacking(name, "build: RuntimeError: size mismatch")


def test_whoever_writes_into_a_config_does_not_write_into_the_table(read_anew: None) -> None:
    """As the class of dots3_note_text does with its rope_parameters: what came next followed from what came before."""
    whole = ("dots3_note", "AutoModelForImageTextToText")
    before = derived_config(*whole)
    repairs.cache_clear()
    derived_config("dots3_note_text", CAUSAL)
    assert derived_config(*whole) == before
