"""`batch_repeat_interleave` of a cache with recurrent layers raises, or leaves their states with the old rows.

Seen with transformers 5.17.0, 5.23.0 and 5.24.0. Llama shows what is right.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 3}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128}
MODELS = {
    "llama": HEADS,
    "mamba": {},
    "mamba2": {"num_heads": 16, "head_dim": 8},
    "jamba": HEADS | {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1},
    "bamba": HEADS | {"mamba_n_heads": 16, "attn_layer_indices": [1]},
    "lfm2": HEADS | {"block_multiple_of": 16, "layer_types": ["conv", "full_attention", "conv"]},
    "falcon_h1": HEADS | {"mamba_n_heads": 16, "mamba_d_ssm": 128, "head_dim": 16},
}
wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__, "expected: two rows for each")
for model_type, sizes in MODELS.items():
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **SMALL | sizes)
    model, tokens = transformers.AutoModelForCausalLM.from_config(config).eval(), torch.randint(4, 256, (4, 13))
    cache = transformers.DynamicCache(config=config)
    named = {"mamba": "cache_params", "mamba2": "cache_params"}.get(model_type, "past_key_values")
    try:
        with torch.no_grad():
            model(tokens[:2, :12], **{named: cache})
            cache.batch_repeat_interleave(2)
            rows = len(model(tokens[:, 12:], **{named: cache}).logits)
        print(f"{model_type}: {rows} rows")
    except (AttributeError, RuntimeError) as error:
        print(f"{model_type}: {type(error).__name__}: {error}")
        wrong = True
raise SystemExit(wrong)
