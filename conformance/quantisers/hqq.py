"""hqq, and what its weights mean in plain torch. Scripts carry it along."""

import torch
import transformers


def load_arguments(quantisation, dtype):
    """What from_pretrained is given."""
    return {"quantization_config": transformers.HqqConfig(nbits=4, group_size=64)}


def stored_as(module):
    """The format of a module's weight, empty if it has none (yet); None if the module is not hqq's."""
    if not type(module).__module__.startswith("hqq."):
        return None
    return f"{module.meta['nbits']} bits by {module.meta['group_size']}" if getattr(module, "meta", None) else ""


def spell_out(model, load_quantised, device, golden):
    """Give the model the weights of its quantised twin, dequantised in float32, baseline's in the model's own dtype."""
    for name, module in load_quantised().named_modules():
        if stored_as(module):
            target = model.get_submodule(name)
            dtype = torch.float32 if golden else target.weight.dtype
            values = dequantise_hqq(module.W_q, module.meta, dtype).to(device, target.weight.dtype)
            target.weight = torch.nn.Parameter(values, requires_grad=False)


def dequantise_hqq(packed, meta, dtype=torch.float32):
    """The weight of shape `meta["shape"]`: codes less the zero of their group, times its scale, in `dtype`.

    Two codes of 4 bits a byte, those of the first half of the groups high; a row holds one group, (groups, group_size),
    and has its `zero` and `scale` of shape (groups, 1).
    """
    packed = packed.view(torch.uint8)
    codes = torch.cat([packed >> 4, packed & 15])
    return ((codes.to(dtype) - meta["zero"].to(dtype)) * meta["scale"].to(dtype)).reshape(meta["shape"])
