"""Mega gives NaN for a row with padding on the left: its masks are infinite, and a padded token may see nothing at all.

The softmax over nothing is NaN, which keys and values of the next layer hand on. Seen with transformers 4.48.3 and
4.57.6; 5 has no Mega.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}

print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "MegaForCausalLM"):
    print("Mega is not in this release")
    raise SystemExit(2)
torch.manual_seed(0)
config = transformers.MegaConfig(**SMALL, is_decoder=True, bidirectional=False)
model = transformers.MegaForCausalLM(config).eval()
tokens = torch.randint(4, 256, (1, 12))
mask = torch.ones_like(tokens)
mask[:, :3] = 0
with torch.no_grad():
    plain, padded = model(tokens).logits, model(tokens, attention_mask=mask).logits[:, 3:]
print(f"not finite of {padded.numel()} logits of tokens: expected 0, seen {int((~padded.isfinite()).sum())}")
print(f"without padding: {int((~plain.isfinite()).sum())}")
raise SystemExit(not padded.isfinite().all())
