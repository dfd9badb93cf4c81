"""A compressed-tensors checkpoint of FP8 that is cast: its codes are taken for numbers and cast with everything else.

`Module.to` casts whatever is in floating point, codes in e4m3 too; transformers' `.to` refuses that of bitsandbytes and
GPTQ, and nothing of compressed-tensors. A code is as good in bfloat16, so that logits are right; but the weights take
twice the memory that they took, and twice the room on a disk when they are saved. Seen with transformers 5.23.0 and
5.24.0 and compressed-tensors 0.20.0.
"""

import json
import logging
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

logging.disable(logging.WARNING)
SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
WEIGHTS = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}
SAID = {"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head"]}
SAID |= {"quantization_status": "compressed", "config_groups": {"group_0": {"targets": ["Linear"], "weights": WEIGHTS}}}
NAME = "model.layers.0.self_attn.q_proj.weight"

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(0, 256, (1, 32))
with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as again, torch.no_grad():
    LlamaForCausalLM(LlamaConfig(**SIZES, num_attention_heads=4)).save_pretrained(folder)
    tensors = load_file(Path(folder, "model.safetensors"))
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        scale = tensors[name].abs().amax(1, keepdim=True) / 448
        tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale"] = scale
    save_file(tensors, Path(folder, "model.safetensors"), metadata={"format": "pt"})
    path = Path(folder, "config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": SAID}))
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    loaded, expected = model.get_submodule(NAME.removesuffix(".weight")).weight.dtype, model(tokens).logits
    model.to(torch.bfloat16)
    cast = model.get_submodule(NAME.removesuffix(".weight")).weight.dtype
    off = float((model(tokens).logits - expected).abs().max())
    model.save_pretrained(again)
    saved = load_file(Path(again, "model.safetensors"))[NAME].dtype
    print(f"expected codes in {loaded}, cast they are in {cast}, saved in {saved}; logits off by {off:.3g}")
raise SystemExit(cast is not loaded)
