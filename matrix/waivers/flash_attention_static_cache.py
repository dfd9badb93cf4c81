"""Llama with FlashAttention-2, left padding and a static cache, beside the same with a dynamic one. Needs a GPU.

With transformers 4.48.3 it ends in a device-side assert. Another attention may be named as an argument.
"""

import sys
import tempfile

import torch
import transformers

ATTENTION = sys.argv[1] if len(sys.argv) > 1 else "flash_attention_2"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__, ATTENTION)
config = transformers.LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **SMALL)
tokens = torch.randint(4, 256, (4, 48), device=DEVICE)
mask = (torch.arange(48, device=DEVICE)[None] >= torch.tensor([[0], [7], [15], [41]], device=DEVICE)).long()
given = {"max_new_tokens": 32, "min_new_tokens": 32, "do_sample": False, "pad_token_id": 0}
if hasattr(transformers.GenerationConfig(), "disable_compile"):
    given["disable_compile"] = True
with tempfile.TemporaryDirectory() as folder:
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, torch_dtype=torch.bfloat16, attn_implementation=ATTENTION
    ).to(DEVICE)
dynamic = model.generate(input_ids=tokens, attention_mask=mask, **given)
try:
    static = model.generate(input_ids=tokens, attention_mask=mask, cache_implementation="static", **given)
    agree = int((dynamic == static)[:, 48:].sum())
    print(f"{agree} of {static[:, 48:].numel()} new tokens as with a dynamic cache")
except RuntimeError as error:
    print("static cache:", type(error).__name__, str(error).strip().splitlines()[0])
