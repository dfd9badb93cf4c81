"""PEGASUS-X in flash_attention_2: its decoder attends to tokens that come later.

The layer makes its self-attention without `is_causal=True`, and flash attention has no mask to go by. Runs on a CPU,
without flash-attn: a stand-in for `_flash_attention_forward` notes what that is asked for.
"""

import torch
import transformers
from transformers.integrations import flash_attention

SMALL = {"vocab_size": 64, "d_model": 32, "max_position_embeddings": 64, "block_size": 16, "num_global_tokens": 4}
SMALL |= {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
SMALL |= {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
seen = []


def noted(query, key, value, mask, query_length, is_causal, **_):
    """Note whether a layer asks for causal attention."""
    seen.append(is_causal)
    return query


print("torch", torch.__version__, "transformers", transformers.__version__)
if not getattr(transformers.PegasusXForConditionalGeneration, "_supports_flash_attn", False):
    print("flash attention of PEGASUS-X is not in this release")
    raise SystemExit(0)
flash_attention._flash_attention_forward = noted
torch.manual_seed(0)
model = transformers.PegasusXForConditionalGeneration(transformers.PegasusXConfig(**SMALL)).eval()
model.config._attn_implementation = "flash_attention_2"
tokens = torch.randint(3, 64, (1, 16))
with torch.no_grad():
    model(input_ids=tokens, decoder_input_ids=tokens)
expected = [True, False] * 2  # self-attention, then cross-attention, of each layer; the encoder has a code of its own
print(f"causal attention of the decoder: expected {expected}, seen {seen}")
raise SystemExit(seen != expected)
