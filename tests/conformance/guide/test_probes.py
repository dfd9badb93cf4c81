"""The guide's probes: each passes where it should, and sees what it is there for."""

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conformance.faults import find
from conformance.guide import adapters, flash, kernels, placement, quantised
from conformance.guide.spelled import bits_and_bytes, load
from conformance.lab import Lab, Raised, Violated
from matrix.axes import Dtype
from matrix.guide import Spelling
from matrix.stack import detect_stack
from tests.builders import ARCHITECTURES

TODAY = Spelling.TODAY
SDPA = torch.nn.functional.scaled_dot_product_attention


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fixtures")


@pytest.fixture(autouse=True)
def _any_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers 5.24 asks for a PEFT that nobody has published yet; what the probes see does not depend on it."""
    monkeypatch.setattr("transformers.integrations.peft.MIN_PEFT_VERSION", "0")


@pytest.fixture
def lab(cache: Path) -> Lab:
    return Lab(detect_stack(), cache, ARCHITECTURES, flash_attention="sdpa")


@pytest.fixture
def faulty_lab(cache: Path) -> Lab:
    return Lab(detect_stack(), cache, ARCHITECTURES, flash_attention="sdpa", fault=find("scale_10_percent"))


def test_today_quantises_by_a_config_and_the_guide_by_flags(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(lab, "load_as", lambda name, **arguments: given.append(arguments))
    for spelling in (Spelling.GUIDE, TODAY):
        load(lab, "opt", spelling, dtype=Dtype.FLOAT16, quantisation="fp4")
    assert given[0]["load_in_4bit"] is True
    assert "quantization_config" not in given[0]
    assert given[1]["quantization_config"].load_in_4bit
    assert given[1]["quantization_config"].bnb_4bit_compute_dtype is torch.float16
    assert "load_in_4bit" not in given[1]
    assert bits_and_bytes({"load_in_8bit": True}, Dtype.FLOAT16).load_in_8bit


def test_an_adapter_trains_and_one_with_a_wrong_scale_is_seen(lab: Lab, faulty_lab: Lab) -> None:
    adapters.lora(lab, Spelling.EITHER)
    with pytest.raises(Violated, match="gradients"):
        adapters.lora(faulty_lab, Spelling.EITHER)


def test_a_loss_that_does_not_fall_is_seen(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "_LEARNING_RATE", 0.0)
    with pytest.raises(Violated, match="the loss does not fall"):
        adapters.lora(lab, Spelling.EITHER)


def test_a_base_weight_that_changes_is_seen(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    train = adapters._train

    def careless(model: Any, batch: dict[str, torch.Tensor]) -> list[float]:
        next(p for name, p in model.named_parameters() if "lora_" not in name).data.mul_(1.01)
        return train(model, batch)

    monkeypatch.setattr(adapters, "_train", careless)
    with pytest.raises(Violated, match="training changed 1 weights of the base model"):
        adapters.lora(lab, Spelling.EITHER)


def test_an_adapter_that_is_another_after_loading_is_seen(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    usual = transformers.PreTrainedModel.load_adapter

    def forgetful(self: Any, *args: Any, **kwargs: Any) -> None:
        usual(self, *args, **kwargs)
        for name, parameter in self.named_parameters():
            if "lora_B" in name:
                parameter.data.zero_()

    monkeypatch.setattr(transformers.PreTrainedModel, "load_adapter", forgetful)
    with pytest.raises(Violated, match="with the adapter saved and loaded the logits differ"):
        adapters.lora(lab, Spelling.EITHER)


@pytest.mark.parametrize("spelling", [Spelling.GUIDE, TODAY])
def test_flash_alone_runs_flash_and_another_kernel_is_seen(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, spelling: Spelling
) -> None:
    kernels.flash_only_generate(lab, spelling)

    def by_hand(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        with torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.MATH]):
            return SDPA(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", by_hand)
    with pytest.raises(Violated, match="only the flash kernel was allowed, and math ran"):
        kernels.flash_only_generate(lab, spelling)


def test_no_kernel_at_all_is_an_error_of_the_cell(lab: Lab) -> None:
    with pytest.raises(Raised) as caught:
        kernels.no_kernel_allowed(lab, TODAY)
    assert caught.value.failure is not None
    assert caught.value.failure.type == "RuntimeError"


def test_packed_sequences_are_told_from_one_long_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What plays flash attention here takes the row for one sequence."""
    with pytest.raises(Violated, match="logits of packed sequences"):
        flash.flash_packed(lab, Spelling.EITHER)

    def one_by_one(model: Any, batch: Any) -> torch.Tensor:
        begins = [*(batch["position_ids"][0] == 0).nonzero()[:, 0].tolist(), None]
        parts = [batch["input_ids"][:, begin:end] for begin, end in itertools.pairwise(begins)]
        with torch.no_grad():
            return torch.cat([model(input_ids=part.to(lab.device)).logits for part in parts], dim=1)

    monkeypatch.setattr(lab, "logits", one_by_one)
    flash.flash_packed(lab, Spelling.EITHER)


