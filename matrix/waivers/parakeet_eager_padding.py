"""Parakeet's encoder (Canary's and Cohere ASR's too): eager attention turns a padded row into NaN, its real frames too.

The mask is minus infinity in every column of a padded frame, whose softmax is NaN; as keys of the next layer such
frames spoil all others, for NaN minus infinity is NaN. SDPA gives 0 in their place. Fixed since: the least finite
number is used. ParakeetEncoder.forward, `modeling_parakeet.py`. Runs on a CPU too.
"""

import torch
import transformers

SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}

print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "ParakeetEncoder"):
    print("Parakeet is not in this release")
    raise SystemExit(0)
torch.manual_seed(0)
config = transformers.ParakeetEncoderConfig(**SMALL, num_mel_bins=80, subsampling_conv_channels=16)
encoder = transformers.ParakeetEncoder(config).eval()
sound, mask = torch.randn(2, 160, 80), torch.ones(2, 160).long()
mask[1, 80:] = 0
finite = {}
for attention in ("sdpa", "eager"):
    encoder.set_attn_implementation(attention)
    with torch.no_grad():
        found = encoder(sound, attention_mask=mask)
    real = found.last_hidden_state[found.attention_mask.bool()]
    finite[attention] = bool(real.isfinite().all())
    print(f"{attention}: all real frames are finite: expected True, seen {finite[attention]}")
raise SystemExit(not finite["eager"])
