"""Llama with SDPA and is_causal=False stays causal as soon as a padding mask is given: the mask holds the triangle."""

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

LENGTH = 32


def main():
    """Change the last token and count the positions that notice, with and without padding."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
    )
    model = LlamaForCausalLM._from_config(config, attn_implementation="sdpa").eval()
    model.config.is_causal = False
    for module in model.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    tokens = torch.randint(4, 256, (1, LENGTH))
    changed = tokens.clone()
    changed[0, -1] = (tokens[0, -1] + 17) % 200 + 4
    padded = torch.ones_like(tokens)
    padded[0, 0] = 0
    for name, mask in (("no mask", None), ("padded mask", padded)):
        with torch.no_grad():
            first, second = (model(ids, attention_mask=mask, is_causal=False).logits[0] for ids in (tokens, changed))
        count = int(((first - second).abs().amax(-1) > 1e-5).sum())
        print(
            f"{name}: {count} of {LENGTH} positions see the last token", "FAULT: causal" if count < LENGTH - 1 else ""
        )


if __name__ == "__main__":
    main()
