"""Zamba2's scan in plain torch hands a wrong state from chunk to chunk: the decays are summed over the wrong axis.

torch_forward sums `decay_chunk` over the chunk that is reached, not over those that it comes from. Into how many chunks
a text is cut must not matter. Seen with transformers 4.57.6 to 5.14.1 (5.0 to 5.3 do not run); not since 5.15.1.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
MAMBA = {"mamba_headdim": 8, "n_mamba_heads": 16, "mamba_d_state": 8, "mamba_ngroups": 1}
LAYERS = {"layers_block_type": ["mamba", "hybrid"], "num_attention_heads": 4, "num_mem_blocks": 1}

print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "Zamba2Config"):
    print("Zamba2 is not in this release")
    raise SystemExit(2)
tokens = torch.randint(4, 256, (2, 48), generator=torch.Generator().manual_seed(0))
logits = []
for chunk_size in (64, 8):
    torch.manual_seed(0)
    config = transformers.Zamba2Config(**SMALL, **MAMBA, **LAYERS, chunk_size=chunk_size, initializer_range=0.32)
    with torch.no_grad():
        logits.append(transformers.Zamba2ForCausalLM(config).eval()(tokens, use_cache=False).logits)
off = float((logits[0] - logits[1]).abs().max())
print(f"one chunk and six: expected the same logits, they differ by {off:.2g}")
raise SystemExit(off > 1e-3)
