"""compressed-tensors, as llm-compressor writes it, and what its weights mean in plain torch. Scripts carry it along."""

import json
from pathlib import Path

import torch
import transformers

from conformance.models.formats import quantised_modules, write_both

CT_GROUP, NVFP4_GROUP = 32, 16
E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
E2M1 += [-value for value in E2M1]
_INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": CT_GROUP, "symmetric": True}
_INT8 = {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}
_FP8 = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}
_NVFP4 = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": NVFP4_GROUP, "symmetric": True}
_NVFP4 |= {"scale_dtype": "torch.float8_e4m3fn", "zp_dtype": "torch.float8_e4m3fn"}
_BY_TOKEN = {"strategy": "token", "symmetric": True, "dynamic": True}
# By what is stored: compressed-tensors' name of the format, its arguments of weights and of activations.
CT_SCHEMES = {
    "int4": ("pack-quantized", _INT4, None),
    "int4_asym": ("pack-quantized", _INT4 | {"symmetric": False}, None),
    "int8": ("pack-quantized", _INT8, None),
    "w8a8": ("int-quantized", _INT8, {"num_bits": 8, "type": "int", **_BY_TOKEN}),
    "fp8": ("float-quantized", _FP8, {"num_bits": 8, "type": "float", **_BY_TOKEN}),
    "nvfp4": ("nvfp4-pack-quantized", _NVFP4, None),
}


def ct_scheme(quantisation):
    """What a quantisation of the suite stores."""
    return quantisation.removeprefix("ct_").removesuffix("_frozen").removesuffix("_dequantised")


def load_arguments(quantisation, dtype):
    """Nothing, for the checkpoint says itself what it is; or to be dequantised when it is loaded."""
    if not quantisation.endswith("_dequantised"):
        return {}
    return {"quantization_config": transformers.CompressedTensorsConfig(dequantize=True)}


def stored_as(module):
    """The format in which compressed-tensors holds a module's weight; None if the module has none of its schemes."""
    scheme = getattr(module, "quantization_scheme", None)
    if not type(scheme).__module__.startswith("compressed_tensors"):
        return None
    held = [module._parameters.get(name) for name in ("weight_packed", "weight")]
    code = next((str(weight.dtype).removeprefix("torch.") for weight in held if weight is not None), "nothing")
    points = " with zero points" if not scheme.weights.symmetric else ""
    return f"{scheme.weights.type} of {scheme.weights.num_bits} bits in {code}{points}"


def write(quantisation, plain, folder):
    """The checkpoint in the format, and its twin."""
    kind = ct_scheme(quantisation)
    form, weights, activations = CT_SCHEMES[kind]
    group = {"targets": ["Linear"], "weights": weights, "input_activations": activations, "format": form}
    said = {
        "quant_method": "compressed-tensors",
        "format": form,
        "config_groups": {"group_0": group},
        "ignore": plain.left,
        "quantization_status": "frozen" if quantisation.endswith("_frozen") else "compressed",
        "global_compression_ratio": None,
        "kv_cache_scheme": None,
    }
    write_both(
        plain, folder, lambda weight: ct_packed(kind, weight, plain.dtype), lambda parts: ct_unpacked(kind, parts), said
    )


