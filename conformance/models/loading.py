"""from_pretrained for a cell, and for its golden and baseline. Scripts carry it along.

`cell` is a Cell, or anything with the names of its values; `does` are the halves of its rooms (conformance/rooms.py).
"""

import shutil
import tempfile
import weakref

import torch
import transformers

from conformance.models.formats import FORMATTED, TWIN, in_format
from conformance.spellings import DTYPE_ARGUMENT, PLAIN_EXPERTS, default_dtype_kept


class Source:
    """Where an architecture's weights come from: a folder or a hub id, the user's own or a fixture.

    In the folder `formats` lie the checkpoints that are made of it in formats of quantised weights.
    """

    def __init__(self, architecture, checkpoint, trust_remote_code=False, own=False, formats=None):
        self.architecture, self.checkpoint = architecture, checkpoint
        self.trust_remote_code, self.own, self.formats = trust_remote_code, own, formats

    def at(self, folder):
        """The same architecture's weights elsewhere."""
        return Source(self.architecture, str(folder), self.trust_remote_code, self.own, self.formats)


def load(cell, source, does, *, attention=None, quantised=True, mapped=True, mapped_like=None, dtype=None):
    """The candidate, as from_pretrained leaves it, or one that differs from it so.

    `mapped_like` is the source whose parts a device_map names, where it is not this one; `dtype` is a name.
    """
    dtype = torch_dtype(dtype or cell.dtype)
    arguments = {DTYPE_ARGUMENT: dtype, "attn_implementation": str(attention or cell.attention)}
    if quantised:
        arguments |= does.load_arguments(cell.quantisation, dtype)
        if does.written:
            source = source.at(written(cell, source, does) / FORMATTED)
    if mapped:
        arguments |= map_arguments(cell, mapped_like or source, does)
    return from_pretrained(source, **arguments)


def load_reference(cell, source, does, device, *, golden, attention=None):
    """Golden (the cell's own weights, upcast) or baseline (the same weights in the cell's dtype).

    Through another attention implementation than the architecture's reference, if one is named.

    Quantised weights are taken from the library and given their meaning in plain torch, as the quantiser's half
    spells it out: golden holds them dequantised, baseline as plain arithmetic in the cell's dtype has them. Neither
    runs a kernel of the quantiser's. Where a checkpoint is written in the format its twin says what the weights mean,
    and the quantiser's half is given the folder of the checkpoint, in which it may see what else is done.
    """
    dtype = torch_dtype(cell.dtype)
    attention = attention or source.architecture.reference_attention
    folder = written(cell, source, does) if does.written else None
    source = source if folder is None else source.at(folder / TWIN)
    arguments = {DTYPE_ARGUMENT: dtype, "attn_implementation": attention, **PLAIN_EXPERTS}
    model = from_pretrained(source, **arguments).to(device)
    if model.config._attn_implementation != attention:
        raise RuntimeError(f"the reference runs {model.config._attn_implementation} instead of {attention}")
    if lacking(model):
        raise RuntimeError(f"the checkpoint lacks {len(lacking(model))} parameters: {', '.join(lacking(model)[:5])}")
    model.config.use_cache = False
    model.weight_sum = sum(parameter.abs().sum(dtype=torch.float64) for parameter in model.parameters()).item()
    if golden:
        raise_to(model, golden_dtype(cell.dtype))
        if folder is not None:
            take_exactly(model, from_pretrained(source, **arguments | {DTYPE_ARGUMENT: torch.float32}))

    def load_quantised():
        if folder is not None:
            return folder / FORMATTED
        placed = map_arguments(cell, source, does) if does.placed_first and does.processes == 1 else {}
        return from_pretrained(source, **does.load_arguments(cell.quantisation, dtype), **placed, **arguments)

    does.spell_out(model, load_quantised, device, golden)
    return model


def written(cell, source, does):
    """The folder of the cell's checkpoint in its format, and of the twin of that."""
    return in_format(cell, source, does, lambda: make_empty(source, torch_dtype(cell.dtype)))


def take_exactly(model, exact):
    """Give golden the dequantised weights as they are, which loading rounded to the dtype of the cell."""
    values = dict(exact.named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(values[name])


def raise_to(model, dtype):
    """Hold a model in that dtype. `Module.to` would make real numbers of complex ones, as of Llama 4's rotation."""

    def raised(tensor):
        if tensor.is_complex():
            return tensor.to(torch.promote_types(tensor.dtype, dtype))
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    model._apply(raised)


def torch_dtype(dtype):
    """The torch dtype of that name."""
    return getattr(torch, dtype)


def golden_dtype(dtype):
    """One precision up: float64 for float32 cells, float32 for the rest."""
    return torch.float64 if dtype == "float32" else torch.float32


def map_arguments(cell, source, does):
    """The cell's device_map and what belongs to it, if it has one."""
    return does.placing(cell.device_map, lambda: make_empty(source, torch_dtype(cell.dtype)))


def needs_moving(model, device):
    """Whether the caller still has to move a model that has no device_map: quantisers may place theirs themselves."""
    return any(parameter.device.type != device.type for parameter in model.parameters())


def from_pretrained(source, **arguments):
    """The model in eval mode, from safetensors unless told otherwise."""
    arguments.setdefault("use_safetensors", True)
    arguments.setdefault("trust_remote_code", source.trust_remote_code)
    folder = tempfile.mkdtemp() if "device_map" in arguments else None
    if folder is not None:
        arguments["offload_folder"] = folder
    try:
        with default_dtype_kept():
            model, report = auto_class(source).from_pretrained(source.checkpoint, output_loading_info=True, **arguments)
    except BaseException:
        shutil.rmtree(folder or "", ignore_errors=True)
        raise
    if folder is not None:
        weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)  # weights may wait there as long as it lives
    model.load_report = report
    return model.eval()


def lacking(model):
    """The parameters that the checkpoint did not have, or in another shape: they were drawn at random."""
    report = getattr(model, "load_report", {})
    return sorted({*report.get("missing_keys", ()), *(name for name, *_ in report.get("mismatched_keys", ()))})


def make_empty(source, dtype):
    """The model without memory for its weights."""
    config = transformers.AutoConfig.from_pretrained(source.checkpoint, trust_remote_code=source.trust_remote_code)
    with torch.device("meta"):
        return auto_class(source).from_config(config).to(dtype)


def auto_class(source):
    """The transformers class that loads it."""
    return getattr(transformers, source.architecture.auto_class)
