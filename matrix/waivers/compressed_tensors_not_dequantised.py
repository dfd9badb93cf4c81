"""A compressed-tensors checkpoint of int4 with `dequantize=True`: weights are unpacked, and nothing else is undone.

Before transformers 5.23.0 modules keep their scales and their scheme, so that they round their weights anew at each
pass, and are saved with scales of which config.json says nothing. Seen with transformers 5.17.0 and compressed-tensors
0.20.0; 5.23.0 dequantises each weight as it is loaded into a plain module.
"""

import json
import logging
import tempfile
from pathlib import Path

import torch
import transformers
from compressed_tensors.compressors.pack_quantized.base import pack_to_int32
from safetensors.torch import load_file, save_file
from transformers import CompressedTensorsConfig, LlamaConfig, LlamaForCausalLM

logging.disable(logging.WARNING)
SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
WEIGHTS = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}
SAID = {"quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["lm_head"]}
SAID |= {"quantization_status": "compressed", "config_groups": {"group_0": {"targets": ["Linear"], "weights": WEIGHTS}}}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    LlamaForCausalLM(LlamaConfig(**SIZES, num_attention_heads=4)).save_pretrained(folder)
    tensors = load_file(Path(folder, "model.safetensors"))
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        weight = tensors.pop(name)
        groups = weight.reshape(weight.shape[0], -1, 32)
        scale = groups.abs().amax(-1, keepdim=True) / 7
        codes = (groups / scale).round().to(torch.int8).reshape(weight.shape)
        tensors |= {f"{name}_packed": pack_to_int32(codes, 4), f"{name}_scale": scale.squeeze(-1)}
        tensors[f"{name}_shape"] = torch.tensor(weight.shape)
    save_file(tensors, Path(folder, "model.safetensors"), metadata={"format": "pt"})
    path = Path(folder, "config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": SAID}))
    asked = CompressedTensorsConfig(dequantize=True)
    model = LlamaForCausalLM.from_pretrained(folder, quantization_config=asked, dtype=torch.float32)
    left = [name for name, _ in model.named_parameters() if name.endswith("_scale")]
    schemes = sum(hasattr(module, "quantization_scheme") for module in model.modules())
print(f"expected plain modules: {schemes} keep a scheme, {len(left)} scales are left, such as {left[:1]}")
raise SystemExit(bool(left or schemes))
