"""GPT-Neo: GPTNeoFlashAttention2 hands no window on, so that local layers attend to all that came before.

The eager class keeps the window in the triangle `bias` of each local layer; flash-attn would have to be told of it.
Runs on a CPU, without flash-attn: a stand-in for `_flash_attention_forward` notes what that is given.
"""

import torch
import transformers
from transformers.models.gpt_neo import modeling_gpt_neo

SMALL = {"vocab_size": 64, "hidden_size": 16, "num_heads": 2, "window_size": 4, "max_position_embeddings": 64}
seen = []


def noted(query, *_, **given):
    """Note the window that a layer asks for."""
    seen.append(given.get("sliding_window"))
    return query


torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.GPTNeoConfig(**SMALL, num_layers=2, attention_types=[[["global", "local"], 1]])
modeling_gpt_neo._flash_attention_forward = noted  # not there without flash-attn
hidden = torch.randn(1, 12, 16)
for layer in range(2):
    attention = modeling_gpt_neo.GPTNeoFlashAttention2(config, config.attention_layers[layer], layer)
    attention.eval()(hidden)
eager = modeling_gpt_neo.GPTNeoSelfAttention(config, "local", 1).bias[0, 0, 11, :12].sum()
print(f"a token of a local layer attends to {eager} in eager attention")
print(f"windows of {config.attention_layers}: expected [None, {SMALL['window_size']}], seen {seen}")
raise SystemExit(seen[1] is None)
