"""FSMT with `use_cache=True`, which is its default: the decoder is given no causal mask and no mask of its padding.

FSMTModel.forward makes both masks only `if not use_cache`. Then one pass over several decoder tokens sees the future;
transformers 5.17 and before look at the last token alone, at none of those before it.
`modeling_fsmt.py`, FSMTModel.forward. Seen with transformers 4.48.3, 5.17.0, 5.23.0 and 5.24.0.
"""

import torch
import transformers

SIZES = {"d_model": 64, "src_vocab_size": 256, "tgt_vocab_size": 256, "langs": ["en", "de"], "init_std": 0.3}
LAYERS = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
HEADS = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "max_position_embeddings": 64}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
model = transformers.FSMTForConditionalGeneration(transformers.FSMTConfig(**SIZES, **LAYERS, **HEADS)).eval()
source, target = torch.randint(4, 256, (2, 12)), torch.randint(4, 256, (2, 10))
changed = target.clone()
changed[:, -1] = (target[:, -1] + 17) % 200 + 4
logits, moved = {}, {}
for use_cache in (False, True):
    with torch.no_grad():
        logits[use_cache] = model(source, decoder_input_ids=target, use_cache=use_cache).logits
        other = model(source, decoder_input_ids=changed, use_cache=use_cache).logits
    moved[use_cache] = float((logits[use_cache] - other)[:, :-1].abs().max()) if other.shape[1] > 1 else None
    print(
        f"use_cache={use_cache}: logits {tuple(other.shape)}, those before the changed token move by {moved[use_cache]}"
    )
off = float((logits[True][:, -1] - logits[False][:, -1]).abs().max())
print(f"last token: expected the same with and without a cache, off by {off:.3g}")
spread = float(logits[False].std())
if moved[True] is None or moved[True] > 0.01 * spread or off > 0.01 * spread:
    raise SystemExit(f"FAULT: {moved[True]} moved, {off:.3g} off, logits spread by {spread:.3g}")
print("OK")
