"""Mistral with FlashAttention-2 on a GPU: how far a token reaches, beside eager attention. The window is 4.

transformers 4.48.3 gives the window to flash-attn as it is, which counts it from 0: one token more.
"""

import tempfile

import torch
import transformers

WINDOW, POSITION, LENGTH = 4, 20, 40
SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.MistralConfig(num_hidden_layers=1, num_key_value_heads=2, sliding_window=WINDOW, **SMALL)
tokens = torch.randint(4, 256, (8, LENGTH), device="cuda")
changed = tokens.clone()
changed[:, POSITION] = (tokens[:, POSITION] + 17) % 200 + 4
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    transformers.MistralForCausalLM(config).save_pretrained(folder)
    for attention in ("eager", "flash_attention_2"):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, torch_dtype=torch.float16, attn_implementation=attention
        ).cuda()
        difference = (model(tokens).logits - model(changed).logits).abs().amax(-1).amax(0)
        print(attention, "reaches", [int(index) - POSITION for index in difference.nonzero()[:, 0]])
