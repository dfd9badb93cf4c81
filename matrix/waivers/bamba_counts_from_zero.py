"""Bamba without position_ids on a filled cache counts from 0 again: `torch.arange(tokens)`, whatever the cache holds.

Seen with transformers 5.23.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512}
BAMBA = {"mamba_n_heads": 16, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}


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
    """Go on with a cache, without positions and with them, and hold both against one pass."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    model = make("bamba", **SMALL | ATTENTION | BAMBA, attn_layer_indices=[1])
    tokens = torch.randint(4, 256, (1, 24))
    for name, positions in (("no position_ids", {}), ("position_ids", {"position_ids": torch.tensor([[23]])})):
        with torch.no_grad():
            whole = model(tokens).logits[:, -1]
            cache = model(tokens[:, :23], use_cache=True).past_key_values
            last = model(tokens[:, 23:], past_key_values=cache, use_cache=True, **positions).logits[:, -1]
        print(f"{name}: off by {float((last - whole).abs().max()):.2g}, spread {float(whole.std()):.2g}")


if __name__ == "__main__":
    main()
