"""`set_attn_implementation` only warns for Jamba, whose layers choose their class when they are made.

Seen with transformers 4.57.6; not with 5.23.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128, "num_experts": 2}
ATTENTION = {"num_attention_heads": 4, "num_key_value_heads": 2, "attn_layer_period": 2, "attn_layer_offset": 1}

print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers.PreTrainedModel, "set_attn_implementation"):
    print("set_attn_implementation is not in this release")
    raise SystemExit(2)
config = transformers.JambaConfig(**SMALL, **ATTENTION, use_mamba_kernels=False)
model = transformers.JambaForCausalLM._from_config(config, attn_implementation="eager")
model.set_attn_implementation("sdpa")
now, layer = model.config._attn_implementation, type(model.model.layers[1].self_attn).__name__
print(f"expected sdpa, is {now} in {layer}")
raise SystemExit(now != "sdpa")
