"""Llama with 'paged|eager' or 'paged|sdpa', as continuous batching leaves it behind, sees the future in a plain pass.

transformers makes no mask for paged attention: continuous batching brings its own. Seen with 5.0.0 to 5.16.1; 5.17.0
refuses both without their cache. What 5.24.0 does with 'paged|eager' is in paged_eager_without_cache.py.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
LENGTH = 32

print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(4, 200, (1, LENGTH), generator=torch.Generator().manual_seed(0))
changed = tokens.clone()
changed[0, -1] = 201
worst = 1
for attention in ("paged|eager", "paged|sdpa"):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SIZES, num_attention_heads=4, initializer_range=0.2)
    config._attn_implementation = attention
    model = transformers.LlamaForCausalLM(config).eval()
    try:
        with torch.no_grad():
            first, second = (model(ids, use_cache=False).logits[0] for ids in (tokens, changed))
    except ValueError as error:
        print(f"{attention}: refused, as it should be: {error}")
        continue
    count = int(((first - second).abs().amax(-1) > 1e-5).sum())
    print(f"{attention}: expected the last of {LENGTH} positions alone to see the last token, {count} do")
    worst = max(worst, count)
raise SystemExit(worst > 1)
