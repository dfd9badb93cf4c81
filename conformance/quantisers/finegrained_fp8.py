"""Finegrained FP8: a scale for each block of 128 by 128, as DeepSeek-V3 was published. Scripts carry it along."""

import torch
import transformers

from conformance.models.formats import write_both

FP8_BLOCK = 128
FP8_LARGEST = 448.0  # of e4m3


def load_arguments(quantisation, dtype):
    """Nothing, for the checkpoint says itself what it is; or to be dequantised when it is loaded."""
    if quantisation == "fp8":
        return {}
    return {"quantization_config": transformers.FineGrainedFP8Config(dequantize=True)}


def stored_as(module):
    """The format of a module's weight; None if the module is not one of transformers' FP8 modules."""
    if type(module).__module__ != "transformers.integrations.finegrained_fp8":
        return None
    kinds = {parameter.dtype for name, parameter in module.named_parameters() if "scale" not in name}
    return "e4m3 by block" if torch.float8_e4m3fn in kinds else ""


def write(quantisation, plain, folder):
    """The checkpoint in the format, and its twin."""
    said = {
        "quant_method": "fp8",
        "activation_scheme": "dynamic",
        "weight_block_size": [FP8_BLOCK, FP8_BLOCK],
        "modules_to_not_convert": plain.left,
    }
    write_both(plain, folder, fp8_packed, fp8_unpacked, said)


def spell_out(model, folder, device, golden):
    """The twin says already what the weights mean."""


def by_block(scales, shape):
    """A scale for each value of a matrix of that shape: of the block of 128 by 128 that it stands in."""
    whole = scales.repeat_interleave(FP8_BLOCK, 0).repeat_interleave(FP8_BLOCK, 1)
    return whole[: shape[0], : shape[1]]


def fp8_packed(weight):
    """Codes (rows, columns) in e4m3, and what to multiply them by, float32 (rows / 128, columns / 128), rounded up."""
    rows, columns = (-(-size // FP8_BLOCK) for size in weight.shape)
    whole = weight.new_zeros(rows * FP8_BLOCK, columns * FP8_BLOCK)
    whole[: weight.shape[0], : weight.shape[1]] = weight
    maxima = whole.unflatten(1, (columns, FP8_BLOCK)).unflatten(0, (rows, FP8_BLOCK)).abs().amax((1, 3))
    scales = maxima.clamp_min(1e-12) / FP8_LARGEST
    codes = (weight / by_block(scales, weight.shape)).to(torch.float8_e4m3fn)
    return {"weight": codes, "weight_scale_inv": scales}


def fp8_unpacked(parts):
    """The float32 weight that codes and scales mean."""
    return parts["weight"].float() * by_block(parts["weight_scale_inv"], parts["weight"].shape)
