"""Is what ran what the cell names? Pure checks of the evidence, each with words for what it found instead."""

import re
from collections.abc import Iterator

from matrix.architectures import Architecture
from matrix.axes import Attention, Dtype, SdpaKernel
from matrix.cell import Cell
from matrix.kernels import kernels_seen
from matrix.observation import Evidence
from matrix.quantisers import QUANTISATIONS
from matrix.stack import Device

_QUANTISED_CLASSES = {room.module for room in QUANTISATIONS.values()}


def substitutions(cell: Cell, architecture: Architecture, evidence: Evidence, device: Device) -> tuple[str, ...]:
    """Where what ran is not what the cell names; empty when all of it is."""
    found = [*_model(architecture, evidence), *_attention(cell, evidence), *_kernel(cell, architecture, evidence)]
    found += _quantisation(cell, architecture, evidence)
    found += _dtype(cell, architecture, evidence)
    for room in cell.rooms:
        if room.substituted is not None:
            found += room.substituted(cell, architecture, evidence, device)
    return tuple(found)


def _model(architecture: Architecture, evidence: Evidence) -> Iterator[str]:
    if evidence.model_type not in (architecture.model_type, *architecture.aliases):
        found = f"{evidence.model_class or 'nobody knows what'} of model_type {evidence.model_type!r}"
        yield f"the model is {found}, not {architecture.model_type}"


def _attention(cell: Cell, evidence: Evidence) -> Iterator[str]:
    if not evidence.attn_implementations:
        yield "no submodule says which attn_implementation it uses"
    for owner, implementation in sorted(evidence.attn_implementations.items()):
        if implementation != cell.attention:
            yield f"{owner} uses attn_implementation {implementation}, not {cell.attention}"


def _kernel(cell: Cell, architecture: Architecture, evidence: Evidence) -> Iterator[str]:
    wanted = frozenset({cell.attention.value})
    if cell.attention is Attention.SDPA or cell.transformation.through_sdpa:
        pinned = cell.sdpa_kernel is not SdpaKernel.UNPINNED
        wanted = frozenset({cell.sdpa_kernel.value}) if pinned else _SDPA_KERNELS
    if cell.transformation.kernels is not None:
        wanted = cell.transformation.kernels(cell, architecture) or wanted
    seen = set(kernels_seen(evidence))
    if not seen <= wanted:
        yield f"kernels that ran: {', '.join(sorted(seen))}; the cell names {', '.join(sorted(wanted))}"


_SDPA_KERNELS = frozenset(kernel.value for kernel in SdpaKernel if kernel is not SdpaKernel.UNPINNED) | {"overrideable"}


def _quantisation(cell: Cell, architecture: Architecture, evidence: Evidence) -> Iterator[str]:
    wanted = cell.quantisation
    quantised = {name: count for name, count in evidence.linear_classes.items() if name in _QUANTISED_CLASSES}
    if not wanted.stored_as:
        if quantised or evidence.quantised_formats:
            yield f"quantised modules in an unquantised cell: {quantised or ', '.join(evidence.quantised_formats)}"
        return
    if cell.workload.dequantises:
        if quantised or evidence.quantised_formats:
            yield f"dequantised, it has quantised modules: {quantised or ', '.join(evidence.quantised_formats)}"
        return
    if wanted.dequantised and not quantised and not evidence.quantised_formats:
        if not any(re.search(wanted.dequantised, said) for said in evidence.warnings):
            yield f"weights are dequantised, not {wanted.stored_as}, and nobody said so"
        return
    if set(quantised) != ({wanted.module} if wanted.module else set()):
        yield f"quantised modules are {quantised or 'none'}, not {wanted.module or 'none'}"
    # The library's own rule: a name that ends like one that is kept, or all that is part of it.
    kept = (*architecture.kept_linear, *wanted.skips)
    parts = tuple(f"{name}." for name in architecture.kept_linear)
    left = [name for name in evidence.unquantised_linear if not (name.endswith(kept) or name.startswith(parts))]
    if left:
        yield f"left unquantised: {', '.join(left[:5])}"
    if wanted.skips and not any(name.endswith(wanted.skips) for name in evidence.unquantised_linear):
        yield f"quantised, though it was told to leave them: {', '.join(wanted.skips)}"
    if set(evidence.quantised_formats) != {wanted.stored_as}:
        yield f"weights are stored as {', '.join(evidence.quantised_formats) or 'nothing'}, not {wanted.stored_as}"
    if wanted.written and evidence.unquantised_stacked:
        share = f"{100 * evidence.unquantised_stacked:.0f} % of the bytes"
        yield f"experts that the checkpoint has in the format are held dequantised, {share}, and nobody said so"
    if wanted.ops and not evidence.quantised_ops:
        yield f"no {' or '.join(wanted.ops)} op ran"


def _dtype(cell: Cell, architecture: Architecture, evidence: Evidence) -> Iterator[str]:
    for dtype, names in sorted(evidence.foreign_parameters.items()):
        kept = architecture.kept_float32 if dtype == Dtype.FLOAT32 else ()
        # As transformers matches them: whole parts of a name, of which one may be named by several.
        strangers = [name for name in names if not any(f".{part}." in f".{name}." for part in kept)]
        if strangers:
            yield f"parameters in {dtype}, not {cell.dtype}: {', '.join(strangers[:5])}"
