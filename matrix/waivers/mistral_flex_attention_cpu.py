"""Mistral with flex_attention generates C++ that does not compile on a CPU.

Decoding with a sliding window makes inductor recompile its CPU flex_attention template for a growing key length; the
code that it then writes uses `cur_kvSplitSize0`, which nothing declares.
"""

import torch
import transformers
from transformers import MistralConfig, MistralForCausalLM


def main():
    """Generate a few tokens and print what the compiler says."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=16,
    )
    model = MistralForCausalLM._from_config(config, attn_implementation="flex_attention").eval()
    tokens = torch.randint(4, 256, (2, 48))
    try:
        model.generate(
            tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=8, do_sample=False, pad_token_id=0
        )
        print("no error")
    except Exception as error:
        lines = [line for line in str(error).splitlines() if " error: " in line]
        print("FAULT:", type(error).__name__, lines[0][-120:] if lines else str(error)[:200])


if __name__ == "__main__":
    main()
