"""Mixture of experts in 4 bits: the experts, most of the model, silently keep their 16-bit weights.

transformers 5 holds the experts of a layer in one 3-D parameter; bitsandbytes conversion replaces nn.Linear modules
only. transformers 4 had a module per expert and quantised them.
"""

import tempfile

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}

print("torch", torch.__version__, "transformers", transformers.__version__)
if transformers.__version__ < "4.49" and not torch.cuda.is_available():  # bitsandbytes_frozen_devices.py
    print("cannot tell without a GPU: this release quantises nothing on a CPU")
    raise SystemExit(2)
config = transformers.MixtralConfig(**SIZES, num_attention_heads=4, num_key_value_heads=2, num_local_experts=4)
quantised = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
with tempfile.TemporaryDirectory() as folder:
    transformers.MixtralForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    model = transformers.MixtralForCausalLM.from_pretrained(
        folder, torch_dtype=torch.bfloat16, quantization_config=quantised
    )
experts = {name: weight for name, weight in model.named_parameters() if ".experts." in name}
left = {name: weight for name, weight in experts.items() if weight.is_floating_point()}
for name, weight in left.items():
    print(f"{name}: expected 4 bits, is {tuple(weight.shape)} {weight.dtype}")
total, plain = (sum(weight.nbytes for weight in weights) for weights in (model.parameters(), left.values()))
print(f"is_quantized is {model.is_quantized}: expected no experts in 16 bits, they have {plain} of {total} bytes")
raise SystemExit(plain > 0)
