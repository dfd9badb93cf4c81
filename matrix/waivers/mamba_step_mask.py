"""Mamba takes any mask for that of the tokens it is given now: a decoding step with the whole mask goes wrong.

A mask of (batch, seen so far) is multiplied into hidden states of (batch, 1, size): they become as many as the mask is
long, of which the first is taken. With padding on the left that one is padding, and the new token is not seen at all.
More tokens than one raise. Mamba-2 cuts the mask first. Seen with transformers 5.23.0.
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
    """Decode eight tokens with the mask of all tokens so far, and without one."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    model = make("mamba", vocab_size=256, hidden_size=64, num_hidden_layers=2, state_size=16)
    tokens = torch.randint(4, 256, (2, 24))
    for masked in (True, False):
        with torch.no_grad():
            whole = model(tokens).logits[:, -1]
            cache = model(tokens[:, :16], use_cache=True).cache_params
            for place in range(16, 24):
                mask = {"attention_mask": torch.ones(2, place + 1, dtype=torch.long)} if masked else {}
                step = {"cache_params": cache, "use_cache": True, **mask}
                last = model(tokens[:, place : place + 1], **step).logits[:, -1]
        off = float((last - whole).abs().max())
        print(f"{'with' if masked else 'without'} a mask: off by {off:.2g}, logits spread by {float(whole.std()):.2g}")


if __name__ == "__main__":
    main()
