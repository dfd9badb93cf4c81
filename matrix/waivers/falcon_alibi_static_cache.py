"""Falcon cannot decode with a StaticCache: with ALiBi in any release, with one key/value head in 4.48.

The ALiBi tensor is as long as the mask, the scores as long as the cache. Seen with transformers 4.48.3 to 5.24.0,
whose class says `_can_compile_fullgraph = True`. FalconModel.forward, `modeling_falcon.py`.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
STATIC = {"cache_implementation": "static", "max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}

wrong = 0
transformers.logging.set_verbosity_error()
torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
for attention in ("eager", "sdpa"):
    for alibi, multi_query in ((False, False), (False, True), (True, False)):
        config = transformers.FalconConfig(**SMALL, alibi=alibi, multi_query=multi_query)
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
        tokens = torch.randint(0, 256, (2, 20))
        print(f"{attention}, alibi={alibi}, multi_query={multi_query}: expected 8 new tokens, ", end="")
        try:
            output = model.generate(tokens, attention_mask=torch.ones_like(tokens), **STATIC)
            print(f"decoded {output.shape[1] - 20} tokens")
        except (RuntimeError, ValueError) as error:
            print(f"{type(error).__name__}: {error}")
            wrong += 1
raise SystemExit(wrong > 0)
