"""BLT decodes with a cache as if the text began anew at every byte, though `generate` uses one by default.

Only the local layers have a cache. Hashes of n-grams, the patches and the global transformer see the new byte alone:
`compute_hash_embeddings(input_ids)`, `self.patcher(input_ids)` and `past_key_values=None` in BltModel.forward,
`modeling_blt.py`. Seen with transformers 5.17.0, 5.23.0 and 5.24.0.
"""

import torch
import transformers

PART = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 4}
PART |= {"num_hidden_layers": 2, "vocab_size": 256, "cross_attn_k": 1, "hidden_size_global": 64}
PARTS = {f"{name}_config": PART for name in ("patcher", "encoder", "decoder", "global")}
SIZES = {"vocab_size": 256, "cross_attn_k": 1, "encoder_hash_byte_group_vocab": 256, "patching_threshold": 1.3}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "BltConfig"):
    print("BLT is not in this release")
    raise SystemExit(0)
config = transformers.BltConfig(**SIZES, **PARTS, patch_in_forward=True)
config.num_hidden_layers = 2
model = transformers.BltForCausalLM(config).eval()
text = torch.randint(4, 256, (1, 40))
asked = {"max_new_tokens": 20, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
with torch.no_grad():
    whole = model(text, use_cache=False).logits[0]
    begun = model(text[:, :-1], use_cache=True)
    cached = model(text[:, -1:], past_key_values=begun.past_key_values, use_cache=True).logits[0, -1]
    written = [model.generate(text, use_cache=use, **asked)[0, 40:] for use in (True, False)]
off, spread = float((cached - whole[-1]).abs().max()), float(whole.std())
same = int((written[0] == written[1]).sum())
print(f"last byte: expected the logits of one pass, with a cache off by {off:.3g} where they spread by {spread:.3g}")
print(f"generate: expected the same 20 bytes with and without a cache, {same} of 20 are")
raise SystemExit(f"FAULT: off by {off:.3g}, {20 - same} of 20 bytes differ" if off > 0.01 * spread else 0)
