"""Doge with SDPA sees the future: logits before the last token change with it."""

import torch
import transformers
from transformers import DogeConfig, DogeForCausalLM

LENGTH = 32


def main():
    """Change the last token and print how far the logits before it move."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    tokens = torch.randint(4, 256, (1, LENGTH), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, -1] = (tokens[0, -1] + 17) % 200 + 4
    for implementation in ("eager", "sdpa"):
        torch.manual_seed(0)
        config = DogeConfig(
            vocab_size=256,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.2,
        )
        model = DogeForCausalLM._from_config(config, attn_implementation=implementation).eval()
        with torch.no_grad():
            moved = (model(tokens).logits - model(changed).logits)[0, :-1].abs().amax(-1)
        count = int((moved > 1e-4).sum())
        print(
            f"{implementation:5} {count} of {LENGTH - 1} positions before the last token change with it, "
            f"by up to {moved.max().item():.3g} {'FAULT: not causal' if count else ''}"
        )


if __name__ == "__main__":
    main()
