"""A 4-bit model that has run on a CPU with AVX512-BF16 is saved with its block scales in the wrong order.

The first forward pass repacks each weight and transposes its absmax. `_convert_weight_packed_for_cpu_inverse`, which
`save_pretrained` goes through, transposes it back for double quantisation alone. Seen with bitsandbytes 0.50.2.
"""

import tempfile

import bitsandbytes
import torch
import transformers
from bitsandbytes.functional import has_avx512bf16
from transformers import BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
print("bitsandbytes", bitsandbytes.__version__, "AVX512-BF16:", has_avx512bf16())
if transformers.__version__ < "4.49":  # bitsandbytes_frozen_devices.py
    print("this release quantises nothing on a CPU")
    raise SystemExit(0)
quantised = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
tokens = torch.randint(0, 256, (1, 64))
with tempfile.TemporaryDirectory() as plain, tempfile.TemporaryDirectory() as saved, torch.no_grad():
    LlamaForCausalLM(LlamaConfig(**SIZES, num_attention_heads=4)).save_pretrained(plain)
    for used in (False, True):
        model, fresh = (LlamaForCausalLM.from_pretrained(plain, quantization_config=quantised) for _ in range(2))
        expected = fresh(tokens).logits
        if used:
            model(tokens)
        model.save_pretrained(saved)
        off = float((LlamaForCausalLM.from_pretrained(saved)(tokens).logits - expected).abs().max())
        when = "after a forward pass" if used else "before its first pass"
        print(f"saved {when}: expected the same logits, off by {off:.3g}, spread {float(expected.std()):.3g}")
raise SystemExit(off > 1e-3)
