"""KOSMOS-2: with SDPA the queries that gather the image attend to its first patches only, as if they were a text.

`Kosmos2ImageToTextProjection` builds a `KosmosTextAttention`, which says `is_causal = True` of itself, and gives it no
mask: eager attention sees the whole image, SDPA (the default) sees of it one key more for each query.
"""

import torch
import transformers

TEXT = {"vocab_size": 64, "embed_dim": 64, "layers": 1, "ffn_dim": 64, "attention_heads": 4}
VISION = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
SIZES = {"image_size": 32, "patch_size": 8}

torch.manual_seed(0)
torch.set_grad_enabled(False)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.Kosmos2Config(text_config=TEXT, vision_config={**VISION, **SIZES}, latent_query_num=4)
model = transformers.Kosmos2Model(config).eval()
features = torch.randn(1, 17, 64)  # of 16 patches and the class token
found = {}
for attention in ("eager", "sdpa"):
    try:
        model.set_attn_implementation(attention)
    except (AttributeError, ValueError) as error:
        print(f"OK: no {attention} attention is switched on: {error}")
        raise SystemExit(0) from None
    found[attention] = model.image_to_text_projection(features)[0]
    moved = model.image_to_text_projection(torch.cat([features[:, :4], 1 + features[:, 4:]], 1))[0] - found[attention]
    print(f"{attention}: patches beyond the fourth move the queries by {moved.abs().amax((0, 2)).tolist()}")
off = float((found["sdpa"] - found["eager"]).abs().max())
spread = float(found["eager"].std())
print(f"SDPA is off by {off:.2g} where eager spreads by {spread:.2g}")
raise SystemExit("FAULT: SDPA sees less of the image" if off > 1e-4 else print("OK"))
