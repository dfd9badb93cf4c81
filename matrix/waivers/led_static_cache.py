"""LED takes a static cache through `generate`, and attends to its empty slots.

Seen with transformers 5.23.0 and 5.24.0. BART shows what is right.
"""

import torch
import transformers

SIZES = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
SIZES |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "vocab_size": 256, "init_std": 0.3}
MODELS = {"bart": {}, "led": {"attention_window": [8, 8]}}

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__)
for model_type, sizes in MODELS.items():
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **SIZES, **sizes)
    model = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
    tokens = torch.randint(4, 256, (2, 20))
    asked = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, "disable_compile": True}
    asked |= {"attention_mask": torch.ones_like(tokens), "output_logits": True, "return_dict_in_generate": True}
    usual, static = (model.generate(tokens, **asked, **kind) for kind in ({}, {"cache_implementation": "static"}))
    off = (usual.logits[1] - static.logits[1]).abs().max()
    print(f"{model_type}: expected equal logits with either cache, the second token's are off by {off:.2g}")
    wrong |= bool(off > 1e-3)
raise SystemExit(wrong)
