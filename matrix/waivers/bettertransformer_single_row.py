"""Decoders converted by BetterTransformer attend to padding when the batch has one row.

For a batch size of 1 optimum hands scaled_dot_product_attention no mask but is_causal=True. Padding on the right is
harmless to OPT and refused by the others; padding on the left is attended to. The same row twice is right.
"""

import torch
import transformers
from transformers import CodeGenConfig, GPTJConfig, OPTConfig

SMALL = {"vocab_size": 256, "n_embd": 64, "n_positions": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8}
OPT = {"vocab_size": 256, "hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
SCALE = {"initializer_range": 0.2}

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__)
try:
    import optimum.bettertransformer  # noqa: F401
except (ImportError, RuntimeError) as error:
    raise SystemExit(print("no BetterTransformer here:", error) or 2 * (transformers.__version__ < "4.49")) from None
for config in (
    OPTConfig(**OPT, word_embed_proj_dim=64, init_std=0.2),
    CodeGenConfig(**SMALL, **SCALE),
    GPTJConfig(**SMALL, **SCALE),
):
    for rows in (2, 1):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        tokens = torch.randint(4, 256, (1, 24)).expand(rows, -1)
        mask = (torch.arange(24) >= 9).long().expand(rows, -1)
        with torch.no_grad():
            expected = model(tokens, attention_mask=mask).logits
            seen = model.to_bettertransformer()(tokens, attention_mask=mask).logits
        off = float((seen - expected)[mask.bool()].abs().max())
        print(f"{config.model_type}, {rows} rows: expected the logits of before, off by {off:.3g}")
        wrong |= off > 1e-3
raise SystemExit(wrong)
