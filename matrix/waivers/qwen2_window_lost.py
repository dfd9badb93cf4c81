"""Qwen2 with use_sliding_window: the window is not applied (transformers 4.48), in eager attention nor in SDPA."""

import torch
import transformers
from transformers import Qwen2Config, Qwen2ForCausalLM

WINDOW, LENGTH, POSITION = 4, 40, 20


def main():
    """Change one token of a one-layer model and count the positions that notice: as many as the window is wide."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    for implementation in ("eager", "sdpa"):
        torch.manual_seed(0)
        config = Qwen2Config(
            vocab_size=256,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.2,
            use_sliding_window=True,
            sliding_window=WINDOW,
            max_window_layers=0,
        )
        model = Qwen2ForCausalLM._from_config(config, attn_implementation=implementation).eval()
        tokens = torch.randint(4, 256, (1, LENGTH))
        changed = tokens.clone()
        changed[0, POSITION] = (tokens[0, POSITION] + 17) % 200 + 4
        with torch.no_grad():
            moved = (model(tokens).logits - model(changed).logits)[0].abs().amax(-1) > 1e-5
        count = int(moved.sum())
        print(f"{implementation:5} window {WINDOW}: {count} positions notice", "FAULT" if count != WINDOW else "")


if __name__ == "__main__":
    main()
