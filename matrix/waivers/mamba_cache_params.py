"""`generate` forgets Mamba's cache: it looks for `past_key_values`, Mamba's is called `cache_params`.

What it returns holds no cache, and beams change places while their states stay where they were. Seen with transformers
4.48.3 and 4.57.6; not with 5.23.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 2, "initializer_range": 0.5}

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
model = transformers.MambaForCausalLM(transformers.MambaConfig(**SMALL)).eval()
tokens = torch.randint(4, 64, (2, 12))
given = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "num_beams": 4}
asked = {"return_dict_in_generate": True, "output_scores": True}
with torch.no_grad():
    found = [model.generate(tokens, **given, **asked, use_cache=use) for use in (True, False)]
scores = [one.sequences_scores.tolist() for one in found]
print(f"scores of beams: expected {scores[1]}, as without a cache; seen {scores[0]}")
with_cache = [name for name in ("past_key_values", "cache_params") if getattr(found[0], name, None) is not None]
print(f"what is returned holds: expected a cache, seen {with_cache or 'none'}")
raise SystemExit(not with_cache or max(abs(a - b) for a, b in zip(*scores, strict=True)) > 1e-3)
