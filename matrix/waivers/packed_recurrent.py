"""Two documents in one row, told apart by position_ids and cu_seq_lens: recurrences and convolutions run on.

Without mask and cache, as attention needs it to keep documents apart. Seen with transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "initializer_range": 0.2}
MODELS = {
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1},
    "bamba": {"mamba_n_heads": 16, "attn_layer_indices": [1]},
    "falcon_h1": {"mamba_n_heads": 16, "mamba_d_ssm": 128, "head_dim": 16},
    "zamba2": {"n_mamba_heads": 16, "mamba_headdim": 8, "layers_block_type": ["mamba", "hybrid"]},
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 64, "head_dim": 16},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_multiple_of": 16},
}
BOUNDS = torch.tensor([0, 12, 21], dtype=torch.int32)
TOLD = {"cu_seq_lens_q": BOUNDS, "cu_seq_lens_k": BOUNDS, "max_length_q": 12, "max_length_k": 12, "use_cache": False}

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__, "expected: each document as it is alone")
for model_type, sizes in MODELS.items():
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **SMALL | HEADS | sizes)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    one, other = torch.randint(4, 256, (1, 12)), torch.randint(4, 256, (1, 9))
    positions = torch.cat([torch.arange(12), torch.arange(9)])[None]
    with torch.no_grad():
        alone = model(other, use_cache=False).logits
        packed = model(torch.cat([one, other], 1), position_ids=positions, **TOLD).logits[:, 12:]
    print(f"{model_type}: off by {(packed - alone).abs().max():.2g} where they spread by {alone.std():.2g}")
    wrong |= bool((packed - alone).abs().max() > 1e-4)
raise SystemExit(wrong)
