"""Evidence: what ran is what the cell names, or the difference is found and put into words."""

from dataclasses import replace
from typing import Any

import pytest

from matrix.cell import Cell, parse_cell
from matrix.evidence import substitutions
from matrix.kernels import kernels_seen
from matrix.observation import Evidence
from matrix.plan import make_plan
from matrix.stack import Device
from tests.builders import ARCHITECTURES, honest_evidence

CPU, CUDA = Device.CPU, Device.CUDA
CUDA_OP = "aten::_scaled_dot_product_{}_attention"

EAGER = "llama-bfloat16-eager-left-prefill"
SDPA = "llama-bfloat16-sdpa-left-prefill"
FLASH = "llama-bfloat16-sdpa-flash-prefill"
MATH = "llama-bfloat16-sdpa-math-prefill"
MEM_EFFICIENT = "llama-bfloat16-sdpa-mem_efficient-prefill"
CUDNN = "llama-bfloat16-sdpa-cudnn-prefill"
FLASH_ATTENTION_2 = "llama-bfloat16-flash_attention_2-left-prefill"
FLEX = "llama-bfloat16-flex_attention-left-prefill"
INT8 = "llama-float16-sdpa-int8-prefill"
FP4 = "llama-float16-sdpa-fp4-prefill"
NF4 = "llama-float16-sdpa-nf4-prefill"
NESTED = "llama-float16-sdpa-nf4_double_quant-prefill"
T5 = "t5-bfloat16-sdpa-left-generate"
GPU0 = "llama-bfloat16-sdpa-gpu0-prefill"
AUTO = "llama-bfloat16-sdpa-auto-prefill"
OFFLOAD = "llama-bfloat16-sdpa-cpu_offload-prefill"


def found(cell: Cell, evidence: Evidence, device: Device) -> tuple[str, ...]:
    return substitutions(cell, ARCHITECTURES[cell.architecture], evidence, device)


