"""SeamlessM4T v2: eager attention of the speech encoder adds a mask of bools to the scores, and so attends to padding.

`_apply_chunk_attention` (always on: speech_encoder_chunk_size is 20000) makes a 4-dimensional mask of bools, which
`create_bidirectional_mask` hands back as it is; SDPA takes that, but eager attention adds it: 1 where a frame may be
seen, 0 where it may not, in place of minus infinity. `modeling_seamless_m4t_v2.py`. Runs on a CPU too.
"""

import torch
import transformers
from transformers.models.seamless_m4t_v2.modeling_seamless_m4t_v2 import SeamlessM4Tv2SpeechEncoder

SMALL = {"hidden_size": 64, "speech_encoder_layers": 2, "speech_encoder_attention_heads": 4}
REAL = 100

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
config = transformers.SeamlessM4Tv2Config(**SMALL, speech_encoder_intermediate_size=128)
sound = torch.randn(1, 160, 64)
mask = torch.ones(1, 160).long()
mask[:, REAL:] = 0
wrong = {}
for attention in ("sdpa", "eager"):
    config._attn_implementation = attention
    torch.manual_seed(0)
    try:
        encoder = SeamlessM4Tv2SpeechEncoder(config).encoder.eval()
    except ValueError as error:  # a release that has but its own attention
        print("SDPA is not in this release:", str(error).partition(".")[0])
        raise SystemExit(0) from None
    for weights in encoder.parameters():
        weights.data = torch.randn_like(weights) * 0.1 if weights.dim() > 1 else weights.data
    with torch.no_grad():
        padded, alone = encoder(sound, mask), encoder(sound[:, :REAL], mask[:, :REAL])
    found = [one if isinstance(one, torch.Tensor) else one[0] for one in (padded, alone)]
    wrong[attention] = float((found[0][:, :REAL] - found[1]).abs().max())
    print(f"{attention}: real frames with padding behind them: expected about 0, seen {wrong[attention]:.3g} off")
raise SystemExit(wrong["eager"] > 1e-3)
