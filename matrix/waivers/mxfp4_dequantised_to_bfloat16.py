"""An MXFP4 checkpoint of GPT-OSS that is dequantised at load in float32: its experts are in bfloat16, and compute so.

Seen with transformers 5.17.0; 5.23.0 dequantises into the dtype of the parameter.
"""

import json
import logging
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GptOssConfig, GptOssForCausalLM, Mxfp4Config

logging.disable(logging.WARNING)
SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 16}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder:
    GptOssForCausalLM(GptOssConfig(**SIZES)).save_pretrained(folder)
    tensors = load_file(Path(folder, "model.safetensors"))
    for name in [name for name in tensors if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts, inputs, outputs = tensors.pop(name).shape
        tensors[f"{name}_blocks"] = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), dtype=torch.uint8)
        tensors[f"{name}_scales"] = torch.full((experts, outputs, inputs // 32), 123, dtype=torch.uint8)
    save_file(tensors, Path(folder, "model.safetensors"), metadata={"format": "pt"})
    config = json.loads(Path(folder, "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}
    Path(folder, "config.json").write_text(json.dumps(config))
    asked = Mxfp4Config(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=asked, dtype=torch.float32)
    found = {name: parameter.dtype for name, parameter in model.named_parameters() if parameter.dtype != torch.float32}
print(f"expected float32 alone, {len(found)} parameters are not: {dict(list(found.items())[:2])}")
raise SystemExit(bool(found))
