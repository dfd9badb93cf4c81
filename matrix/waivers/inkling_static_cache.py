"""Inkling and a static cache: `generate` fails with a shape, and a cache that was reset is read from where it ended.

The mask of a hybrid layer with a window is made without the window: LAYER_PATTERN_TO_MASK_FUNCTION_MAPPING has
create_causal_mask for it (`masking_utils.py`), so it is as long as the cache. And a static layer gives its own counter
for its length, which `update` moves before InklingAttention counts its queries from it; a new cache gives a plain 0.
Seen with transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "moe_intermediate_size": 128, "head_dim": 16}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2}
EXPERTS = {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "mlp_layer_types": ["sparse"] * 2}
LAYERS = {"num_hidden_layers": 2, "layer_types": ["hybrid_sliding", "hybrid"], "sliding_window_size": 32}

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
config = transformers.InklingTextConfig(**SIZES, **HEADS, **EXPERTS, **LAYERS, swa_head_dim=16, rel_extent=512)
config._attn_implementation = "eager"
model = transformers.InklingForCausalLM(config).eval()
for parameter in model.parameters():
    parameter.data.normal_(0, 0.2)
first, second = torch.randint(4, 256, (2, 1, 8))
cache = transformers.StaticCache(config=config, max_cache_len=20)
name = "cache" if "cache" in model(first, use_cache=True) else "past_key_values"
off = []
with torch.no_grad():
    for tokens in (first, second):
        whole = model(tokens, use_cache=False).logits
        off.append(float((model(tokens, **{name: cache}, use_cache=True).logits - whole).abs().max()))
        cache.reset()
print(f"expected the logits without a cache: a new one is off by {off[0]:.2g}, after its reset by {off[1]:.2g}")
try:
    model.generate(torch.randint(4, 256, (1, 48)), max_new_tokens=4, cache_implementation="static", eos_token_id=None)
    said = ""
except RuntimeError as error:
    said = str(error)
print("expected 4 tokens from a prompt beyond the window:", said or "they came")
raise SystemExit(bool(said) or off[1] > 10 * off[0] + 1e-4)
