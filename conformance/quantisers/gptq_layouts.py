"""GPTQ and AWQ, as their packages write them, and what their weights mean in plain torch. Scripts carry it along."""

import torch

from conformance.models.formats import write_both
from conformance.quantisers.compressed import into_words, out_of_words

GPTQ_GROUP = 32
# In a word of AWQ codes lie in this order, so that its kernel finds pairs side by side.
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def load_arguments(quantisation, dtype):
    """Nothing, for the checkpoint says itself what it is."""
    return {}


def stored_as(module):
    """The format of a module's weight; None if the module is not one of gptqmodel's."""
    if not type(module).__module__.startswith("gptqmodel"):
        return None
    return "int4 in groups" if hasattr(module, "qweight") else ""


def spell_out(model, folder, device, golden):
    """The twin says already what the weights mean."""


def write(quantisation, plain, folder):
    """The checkpoint in the format, and its twin."""
    said = {"quant_method": quantisation, "bits": 4, "group_size": GPTQ_GROUP, "modules_to_not_convert": plain.left}
    if quantisation == "awq":
        said |= {"zero_point": True, "version": "gemm"}
    else:
        said |= {"desc_act": False, "sym": False, "checkpoint_format": "gptq"}
    write_both(
        plain,
        folder,
        lambda weight: gptq_packed(quantisation, weight),
        lambda parts: gptq_unpacked(quantisation, parts),
        said,
    )


def gptq_packed(kind, weight):
    """What stands for a float32 weight of shape (rows, columns), transposed: codes from 0 to 15, eight a word.

    GPTQ packs them along the columns, and its zero points, one less than they are, along the rows; AWQ both along the
    rows, in an order of its own. Scales are in half precision, one for each group of columns and row.
    """
    groups = weight.unflatten(1, (-1, GPTQ_GROUP))
    low, high = groups.amin(-1).clamp_max(0), groups.amax(-1).clamp_min(0)
    scales = ((high - low) / 15).half().clamp_min(torch.finfo(torch.float16).tiny)
    points = (-low / scales.float()).round().clamp(1, 15)
    codes = (groups / scales.float()[..., None] + points[..., None]).round().clamp(0, 15).flatten(1).long().T
    scales, points = scales.T.contiguous(), points.long().T
    if kind == "awq":
        return {"qweight": into_words(ordered(codes), 4), "qzeros": into_words(ordered(points), 4), "scales": scales}
    return {
        "qweight": into_words(codes.T, 4).T.contiguous(),
        "qzeros": into_words(points - 1, 4),
        "scales": scales,
        "g_idx": (torch.arange(weight.shape[1]) // GPTQ_GROUP).int(),
    }


def gptq_unpacked(kind, parts):
    """The float32 weight that these tensors mean."""
    scales = parts["scales"].float()
    rows = scales.shape[1]
    points = out_of_words(parts["qzeros"], 4, rows)
    if kind == "awq":
        codes, points = reordered(out_of_words(parts["qweight"], 4, rows)), reordered(points)
    else:
        codes, points = out_of_words(parts["qweight"].T, 4, 8 * len(parts["qweight"])).T, points + 1
    wide = len(codes) // len(scales)
    return ((codes - points.repeat_interleave(wide, 0)) * scales.repeat_interleave(wide, 0)).T.contiguous()


def ordered(codes):
    """Codes in the order in which AWQ puts each eight."""
    return codes.unflatten(1, (-1, 8))[..., AWQ_ORDER].flatten(1)


def reordered(codes):
    """The same undone."""
    return codes.unflatten(1, (-1, 8))[..., torch.tensor(AWQ_ORDER).argsort()].flatten(1)