@pytest.mark.parametrize("probe", [quantised.pipeline_generates, quantised.pipeline_samples_by_nucleus])
def test_a_pipeline_that_chooses_other_tokens_is_seen(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, probe: Callable[[Lab, Spelling], None]
) -> None:
    probe(lab, TODAY)
    usual = quantised.transformers.pipeline

    def another(*args: Any, **kwargs: Any) -> Any:
        made = usual(*args, **kwargs)
        return lambda prompt, **options: made(prompt + " w9", **options)

    monkeypatch.setattr(quantised.transformers, "pipeline", another)
    with pytest.raises(Violated, match=r"pipeline\(\) chose"):
        probe(lab, TODAY)


def test_a_quantised_model_that_is_not_is_seen(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    quantised.int8_bloom(lab, TODAY)
    monkeypatch.setattr(quantised, "load", lambda lab, name, *_, **__: lab.load(name, "eager", Dtype.BFLOAT16))
    with pytest.raises(Violated, match="quantised modules are none"):
        quantised.int8_bloom(lab, TODAY)


def parameter(gpu: int, megabytes: float) -> Any:
    return SimpleNamespace(device=torch.device("cuda", gpu), nbytes=int(megabytes * 10**6))


def placed(places: dict[str, Any], **parameters: Any) -> Any:
    """What is looked at of a model over several GPUs."""
    named = {name.replace("_", "."): value for name, value in parameters.items()}
    return SimpleNamespace(
        hf_device_map=places, named_parameters=lambda: named.items(), parameters=lambda: list(named.values())
    )


MAP = {"wte": 0, "h.0": 0, "h.1": 1}
SIZES = {0: "40MB", 1: "1GB"}


def test_a_placement_that_keeps_to_its_sizes_passes() -> None:
    placement._must_keep_to(placed(MAP, wte_w=parameter(0, 30), h_0_w=parameter(0, 10), h_1_w=parameter(1, 90)), SIZES)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            placed(MAP, wte_w=parameter(0, 30), h_0_w=parameter(0, 11), h_1_w=parameter(1, 9)),
            "GPU 0 was given 40MB and holds 41.0 MB",
        ),
        (placed(MAP, wte_w=parameter(0, 1), h_1_w=parameter(0, 1)), "h.1.w on cuda:0"),
        (placed(MAP, wte_w=parameter(0, 1), h_2_w=parameter(1, 1)), "h.2.w on cuda:1"),
        (placed({"": 0}, wte_w=parameter(0, 1)), r"GPUs \[0\], not on both"),
    ],
    ids=["too much", "elsewhere", "unaccounted for", "one GPU"],
)
def test_a_placement_that_does_not_is_seen(model: Any, said: str) -> None:
    with pytest.raises(Violated, match=said):
        placement._must_keep_to(model, SIZES)


def test_where_there_is_one_gpu_a_recipe_for_two_says_so(lab: Lab) -> None:
    with pytest.raises(pytest.skip.Exception, match="run without -n"):
        placement.fp4_auto_over_gpus(lab, TODAY)
