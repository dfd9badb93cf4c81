"""A prefill padded on the right, then one token with the cache: recurrent layers and sliding windows keep padding.

A recurrent layer hands its state on from behind the padding; a sliding cache keeps padding and drops real tokens. Llama
shows what is right. Seen with transformers 5.23.0 and 5.24.0, for Mistral with 4.48.3, too.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "initializer_range": 0.08}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128}
MODELS = {
    "llama": HEADS,
    "mistral": HEADS | {"sliding_window": 8},
    "mpt": {"d_model": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 256, "initializer_range": 0.08},
    "mamba": {},
    "mamba2": {"num_heads": 16, "head_dim": 8},
    "jamba": HEADS | {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1},
    "bamba": HEADS | {"mamba_n_heads": 16, "attn_layer_indices": [1]},
    "zamba2": HEADS | {"n_mamba_heads": 16, "mamba_headdim": 8, "layers_block_type": ["mamba", "hybrid"]},
    "falcon_h1": HEADS | {"mamba_n_heads": 16, "mamba_d_ssm": 128, "head_dim": 16},
    "lfm2": HEADS | {"layer_types": ["conv", "full_attention"], "block_multiple_of": 16},
    "recurrent_gemma": HEADS | {"num_hidden_layers": 3, "lru_width": 64, "head_dim": 16},
}
MASK = torch.tensor([[1] * 12 + [0] * 6 + [1]])
wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__, "expected: the logits without padding")
for model_type, sizes in MODELS.items():
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **SMALL | sizes)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    tokens, given = torch.randint(4, 256, (1, 13)), {"attention_mask": MASK, "position_ids": torch.tensor([[12]])}
    with torch.no_grad():
        whole = model(tokens).logits[:, -1]
        first = model(torch.nn.functional.pad(tokens[:, :12], (0, 6)), attention_mask=MASK[:, :18], use_cache=True)
        cache = {name: first[name] for name in ("cache", "cache_params", "past_key_values") if name in first}
        # Mamba would take the mask for that of its one token.
        last = model(tokens[:, 12:], **cache, **({} if model_type in ("mamba", "mamba2") else given)).logits[:, -1]
    print(f"{model_type}: off by {(last - whole).abs().max():.2g} where they spread by {whole.std():.2g}")
    wrong |= bool((last - whole).abs().max() > 1e-3)
raise SystemExit(wrong)
