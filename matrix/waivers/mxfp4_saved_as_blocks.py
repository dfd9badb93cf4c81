"""An MXFP4 checkpoint of GPT-OSS that is dequantised at load is saved with plain experts under the names of blocks.

Before transformers 5.24.0 the names that experts had in the checkpoint are given back at `save_pretrained`, though they
are dequantised and config.json no longer names the method: `down_proj_blocks` holds plain numbers, and when that is
loaded every expert is drawn at random. Without a GPU, triton and `kernels` the library dequantises by itself. Seen with
transformers 5.23.0, right with 5.24.0; with 5.17.0 the experts are not saved at all.
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
tokens, wrong = torch.randint(0, 256, (1, 32)), False
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
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
    for asked in ({}, {"quantization_config": Mxfp4Config(dequantize=True)}):
        model = AutoModelForCausalLM.from_pretrained(folder, **asked)
        expected = model(tokens).logits
        with tempfile.TemporaryDirectory() as again:
            model.save_pretrained(again)
            names = load_file(Path(again, "model.safetensors"))
            saved = sorted({name.rpartition(".")[2] for name in names if "experts" in name})
            off = float((AutoModelForCausalLM.from_pretrained(again)(tokens).logits - expected).abs().max())
        print(f"asked {[*asked]}: saved {', '.join(saved)}; expected the same logits, off by {off:.3g}")
        wrong |= not off < 1e-3
raise SystemExit(wrong)