def spell_out(model, folder, device, golden):
    """The twin says already what the weights mean; where activations are quantised too, baseline does it plainly."""
    said = json.loads((Path(folder()) / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    activations = said["config_groups"]["group_0"]["input_activations"]
    if golden or activations is None:
        return
    for name in quantised_modules(model):
        owner, _, attribute = name.rpartition(".")
        plain = PlainQuantisedInputs(model.get_submodule(name), activations["type"])
        setattr(model.get_submodule(owner), attribute, plain)


class PlainQuantisedInputs(torch.nn.Module):
    """A linear module that first rounds its inputs, each token by its own largest value."""

    def __init__(self, linear, kind):
        super().__init__()
        self.linear, self.kind = linear, kind

    def forward(self, inputs):
        """The product, in the dtype of the inputs."""
        return self.linear(rounded_by_token(inputs, self.kind))


def rounded_by_token(inputs, kind):
    """Inputs (…, features) as 8-bit codes have them: integers to 127.5 or e4m3 to 448 of the largest of their token."""
    largest = inputs.abs().amax(-1, keepdim=True)
    if kind == "int":
        scale = (largest / 127.5).clamp_min(torch.finfo(inputs.dtype).tiny)
        return (inputs / scale).round().clamp(-128, 127) * scale
    scale = (largest / 448).clamp_min(torch.finfo(inputs.dtype).tiny)
    return (inputs / scale).clamp(-448, 448).to(torch.float8_e4m3fn).to(inputs.dtype) * scale


def ct_packed(kind, weight, dtype):
    """What stands for a float32 weight of shape (rows, columns), by name; scales of integers are of `dtype`.

    Integers of 4 and 8 bits, an offset of 8 or 128 added, lie in words of 32 bits, the first in the lowest; the zero
    points of groups likewise, along the rows. NVFP4 has two E2M1 codes a byte, the first in the lower half, a scale in
    e4m3 for each 16 and one for the whole, by which those are divided.
    """
    if kind == "nvfp4":
        whole = 448.0 * 6.0 / weight.abs().max()
        groups = weight.unflatten(1, (-1, NVFP4_GROUP))
        scales = (groups.abs().amax(-1) / 6 * whole).clamp_max(448).to(torch.float8_e4m3fn)
        scaled = (groups / (scales.float() / whole).clamp_min(1e-12)[..., None]).flatten(1)
        codes = nearest_code(scaled)
        packed = codes[:, 0::2] | codes[:, 1::2] << 4
        return {
            "weight_packed": packed.to(torch.uint8),
            "weight_scale": scales,
            "weight_global_scale": whole.reshape(1),
        }
    smallest = torch.finfo(dtype).tiny  # rows of zeros have a scale too
    if kind == "fp8":
        scales = (weight.abs().amax(1, keepdim=True) / 448).to(dtype).clamp_min(smallest)
        return {"weight": (weight / scales.float()).clamp(-448, 448).to(torch.float8_e4m3fn), "weight_scale": scales}
    if kind == "w8a8":
        scales = (weight.abs().amax(1, keepdim=True) / 127.5).to(dtype).clamp_min(smallest)
        codes = (weight / scales.float()).round().clamp(-128, 127)
        return {"weight": codes.to(torch.int8), "weight_scale": scales}
    bits, group = (8, weight.shape[1]) if kind == "int8" else (4, CT_GROUP)
    half = 2 ** (bits - 1)
    groups = weight.unflatten(1, (-1, group))
    low, high = groups.amin(-1).clamp_max(0), groups.amax(-1).clamp_min(0)
    if kind == "int4_asym":
        scales = ((high - low) / (2 * half - 1)).to(dtype).clamp_min(smallest)
        points = (-half - low / scales.float()).round().clamp(-half, half - 1)
    else:
        scales = (torch.maximum(high, -low) / (half - 0.5)).to(dtype).clamp_min(smallest)
        points = torch.zeros_like(low)
    codes = (groups / scales.float()[..., None] + points[..., None]).round().clamp(-half, half - 1).flatten(1)
    parts = {
        "weight_packed": into_words(codes.long() + half, bits),
        "weight_scale": scales,
        "weight_shape": torch.tensor(weight.shape),
    }
    if kind == "int4_asym":
        parts["weight_zero_point"] = into_words(points.long().T + half, bits).T.contiguous()
    return parts


def ct_unpacked(kind, parts):
    """The float32 weight that these tensors mean."""
    scales = parts["weight_scale"].float()
    if kind in ("fp8", "w8a8"):
        return parts["weight"].float() * scales
    if kind == "nvfp4":
        packed = parts["weight_packed"].long()
        codes = torch.stack([packed & 15, packed >> 4], -1).flatten(1)
        return torch.tensor(E2M1)[codes] * (scales / parts["weight_global_scale"]).repeat_interleave(NVFP4_GROUP, 1)
    rows, columns = parts["weight_shape"].tolist()
    bits = 8 if kind == "int8" else 4
    codes = out_of_words(parts["weight_packed"], bits, columns) - 2 ** (bits - 1)
    points = torch.zeros_like(scales)
    if "weight_zero_point" in parts:
        points = (out_of_words(parts["weight_zero_point"].T, bits, rows) - 2 ** (bits - 1)).T
    wide = columns // scales.shape[1]
    return (codes - points.repeat_interleave(wide, 1)).float() * scales.repeat_interleave(wide, 1)


def nearest_code(values):
    """The E2M1 code of each value, of two as near the one with an even code."""
    book = torch.tensor(E2M1[:8])
    middles = (book[1:] + book[:-1]) / 2
    sizes = values.abs().contiguous()
    up, down = torch.bucketize(sizes, middles), torch.bucketize(sizes, middles, right=True)
    code = torch.where(up % 2 == 0, up, down)
    return code + 8 * (values < 0)


def into_words(codes, bits):
    """Codes (rows, columns) of that many bits, from 0, packed into int32 (rows, columns * bits / 32, rounded up)."""
    held = 32 // bits
    missing = -codes.shape[1] % held
    codes = torch.nn.functional.pad(codes, (0, missing)).unflatten(1, (-1, held))
    words = (codes << (bits * torch.arange(held))).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def out_of_words(words, bits, columns):
    """The first so many codes of each row, from 0."""
    held = 32 // bits
    codes = (words.long()[..., None] >> (bits * torch.arange(held))) & (2**bits - 1)
    return codes.flatten(1)[:, :columns]
