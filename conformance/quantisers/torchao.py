"""torchao, and what its weights mean in plain torch. Scripts carry it along."""

import torch
import transformers


def load_arguments(quantisation, dtype):
    """What from_pretrained is given."""
    from torchao.quantization import Int8WeightOnlyConfig

    return {"quantization_config": transformers.TorchAoConfig(Int8WeightOnlyConfig())}


def stored_as(module):
    """The class of a module's weight and the shape of its scales; None if the weight is not torchao's."""
    weight = getattr(module, "weight", None)
    if not type(weight).__module__.startswith("torchao"):
        return None
    by_row = list(weight.block_size) == [1, weight.shape[1]]
    return f"{type(weight).__name__} by {'row' if by_row else 'block'}"


def spell_out(model, load_quantised, device, golden):
    """Give the model the dequantised weights of its quantised twin."""
    for name, module in load_quantised().named_modules():
        if stored_as(module) is not None:
            target = model.get_submodule(name)
            target.weight = torch.nn.Parameter(
                dequantised(module.weight).to(device, target.weight.dtype), requires_grad=False
            )


def dequantised(weight):
    """The float32 weight of shape (rows, columns): codes less their zero point, times the scale of their block.

    torchao's Int8Tensor: `qdata` int8 (rows, columns), `scale` float32 and `zero_point` int8, one for each block.
    """
    rows, columns = weight.block_size
    scale, zero = (
        part.repeat_interleave(rows, 0).repeat_interleave(columns, 1) for part in (weight.scale, weight.zero_point)
    )
    return (weight.qdata.float() - zero.float()) * scale.float()
