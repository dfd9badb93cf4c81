"""Mistral with FlashAttention-2 on a GPU: a token reaches one token further than the window allows.

transformers 4.48.3 gives the window to flash-attn as it is, which counts it from 0: one token more. Beside it eager
attention. `_flash_attention_forward`, modeling_flash_attention_utils.py. Needs a GPU and flash-attn.
"""

import tempfile

import torch
import transformers
from transformers.utils import is_flash_attn_2_available

WINDOW, POSITION, LENGTH = 4, 20, 40
SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not is_flash_attn_2_available():
    print("cannot tell without a GPU and flash-attn")
    raise SystemExit(2)
config = transformers.MistralConfig(num_hidden_layers=1, num_key_value_heads=2, sliding_window=WINDOW, **SMALL)
tokens = torch.randint(4, 256, (8, LENGTH), device="cuda")
changed, expected = tokens.clone(), list(range(WINDOW))
changed[:, POSITION] = (tokens[:, POSITION] + 17) % 200 + 4
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    transformers.MistralForCausalLM(config).save_pretrained(folder)
    for attention in ("eager", "flash_attention_2"):
        loading = {"torch_dtype": torch.float16, "attn_implementation": attention}
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, **loading).cuda()
        difference = (model(tokens).logits - model(changed).logits).abs().amax(-1).amax(0)
        reached = [int(index) - POSITION for index in difference.nonzero()[:, 0]]
        print(f"{attention}: expected to reach {expected}, reaches {reached}")
raise SystemExit(reached != expected)
