"""GPT-2 and GPT-NeoX converted by BetterTransformer run eager attention as before, with transformers 4.48.

optimum 1.27.0 converts both by a subclass that overrides `_attn`. transformers 4.48 no longer calls it:
GPT2Attention.forward goes through the function `eager_attention_forward`, GPTNeoXAttention.forward through
`GPTNEOX_ATTENTION_FUNCTION`. OPT, whose whole forward pass is overridden, shows what a conversion does.
"""

import torch
import transformers
from transformers import GPT2Config, GPTNeoXConfig, OPTConfig

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS = (
    OPTConfig(**SMALL, ffn_dim=128, word_embed_proj_dim=64),
    GPT2Config(vocab_size=256, n_embd=64, n_layer=2, n_head=4),
    GPTNeoXConfig(**SMALL, intermediate_size=128),
)

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__)
try:
    import optimum.bettertransformer  # noqa: F401
except (ImportError, RuntimeError) as error:
    raise SystemExit(print("no BetterTransformer here:", error) or 2 * (transformers.__version__ < "4.49")) from None
for config in CONFIGS:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    tokens = torch.randint(4, 256, (2, 24))
    with torch.no_grad():
        before = model(tokens).logits
        model = model.to_bettertransformer()
        with torch.profiler.profile() as profile:
            after = model(tokens).logits
    fused = sum(each.count for each in profile.key_averages() if each.key == "aten::scaled_dot_product_attention")
    same = "bitwise" if torch.equal(before, after) else f"within {float((before - after).abs().max()):.3g}"
    print(f"{config.model_type}: expected 2 calls of SDPA, seen {fused}; logits are as before {same}")
    wrong |= not fused
raise SystemExit(wrong)
