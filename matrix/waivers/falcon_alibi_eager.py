"""Falcon with ALiBi: eager attention adds the position bias twice; SDPA adds it once.

FalconModel puts `alibi / sqrt(head_dim)` into the causal mask for every implementation, and the eager branch of
FalconAttention.forward adds `alibi` to the scores again before it adds that mask. The definition that the
original RefinedWeb code and SDPA follow is softmax((q k^T + alibi) / sqrt(head_dim) + causal) v.
"""

import math

import torch
import transformers
from transformers import FalconConfig, FalconForCausalLM
from transformers.models.falcon.modeling_falcon import build_alibi_tensor

HEADS, HEAD_DIM, LENGTH = 4, 16, 40


def by_definition(attention, hidden):
    """One attention layer from its weights and the formula, in float64."""
    fused = (hidden @ attention.query_key_value.weight.double().T) + attention.query_key_value.bias.double()
    query, key, value = fused.view(1, LENGTH, HEADS, 3, HEAD_DIM).permute(3, 0, 2, 1, 4)
    alibi = build_alibi_tensor(torch.ones(1, LENGTH, dtype=torch.long), HEADS, torch.float64)
    scores = (query @ key.transpose(-1, -2) + alibi.view(1, HEADS, 1, LENGTH)) / math.sqrt(HEAD_DIM)
    future = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
    context = scores.masked_fill(future, float("-inf")).softmax(-1) @ value
    context = context.permute(0, 2, 1, 3).reshape(1, LENGTH, HEADS * HEAD_DIM)
    return context @ attention.dense.weight.double().T + attention.dense.bias.double()


def main():
    """Print the error of each implementation's first attention layer against the definition."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    worst = {}
    for implementation in ("eager", "sdpa"):
        torch.manual_seed(0)
        config = FalconConfig(
            vocab_size=256,
            hidden_size=HEADS * HEAD_DIM,
            num_hidden_layers=1,
            num_attention_heads=HEADS,
            multi_query=False,
            new_decoder_architecture=False,
            parallel_attn=False,
            alibi=True,
            bias=True,
            initializer_range=0.2,
            attn_implementation=implementation,
        )
        model = FalconForCausalLM(config).eval()
        attention = model.transformer.h[0].self_attention
        seen = {}
        attention.register_forward_pre_hook(
            lambda _, args, kwargs, seen=seen: seen.update(hidden=args[0] if args else kwargs["hidden_states"]),
            with_kwargs=True,
        )
        attention.register_forward_hook(lambda _, args, output, seen=seen: seen.update(output=output[0]))
        with torch.no_grad():
            model(torch.randint(4, 256, (1, LENGTH)))
            truth = by_definition(attention, seen["hidden"].double())
        worst[implementation] = (seen["output"].double() - truth).abs().max().item()
        print(f"{implementation:6} max error against the definition {worst[implementation]:.3g}")
    print("FAULT: eager is wrong" if worst["eager"] > 100 * worst["sdpa"] else "eager and SDPA agree")


if __name__ == "__main__":
    main()
