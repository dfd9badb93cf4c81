"""A finegrained FP8 checkpoint that is dequantised at load is quantised again when it is saved.

Before transformers 5.24.0 what was done at load is undone at `save_pretrained`, of every weight whose sides 128
divides, the head too, while config.json no longer names the method: codes are read as weights. Of a mixture of experts
nothing is saved. Seen with transformers 5.23.0, right with 5.24.0.
"""

import json
import logging
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, FineGrainedFP8Config, LlamaConfig, LlamaForCausalLM

logging.disable(logging.WARNING)
SIZES = {"vocab_size": 256, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2}
MOE = {"head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens, wrong = torch.randint(0, 256, (1, 32)), False
made = [LlamaForCausalLM(LlamaConfig(**SIZES))]
made.append(transformers.Qwen3MoeForCausalLM(transformers.Qwen3MoeConfig(**SIZES, **MOE)))
for plain in made:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as again, torch.no_grad():
        plain.save_pretrained(folder)
        tensors = load_file(Path(folder, "model.safetensors"))
        for name in [name for name in tensors if name.endswith("_proj.weight")]:
            rows, columns = tensors[name].shape
            blocks = tensors[name].reshape(-(-rows // 128), min(rows, 128), -(-columns // 128), 128)
            scale = blocks.abs().amax((1, 3)) / 448
            codes = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
            tensors |= {name: codes.reshape(rows, columns), f"{name}_scale_inv": scale}
        save_file(tensors, Path(folder, "model.safetensors"), metadata={"format": "pt"})
        config = json.loads(Path(folder, "config.json").read_text())
        config["quantization_config"] = {"quant_method": "fp8", "modules_to_not_convert": ["lm_head"]}
        Path(folder, "config.json").write_text(json.dumps(config))
        model = AutoModelForCausalLM.from_pretrained(folder, quantization_config=FineGrainedFP8Config(dequantize=True))
        expected = model(tokens).logits
        try:
            model.save_pretrained(again)
        except ValueError as error:
            print(f"{type(plain).__name__}: expected to be saved, ValueError: {error}")
            wrong = True
            continue
        off = float((AutoModelForCausalLM.from_pretrained(again)(tokens).logits - expected).abs().max())
        print(f"{type(plain).__name__}: saved and loaded expected the same logits, off by {off:.3g}")
        wrong |= not off < 1e-3
raise SystemExit(wrong)
