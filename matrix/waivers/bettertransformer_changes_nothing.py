"""GPT-2 and GPT-NeoX converted by BetterTransformer run eager attention as before, with transformers 4.48.

optimum 1.27.0 converts both by a subclass that overrides `_attn`. transformers 4.48 no longer calls it:
GPT2Attention.forward goes through the function `eager_attention_forward`, GPTNeoXAttention.forward through
`GPTNEOX_ATTENTION_FUNCTION`. OPT, whose whole forward pass is overridden, shows what a conversion does.
"""

import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, OPTConfig, OPTForCausalLM

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
MODELS = (
    (OPTForCausalLM, OPTConfig(**SMALL, ffn_dim=128, word_embed_proj_dim=64)),
    (GPT2LMHeadModel, GPT2Config(vocab_size=256, n_embd=64, n_layer=2, n_head=4)),
    (GPTNeoXForCausalLM, GPTNeoXConfig(**SMALL, intermediate_size=128)),
)


def main():
    """Count the calls of SDPA and of `_attn` in a forward pass of each converted model."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    for model_class, config in MODELS:
        torch.manual_seed(0)
        model = model_class._from_config(config, attn_implementation="eager").eval()
        tokens = torch.randint(4, 256, (2, 24))
        with torch.no_grad():
            before = model(tokens).logits
            model = model.to_bettertransformer()
            with torch.profiler.profile() as profile:
                after = model(tokens).logits
        fused = sum(
            event.count for event in profile.key_averages() if event.key == "aten::scaled_dot_product_attention"
        )
        converted = [
            type(module).__name__ for module in model.modules() if "BetterTransformer" in type(module).__name__
        ]
        same = "bitwise" if torch.equal(before, after) else f"within {(before - after).abs().max().item():.3g}"
        print(
            f"{model_class.__name__}: {len(converted)} layers are {converted[0]}, {fused} calls of SDPA, logits as"
            f" before {same}{'' if fused else ' FAULT: nothing changed'}"
        )


if __name__ == "__main__":
    main()
