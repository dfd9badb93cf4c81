"""A mixture of experts that compressed-tensors has compressed: what transformers makes of the experts.

They are dequantised at load, one projection at a time, by `CompressedTensorsDequantize`, without a word. It hands on
codes, scales and shape: NVFP4 loses the scale of the whole, zero points are missing where they are asked for, and int8
that is not packed is not looked for. What was loaded can't be saved: `SplitModulelist` is asked to name what three
patterns came from. Seen with transformers 5.23.0 and 5.24.0 and compressed-tensors 0.20.0.
"""

import json
import logging
import tempfile
from pathlib import Path

import torch
import transformers
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import preset_name_to_scheme
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import load_file, save_file
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

logging.disable(logging.WARNING)
SIZES = {"vocab_size": 256, "hidden_size": 128, "intermediate_size": 128, "moe_intermediate_size": 128}
SIZES |= {"num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
FORMATS = {"W8A16": "pack-quantized", "W4A16_ASYM": "pack-quantized", "INT8": "int-quantized"}
FORMATS |= {"NVFP4A16": "nvfp4-pack-quantized"}


def compressed(weight, scheme, form):
    """What stands for a weight, and the weight that it means."""
    asked, more = scheme.weights, {}
    groups = weight.unflatten(1, (-1, asked.group_size or weight.shape[1]))
    if asked.type == "float":
        more["weight_global_scale"] = (448 * 6 / weight.abs().max()).reshape(1)
    scale, point = calculate_qparams(groups.amin(-1), groups.amax(-1), asked, more.get("weight_global_scale"))
    state = {"weight": weight, "weight_scale": scale, "weight_zero_point": point, **more}
    state = BaseCompressor.get_value_from_registry(form).compress(state, scheme)
    return state, BaseCompressor.get_value_from_registry(form).decompress(state, scheme)["weight"].float()


torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens, wrong = torch.randint(0, 256, (1, 32)), False
for preset, form in FORMATS.items():
    scheme = preset_name_to_scheme(preset, ["Linear"])
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as again, torch.no_grad():
        config = Qwen3MoeConfig(**SIZES, num_experts=4, num_experts_per_tok=2)
        config.initializer_range = 0.1
        Qwen3MoeForCausalLM(config).save_pretrained(folder)
        file, twin = Path(folder, "model.safetensors"), load_file(Path(folder, "model.safetensors"))
        tensors = dict(twin)
        for name in [name for name in twin if name.endswith("_proj.weight") and ".experts." in name]:
            state, twin[name] = compressed(tensors.pop(name), scheme, form)
            tensors |= {name.replace("weight", part): value.contiguous() for part, value in state.items()}
        save_file(twin, file, metadata={"format": "pt"})
        dtype = torch.bfloat16
        expected = Qwen3MoeForCausalLM.from_pretrained(folder, dtype=dtype)(tokens).logits
        save_file(tensors, file, metadata={"format": "pt"})
        said = json.loads(Path(folder, "config.json").read_text())
        group = {"targets": ["Linear"], "weights": scheme.weights.model_dump(mode="json"), "format": form}
        group["input_activations"] = scheme.input_activations and scheme.input_activations.model_dump(mode="json")
        said["quantization_config"] = {"quant_method": "compressed-tensors", "format": form}
        said["quantization_config"] |= {"config_groups": {"group_0": group}, "quantization_status": "compressed"}
        said["quantization_config"]["ignore"] = ["lm_head", "re:.*self_attn.*"]
        Path(folder, "config.json").write_text(json.dumps(said))
        try:
            model = Qwen3MoeForCausalLM.from_pretrained(folder, dtype=dtype)
        except RuntimeError as error:
            print(f"{preset}: expected to be loaded, RuntimeError: {str(error)[:70]}")
            wrong = True
            continue
        kept = model.model.layers[0].mlp.experts.gate_up_proj.dtype
        off = float((model(tokens).logits - expected).abs().max())
        print(f"{preset}: experts are held in {kept}; off by {off:.3g} of {float(expected.float().std()):.3g}")
        wrong |= not off < 0.1 or kept is dtype
        try:
            model.save_pretrained(again)
            print(f"{preset}: expected to be saved, saved")
        except ValueError as error:
            print(f"{preset}: expected to be saved, ValueError: {error}")
            wrong = True
raise SystemExit(wrong)
