"""RecurrentGemma sees left padding: neither its convolution nor its recurrence is told of the mask.

Seen with transformers 5.23.0.
"""

import torch
import transformers


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
    """A row padded on the left, and the same row alone."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    attention = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "attention_window_size": 64}
    small = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 128, "lru_width": 64}
    model = make("recurrent_gemma", **small, **attention)
    tokens = torch.randint(4, 256, (1, 12))
    padded = torch.cat([torch.zeros(1, 6, dtype=torch.long), tokens], dim=1)
    mask = (padded > 0).long()
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    with torch.no_grad():
        alone = model(tokens).logits
        for name, given in (("no position_ids", {}), ("those of generate", {"position_ids": positions})):
            off = (model(padded, attention_mask=mask, **given).logits[:, 6:] - alone).abs().max()
            print(f"{name}: off by {float(off):.2g}, logits spread by {float(alone.std()):.2g}")


if __name__ == "__main__":
    main()
