"""A compressed-tensors checkpoint that says of itself that it is frozen is not read as what it is.

`quantization_status: frozen` makes the quantiser prepare modules for weights that are not compressed: of packed ones
nothing finds a place and they are drawn at random, codes of 8 bits are taken for weights. `dequantize=True` reads the
same file right. Seen with transformers 5.23.0 and 5.24.0 and compressed-tensors 0.20.0.
"""

import json
import logging
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import CompressedTensorsConfig, LlamaConfig, LlamaForCausalLM

logging.disable(logging.WARNING)
SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
SAID = {"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head"]}
WEIGHTS = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens, wrong = torch.randint(0, 256, (1, 32)), False
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    LlamaForCausalLM(LlamaConfig(**SIZES, num_attention_heads=4)).save_pretrained(folder)
    tensors = load_file(Path(folder, "model.safetensors"))
    for name in [name for name in tensors if name.endswith("_proj.weight")]:
        scale = tensors[name].abs().amax(1, keepdim=True) / 448
        tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale"] = scale
    save_file(tensors, Path(folder, "model.safetensors"), metadata={"format": "pt"})
    path = Path(folder, "config.json")
    config = json.loads(path.read_text())
    for status in ("compressed", "frozen"):
        said = {**SAID, "config_groups": {"group_0": {"targets": ["Linear"], "weights": WEIGHTS}}}
        path.write_text(json.dumps({**config, "quantization_config": {**said, "quantization_status": status}}))
        dequantised = CompressedTensorsConfig(dequantize=True)
        expected = LlamaForCausalLM.from_pretrained(folder, quantization_config=dequantised)(tokens).logits
        off = float((LlamaForCausalLM.from_pretrained(folder)(tokens).logits - expected).abs().max())
        print(f"{status}: expected what dequantize=True gives, spread {float(expected.std()):.3g}; off by {off:.3g}")
        wrong |= not off < 1e-3
raise SystemExit(wrong)
