"""Mamba takes any mask for that of the tokens it is given now: a decoding step with the whole mask goes wrong.

A mask of (batch, seen so far) is multiplied into hidden states of (batch, 1, size): they become as many as the mask is
long, of which the first is taken. With padding on the left that one is padding, and the new token is not seen at all.
More tokens than one raise. Mamba-2 cuts the mask first. Seen with transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.MambaConfig(vocab_size=256, hidden_size=64, num_hidden_layers=2, initializer_range=0.4)
model = transformers.MambaForCausalLM(config).eval()
tokens = torch.randint(4, 256, (2, 24))
for masked in (False, True):
    with torch.no_grad():
        whole = model(tokens).logits[:, -1]
        cache = model(tokens[:, :16], use_cache=True).cache_params
        for place in range(16, 24):
            mask = torch.ones(2, place + 1, dtype=torch.long) if masked else None
            step = {"cache_params": cache, "use_cache": True, "attention_mask": mask}
            try:
                last = model(tokens[:, place : place + 1], **step).logits[:, -1]
            except ValueError as error:
                print("such steps are not in this release:", error)
                raise SystemExit(0) from None
    off, name = float((last - whole).abs().max()), "with the mask" if masked else "without a mask"
    print(f"{name}: expected the logits of one pass, off by {off:.2g} where they spread by {float(whole.std()):.2g}")
raise SystemExit(off > 1e-3)
