"""Zamba2 decodes with other time steps than it prefills with: only the prefill holds them to `time_step_limit`.

`dt_limit=self.time_step_limit` goes to the chunked scan, nothing of the kind to the update of a single token.
Seen with transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
MAMBA = {"mamba_headdim": 8, "n_mamba_heads": 16, "mamba_d_state": 8, "mamba_ngroups": 1, "chunk_size": 16}
LAYERS = {"layers_block_type": ["mamba", "hybrid"], "num_attention_heads": 4, "num_mem_blocks": 1}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "Zamba2Config"):
    print("Zamba2 is not in this release")
    raise SystemExit(0)
config = transformers.Zamba2Config(**SMALL, **MAMBA, **LAYERS, initializer_range=0.32)
model = transformers.Zamba2ForCausalLM(config).eval()
mixers = [module for module in model.modules() if hasattr(module, "time_step_limit")]
tokens = torch.randint(4, 256, (4, 48))
for limit in ((0.0, float("inf")), mixers[0].time_step_limit):
    for mixer in mixers:
        mixer.time_step_limit = limit
        mixer.dt_bias.data.fill_(-12.0)  # time steps far below the limit
    with torch.no_grad():
        whole = model(tokens).logits[:, -1]
        cache = model(tokens[:, :24], use_cache=True).past_key_values
        for place in range(24, 48):
            step = {"position_ids": torch.full((4, 1), place), "past_key_values": cache, "use_cache": True}
            last = model(tokens[:, place : place + 1], **step).logits[:, -1]
    off = float((last - whole).abs().max())
    print(f"time_step_limit {limit}: expected the logits of one pass, decoding is off by {off:.2g}")
raise SystemExit(off > 1e-3)
