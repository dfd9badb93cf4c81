"""A model quantised by torchao that is cast: its weights stay in the dtype in which they were loaded, without a word.

torchao's `_to_copy` reads the dtype and moves the tensors by the device alone; transformers' `.to` refuses to cast what
bitsandbytes and GPTQ hold, and nothing of torchao's. Everything else is cast: the int8 weights then stand in another
dtype than the rest, and no forward pass of float8 runs. Seen with torchao 0.18.0 and transformers 5.23.0 and 5.24.0.
"""

import tempfile

import torch
import transformers
from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, TorchAoConfig

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens, wrong = torch.randint(0, 256, (1, 8)), False
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(folder)
    for how in (Int8WeightOnlyConfig(), Float8WeightOnlyConfig()):
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, quantization_config=TorchAoConfig(how)
        ).to(torch.bfloat16)
        weight = model.model.layers[0].self_attn.q_proj.weight
        found = f"{type(weight.data).__name__}: expected torch.bfloat16, is {weight.dtype}"
        try:
            model(tokens)
            print(f"{found}; it runs")
        except RuntimeError as error:
            print(f"{found}; RuntimeError: {error}")
        wrong |= weight.dtype is not torch.bfloat16
raise SystemExit(wrong)
