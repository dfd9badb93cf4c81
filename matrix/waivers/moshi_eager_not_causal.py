"""Moshi in eager attention, called without an attention mask, attends to tokens that come later.

MoshiModel makes its causal mask only where a mask of the padding is given; sdpa and flash attention go by `is_causal`
then, eager attention by nothing. Runs on a CPU.
"""

import torch
import transformers

SMALL = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 64}

print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(3, 60, (1, 16), generator=torch.Generator().manual_seed(0))
other = tokens.clone()
other[:, -1] = 61
wrong = False
for attention in ("sdpa", "eager"):
    torch.manual_seed(0)
    config = transformers.MoshiConfig(**SMALL)
    model = transformers.MoshiForCausalLM._from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        moved = (model(tokens).logits - model(other).logits)[:, :-1].abs().max().item()
    print(f"{attention}: another last token moves earlier logits by: expected 0, seen {moved:.2g}")
    wrong |= moved > 1e-4
raise SystemExit(wrong)
