"""`DynamicCache.crop` of recurrent layers leaves the recurrent state as it was, without a word.

Only the convolution's state is cropped; RecurrentGemma, which keeps its states in its modules, raises. The cache's own
`is_croppable` says no. Seen with transformers 5.17.0, 5.23.0 and 5.24.0. Llama shows what is right.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 3, "initializer_range": 0.08}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128}
MODELS = {
    **{"llama": HEADS, "mamba": {}},
    "mamba2": {"num_heads": 16, "head_dim": 8},
    "jamba": HEADS | {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1},
    "bamba": HEADS | {"mamba_n_heads": 16, "attn_layer_indices": [1]},
    "zamba2": HEADS | {"n_mamba_heads": 16, "mamba_headdim": 8, "layers_block_type": ["mamba", "hybrid", "mamba"]},
    "recurrent_gemma": HEADS | {"lru_width": 64, "head_dim": 16},
}
wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__, "expected: as without the cropped tokens")
for model_type, sizes in MODELS.items():
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **SMALL | sizes)
    model, tokens = transformers.AutoModelForCausalLM.from_config(config).eval(), torch.randint(4, 256, (1, 20))
    cache, place = transformers.DynamicCache(config=config), {"position_ids": torch.tensor([[12]])}
    cache.activate_past_recording()
    named = {"mamba": "cache_params", "mamba2": "cache_params"}.get(model_type, "past_key_values")
    with torch.no_grad():
        truth = model(torch.cat([tokens[:, :12], tokens[:, 19:]], 1)).logits[:, -1]
        for part in (tokens[:, :12], tokens[:, 12:17]):
            model(part, **{named: cache})
        try:
            cache.crop(-5)
            off = (model(tokens[:, 19:], **{named: cache}, **place).logits[:, -1] - truth).abs().max()
        except TypeError as error:
            off = print(model_type, error) or torch.inf
    print(f"{model_type}: off by {off:.2g} where logits spread by {truth.std():.2g}")
    wrong |= bool(off > 1e-3)
raise SystemExit(wrong)
