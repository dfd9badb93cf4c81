"""Falcon cannot decode with a StaticCache: with ALiBi in any release, with one key/value head in 4.48.

The ALiBi tensor is as long as the mask, the scores as long as the cache. Seen with transformers 4.48.3 to 5.23.0,
whose class says `_can_compile_fullgraph = True`.
"""

import torch
import transformers

transformers.logging.set_verbosity_error()
torch.manual_seed(0)
for attention in ("eager", "sdpa"):
    for alibi, multi_query in ((False, False), (False, True), (True, False)):
        config = transformers.FalconConfig(
            vocab_size=256,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            alibi=alibi,
            multi_query=multi_query,
        )
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
        tokens = torch.randint(0, 256, (2, 20))
        try:
            output = model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=8,
                cache_implementation="static",
                do_sample=False,
                pad_token_id=0,
            )
            print(f"{attention}, alibi={alibi}, multi_query={multi_query}: decoded {output.shape[1] - 20} tokens")
        except (RuntimeError, ValueError) as error:
            print(f"{attention}, alibi={alibi}, multi_query={multi_query}: {type(error).__name__}: {error}")
