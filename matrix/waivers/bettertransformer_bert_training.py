"""BERT converted by BetterTransformer computes something else in training mode than the original does.

Its layers then call F.layer_norm without an eps, which is torch's 1e-5 and not the config's 1e-12, and they drop the
padding mask. In eval mode both are right.
"""

import torch
import transformers
from transformers import BertConfig, BertForMaskedLM


def main():
    """Compare logits with eager attention, in float64: with and without padding, by mode and eps."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    tokens = torch.randint(4, 256, (2, 24), generator=torch.Generator().manual_seed(0))
    padded = torch.ones_like(tokens)
    padded[1, 9:] = 0
    for eps in (1e-12, 1e-5):
        for training in (False, True):
            for name, mask in (("no padding", torch.ones_like(tokens)), ("right padding", padded)):
                torch.manual_seed(0)
                config = BertConfig(
                    vocab_size=256,
                    hidden_size=64,
                    intermediate_size=128,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    layer_norm_eps=eps,
                    initializer_range=0.2,
                    hidden_dropout_prob=0.0,
                    attention_probs_dropout_prob=0.0,
                )
                model = BertForMaskedLM._from_config(config, attn_implementation="eager").double().train(training)
                with torch.no_grad():
                    truth = model(tokens, attention_mask=mask).logits
                    found = model.to_bettertransformer().train(training)(tokens, attention_mask=mask).logits
                error = (found - truth)[mask.bool()].abs().max().item()
                fault = " FAULT" if error > 1e-9 else ""
                print(f"eps {eps}, {'train' if training else 'eval'}, {name}: max difference {error:.3g}{fault}")


if __name__ == "__main__":
    main()
