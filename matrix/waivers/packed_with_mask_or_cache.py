"""Two documents in one row, told apart by position_ids: with a mask of ones or a cache the later sees the earlier.

`_preprocess_mask_arguments`, `masking_utils.py`, looks for documents only where it is given neither, and any call makes
a cache that does not say `use_cache=False`. Seen with transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.LlamaConfig(**SMALL, num_attention_heads=4, initializer_range=0.2)
one, other = torch.randint(4, 256, (1, 12)), torch.randint(4, 256, (1, 9))
row = {"input_ids": torch.cat([one, other], 1), "position_ids": torch.cat([torch.arange(12), torch.arange(9)])[None]}
mask = torch.ones_like(row["input_ids"])
wrong = False
for attention in ("eager", "sdpa"):
    config._attn_implementation = attention
    model = transformers.LlamaForCausalLM(config).eval()
    for name, more in (
        ("without mask and cache", {"use_cache": False}),
        ("as called by default", {}),
        ("with a mask of ones", {"use_cache": False, "attention_mask": mask}),
    ):
        with torch.no_grad():
            alone, packed = model(other).logits, model(**row, **more).logits[:, 12:]
        off, spread = float((packed - alone).abs().max()), float(alone.std())
        print(f"{attention}, {name}: expected the document alone, off by {off:.2g}, spread {spread:.2g}")
        wrong |= off > 1e-3
raise SystemExit(wrong)