CHANGES = [
    # what is wrong, cell, device, the fields that differ from the right evidence, words
    ("no submodule speaks", SDPA, CPU, {"attn_implementations": {}}, ["no submodule"]),
    (
        "another model",
        SDPA,
        CPU,
        {"model_class": "GPT2LMHeadModel", "model_type": "gpt2"},
        ["GPT2LMHeadModel of model_type 'gpt2', not llama"],
    ),
    (
        "one submodule uses eager",
        SDPA,
        CPU,
        {"attn_implementations": {"LlamaModel": "sdpa", "LlamaAttention": "eager"}},
        ["LlamaAttention uses attn_implementation eager, not sdpa"],
    ),
    (
        "one submodule uses a hub kernel",
        FLASH_ATTENTION_2,
        CUDA,
        {"attn_implementations": {"LlamaAttention": "kernels-community/flash-attn"}},
        ["kernels-community/flash-attn, not flash_attention_2"],
    ),
    ("sdpa in an eager cell", EAGER, CPU, {"sdpa_calls": 1}, ["that ran: math", "names eager"]),
    (
        "fused sdpa in an eager cell",
        EAGER,
        CPU,
        {"sdpa_calls": 2, "attention_ops": {"aten::_scaled_dot_product_flash_attention_for_cpu": 2}},
        ["that ran: flash", "names eager"],
    ),
    ("eager in an sdpa cell", SDPA, CPU, {"sdpa_calls": 0, "attention_ops": {}}, ["that ran: eager"]),
    (
        "flash-attn in an sdpa cell",
        SDPA,
        CUDA,
        {"sdpa_calls": 0, "attention_ops": {"flash_attn::_flash_attn_forward": 2}},
        ["that ran: flash_attention_2"],
    ),
    ("math for pinned flash", FLASH, CUDA, {"attention_ops": {}}, ["that ran: math", "names flash"]),
    (
        "mem_efficient for pinned flash",
        FLASH,
        CUDA,
        {"attention_ops": {CUDA_OP.format("efficient"): 2}},
        ["that ran: mem_efficient", "names flash"],
    ),
    (
        "both for pinned flash",
        FLASH,
        CUDA,
        {"attention_ops": {CUDA_OP.format("flash"): 1, CUDA_OP.format("efficient"): 1}},
        ["that ran: flash, mem_efficient", "names flash"],
    ),
    ("flash for pinned math", MATH, CUDA, {"attention_ops": {CUDA_OP.format("flash"): 2}}, ["that ran: flash"]),
    (
        "cudnn for pinned mem_efficient",
        MEM_EFFICIENT,
        CUDA,
        {"attention_ops": {CUDA_OP.format("cudnn"): 2}},
        ["that ran: cudnn", "names mem_efficient"],
    ),
    ("flash for pinned cudnn", CUDNN, CUDA, {"attention_ops": {CUDA_OP.format("flash"): 2}}, ["names cudnn"]),
    ("eager in a flash-attn cell", FLASH_ATTENTION_2, CUDA, {"attention_ops": {}}, ["that ran: eager"]),
    ("sdpa beside flash-attn", FLASH_ATTENTION_2, CUDA, {"sdpa_calls": 1}, ["that ran: flash_attention_2, math"]),
    (
        "SDPA's flash for flash-attn",
        FLASH_ATTENTION_2,
        CUDA,
        {"sdpa_calls": 2, "attention_ops": {CUDA_OP.format("flash"): 2}},
        ["that ran: flash;", "names flash_attention_2"],
    ),
    (
        "an unknown op",
        FLASH_ATTENTION_2,
        CUDA,
        {"attention_ops": {"flash_attn_9::forward": 2}},
        ["that ran: flash_attn_9::forward"],
    ),
    ("flex ran uncompiled", FLEX, CPU, {"unfused_flex_calls": 2}, ["flex_attention uncompiled"]),
    ("one of two flex calls ran uncompiled", FLEX, CPU, {"unfused_flex_calls": 1}, ["flex_attention uncompiled"]),
    ("flex was not called", FLEX, CPU, {"flex_calls": 0}, ["that ran: eager"]),
    (
        "a quantised module in a plain cell",
        SDPA,
        CPU,
        {"linear_classes": {"Linear": 14, "Linear4bit": 1}},
        ["quantised modules in an unquantised cell: {'Linear4bit': 1}"],
    ),
    (
        "one linear module left",
        NF4,
        CPU,
        {"unquantised_linear": ("lm_head", "model.layers.1.mlp.up_proj")},
        ["left unquantised: model.layers.1.mlp.up_proj"],
    ),
    (
        "nothing quantised",
        NF4,
        CPU,
        {"linear_classes": {"Linear": 15}},
        ["quantised modules are none, not Linear4bit"],
    ),
    ("4-bit class for int8", INT8, CPU, {"linear_classes": {"Linear4bit": 14}}, ["Linear4bit", "not Linear8bitLt"]),
    ("int8 class for 4-bit", FP4, CPU, {"linear_classes": {"Linear8bitLt": 14}}, ["Linear8bitLt", "not Linear4bit"]),
    (
        "two classes",
        NF4,
        CPU,
        {"linear_classes": {"Linear4bit": 13, "Linear8bitLt": 1}},
        ["'Linear8bitLt': 1", "not Linear4bit"],
    ),
    ("fp4 for nf4", NF4, CPU, {"quantised_formats": ("fp4",)}, ["stored as fp4, not nf4"]),
    ("two formats", NF4, CPU, {"quantised_formats": ("fp4", "nf4")}, ["stored as fp4, nf4, not nf4"]),
    ("not nested", NESTED, CPU, {"quantised_formats": ("nf4",)}, ["stored as nf4, not nf4 nested"]),
    ("nested unasked", NF4, CPU, {"quantised_formats": ("nf4 nested",)}, ["stored as nf4 nested, not nf4"]),
    ("int8 was not packed", INT8, CPU, {"quantised_formats": ()}, ["stored as nothing, not int8"]),
    ("no bitsandbytes op", NF4, CPU, {"quantised_ops": {}}, ["no bitsandbytes op ran"]),
    (
        "a parameter in float32",
        SDPA,
        CPU,
        {"foreign_parameters": {"float32": ("model.norm.weight",)}},
        ["parameters in float32, not bfloat16: model.norm.weight"],
    ),
    (
        "another parameter than t5 keeps",
        T5,
        CPU,
        {"foreign_parameters": {"float32": ("encoder.block.0.layer.1.DenseReluDense.wi.weight",)}},
        ["parameters in float32, not bfloat16", "wi.weight"],
    ),
    (
        "what t5 keeps, in float16",
        T5,
        CPU,
        {"foreign_parameters": {"float16": ("encoder.block.0.layer.1.DenseReluDense.wo.weight",)}},
        ["parameters in float16, not bfloat16", "wo.weight"],
    ),
    ("left on the CPU", SDPA, CUDA, {"placement": {"cpu": 21}}, ["{'cpu': 21}, not on cuda"]),
    ("one parameter on the CPU", AUTO, CUDA, {"placement": {"cuda": 20, "cpu": 1}}, ["'cpu': 1", "not on cuda"]),
    ("gpu0 on the CPU", GPU0, CUDA, {"placement": {"cpu": 21}}, ["{'cpu': 21}, not on cuda"]),
    (
        "offload without a map",
        OFFLOAD,
        CUDA,
        {"hf_device_map": None},
        ["hf_device_map names [], not GPU 0 and the CPU"],
    ),
    ("offload that did not offload", OFFLOAD, CUDA, {"hf_device_map": {"": "0"}}, ["names ['0']"]),
    ("offload of everything", OFFLOAD, CUDA, {"hf_device_map": {"": "cpu"}}, ["names ['cpu']"]),
    (
        "offload to disk",
        OFFLOAD,
        CUDA,
        {"hf_device_map": {"a": "0", "b": "cpu", "c": "disk"}},
        ["names ['0', 'cpu', 'disk']"],
    ),
]


