"""Qwen2 with use_sliding_window: the window is not applied (transformers 4.48), in eager attention nor in SDPA.

Change one token of a one-layer model and count the positions that notice: as many as the window is wide.
Qwen2Model._update_causal_mask, `modeling_qwen2.py`.
"""

import torch
import transformers

WINDOW, LENGTH, POSITION = 4, 40, 20
SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__)
for attention in ("eager", "sdpa"):
    torch.manual_seed(0)
    window = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 0}
    config = transformers.Qwen2Config(**SIZES, **HEADS, **window)
    model = transformers.Qwen2ForCausalLM._from_config(config, attn_implementation=attention).eval()
    tokens = torch.randint(4, 256, (1, LENGTH))
    changed = tokens.clone()
    changed[0, POSITION] = (tokens[0, POSITION] + 17) % 200 + 4
    with torch.no_grad():
        moved = (model(tokens).logits - model(changed).logits)[0].abs().amax(-1) > 1e-5
    print(f"{attention:5} window {WINDOW}: expected {WINDOW} positions to notice, {int(moved.sum())} do")
    wrong |= int(moved.sum()) != WINDOW
raise SystemExit(wrong)
