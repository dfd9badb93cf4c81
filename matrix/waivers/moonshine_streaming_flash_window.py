"""Moonshine Streaming in flash_attention_2: frames of the encoder attend to all frames, not to those of their window.

The window is in the mask alone, which `flash_attention_mask` drops without a word; the layers hand on no
`sliding_window`. The same is lost in eager attention where no mask is given. Runs on a CPU, without flash-attn: a
stand-in computes what it would.
"""

import torch
import transformers
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations import flash_attention

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
SMALL |= {"num_key_value_heads": 2, "head_dim": 16}


def stand_in(query, key, value, mask, query_length, is_causal, softmax_scale=None, sliding_window=None, **_):
    """What flash-attn computes where nothing is padded."""
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))
    at = torch.arange(query_length)
    inside = (at[:, None] - at).abs() < (sliding_window or query_length)
    return scaled_dot_product_attention(query, key, value, inside, scale=softmax_scale).transpose(1, 2)


flash_attention._flash_attention_forward = stand_in
print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "MoonshineStreamingEncoderConfig"):
    raise SystemExit(print("Moonshine Streaming is not in this release"))
torch.manual_seed(0)
config = transformers.MoonshineStreamingEncoderConfig(**SMALL, initializer_range=0.2, attn_implementation="eager")
model = transformers.models.moonshine_streaming.modeling_moonshine_streaming.MoonshineStreamingEncoder(config).eval()
sound = torch.randn(1, 80 * 160)
with torch.no_grad():
    eager, unmasked = (model(sound, attention_mask=mask)[0] for mask in (torch.ones_like(sound).long(), None))
    model.config._attn_implementation = "flash_attention_2"
    flash = model(sound, attention_mask=torch.ones_like(sound).long())[0]
off, other = ((one - eager).abs().max().item() for one in (flash, unmasked))
print(f"{eager.shape[1]} frames, windows {config.sliding_windows[0]}: expected 0, seen an error of {off:.2g};", end=" ")
print(f"of eager attention without a mask {other:.2g}")
raise SystemExit(off > 1e-3)
