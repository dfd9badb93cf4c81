"""GPT-NeoX in float16 with eager attention: scores beyond 65504 overflow before they are scaled, and NaN comes out.

Reported and mended in 2022 (transformers#17452: the scale went into baddbmm). eager_attention_forward multiplies
queries and keys first and scales afterwards again; SDPA, bfloat16 and transformers 4.48 give finite numbers.
"""

import torch
import transformers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

HEADS, HEAD_DIM = 4, 96  # the head size of GPT-NeoX-20B
RUNS = (("eager", "float32"), ("eager", "bfloat16"), ("sdpa", "float16"), ("eager", "float16"))


def main():
    """Print the largest unscaled and scaled score, and whether the logits are finite."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    tokens = torch.randint(4, 256, (1, 32), generator=torch.Generator().manual_seed(0))
    for implementation, dtype in RUNS:
        torch.manual_seed(0)
        size = HEADS * HEAD_DIM
        config = GPTNeoXConfig(
            vocab_size=256, hidden_size=size, intermediate_size=size, num_hidden_layers=1, num_attention_heads=HEADS
        )
        model = GPTNeoXForCausalLM._from_config(config, attn_implementation=implementation).eval()
        attention = model.gpt_neox.layers[0].attention
        attention.query_key_value.weight.data.mul_(130)
        fused = []
        attention.query_key_value.register_forward_hook(lambda *call, fused=fused: fused.append(call[-1]))
        with torch.no_grad():
            logits = model.to(getattr(torch, dtype))(tokens).logits
        query, key, _ = fused[0].float().view(32, HEADS, 3 * HEAD_DIM).permute(1, 0, 2).chunk(3, dim=-1)
        largest = (query @ key.transpose(1, 2)).abs().max().item()
        missing = int((~torch.isfinite(logits)).sum())
        print(
            f"{implementation:5} {dtype:8} scores up to {largest:.0f} unscaled, {largest / HEAD_DIM**0.5:.0f} scaled:",
            f"FAULT: {missing} of {logits.numel()} logits are NaN" if missing else "logits are finite",
        )


if __name__ == "__main__":
    main()
