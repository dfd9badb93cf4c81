"""MXFP4 (OCP Microscaling Formats 1.0), as GPT-OSS was published: its experts, and nothing else.

Scripts carry it along.
"""

import torch
import transformers

from conformance.models.formats import FORMATTED, TWIN, write_checkpoint
from conformance.quantisers.compressed import E2M1, nearest_code

MX_BLOCK = 32
MX_BIAS = 127  # of E8M0: a scale of so much is 1
MX_EXPERTS = (".mlp.experts.gate_up_proj", ".mlp.experts.down_proj")
MX_LEFT = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]


def load_arguments(quantisation, dtype):
    """Nothing, for the checkpoint says itself what it is; or to be dequantised when it is loaded."""
    if quantisation == "mxfp4":
        return {}
    return {"quantization_config": transformers.Mxfp4Config(dequantize=True)}


def stored_as(module):
    """The format of the experts that a module holds; None if the module is not transformers' for such."""
    if type(module).__module__ != "transformers.integrations.mxfp4":
        return None
    return "e2m1 by 32" if hasattr(module, "gate_up_proj") else ""


def spell_out(model, folder, device, golden):
    """The twin says already what the weights mean."""


def write(quantisation, plain, folder):
    """The checkpoint in the format, and its twin."""
    quantised, twin = {}, {}
    for name, tensor in plain.tensors.items():
        if not name.endswith(MX_EXPERTS):
            quantised[name] = tensor.to(plain.dtype)
            twin[name] = quantised[name].float()
            continue
        parts = mxfp4_packed(tensor.float())
        quantised |= {f"{name}_{part}": value for part, value in parts.items()}
        twin[name] = mxfp4_unpacked(parts)
    write_checkpoint(folder / TWIN, plain, twin, {})
    said = {"quant_method": "mxfp4", "modules_to_not_convert": MX_LEFT}
    write_checkpoint(folder / FORMATTED, plain, quantised, {"quantization_config": said})


def mxfp4_packed(weight):
    """What stands for experts (experts, inputs, outputs) in float32, by what comes behind their name.

    Blocks (experts, outputs, inputs / 32, 16), uint8: two E2M1 codes a byte, the first in the lower half. Scales
    (experts, outputs, inputs / 32), uint8: the power of two under which the largest of a block comes to [4, 8), raised
    by 127 (Microscaling Formats 1.0, 6.3). What comes beyond 6 is 6.
    """
    groups = weight.transpose(1, 2).unflatten(2, (-1, MX_BLOCK))
    powers = torch.frexp(groups.abs().amax(-1)).exponent - 3
    codes = nearest_code(torch.ldexp(groups, -powers[..., None]))
    packed = codes[..., 0::2] | codes[..., 1::2] << 4
    return {"blocks": packed.to(torch.uint8), "scales": (powers + MX_BIAS).to(torch.uint8)}


def mxfp4_unpacked(parts):
    """The float32 experts that blocks and scales mean."""
    packed = parts["blocks"].long()
    codes = torch.stack([packed & 15, packed >> 4], -1).flatten(-2)
    powers = parts["scales"].int() - MX_BIAS
    return torch.ldexp(torch.tensor(E2M1)[codes], powers[..., None]).flatten(2).transpose(1, 2).contiguous()
