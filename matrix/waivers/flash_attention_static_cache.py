"""Llama with FlashAttention-2, left padding and a static cache: the slots that are not filled yet are not left out.

The mask is as long as the cache, the keys are not: with transformers 4.48.3 it ends in a device-side assert. Beside
it the same with a dynamic cache. Needs a GPU and flash-attn. Another attention may be named as an argument.
"""

import sys
import tempfile

import torch
import transformers
from transformers.utils import is_flash_attn_2_available

ATTENTION = sys.argv[1] if len(sys.argv) > 1 else "flash_attention_2"
SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__, ATTENTION)
if ATTENTION == "flash_attention_2" and not is_flash_attn_2_available():
    print("cannot tell without a GPU and flash-attn")
    raise SystemExit(2)
device = "cuda" if torch.cuda.is_available() else "cpu"
config = transformers.LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **SMALL)
tokens = torch.randint(4, 256, (4, 48), device=device)
mask = (torch.arange(48, device=device)[None] >= torch.tensor([[0], [7], [15], [41]], device=device)).long()
given = {"max_new_tokens": 32, "min_new_tokens": 32, "do_sample": False, "pad_token_id": 0, "attention_mask": mask}
if hasattr(transformers.GenerationConfig(), "disable_compile"):
    given["disable_compile"] = True
with tempfile.TemporaryDirectory() as folder:
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    loading = {"torch_dtype": torch.bfloat16, "attn_implementation": ATTENTION}
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, **loading).to(device)
dynamic = model.generate(input_ids=tokens, **given)
try:
    static = model.generate(input_ids=tokens, cache_implementation="static", **given)
except RuntimeError as error:
    raise SystemExit(f"FAULT: {type(error).__name__}: {str(error).strip().splitlines()[0]}") from None
agree, total = int((dynamic == static)[:, 48:].sum()), static[:, 48:].numel()
print(f"expected nearly all new tokens as with a dynamic cache, seen {agree} of {total}")
raise SystemExit(agree < 0.75 * total)
