"""Faults of loading, placement and quantisation: the model is not what the checkpoint says."""

import contextlib
from collections.abc import Iterator

import torch

from conformance.faults.catalogue import Fault, Model, add, named
from matrix.architectures import Architecture
from matrix.cell import Cell

OUTLIER = 6.0  # llm_int8_threshold of BitsAndBytesConfig


def _linear(model: Model, classes: tuple[str, ...]) -> Iterator[tuple[str, torch.nn.Module]]:
    for name, module in model.named_modules():
        if type(module).__name__ in classes and "head" not in name and "cls" not in name:
            yield name, module


def _stacks(model: Model) -> list[torch.nn.ModuleList]:
    return [module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) > 1]


def layer_repeated(model: Model, cell: Cell) -> None:
    """The last layer gets the weights of the first."""
    stack = _stacks(model)[-1]
    stack[-1].load_state_dict(stack[0].state_dict(), strict=False)


def head_untied(model: Model, cell: Cell) -> None:
    """The output embedding is freshly drawn, as when a tied weight is missing from the checkpoint."""
    head = model.get_output_embeddings()
    torch.manual_seed(0)
    head.weight = torch.nn.Parameter(torch.randn_like(head.weight) * head.weight.std())


def norm_in_another_dtype(model: Model, cell: Cell) -> None:
    """One norm's weights went through float8."""
    norm = next(module for module in model.modules() if "Norm" in type(module).__name__)
    norm.weight.data = norm.weight.data.to(torch.float8_e4m3fn).to(norm.weight.dtype)


def module_stale(model: Model, cell: Cell) -> None:
    """One linear layer still has what memory held before."""
    _, module = list(_linear(model, ("Linear", "FalconLinear", "Conv1D")))[-1]
    module.weight.data = torch.zeros_like(module.weight.data)


def served_by_eager(model: Model, cell: Cell) -> None:
    """The request for another backend is quietly served by eager attention."""
    for module in model.modules():
        if hasattr(module, "config"):
            module.config._attn_implementation = "eager"


def blocks_swapped(model: Model, cell: Cell) -> None:
    """Two blocks of one quantised weight have each other's absolute maximum."""
    _, module = next(_linear(model, ("Linear4bit",)))
    scales = module.weight.quant_state.absmax
    order = scales.argsort()
    scales[order[0]], scales[order[-1]] = scales[order[-1]].clone(), scales[order[0]].clone()


def wrong_code_book(model: Model, cell: Cell) -> None:
    """The codes of one module are read with the code book of the other 4-bit format."""
    _, module = next(_linear(model, ("Linear4bit",)))
    module.weight.quant_state.quant_type = "fp4"


def offset_lost(model: Model, cell: Cell) -> None:
    """The offset of double quantisation is zero."""
    for _, module in _linear(model, ("Linear4bit",)):
        module.weight.quant_state.offset = torch.zeros_like(module.weight.quant_state.offset)


def left_unquantised(model: Model, cell: Cell) -> None:
    """One module keeps its 16-bit weights: it only gets closer to the truth."""
    name, module = next(_linear(model, ("Linear4bit", "Linear8bitLt")))
    plain = torch.nn.Linear(module.in_features, module.out_features, module.bias is not None)
    plain = plain.to(device=module.weight.device, dtype=getattr(torch, cell.dtype.value))
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, plain)


def int8_scales_rolled(model: Model, cell: Cell) -> None:
    """The row maxima of one int8 weight belong to the rows before."""
    _, module = next(_linear(model, ("Linear8bitLt",)))
    module.weight.SCB = module.weight.SCB.roll(1)


def dequantised_twice(model: Model, cell: Cell) -> None:
    """The block scales of one module are applied once more than they should be."""
    _, module = next(_linear(model, ("Linear4bit",)))
    module.weight.quant_state.absmax *= module.weight.quant_state.absmax


@contextlib.contextmanager
def _outliers_dropped(model: Model) -> Iterator[None]:
    def drop(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        inputs = args[0]
        outlying = (inputs.abs() > OUTLIER).flatten(0, -2).any(0)
        return (inputs.masked_fill(outlying, 0), *args[1:])

    hooks = [module.register_forward_pre_hook(drop) for _, module in _linear(model, ("Linear8bitLt",))]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _quantises(architecture: Architecture) -> bool:
    return architecture.model_type != "falcon"  # waived: bitsandbytes leaves Falcon alone


def _every(architecture: Architecture) -> bool:
    return True


for _name, _stands_for, _loaded in (
    ("layer_repeated", "one layer's weights loaded twice", layer_repeated),
    ("head_untied", "a tied head drawn anew at load", head_untied),
    ("norm_in_another_dtype", "a norm loaded in a lower precision", norm_in_another_dtype),
    ("module_stale", "transformers#46831: an offloaded module not brought back", module_stale),
    ("served_by_eager", "transformers#41010: a silent fallback that gives right numbers", served_by_eager),
):
    add(Fault(_name, _stands_for, _every, loaded=_loaded))
for _name, _stands_for, _quantisation, _loaded in (
    ("blocks_swapped", "block scales stored in the wrong order", "nf4", blocks_swapped),
    ("wrong_code_book", "fp4 codes read as nf4", "nf4", wrong_code_book),
    ("offset_lost", "double quantisation without its offset", "nf4_double_quant", offset_lost),
    (
        "dequantised_twice",
        "a checkpoint's scales applied by the loader and by the kernel",
        "nf4",
        dequantised_twice,
    ),
    ("left_unquantised_4bit", "bitsandbytes#1849, #1965: a module stays 16-bit", "nf4", left_unquantised),
    ("left_unquantised_int8", "the same in int8", "int8", left_unquantised),
    (
        "int8_scales_rolled",
        "bitsandbytes#1391: int8 scales of other rows",
        "int8",
        int8_scales_rolled,
    ),
):
    add(Fault(_name, _stands_for, _quantises, quantisation=_quantisation, loaded=_loaded))
add(
    Fault(
        "int8_outliers_dropped",
        "LLM.int8() without the columns that it computes in 16 bits",
        named("gpt2", "llama", "mistral", "opt"),  # in the other fixtures no activation lies so far out
        quantisation="int8",
        running=_outliers_dropped,
    )
)
