"""NemotronH decodes with other time steps than it prefills with: only the prefill holds them above `time_step_min`.

`dt_limit=self.time_step_limit` goes to the chunked scan, nothing of the kind to the update of a single token.
NemotronHMamba2Mixer.forward, `modeling_nemotron_h.py`. Seen with transformers 5.17.0, 5.23.0 and 5.24.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "layers_block_type": ["mamba", "attention"]}
MAMBA = {"mamba_num_heads": 8, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 2, "chunk_size": 16}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "NemotronHConfig"):
    print("NemotronH is not in this release")
    raise SystemExit(0)
config = transformers.NemotronHConfig(**SMALL, **MAMBA, num_attention_heads=4, num_key_value_heads=2, head_dim=16)
model = transformers.NemotronHForCausalLM(config).eval()
mixers = [module for module in model.modules() if hasattr(module, "time_step_limit")]
for module in model.modules():  # loud enough to show
    if isinstance(module, torch.nn.Linear):
        torch.nn.init.normal_(module.weight, std=3 * module.in_features**-0.5)
tokens = torch.randint(4, 256, (4, 48))
usual = mixers[0].time_step_limit
for limit in ((0.0, float("inf")), usual):
    for mixer in mixers:
        mixer.time_step_limit = limit
        mixer.dt_bias.data.fill_(-12.0)  # time steps below the limit
    with torch.no_grad():
        whole = model(tokens, use_cache=False).logits[:, -1]
        cache = model(tokens[:, :24], use_cache=True).past_key_values
        for place in range(24, 48):
            step = {"position_ids": torch.full((4, 1), place), "past_key_values": cache, "use_cache": True}
            last = model(tokens[:, place : place + 1], **step).logits[:, -1]
    off = float((last - whole).abs().max())
    print(f"time_step_limit {limit}: expected the logits of one pass, decoding is off by {off:.2g}")
raise SystemExit(f"FAULT: off by {off:.2g}, where they spread by {float(whole.std()):.2g}" if off > 1e-3 else 0)
