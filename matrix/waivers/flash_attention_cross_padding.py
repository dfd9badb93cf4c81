"""FlashAttention-2: cross-attention to a padded encoder drops rows of the decoder's queries.

`_upad_input` of transformers packs the queries by the last columns of the mask of the keys. That is right for
self-attention with left padding, not where the mask is the encoder's. Runs on a CPU, without flash-attn.
"""

import torch
import transformers

try:
    from transformers.modeling_flash_attention_utils import _unpad_input, _upad_input
except ImportError as error:
    print("transformers", transformers.__version__, "not in this release:", error)
    raise SystemExit(0) from None

DECODER, ENCODER, OWN = 40, 144, 9  # queries, keys, and how many keys of the second row are no padding

print("torch", torch.__version__, "transformers", transformers.__version__)
queries = torch.zeros(2, DECODER, 1, 8)
keys = torch.zeros(2, ENCODER, 1, 8)
at = torch.arange(ENCODER)
wrong = False
for side, own in (("left", at >= ENCODER - OWN), ("right", at < OWN)):
    mask = torch.stack([torch.ones(ENCODER, dtype=torch.bool), own]).int()
    lengths = _upad_input(queries, keys, keys, mask, DECODER, _unpad_input)[4]
    kept, attended = (bounds.diff().tolist() for bounds in lengths)
    print(f"{side} padding of the keys: expected {[DECODER] * 2} queries with {[ENCODER, OWN]} keys,", end=" ")
    print(f"seen {kept} with {attended}")
    wrong |= kept != [DECODER] * 2
raise SystemExit(wrong)
