"""RecurrentGemma cannot generate: the second step is given the whole prompt again, with the position of its last token.

generate cuts the tokens of a step where it knows of a cache in `past_key_values`; RecurrentGemma keeps its state in its
modules. Seen with transformers 4.48.3; not with 4.57.6.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 128, "lru_width": 64}
ATTENTION = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "attention_window_size": 64}

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
model = transformers.RecurrentGemmaForCausalLM(transformers.RecurrentGemmaConfig(**SMALL, **ATTENTION)).eval()
try:
    found = model.generate(torch.randint(4, 256, (1, 12)), max_new_tokens=4, min_new_tokens=4, do_sample=False)
except RuntimeError as error:
    print(f"expected 4 new tokens, seen: {error}")
    raise SystemExit(1) from None
print(f"expected 4 new tokens, seen {found.shape[1] - 12}")
raise SystemExit(0)
