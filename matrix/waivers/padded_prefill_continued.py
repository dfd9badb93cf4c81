"""A prefill padded on the right, then one more token with the cache: recurrent layers and sliding windows keep padding.

A recurrent layer hands its state on from the end of the row, behind the padding, which has moved the convolution and
let the state decay. A sliding cache keeps the last columns, padding among them, and drops real tokens.
Seen with transformers 5.23.0; Llama shows what is right.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
MAMBA2 = {"num_heads": 16, "head_dim": 8, "expand": 2, "n_groups": 1, "state_size": 8, "chunk_size": 16}
BAMBA = {"mamba_n_heads": 16, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}
ZAMBA2 = {"mamba_headdim": 8, "n_mamba_heads": 16, "mamba_d_state": 8, "mamba_ngroups": 1, "chunk_size": 16}
MODELS = {
    "llama": SMALL | ATTENTION,
    "mistral": SMALL | ATTENTION | {"sliding_window": 8},
    "mamba": SMALL | {"state_size": 16},
    "mamba2": SMALL | MAMBA2,
    "jamba": SMALL | ATTENTION | {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1},
    "bamba": SMALL | ATTENTION | BAMBA | {"attn_layer_indices": [1]},
    "zamba2": SMALL
    | ZAMBA2
    | {"layers_block_type": ["mamba", "hybrid"], "num_attention_heads": 4, "num_mem_blocks": 1},
    "falcon_h1": SMALL | ATTENTION | BAMBA | {"mamba_d_ssm": 128, "head_dim": 16},
}


def make(model_type, **config):
    """A small model with the library's own initialisation, its weights made large enough to show."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(model_type, **config)
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4)
    return model


def main():
    """Print how far the next token's logits are off, and how far logits spread."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    for model_type, config in MODELS.items():
        model = make(model_type, **config)
        tokens, padding = torch.randint(4, 256, (1, 13)), torch.zeros(1, 6, dtype=torch.long)
        mask = torch.cat([torch.ones(1, 12), torch.zeros(1, 6), torch.ones(1, 1)], dim=1).long()
        name = "cache_params" if model_type.startswith("mamba") else "past_key_values"
        positions = {} if name == "cache_params" else {"position_ids": torch.tensor([[12]])}
        with torch.no_grad():
            whole = model(tokens).logits[:, -1]
            first = model(torch.cat([tokens[:, :12], padding], 1), attention_mask=mask[:, :18], use_cache=True)
            given = {name: getattr(first, name), **positions}
            if name == "past_key_values":  # Mamba would take the mask for that of its one token
                given["attention_mask"] = mask
            off = (model(tokens[:, 12:], **given).logits[:, -1] - whole).abs().max()
        print(f"{model_type:10} off by {float(off):.2g}, logits spread by {float(whole.std()):.2g}")


if __name__ == "__main__":
    main()
