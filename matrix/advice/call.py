"""The call to paste: what was measured, as somebody writes it."""

from collections.abc import Iterator
from dataclasses import dataclass

from matrix.advice.search import Spelled
from matrix.advice.space import Configuration, Model
from matrix.architectures import Kind
from matrix.axes import SdpaKernel
from matrix.stack import Device

# What is done to a loaded model, by the name of the transformation.
TRANSFORMED = {
    "none": "",
    "compiled": "model.forward = torch.compile(model.forward)",
    "reduce_overhead": 'model.forward = torch.compile(model.forward, mode="reduce-overhead")',
    "better_transformer": "model = model.to_bettertransformer()",
    "hub_kernels": "model.set_use_kernels(True)",
}
_KERNELS = {
    SdpaKernel.FLASH: "FLASH_ATTENTION",
    SdpaKernel.MEM_EFFICIENT: "EFFICIENT_ATTENTION",
    SdpaKernel.CUDNN: "CUDNN_ATTENTION",
    SdpaKernel.MATH: "MATH",
}


@dataclass(frozen=True)
class Paste:
    """What else the call must know."""

    path: str
    device: Device
    tokenizer: bool  # whether the checkpoint has one
    new: int
    vocabulary: int


def pasted(one: Configuration, model: Model, spelled: Spelled, paste: Paste) -> str:
    """A script that loads and runs it; where no tokenizer says what goes in, random tokens do."""
    return "\n".join([*_imports(one, model, spelled, paste), "", *_body(one, model, spelled, paste), ""])


def _imports(one: Configuration, model: Model, spelled: Spelled, paste: Paste) -> Iterator[str]:
    yield "import torch"
    classes = [model.architecture.auto_class, *(["AutoTokenizer"] if paste.tokenizer else [])]
    ours = [line for line in spelled.imports if line.startswith("from transformers import ")]
    classes += [line.removeprefix("from transformers import ") for line in ours]
    yield f"from transformers import {', '.join(sorted(classes))}"
    yield from (line for line in spelled.imports if line not in ours)
    if one.cell.sdpa_kernel in _KERNELS:
        yield "from torch.nn.attention import SDPBackend, sdpa_kernel"


def _body(one: Configuration, model: Model, spelled: Spelled, paste: Paste) -> Iterator[str]:
    yield f"path = {paste.path!r}"
    placed = any(argument.startswith("device_map=") for argument in spelled.load)
    quantised = bool(one.cell.quantisation.stored_as)
    moved = '.to("cuda")' if paste.device is Device.CUDA and not placed and not quantised else ""
    yield f"model = {model.architecture.auto_class}.from_pretrained("
    yield from (f"    {argument}," for argument in ("path", *spelled.load))
    yield f").eval(){moved}"
    if line := TRANSFORMED[one.cell.transformation]:
        yield line
    if paste.tokenizer:
        yield "tokenizer = AutoTokenizer.from_pretrained(path)"
        yield 'inputs = tokenizer(["The north wind and the sun"], return_tensors="pt").to(model.device)'
    elif model.architecture.inputs:
        yield "inputs = ...  # what its processor makes of yours"
    else:
        yield f"tokens = torch.randint(4, {paste.vocabulary}, (1, 16), device=model.device)"
        yield 'inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}'
    kernel = _KERNELS.get(one.cell.sdpa_kernel)
    pinned = f", sdpa_kernel([SDPBackend.{kernel}])" if kernel else ""
    yield f"with torch.no_grad(){pinned}:"
    if model.architecture.kind is Kind.ENCODER:
        yield "    output = model(**inputs)"
    else:
        given = ", ".join(("**inputs", f"max_new_tokens={paste.new}", *spelled.generate))
        yield f"    output = model.generate({given})"
