"""Zamba2 without use_mem_rope, as its config has it, cannot run: it calls a rotary embedding that was not made.

Seen with transformers 5.0.0 to 5.3.0; not with 4.57.6, nor since 5.4.0, which ask for use_mem_rope first.
"""

import torch
import transformers

try:
    from transformers import Zamba2Config, Zamba2ForCausalLM
except ImportError as error:
    print("transformers", transformers.__version__, "not in this release:", error)
    raise SystemExit(0) from None

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 4, "num_mem_blocks": 1, "hybrid_layer_ids": [1]}
MAMBA = {"mamba_d_state": 16, "n_mamba_heads": 4, "mamba_ngroups": 1, "chunk_size": 16, "adapter_rank": 8}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = Zamba2Config(**SIZES, **ATTENTION, **MAMBA, layers_block_type=["mamba", "hybrid"])
model = Zamba2ForCausalLM(config).eval()
try:
    with torch.no_grad():
        model(torch.arange(4, 12)[None], use_cache=False)
    print("expected a forward pass to run, it runs")
except AttributeError as error:
    raise SystemExit(f"FAULT: expected a forward pass to run, {error}") from None
