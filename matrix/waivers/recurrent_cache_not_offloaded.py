"""`cache_implementation="offloaded"` offloads nothing of a model whose layers are all recurrent, and nothing says so.

Only `Cache.update` offloads a layer, and recurrent states do not go through it. Seen with transformers 5.23.0 and
5.24.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2}
calls = []
usual = transformers.Cache.offload
transformers.Cache.offload = lambda *given, **named: (calls.append(given), usual(*given, **named))[1]

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__)
for model_type, sizes in {"mamba": {}, "mamba2": {"num_heads": 16, "head_dim": 8}}.items():
    calls.clear()
    config = transformers.AutoConfig.for_model(model_type, **SMALL | sizes)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    tokens = torch.randint(4, 256, (2, 20))
    asked = {"cache_implementation": "offloaded", "max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    model.generate(tokens, attention_mask=torch.ones_like(tokens), **asked)
    print(f"{model_type}: expected layers to be offloaded, or a refusal; {len(calls)} were")
    wrong |= not calls
raise SystemExit(wrong)
