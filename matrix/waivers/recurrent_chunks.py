"""Several tokens at once on a filled cache: Jamba, Mamba and RecurrentGemma begin anew.

The scan of the first two is given no initial state, RecurrentGemma's convolution takes any call with more than one
token for the first. Seen with transformers 5.23.0 and 5.24.0.
"""

import inspect

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64}
HEADS = SMALL | {"intermediate_size": 128, "num_attention_heads": 2}
CONFIGS = (
    transformers.JambaConfig(**HEADS, num_hidden_layers=2, attn_layer_period=2, attn_layer_offset=1, num_experts=1),
    transformers.MambaConfig(**SMALL, num_hidden_layers=2),
    transformers.RecurrentGemmaConfig(**HEADS, num_hidden_layers=3, lru_width=64, head_dim=32),
)

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__)
for config in CONFIGS:
    torch.manual_seed(0)
    config.num_key_value_heads = 1
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.mul_(4)  # under the weights that a class begins with little shows
    known = inspect.signature(model.forward).parameters
    name = next(name for name in ("cache", "cache_params", "past_key_values") if name in known)
    tokens, cache = torch.randint(4, 256, (1, 24)), {name: transformers.DynamicCache(config=config)}
    with torch.no_grad():
        whole = model(tokens).logits[:, 12:]
        for place in (torch.arange(12)[None], torch.arange(12, 24)[None]):
            told = {} if config.model_type == "mamba" else {"position_ids": place}
            chunk = model(tokens[:, place[0]], **told, **cache, use_cache=True)
        off = float((chunk.logits - whole).abs().max())
    print(f"{config.model_type}: expected the logits of one pass, off by {off:.2g}, spread {float(whole.std()):.2g}")
    wrong |= off > 1e-3
raise SystemExit(wrong)
