"""BLT hears its padding: `attention_mask` reaches the local layers alone, so left padding is patches like any other.

The patcher, the cross-attention between bytes and patches and the global transformer are told of no mask. What padding
says to them is an attention row that attends to nothing: eager makes a mean of it, SDPA zeros.
BltModel.forward, `modeling_blt.py`. Seen with transformers 5.17.0, 5.23.0 and 5.24.0.
"""

import torch
import transformers

PART = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 4}
PART |= {"num_hidden_layers": 2, "vocab_size": 256, "cross_attn_k": 1, "hidden_size_global": 64}
PARTS = {f"{name}_config": PART for name in ("patcher", "encoder", "decoder", "global")}
SIZES = {"vocab_size": 256, "cross_attn_k": 1, "encoder_hash_byte_group_vocab": 256, "patching_threshold": 1.3}

print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "BltConfig"):
    print("BLT is not in this release")
    raise SystemExit(0)
text = torch.randint(4, 256, (1, 40), generator=torch.Generator().manual_seed(0))
seen, worst = {}, {}
for attention in ("eager", "sdpa"):
    torch.manual_seed(0)
    config = transformers.BltConfig(**SIZES, **PARTS, patch_in_forward=True)
    model = transformers.BltForCausalLM._from_config(config, attn_implementation=attention).eval()
    for side, ends in {"left": (9, 0), "right": (0, 9)}.items():
        for pad in (0, 7):
            given, mask = torch.nn.functional.pad(text, ends, value=pad), torch.nn.functional.pad(text * 0 + 1, ends)
            places = (mask.cumsum(-1) - 1).clamp_min(0)
            with torch.no_grad():
                logits = model(given, attention_mask=mask, position_ids=places, use_cache=False).logits
            seen[attention, side, pad] = logits[0, mask[0].bool()]
        moved = float((seen[attention, side, 0] - seen[attention, side, 7]).abs().max())
        print(f"{attention}, padded on the {side}: expected no change with the pad's id, logits move by {moved:.3g}")
        worst[attention, side] = moved
off = float((seen["eager", "left", 0] - seen["sdpa", "left", 0]).abs().max())
print(f"padded on the left: expected the same of SDPA and eager, they differ by {off:.3g}")
moved = worst["sdpa", "left"]
raise SystemExit(f"FAULT: logits move by {moved:.3g} with what is masked" if moved > 1e-3 else 0)
