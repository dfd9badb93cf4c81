"""OPT with flex_attention cannot decode with a cache: its block mask has as many queries as keys.

Seen with transformers 4.57.6; 5.x makes it of the right shape.
"""

import torch
import transformers


def main():
    """Decode a few tokens and print what comes of it."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    config = transformers.OPTConfig(
        vocab_size=256,
        hidden_size=64,
        word_embed_proj_dim=64,
        ffn_dim=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=512,
    )
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="flex_attention").eval()
    tokens = torch.randint(4, 256, (2, 48))
    try:
        model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=4, do_sample=False)
        print("no error")
    except ValueError as error:
        print("FAULT:", str(error)[:160])


if __name__ == "__main__":
    main()
