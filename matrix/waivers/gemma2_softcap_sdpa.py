"""Gemma 2 with SDPA: the soft cap on the attention scores is left out without a word.

sdpa_attention_forward swallows `softcap` among its other arguments; transformers 5.23 refuses instead.
"""

import torch
import transformers
from transformers import Gemma2Config, Gemma2ForCausalLM


def main():
    """Print how far SDPA is from eager attention with and without a soft cap of 1."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    tokens = torch.randint(4, 256, (2, 32), generator=torch.Generator().manual_seed(0))
    for softcap in (None, 1.0):
        logits = {}
        for implementation in ("eager", "sdpa"):
            torch.manual_seed(0)
            config = Gemma2Config(
                vocab_size=256,
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=16,
                query_pre_attn_scalar=16,
                initializer_range=0.3,
                attn_logit_softcapping=softcap,
            )
            try:
                model = Gemma2ForCausalLM._from_config(config, attn_implementation=implementation).eval()
                with torch.no_grad():
                    logits[implementation] = model(tokens).logits
            except ValueError as error:
                print("refused:", str(error)[:120])
                return
        worst = (logits["eager"] - logits["sdpa"]).abs().max().item()
        spread = logits["eager"].std().item()
        print(f"soft cap {softcap}: logits differ by up to {worst:.3g}, where they spread over {spread:.3g}")
    print("FAULT: SDPA leaves the soft cap out" if worst > 0.01 * spread else "SDPA applies the soft cap")


if __name__ == "__main__":
    main()
