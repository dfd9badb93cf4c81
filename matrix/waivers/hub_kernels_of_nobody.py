"""`use_kernels=True` on a CPU: the model says that it uses kernels, and every layer has the forward pass that it had.

`kernelize` falls back to a layer's own forward pass where no kernel is mapped for the device, without a word. Needs
`kernels` in the window that transformers asks for. Seen with transformers 5.17.0 and kernels 0.16.0.
"""

import tempfile

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2}

print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder:
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL)).save_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, use_kernels=True)
bound = [(module, vars(module)["forward"]) for module in model.modules() if "forward" in vars(module)]
replaced = sum(forward.__func__ is not type(module).forward for module, forward in bound)
print(f"model.use_kernels is {model.use_kernels}: expected layers of the hub, {replaced} of {len(bound)} are replaced")
raise SystemExit(model.use_kernels and not replaced)
