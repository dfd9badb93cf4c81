"""GPT-OSS asked for flash_attention_2 without `kernels`, twice: refused, and then loaded with what cannot run.

It turns to a kernel of the hub by itself. `lazy_import_flash_attention` notes that as loaded before it is, so that the
second model is given it: KeyError in its first forward pass. Seen with transformers 5.17.0; 5.23.0 notes it afterwards.
"""

import logging
import tempfile

import torch
import transformers

logging.disable(logging.WARNING)
SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 16}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2}

print("torch", torch.__version__, "transformers", transformers.__version__)
said = []
with tempfile.TemporaryDirectory() as folder:
    transformers.GptOssForCausalLM(transformers.GptOssConfig(**SMALL)).save_pretrained(folder)
    for _ in range(2):
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="flash_attention_2")
            model(torch.arange(8)[None])
            said.append("it runs")
        except (ImportError, KeyError) as error:
            said.append(f"{type(error).__name__}: {error}")
print(f"asked once: {said[0]}\nasked again: expected the same, {said[1]}")
raise SystemExit(said[0] != said[1])
