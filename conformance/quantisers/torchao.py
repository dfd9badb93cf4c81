"""torchao, and what its weights mean in plain torch. Scripts carry it along."""

import torch
import transformers

INT4_GROUP = 32
TILED = "Int4TilePackedTo4dTensor"


def load_arguments(quantisation, dtype):
    """What from_pretrained is given."""
    from torchao import quantization
    from torchao.quantization.granularity import PerGroup, PerRow

    name, arguments = {
        "torchao_int8": ("Int8WeightOnlyConfig", {}),
        "torchao_float8": ("Float8WeightOnlyConfig", {}),
        "torchao_intx4": ("IntxWeightOnlyConfig", {"weight_dtype": torch.int4, "granularity": PerGroup(INT4_GROUP)}),
        "torchao_int8_dynamic": ("Int8DynamicActivationInt8WeightConfig", {}),
        # The default is a scale for the whole batch, padding included: of a row alone it is another one.
        "torchao_float8_dynamic": ("Float8DynamicActivationFloat8WeightConfig", {"granularity": PerRow()}),
        "torchao_int4": ("Int4WeightOnlyConfig", {"group_size": INT4_GROUP}),
        "torchao_int4_tiles": (
            "Int4WeightOnlyConfig",
            {"group_size": INT4_GROUP, "int4_packing_format": "tile_packed_to_4d"},
        ),
    }[quantisation]
    config = getattr(quantization, name)(**arguments)
    return {"quantization_config": transformers.TorchAoConfig(config)}


def stored_as(module):
    """The class of a module's weight, how much of it shares a scale, and whether activations are quantised to meet it;
    None if the weight is not torchao's.
    """
    weight = getattr(module, "weight", None)
    if not type(weight).__module__.startswith("torchao"):
        return None
    rows, columns = weight.block_size
    shared = "row" if (rows, columns) == (1, weight.shape[1]) else "tensor" if rows > 1 else columns
    if type(weight).__name__.startswith("Int4") or type(weight).__name__.startswith("Intx"):
        shared = columns  # a weight may be no wider than a group
    return f"{type(weight).__name__} by {shared}{' with activations' if quantises_activations(weight) else ''}"


def quantises_activations(weight):
    """Whether what a weight is multiplied by is quantised first."""
    return any(getattr(weight, name, None) is not None for name in ("act_quant_kwargs", "activation_quantization"))


def spell_out(model, load_quantised, device, golden):
    """Give the model the weights of its quantised twin, in plain torch.

    Where activations are quantised too, golden and baseline both do that. Of int8 weights alone baseline multiplies by
    the codes and then by the scales, as torchao does: a twin with dequantised weights rounds elsewhere.
    """
    for name, module in load_quantised().named_modules():
        if stored_as(module) is None:
            continue
        target, weight = model.get_submodule(name), module.weight
        values = tinygemm_rounded(target.weight) if type(weight).__name__ == TILED else dequantised(weight)
        target.weight = torch.nn.Parameter(values.to(device, target.weight.dtype), requires_grad=False)
        plain = None
        if quantises_activations(weight):
            plain = PlainDynamicLinear
        elif type(weight).__name__ == "Int8Tensor" and list(weight.block_size) == [1, weight.shape[1]] and not golden:
            plain = PlainCodesLinear
        if plain is not None:
            owner, _, attribute = name.rpartition(".")
            replaced = plain(weight.qdata.to(device), weight.scale.to(device), target)
            setattr(model.get_submodule(owner), attribute, replaced)


def dequantised(weight):
    """The float32 weight of shape (rows, columns) that a weight of torchao's stands for.

    Codes less their zero point, times the scale of their block, one for each block: `Int8Tensor` and
    `IntxUnpackedToInt8Tensor` hold `qdata` int8 (rows, columns), `Float8Tensor` e4m3 and no zero point. `Int4Tensor`
    holds (rows, columns / 2) bytes, of two codes from -8 to 7 with the earlier one low, and `scale` and `zero_point`,
    which is added, of shape (groups, rows).
    """
    if type(weight).__name__ == "Int4Tensor":
        codes = torch.stack([weight.qdata.int() & 15, (weight.qdata.int() >> 4) & 15], dim=-1).flatten(-2)
        codes = codes - 16 * (codes > 7).int()
        scale, zero = (by_block(part.T.float(), weight.block_size) for part in (weight.scale, weight.zero_point))
        return codes.float() * scale + zero
    scale, zero = (weight.scale.float(), getattr(weight, "zero_point", None))
    codes = weight.qdata.float()
    if zero is not None:
        codes = codes - by_block(zero.float(), weight.block_size)
    return codes * by_block(scale, weight.block_size)


def by_block(values, block):
    """Values of blocks of that many rows and columns, repeated for all that is in them."""
    return values.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)


def tinygemm_rounded(weight):
    """What a bfloat16 weight is in int4 for tinygemm, whose tiles only its kernel can read.

    Groups of 32 along a row: `scale` is their range / 15, `zero` their minimum + 8 `scale`, in bfloat16, and codes from
    0 to 15 stand for (code - 8) scale + zero. A row is filled up with zeros to a multiple of 1024, which may be part of
    its last group.
    """
    rows, columns = weight.shape
    padded = torch.nn.functional.pad(weight.bfloat16(), (0, -columns % 1024)).reshape(rows, -1, INT4_GROUP)
    smallest, largest = padded.amin(-1, keepdim=True), padded.amax(-1, keepdim=True)
    scale = ((largest - smallest) / 15).clamp_min(torch.finfo(torch.bfloat16).smallest_normal)
    zero = smallest + scale * 8
    codes = ((padded - (zero - scale * 8)) / scale).round().clamp(0, 15)
    return ((codes.float() - 8) * scale.float() + zero.float()).reshape(rows, -1)[:, :columns]


class PlainCodesLinear(torch.nn.Module):
    """Inputs times codes, and the product times the scale of each row, all in the dtype of the inputs."""

    def __init__(self, codes, scales, plain):
        super().__init__()
        self.codes, self.scales = codes, scales.flatten()
        self.weight, self.bias = plain.weight, plain.bias

    def forward(self, inputs):
        """The product, in the dtype of the inputs."""
        product = (inputs @ self.codes.T.to(inputs.dtype)) * self.scales.to(inputs.dtype)
        return product if self.bias is None else product + self.bias


class PlainDynamicLinear(torch.nn.Module):
    """Inputs rounded token by token to the format of the codes; the product times the scales of both.

    int8: the step is the largest magnitude of a token / 127.5, found in the dtype of the inputs; float8: / 448.
    """

    def __init__(self, codes, scales, plain):
        super().__init__()
        self.floating = codes.is_floating_point()
        self.codes, self.scales = codes.double(), scales.flatten()
        self.weight, self.bias = plain.weight, plain.bias

    def forward(self, inputs):
        """The product, in the dtype of the inputs."""
        precise = torch.promote_types(inputs.dtype, torch.float32)
        largest = inputs.abs().amax(-1, keepdim=True)
        step = (largest / (448 if self.floating else 127.5)).to(precise)
        scaled = inputs.to(precise) / step.clamp_min(torch.finfo(torch.float32).eps)
        whole = scaled.round().clamp(-128, 127)
        rounded = scaled.clamp(-448, 448).to(torch.float8_e4m3fn) if self.floating else whole
        product = ((rounded.double() @ self.codes.T).to(precise) * step).to(inputs.dtype)
        product = product * self.scales.to(precise)
        if self.bias is not None:
            product = product + self.bias
        return product.to(inputs.dtype)
