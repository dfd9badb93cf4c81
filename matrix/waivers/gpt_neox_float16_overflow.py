"""GPT-NeoX in float16 with eager attention: scores beyond 65504 overflow before they are scaled, and NaN comes out.

Reported and mended in 2022 (transformers#17452: the scale went into baddbmm). eager_attention_forward multiplies
queries and keys first and scales afterwards again; SDPA, bfloat16 and transformers 4.48 give finite numbers.
"""

import torch
import transformers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

HEADS, HEAD_DIM = 4, 96  # the head size of GPT-NeoX-20B
SIZES = {"vocab_size": 256, "hidden_size": HEADS * HEAD_DIM, "intermediate_size": 384, "num_hidden_layers": 1}

print("torch", torch.__version__, "transformers", transformers.__version__)
for attention, dtype in (("eager", torch.bfloat16), ("sdpa", torch.float16), ("eager", torch.float16)):
    torch.manual_seed(0)
    config = GPTNeoXConfig(**SIZES, num_attention_heads=HEADS, attn_implementation=attention)
    model = GPTNeoXForCausalLM(config).eval()
    fused = model.gpt_neox.layers[0].attention.query_key_value
    fused.weight.data.mul_(130)
    found = []
    fused.register_forward_hook(lambda module, inputs, output, found=found: found.append(output))
    with torch.no_grad():
        logits = model.to(dtype)(torch.randint(4, 256, (1, 32))).logits
    query, key, _ = found[0].float().view(32, HEADS, 3 * HEAD_DIM).transpose(0, 1).chunk(3, dim=-1)
    largest = float((query @ key.transpose(1, 2)).abs().max())
    missing = int((~logits.isfinite()).sum())
    print(f"{attention} {dtype}: scores up to {largest:.0f} unscaled, {largest / HEAD_DIM**0.5:.0f} scaled")
    print(f"    expected finite logits, {missing} of {logits.numel()} are not")
raise SystemExit(missing > 0)
