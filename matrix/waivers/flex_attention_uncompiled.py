"""Llama with flex_attention in transformers 4.48: nothing is compiled, so that the unfused arithmetic runs.

`flex_attention_forward`, transformers/integrations/flex_attention.py, calls torch's function as it is.
"""

import sys

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}

print("torch", torch.__version__, "transformers", transformers.__version__)
calls = []
# The package has an operator of that name, too, which hides the module.
flex_attention = sys.modules["torch._higher_order_ops.flex_attention"]
usual = flex_attention.math_attention
flex_attention.math_attention = lambda *args: calls.append(1) or usual(*args)
config = transformers.LlamaConfig(**SMALL, num_attention_heads=4)
model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="flex_attention").eval()
with torch.no_grad():
    model(torch.randint(0, 256, (1, 16)))
print(f"expected 0 of 2 layers to run uncompiled, {len(calls)} did")
raise SystemExit(len(calls) > 0)
