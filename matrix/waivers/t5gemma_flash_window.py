"""T5Gemma: in flash attention the encoder's window is one key shorter on either side than in eager attention and SDPA.

Their mask lets a token see what is at most `sliding_window` away; `_process_flash_attention_kwargs` makes of the same
number a window of `sliding_window - 1` to both sides (modeling_flash_attention_utils.py). Runs on a CPU: what flash
attention would be told is computed, not run.
"""

import collections

import torch
import transformers
from transformers import modeling_flash_attention_utils as flash

WINDOW, PLACE = 4, 20
SIZES = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 16}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "sliding_window": WINDOW}

print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "T5GemmaConfig") or not hasattr(flash, "_process_flash_attention_kwargs"):
    print("not in this release")
    raise SystemExit(0)
part = {**SIZES, **HEADS, "layer_types": ["sliding_attention"]}
config = transformers.T5GemmaConfig(encoder=dict(part), decoder=dict(part), vocab_size=64)
model = transformers.T5GemmaForConditionalGeneration._from_config(config, attn_implementation="eager").eval()
encoder = model.get_encoder()
with torch.no_grad():
    attended = encoder(torch.arange(40)[None], output_attentions=True).attentions[0][0, 0, PLACE]
eager = int((attended > 0).sum())
window = encoder.layers[0].self_attn.sliding_window
supports = collections.defaultdict(bool, window_size=True)
told = flash._process_flash_attention_kwargs(40, 40, False, sliding_window=window, supports_mapping=supports)
seen = sum(told["window_size"]) + 1
print(f"a token sees {eager} keys in eager attention, expected as many in flash attention, seen {seen}")
raise SystemExit(seen != eager)
