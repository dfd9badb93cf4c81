"""Is what ran what the cell names? Pure checks of the evidence, each with words for what it found instead."""

from collections.abc import Iterator

from matrix.architectures import Architecture, Kind
from matrix.axes import Attention, DeviceMap, Dtype, Quantisation, SdpaKernel, Transformation, Workload
from matrix.cell import Cell
from matrix.observation import Evidence
from matrix.stack import Device

# The fast path of nn.TransformerEncoderLayer: attention and MLP in one op.
ENCODER_LAYER = "transformer_encoder_layer"
# Fused ops by the kernel that they launch, as torch's dispatcher names them.
KERNEL_OF_OP: dict[str, str] = {
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash",
    "aten::_scaled_dot_product_efficient_attention": "mem_efficient",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_fused_attention_overrideable": "overrideable",
    "aten::_transformer_encoder_layer_fwd": ENCODER_LAYER,
}
# Packages that register their ops in a namespace of their own.
KERNEL_OF_NAMESPACE: dict[str, str] = {
    "flash_attn": "flash_attention_2",
    "flash_attn_3": "flash_attention_3",
    "flash_attn_4": "flash_attention_4",
}

# What the package calls a format, by the value on the quantisation axis.
QUANTISED_FORMAT: dict[Quantisation, str] = {
    Quantisation.INT8: "int8",
    Quantisation.FP4: "fp4",
    Quantisation.NF4: "nf4",
    Quantisation.NF4_DOUBLE_QUANT: "nf4 nested",
}
_QUANTISED_CLASS = {"int8": "Linear8bitLt", "fp4": "Linear4bit", "nf4": "Linear4bit", "nf4_double_quant": "Linear4bit"}


def kernels_seen(evidence: Evidence) -> tuple[str, ...]:
    """The kernels that ran, by name.

    SDPA's math kernel decomposes before any dispatch mode can see it, so it is what answered the
    calls of SDPA that no fused op did.
    """
    seen = {KERNEL_OF_OP.get(op) or KERNEL_OF_NAMESPACE.get(op.partition("::")[0], op) for op in evidence.attention_ops}
    fused = sum(count for op, count in evidence.attention_ops.items() if op.startswith("aten::_scaled"))
    if evidence.sdpa_calls > fused:
        seen.add("math")
    if evidence.flex_calls > evidence.unfused_flex_calls:
        seen.add("flex_attention")
    if evidence.unfused_flex_calls:
        seen.add("flex_attention uncompiled")
    return tuple(sorted(seen)) or ("eager",)


def substitutions(cell: Cell, architecture: Architecture, evidence: Evidence, device: Device) -> tuple[str, ...]:
    """Where what ran is not what the cell names; empty when all of it is."""
    found = [*_attention(cell, evidence), *_kernel(cell, architecture, evidence)]
    found += _quantisation(cell, architecture, evidence)
    found += _dtype(cell, architecture, evidence)
    found += _placement(cell, evidence, device)
    return tuple(found)


def _attention(cell: Cell, evidence: Evidence) -> Iterator[str]:
    if not evidence.attn_implementations:
        yield "no submodule says which attn_implementation it uses"
    for owner, implementation in sorted(evidence.attn_implementations.items()):
        if implementation != cell.attention:
            yield f"{owner} uses attn_implementation {implementation}, not {cell.attention}"


def _kernel(cell: Cell, architecture: Architecture, evidence: Evidence) -> Iterator[str]:
    seen = set(kernels_seen(evidence))
    sdpa_kernels = {kernel.value for kernel in SdpaKernel if kernel is not SdpaKernel.UNPINNED}
    transformed = cell.transformation is not Transformation.NONE
    wanted: set[str] = {cell.attention.value}
    if transformed and architecture.kind is Kind.ENCODER and cell.workload is not Workload.TRAIN:
        wanted = {ENCODER_LAYER}
    elif transformed or cell.attention is Attention.SDPA:
        pinned = cell.sdpa_kernel is not SdpaKernel.UNPINNED
        wanted = {cell.sdpa_kernel.value} if pinned else sdpa_kernels | {"overrideable"}
    if transformed and seen == {"eager"}:
        yield "the conversion changes nothing that runs: attention is eager still"
        return
    if not seen <= wanted:
        yield f"kernels that ran: {', '.join(sorted(seen))}; the cell names {', '.join(sorted(wanted))}"


def _quantisation(cell: Cell, architecture: Architecture, evidence: Evidence) -> Iterator[str]:
    quantised = {name: count for name, count in evidence.linear_classes.items() if name in _QUANTISED_CLASS.values()}
    if cell.quantisation is Quantisation.NONE:
        if quantised:
            yield f"quantised modules in an unquantised cell: {quantised}"
        return
    wanted = _QUANTISED_CLASS[cell.quantisation.value]
    if set(quantised) != {wanted}:
        yield f"quantised modules are {quantised or 'none'}, not {wanted}"
    left = [name for name in evidence.unquantised_linear if not name.endswith(architecture.kept_linear)]
    if left:
        yield f"left unquantised: {', '.join(left[:5])}"
    formats = {QUANTISED_FORMAT[cell.quantisation]}
    if set(evidence.quantised_formats) != formats:
        yield f"weights are stored as {', '.join(evidence.quantised_formats) or 'nothing'}, not {', '.join(formats)}"
    if not evidence.quantised_ops:
        yield "no bitsandbytes op ran"


def _dtype(cell: Cell, architecture: Architecture, evidence: Evidence) -> Iterator[str]:
    for dtype, names in sorted(evidence.foreign_parameters.items()):
        kept = architecture.kept_float32 if dtype == Dtype.FLOAT32 else ()
        strangers = [name for name in names if not set(kept) & set(name.split("."))]
        if strangers:
            yield f"parameters in {dtype}, not {cell.dtype}: {', '.join(strangers[:5])}"


def _placement(cell: Cell, evidence: Evidence, device: Device) -> Iterator[str]:
    mapped = set((evidence.hf_device_map or {}).values())
    if cell.device_map is DeviceMap.CPU_OFFLOAD:
        if mapped != {"0", "cpu"}:
            yield f"hf_device_map names {sorted(mapped)}, not GPU 0 and the CPU"
        return
    if set(evidence.placement) != {device.value}:
        yield f"parameters lie on {dict(evidence.placement)}, not on {device}"
