"""OPT with flex_attention cannot decode with a cache: its block mask has as many queries as keys.

OPTDecoder._update_causal_mask, `modeling_opt.py`. Seen with transformers 4.57.6; 5.x makes it of the right shape.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "word_embed_proj_dim": 64, "ffn_dim": 128, "num_hidden_layers": 1}

print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.OPTConfig(**SIZES, num_attention_heads=4, max_position_embeddings=512)
try:
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="flex_attention").eval()
except ValueError as error:
    print("not in this release:", str(error).partition(".")[0])
    raise SystemExit(0) from None
tokens = torch.randint(4, 256, (2, 48))
try:
    model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=4, do_sample=False)
    print("expected 4 tokens, no error")
except ValueError as error:
    raise SystemExit(f"FAULT: expected 4 tokens, {str(error)[:160]}") from None
