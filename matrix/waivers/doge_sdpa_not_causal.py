"""Doge with SDPA sees the future: logits before the last token change with it.

DogeModel.forward trusts SDPA to be causal by itself and makes no mask, but DogeAttention adds a dynamic one, with which
it is not. `modeling_doge.py`. Seen with transformers 5.17.0; gone in 5.23.0, which always makes the mask.
"""

import torch
import transformers

LENGTH = 32
SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}

print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "DogeConfig"):
    print("Doge is not in this release")
    raise SystemExit(0)
tokens = torch.randint(4, 256, (1, LENGTH), generator=torch.Generator().manual_seed(0))
changed = tokens.clone()
changed[0, -1] = (tokens[0, -1] + 17) % 200 + 4
count = {}
for attention in ("eager", "sdpa"):
    torch.manual_seed(0)
    config = transformers.DogeConfig(**SIZES, **HEADS)
    model = transformers.DogeForCausalLM._from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        moved = (model(tokens).logits - model(changed).logits)[0, :-1].abs().amax(-1)
    count[attention] = int((moved > 1e-4).sum())
    print(
        f"{attention:5} expected 0, {count[attention]} of {LENGTH - 1} positions before the last token change with it, "
        f"by up to {float(moved.max()):.3g}"
    )
raise SystemExit(count["sdpa"] > 0)
