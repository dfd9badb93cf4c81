"""The first text that BigBird samples with a seed is another than the second one with the same seed.

A sequence that is too short for its blocks makes it change to full attention. set_attention_type makes new modules for
that, whose weights are drawn from the same generator before they are replaced. `modeling_big_bird.py`.
Seen with transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
config = transformers.BigBirdConfig(**SIZES, intermediate_size=128, is_decoder=True)
model = transformers.BigBirdForCausalLM(config).eval()
tokens = torch.randint(4, 256, (2, 12))
asked = {"do_sample": True, "max_new_tokens": 12, "pad_token_id": 0, "eos_token_id": None}
texts = []
for _ in range(3):
    torch.manual_seed(7)
    texts.append(model.generate(tokens, attention_mask=torch.ones_like(tokens), **asked))
same = [torch.equal(texts[0], texts[1]), torch.equal(texts[1], texts[2])]
print(f"three texts with one seed, expected to be one: the first two are {same[0]}, the last two are {same[1]}")
raise SystemExit(not all(same))