@pytest.mark.parametrize(
    ("cell_id", "device", "changes", "words"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES]
)
def test_a_substitution_is_found(cell_id: str, device: Device, changes: dict[str, Any], words: list[str]) -> None:
    """The right evidence passes; with only these fields changed there is exactly one complaint."""
    cell = parse_cell(cell_id)
    right = honest_evidence(cell, device)
    assert found(cell, right, device) == ()
    (complaint,) = found(cell, replace(right, **changes), device)
    assert [word for word in words if word not in complaint] == []


def test_every_difference_is_named() -> None:
    cell = parse_cell(NF4)
    complaints = found(cell, Evidence(), CPU)
    assert len(complaints) == 7  # model_type, attn_implementation, kernel, module class, format, op, placement


def test_a_long_list_of_names_is_cut() -> None:
    names = tuple(f"layer.{number}" for number in range(9))
    (complaint,) = found(
        parse_cell(SDPA), replace(honest_evidence(parse_cell(SDPA), CPU), foreign_parameters={"float32": names}), CPU
    )
    assert "layer.4" in complaint
    assert "layer.5" not in complaint


def test_t5_keeps_in_float32_what_its_library_keeps() -> None:
    """The same names in an architecture that keeps nothing are a complaint."""
    kept = honest_evidence(parse_cell(T5), CPU)
    assert kept.foreign_parameters
    assert found(parse_cell(T5), kept, CPU) == ()
    assert found(parse_cell(SDPA), kept, CPU) != ()


def test_only_what_the_architecture_keeps_may_stay_unquantised() -> None:
    """BERT keeps its decoder, not an lm_head."""
    cell = parse_cell("bert-float16-sdpa-nf4-prefill")
    right = replace(honest_evidence(cell, CPU), unquantised_linear=("cls.predictions.decoder",))
    assert found(cell, right, CPU) == ()
    assert found(cell, replace(right, unquantised_linear=("lm_head",)), CPU) == ("left unquantised: lm_head",)


def test_all_of_a_part_that_is_kept_may_stay_unquantised() -> None:
    """As BLIP-2 keeps its Q-Former: the library skips what begins with a name, too."""
    cell = parse_cell("bert-float16-sdpa-nf4-prefill")
    right = replace(honest_evidence(cell, CPU), unquantised_linear=("qformer.layer.0.query", "qformers.key"))
    keeps = replace(ARCHITECTURES["bert"], kept_linear=("qformer",))
    assert substitutions(cell, keeps, right, CPU) == ("left unquantised: qformers.key",)


ENCODER_LAYER = {"aten::_transformer_encoder_layer_fwd": 2}
FLASH_OPS = {"aten::_scaled_dot_product_flash_attention_for_cpu": 2}


