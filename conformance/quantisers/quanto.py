"""optimum-quanto, and what its weights mean in plain torch. Scripts carry it along."""

import torch
import transformers


def load_arguments(quantisation, dtype):
    """What from_pretrained is given."""
    return {"quantization_config": transformers.QuantoConfig(weights=quantisation.removeprefix("quanto_"))}


def stored_as(module):
    """The format of a module's weight, empty if it is not quantised; None if the module is not quanto's."""
    if not type(module).__module__.startswith("optimum.quanto"):
        return None
    kind = getattr(module.weight, "qtype", None)
    return "" if kind is None else kind.name


def spell_out(model, load_quantised, device, golden):
    """Give the model the weights of its quantised twin, dequantised in float32, baseline's in the model's own dtype."""
    for name, module in load_quantised().named_modules():
        if stored_as(module):
            target = model.get_submodule(name)
            dtype = torch.float32 if golden else target.weight.dtype
            values = dequantised(module.weight, dtype).to(device, target.weight.dtype)
            target.weight = torch.nn.Parameter(values, requires_grad=False)


def dequantised(weight, dtype=torch.float32):
    """The weight of shape (rows, columns) that a weight of quanto's stands for; codes and scales meet in `dtype`.

    Of 8 bits: `_data` times `_scale` (rows, 1). Of 4: `_data` are codes from 0 to 15 by group, (groups, columns of a
    group) in the order of the weight, two to a byte, those of the first half of the groups low; times `_scale` less
    `_shift`, both (groups, 1). What stands packed for tinygemm goes back to that by a product with the identity:
    no other way out of its tiles is documented.
    """
    if hasattr(weight, "_scale_shift"):
        weight = weight.weight_qbits_tensor()
    codes, scale = weight._data, weight._scale.to(dtype)
    shift = getattr(weight, "_shift", None)
    if shift is None:
        return codes.to(dtype) * scale
    groups = codes.shape[0]
    packed = codes._data if hasattr(codes, "_data") else codes
    codes = torch.cat([packed & 15, packed >> 4])[:groups]
    if shift.dtype.is_floating_point:
        return (codes.to(dtype) * scale - shift.to(dtype)).reshape(weight.shape)
    return ((codes.to(dtype) - shift.to(dtype)) * scale).reshape(weight.shape)
