"""flash_attention_2 given a mask of shape (batch, 1, queries, keys) fails deep inside, without saying what is wrong.

Custom masks are four-dimensional; eager and SDPA take them. It is taken for one of two dimensions by `_upad_input`,
modeling_flash_attention_utils.py. Needs flash-attn and a CUDA GPU.
"""

import torch
import transformers
from transformers.utils import is_flash_attn_2_available

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}

wrong, truth = False, {}
print("torch", torch.__version__, "transformers", transformers.__version__)
if not is_flash_attn_2_available():
    print("cannot tell without a GPU and flash-attn")
    raise SystemExit(2)
config = transformers.LlamaConfig(**SMALL, num_attention_heads=4)
tokens = torch.randint(0, 256, (2, 16), device="cuda")
padding = torch.ones_like(tokens)
padding[1, :5] = 0
causal = torch.ones(16, 16, dtype=torch.bool, device="cuda").tril()
for attention in ("sdpa", "flash_attention_2"):
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM._from_config(config, attn_implementation=attention)
    model = model.to("cuda", torch.float16).eval()
    for mask in (padding, (causal & padding[:, None, None].bool())):
        try:
            with torch.no_grad():
                logits = model(tokens, attention_mask=mask).logits[padding.bool()]
            off = float((logits - truth.setdefault(mask.ndim, logits)).abs().max())
            print(f"{attention}, {mask.ndim}-D mask: expected to run, runs, off by {off:.2g}")
            wrong |= off > 0.05
        except Exception as error:
            print(f"{attention}, {mask.ndim}-D mask: expected to run, {type(error).__name__}: {str(error)[:150]}")
            wrong |= not (isinstance(error, ValueError) and "mask" in str(error))
raise SystemExit(wrong)
