"""XLNet, DeBERTa, Reformer raise when loaded in 16 bits: from_pretrained leaves some parameters in float32.

They make these as torch.FloatTensor or with dtype=torch.float32, which the dtype that is asked for does not change.
Cast by `.to(dtype)` a forward pass runs; XLNet's `generate` does not, as it meets positions in float32 besides.
"""

import tempfile

import torch
import transformers

SMALL = {"vocab_size": 64, "pad_token_id": 3}
XLNET = {"d_model": 64, "n_layer": 1, "n_head": 4, "d_inner": 128}
DEBERTA = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
REFORMER = {"hidden_size": 64, "num_attention_heads": 4, "attention_head_size": 16, "attn_layers": ["local"]}
AXIAL = {"axial_pos_shape": (16, 32), "axial_pos_embds_dim": (16, 48), "is_decoder": False}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}

print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(4, 64, (2, 8), generator=torch.Generator().manual_seed(0))
wrong = False
for model_class, config in (
    (transformers.XLNetLMHeadModel, transformers.XLNetConfig(**SMALL, **XLNET)),
    (transformers.DebertaForMaskedLM, transformers.DebertaConfig(**SMALL, **DEBERTA, **RELATIVE)),
    (transformers.DebertaV2ForMaskedLM, transformers.DebertaV2Config(**SMALL, **DEBERTA, **RELATIVE)),
    (transformers.ReformerForMaskedLM, transformers.ReformerConfig(**{**SMALL, **REFORMER, **AXIAL})),
):
    with tempfile.TemporaryDirectory() as folder:
        model_class(config).save_pretrained(folder)
        model = model_class.from_pretrained(folder, torch_dtype=torch.bfloat16).eval()
    seen, kept = "it runs", [name for name, one in model.named_parameters() if one.dtype == torch.float32]
    try:
        model(tokens)
    except RuntimeError as error:
        seen, wrong = str(error).splitlines()[0], True
    print(f"{model_class.__name__}: expected none of the parameters in float32, seen {len(kept)} {kept[:2]}; {seen}")
raise SystemExit(wrong)