@pytest.mark.parametrize(
    ("cell_id", "changes", "words"),
    [
        ("bert-float32-eager-better_transformer-right-prefill", {"attention_ops": ENCODER_LAYER}, ""),
        ("bert-float32-eager-better_transformer-prefill", {}, "changes nothing that runs"),
        ("bert-float32-eager-better_transformer-prefill", {"sdpa_calls": 2, "attention_ops": FLASH_OPS}, "flash"),
        ("bert-float32-eager-better_transformer-train", {"sdpa_calls": 2, "attention_ops": FLASH_OPS}, ""),
        ("opt-float32-eager-better_transformer-prefill", {"sdpa_calls": 2, "attention_ops": FLASH_OPS}, ""),
        ("opt-float32-eager-better_transformer-prefill", {"sdpa_calls": 2}, ""),  # math
        ("opt-float32-eager-better_transformer-prefill", {}, "changes nothing that runs"),
        ("opt-float32-eager-flash-better_transformer-generate", {"sdpa_calls": 2}, "kernels that ran: math"),
        ("opt-float32-eager-prefill", {"sdpa_calls": 2, "attention_ops": FLASH_OPS}, "kernels that ran: flash"),
    ],
)
def test_a_conversion_must_run_what_it_stands_for(cell_id: str, changes: dict[str, Any], words: str) -> None:
    cell = parse_cell(cell_id)
    said = "; ".join(found(cell, replace(honest_evidence(cell, CPU), **changes), CPU))
    assert words in said if words else said == ""


@pytest.mark.parametrize("device", Device)
def test_honest_evidence_of_every_cell_passes(device: Device) -> None:
    """A check that is too strict for some cell would make it `substituted` for ever."""
    suspicious = [
        cell.id
        for cell in make_plan("pairwise", {name: ARCHITECTURES[name] for name in ("llama", "t5")})
        if cell.attention.value not in ("flash_attention_3", "flash_attention_4")
        if device is CUDA or cell.sdpa_kernel.value not in ("mem_efficient", "cudnn")
        if found(cell, honest_evidence(cell, device), device)
    ]
    assert suspicious == []


@pytest.mark.parametrize(
    ("evidence", "kernels"),
    [
        (Evidence(), ("eager",)),
        (Evidence(sdpa_calls=2), ("math",)),
        (Evidence(sdpa_calls=2, attention_ops={CUDA_OP.format("cudnn"): 2}), ("cudnn",)),
        (
            Evidence(sdpa_calls=2, attention_ops={"aten::_scaled_dot_product_fused_attention_overrideable": 2}),
            ("overrideable",),
        ),
        (Evidence(flex_calls=2), ("flex_attention",)),
        (Evidence(flex_calls=2, unfused_flex_calls=2), ("flex_attention uncompiled",)),
        (Evidence(flex_calls=2, unfused_flex_calls=1), ("flex_attention", "flex_attention uncompiled")),
        (Evidence(sdpa_calls=1, attention_ops={"flash_attn::_flash_attn_forward": 1}), ("flash_attention_2", "math")),
    ],
)
def test_kernels_are_told_from_ops_and_calls(evidence: Evidence, kernels: tuple[str, ...]) -> None:
    assert kernels_seen(evidence) == kernels


def test_sdpa_calls_that_no_fused_op_answers_are_math() -> None:
    seen = kernels_seen(Evidence(sdpa_calls=4, attention_ops={"aten::_scaled_dot_product_flash_attention": 2}))
    assert seen == ("flash", "math")


@pytest.mark.parametrize("attention", ["flash_attention_3", "flash_attention_4"])
def test_flash_attention_3_and_4_can_be_supported(attention: str) -> None:
    cell = parse_cell(f"llama-bfloat16-{attention}-prefill")
    package = f"flash_attn_{attention[-1]}"
    honest = replace(honest_evidence(cell, Device.CUDA), attention_ops={f"{package}::_flash_attn_forward": 2})
    assert substitutions(cell, ARCHITECTURES["llama"], honest, Device.CUDA) == ()


def test_kept_parameter_names_are_parts_between_dots() -> None:
    cell = parse_cell("t5-bfloat16-sdpa-prefill")
    foreign = {"float32": ("encoder.word_embeddings.weight",)}
    stranger = replace(honest_evidence(cell, Device.CPU), foreign_parameters=foreign)
    assert substitutions(cell, ARCHITECTURES["t5"], stranger, Device.CPU)


def test_a_class_may_name_several_parts_of_what_it_keeps_in_float32() -> None:
    cell = parse_cell("t5-bfloat16-sdpa-prefill")
    keeping = replace(ARCHITECTURES["t5"], kept_float32=("gate.wg",))
    evidence = replace(honest_evidence(cell, Device.CPU), foreign_parameters={"float32": ("layers.0.gate.wg.weight",)})
    assert substitutions(cell, keeping, evidence, Device.CPU) == ()
    other = replace(evidence, foreign_parameters={"float32": ("layers.0.other_gate.wg.weight",)})
    assert substitutions(cell, keeping, other, Device.CPU) != ()
