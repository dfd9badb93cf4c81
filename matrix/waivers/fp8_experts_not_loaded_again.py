"""A mixture of experts in finegrained FP8 that is kept in FP8 can be saved, and what was saved is not loaded.

Where there is no GPU one is pretended: transformers dequantises at load where there is none, and no forward pass runs
here. Seen with transformers 5.17.0.
"""

import json
import logging
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

logging.disable(logging.WARNING)
if not torch.cuda.is_available():
    torch.cuda.is_available, torch.cuda.get_device_capability = (lambda: True), (lambda *_: (9, 0))
SIZES = {"vocab_size": 256, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "head_dim": 32}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "num_experts": 4, "moe_intermediate_size": 128}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as again:
    transformers.Qwen3MoeForCausalLM(transformers.Qwen3MoeConfig(**SIZES)).save_pretrained(folder)
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
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(again)
    before, after = (
        {name: list(tensor.shape) for name, tensor in load_file(Path(place, "model.safetensors")).items()}
        for place in (folder, again)
    )
    changed = [f"{name}: {shape}, saved as {after[name]}" for name, shape in before.items() if after[name] != shape]
    print(f"expected the same shapes, of {len(changed)} tensors they differ: {'; '.join(changed[:3])}")
    try:
        AutoModelForCausalLM.from_pretrained(again)
    except RuntimeError as error:
        print(f"expected to be loaded, RuntimeError: {error}")
        raise SystemExit(1) from None
