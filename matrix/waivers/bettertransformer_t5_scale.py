"""T5 converted by BetterTransformer divides its scores by the root of the head size, which T5 must not.

optimum's `t5_forward` for transformers >= 4.46 calls scaled_dot_product_attention with its default scale. The one for
older releases multiplied the queries by `self.scale` first, which undid the division. With scale=1 all is right.
"""

import functools

import torch
import transformers
from transformers import T5Config, T5ForConditionalGeneration


def main():
    """Compare with eager attention: as converted, and with SDPA held to a scale of 1."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=256, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, decoder_start_token_id=0
    )
    model = T5ForConditionalGeneration._from_config(config, attn_implementation="eager").double().eval()
    for name, parameter in model.named_parameters():
        if name.endswith((".q.weight", ".k.weight")):
            torch.nn.init.normal_(parameter, std=0.1)
    tokens = torch.randint(4, 256, (2, 48))
    attention = torch.nn.functional.scaled_dot_product_attention
    with torch.no_grad():
        truth = model(input_ids=tokens, decoder_input_ids=tokens).logits
        model = model.to_bettertransformer()
        for name, used in (("as converted", attention), ("with scale=1", functools.partial(attention, scale=1.0))):
            torch.nn.functional.scaled_dot_product_attention = used
            error = (model(input_ids=tokens, decoder_input_ids=tokens).logits - truth).abs().max().item()
            print(f"{name}: max difference to eager {error:.3g}{' FAULT' if error > 1e-6 else ''}")
    torch.nn.functional.scaled_dot_product_attention = attention


if __name__ == "__main__":
    main()
