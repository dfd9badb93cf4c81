"""A finegrained FP8 model that is cast: codes are multiplied by as if they were weights, without their scales.

`FP8Linear.forward` takes weights of more than a byte as they are, and a cast makes such of e4m3. Where there is no GPU
one is pretended: transformers dequantises at load where there is none. Seen with transformers 5.17.0 to 5.24.0.
"""

import json
import logging
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, FineGrainedFP8Config

logging.disable(logging.WARNING)
if not torch.cuda.is_available():
    torch.cuda.is_available, torch.cuda.get_device_capability = (lambda: True), (lambda *_: (9, 0))
SIZES = {"vocab_size": 256, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(0, 256, (1, 32))
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).save_pretrained(folder)
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
    plain = AutoModelForCausalLM.from_pretrained(folder, quantization_config=FineGrainedFP8Config(dequantize=True))
    cast = AutoModelForCausalLM.from_pretrained(folder).to(torch.bfloat16)
    off = float((cast(tokens).logits.float() - plain.float()(tokens).logits).abs().max())
print(f"cast to bfloat16: expected the logits of the dequantised model but for rounding, off by {off:.3g}")
raise SystemExit(not off < 0.1)
