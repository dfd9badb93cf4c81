"""An encoder-decoder of compressed-tensors that generates before it has run once: no weight of it is unpacked.

`compress_model` hangs what unpacks the weights before the forward pass of the whole model (`ct_decompress_hook`), and
`generate` runs the encoder by itself first: codes meet inputs. After one pass of the whole model it generates. Seen
with compressed-tensors 0.20.0 and transformers 5.23.0 and 5.24.0.
"""

import json
import logging
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

logging.disable(logging.WARNING)
SIZES = {"vocab_size": 256, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_heads": 4}
WEIGHTS = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}
SAID = {"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head"]}
SAID |= {"quantization_status": "compressed", "config_groups": {"group_0": {"targets": ["Linear"], "weights": WEIGHTS}}}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens, wrong = torch.randint(3, 256, (1, 8)), False
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    T5ForConditionalGeneration(T5Config(**SIZES, decoder_start_token_id=0)).save_pretrained(folder)
    tensors = load_file(Path(folder, "model.safetensors"))
    linear = [name for name in tensors if "Attention" in name or "DenseReluDense" in name]
    for name in [name for name in linear if "relative" not in name]:
        scale = tensors[name].abs().amax(1, keepdim=True) / 448
        tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale"] = scale
    save_file(tensors, Path(folder, "model.safetensors"), metadata={"format": "pt"})
    path = Path(folder, "config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": SAID}))
    for first in ("nothing", "a forward pass"):
        model = T5ForConditionalGeneration.from_pretrained(folder)
        if first == "a forward pass":
            model(input_ids=tokens, decoder_input_ids=tokens)
        try:
            model.generate(tokens, max_new_tokens=4)
            print(f"after {first}: expected to generate, does")
        except RuntimeError as error:
            print(f"after {first}: expected to generate, RuntimeError: {error}")
            wrong = True
raise SystemExit(wrong)
