"""Falcon with ALiBi: a document behind another in one row is not what it is alone, though it sees nothing of the other.

`build_alibi_tensor` multiplies slopes by columns in bfloat16, whatever the model is in, which holds whole numbers up to
256: of columns beyond, the difference, which is all that counts, is rounded. Seen with transformers 5.24.0; in 5.23.0
documents see one another besides.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}

print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.FalconConfig(**SMALL, alibi=True, initializer_range=0.2)
config._attn_implementation = "sdpa"
for before in (100, 600):
    torch.manual_seed(0)
    model = transformers.FalconForCausalLM(config).eval()
    one, other = torch.randint(4, 256, (1, before)), torch.randint(4, 256, (1, 50))
    positions = torch.cat([torch.arange(before), torch.arange(50)])[None]
    with torch.no_grad():
        alone = model(other).logits
        packed = model(torch.cat([one, other], 1), position_ids=positions, use_cache=False).logits[:, before:]
    off = float((packed - alone).abs().max())
    print(f"behind {before} tokens: expected the document alone, off by {off:.2g}, spread {float(alone.std()):.2g}")
raise SystemExit(off > 1e-3)
