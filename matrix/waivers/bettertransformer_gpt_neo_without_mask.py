"""GPT-Neo converted by BetterTransformer dies of a batch without attention_mask.

transformers >= 4.45 makes the causal mask itself, for one key more than there are if no attention_mask is given.
GPTNeoSelfAttention cuts it to the number of keys; optimum's replacement adds it to a mask of the right length.
"""

import torch
import transformers
from transformers import GPTNeoConfig, GPTNeoForCausalLM


def main():
    """Compare with eager attention: with a mask of ones, and with none."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    torch.manual_seed(0)
    config = GPTNeoConfig(
        vocab_size=256,
        hidden_size=64,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        max_position_embeddings=64,
    )
    model = GPTNeoForCausalLM._from_config(config, attn_implementation="eager").eval()
    tokens = torch.randint(4, 256, (2, 24))
    with torch.no_grad():
        truth = model(tokens).logits
        model = model.to_bettertransformer()
        for name, mask in (("mask of ones", torch.ones_like(tokens)), ("no mask", None)):
            try:
                found = model(tokens, attention_mask=mask).logits
                print(f"{name}: max difference {(found - truth).abs().max().item():.3g}")
            except RuntimeError as error:
                print(f"{name}: FAULT: {error}")


if __name__ == "__main__":
    main()
