"""Decoders converted by BetterTransformer attend to padding when the batch has one row.

For a batch size of 1 optimum hands scaled_dot_product_attention no mask but is_causal=True. Padding on the right is
harmless to OPT and refused by the others; padding on the left is attended to. The same row twice is right.
"""

import torch
import transformers
from transformers import CodeGenConfig, CodeGenForCausalLM, GPTJConfig, GPTJForCausalLM, OPTConfig, OPTForCausalLM

SMALL = {"vocab_size": 256, "n_embd": 64, "n_positions": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8}
OPT = {"vocab_size": 256, "hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
MODELS = (
    (OPTForCausalLM, OPTConfig(**OPT, word_embed_proj_dim=64)),
    (CodeGenForCausalLM, CodeGenConfig(**SMALL)),
    (GPTJForCausalLM, GPTJConfig(**SMALL)),
)


def main():
    """Print the largest difference to eager attention at attended positions, for one row and for two."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    for model_class, config in MODELS:
        for rows in (1, 2):
            torch.manual_seed(0)
            model = model_class._from_config(config, attn_implementation="eager").eval()
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    torch.nn.init.normal_(parameter, std=0.2)
            tokens = torch.randint(4, 256, (1, 24)).expand(rows, -1)
            mask = torch.ones_like(tokens)
            mask[:, :9] = 0
            with torch.no_grad():
                truth = model(tokens, attention_mask=mask).logits
                found = model.to_bettertransformer()(tokens, attention_mask=mask).logits
            error = (found - truth)[mask.bool()].abs().max().item()
            print(f"{model_class.__name__}, {rows} rows: {error:.3g}{' FAULT' if error > 1e-3 else ''}")


if __name__ == "__main__":
    main()
