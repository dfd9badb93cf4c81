"""Quantisers: what stays unquantised, what a saved checkpoint means, what a merge does to it, what a refusal says."""

import tempfile
from typing import Any

import torch
import transformers

from conformance import spellings
from conformance.lab import Lab, Violated, with_lora
from conformance.models.batches import make_batch
from conformance.models.loading import load_reference
from conformance.quantisers import torchao
from conformance.quantisers.bitsandbytes import dequantise_4bit, load_arguments
from conformance.rooms import doing
from matrix.axes import Dtype
from matrix.cell import parse_cell


def moe_experts_stay_unquantised(lab: Lab) -> None:
    """Mixture of experts in 4 bits: the weights of the experts are bytes, not 16-bit numbers."""
    model = _quantised(lab, "mixtral", "nf4")
    experts = {name: p for name, p in model.named_parameters() if "experts" in name}
    plain = [f"{name} {tuple(p.shape)} {p.dtype}" for name, p in experts.items() if p.is_floating_point()]
    if plain or not experts:
        raise Violated(f"{len(plain)} of {len(experts)} expert weights are unquantised: {', '.join(plain[:2])}")


def int8_reloaded_is_nonsense(lab: Lab) -> None:
    """Saved in int8, loaded again: the same logits."""
    batch = make_batch("prefill", "left", 256, 0)
    first, second = _saved_and_reloaded(lab, "int8")
    _must_agree(lab.logits(first, batch), lab.logits(second, batch), batch["attention_mask"].bool())


def int8_reloaded_breaks_generation(lab: Lab) -> None:
    """Saved in int8, loaded again: the same tokens and the same logits at each step."""
    batch = {name: tensor.to(lab.device) for name, tensor in make_batch("generate", "left", 256, 0).items()}
    found = []
    for model in _saved_and_reloaded(lab, "int8"):
        with lab.seeded(model):
            found.append(
                model.generate(
                    **batch,
                    max_new_tokens=24,
                    min_new_tokens=24,
                    do_sample=False,
                    pad_token_id=0,
                    output_logits=True,
                    return_dict_in_generate=True,
                )
            )
    logits = [torch.stack(output.logits, dim=1) for output in found]
    _must_agree(*logits, torch.ones(logits[0].shape[:2], dtype=torch.bool))


def int8_nan_on_this_gpu(lab: Lab) -> None:
    """LLM.int8() on the GPU that is here, in either 16-bit dtype and with outliers beyond its threshold."""
    for dtype in ("float16", "bfloat16"):
        lab.cell(f"llama-{dtype}-sdpa-int8-left-prefill")
    lab.cell("opt-float16-sdpa-int8-left-generate")


def lora_merged_into_nf4_drifts(lab: Lab) -> None:
    """Merging a LoRA into 4-bit weights costs what quantising the sum costs, and no more."""
    from bitsandbytes.functional import quantize_4bit

    model = with_lora(_quantised(lab, "llama", "nf4"))
    layer = next(module for name, module in model.named_modules() if name.endswith("q_proj"))
    before = layer.base_layer.weight
    wanted = dequantise_4bit(before.data, before.quant_state) + layer.get_delta_weight("default").detach().float()
    packed, state = quantize_4bit(wanted.to(model.dtype), quant_type="nf4", blocksize=before.quant_state.blocksize)
    best = float((dequantise_4bit(packed, state) - wanted).abs().mean())
    layer.merge()
    merged = layer.base_layer.weight
    error = float((dequantise_4bit(merged.data, merged.quant_state) - wanted).abs().mean())
    if not error <= 1.05 * best:
        raise Violated(f"the merged weight is off by {error:.3g} on average; quantising the sum costs {best:.3g}")


def qlora_flash_float32_norms(lab: Lab) -> None:
    """QLoRA as it is trained: norms in float32, so that queries reach flash attention in float32."""
    from peft import prepare_model_for_kbit_training

    cell, batch = parse_cell("llama-bfloat16-eager-nf4-prefill"), make_batch("prefill", "left", 256, 0)
    model, trained = (
        prepare_model_for_kbit_training(_quantised(lab, "llama", "nf4", lab.flash_attention)) for _ in range(2)
    )
    references = [
        load_reference(cell, lab.source("llama"), doing(cell), lab.device, golden=golden) for golden in (True, False)
    ]
    lab.judge(
        "logits",
        candidate=lab.logits(model, batch),
        baseline=lab.reference_logits(references[1], batch),
        golden=lab.reference_logits(references[0], batch),
        attended=batch["attention_mask"].bool(),
        dtype=Dtype.FLOAT32,  # that of the head, a norm's output times a float32 weight
    )
    if not torch.isfinite(lab.gradients(with_lora(trained))).all():
        raise Violated("gradients of the LoRA are not finite")


def skip_list_loses_the_head(lab: Lab) -> None:
    """Told to leave one kind of layer, bitsandbytes leaves a tied head as well, as it does when told nothing."""
    for quantisation in ("nf4_skip", "int8_skip"):
        lab.cell(f"opt-bfloat16-sdpa-{quantisation}-left-prefill")


def hqq_not_available(lab: Lab) -> None:
    """What the documentation shows of hqq: a model is loaded with it."""
    config = transformers.HqqConfig(nbits=4, group_size=64)
    model = lab.load("llama", "sdpa", Dtype.BFLOAT16, quantization_config=config)
    if not any(type(module).__name__ == "HQQLinear" for module in model.modules()):
        raise Violated("no module of the model is hqq's")


def conversion_error_hides_its_cause(lab: Lab) -> None:
    """What is raised where torchao's int4 lacks a package says which, itself or by what it came from."""
    try:
        lab.load("llama", "sdpa", Dtype.BFLOAT16, **torchao.load_arguments("torchao_int4", torch.bfloat16))
    except (ImportError, RuntimeError) as error:
        chain: list[str] = []
        raised: BaseException | None = error
        while raised is not None:
            chain.append(str(raised))
            raised = raised.__cause__ or raised.__context__
        if not any("mslk" in message for message in chain):
            raise Violated(f"nothing that was raised names mslk: {chain[0]}") from error


def _quantised(lab: Lab, name: str, quantisation: str, attention: str = "sdpa") -> Any:
    return lab.load(name, attention, Dtype.BFLOAT16, **load_arguments(quantisation, torch.bfloat16))


def _saved_and_reloaded(lab: Lab, quantisation: str) -> tuple[Any, Any]:
    first = lab.load("llama", "sdpa", Dtype.FLOAT16, **load_arguments(quantisation, torch.float16))
    given = {spellings.DTYPE_ARGUMENT: torch.float16, "attn_implementation": "sdpa", "use_safetensors": True}
    with tempfile.TemporaryDirectory() as folder:
        first.save_pretrained(folder, safe_serialization=True)
        second = transformers.AutoModelForCausalLM.from_pretrained(folder, **given).eval()
    int8 = [type(module).__name__ for module in second.modules()].count("Linear8bitLt")
    if int8 == 0:
        raise Violated("the reloaded model has no int8 layer")
    return first, second


def _must_agree(first: torch.Tensor, second: torch.Tensor, attended: torch.Tensor) -> None:
    difference = (first - second)[attended.to(first.device)].float().abs()
    if not bool((difference <= 1e-2).all()):
        raise Violated(f"logits before saving and after loading differ by up to {float(difference.max()):.3g}")
