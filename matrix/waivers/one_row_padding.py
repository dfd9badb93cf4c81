"""Layers of state space models see the padding of a batch of one row: the mask is looked at where there are several.

apply_mask_to_padding_states asks for `attention_mask.shape[0] > 1`. Seen with transformers 4.48.3 and 4.57.6; not with
5.23.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
MAMBA = {"mamba_n_heads": 16, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
config = transformers.BambaConfig(**SMALL, **HEADS, **MAMBA, attn_layer_indices=[1])
model = transformers.BambaForCausalLM(config).eval()
for parameter in model.parameters():
    parameter.data.mul_(4)  # under the weights that a class begins with little shows
tokens = torch.randint(4, 256, (1, 12), generator=torch.Generator().manual_seed(0))
padded = torch.nn.functional.pad(tokens, (6, 0), value=1)
mask = (torch.arange(18)[None] >= 6).long()
positions = (mask.cumsum(-1) - 1).clamp_min(0)
off = {}
for rows in (2, 1):
    given = {"attention_mask": mask.repeat(rows, 1), "position_ids": positions.repeat(rows, 1)}
    with torch.no_grad():
        alone = model(tokens, use_cache=False).logits
        found = model(padded.repeat(rows, 1), **given, use_cache=False).logits[:1, 6:]
    off[rows] = float((found - alone).abs().max())
    print(f"{rows} padded rows: expected the logits of the row alone, off by {off[rows]:.2g}")
raise SystemExit(off[1] > 10 * off[2] + 1e-4)
