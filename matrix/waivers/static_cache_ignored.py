"""`cache_implementation="static"` is ignored with a warning by classes that keep their cache as tuples.

Seen with transformers 4.48.3 for GPT-2 and OPT; in 4.57.6 they have a StaticCache.
"""

import torch
import transformers

CONFIGS = {
    "GPT-2": transformers.GPT2Config(vocab_size=256, n_embd=64, n_layer=2, n_head=4),
    "OPT": transformers.OPTConfig(
        vocab_size=256, hidden_size=64, ffn_dim=128, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=64
    ),
}

wrong = False
tokens = torch.randint(4, 256, (2, 20))
for name, config in CONFIGS.items():
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    asked = {"cache_implementation": "static", "max_new_tokens": 4, "do_sample": False, "return_dict_in_generate": True}
    output = model.generate(tokens, attention_mask=torch.ones_like(tokens), pad_token_id=0, **asked)
    found = type(output.past_key_values).__name__
    print(f"{name}: expected a StaticCache, got {found}")
    wrong |= found != "StaticCache"
raise SystemExit(wrong)
