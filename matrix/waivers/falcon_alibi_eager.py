"""Falcon with ALiBi: eager attention adds the position bias twice; SDPA adds it once.

FalconModel puts `alibi / sqrt(head_dim)` into the causal mask for every implementation, and the eager branch of
FalconAttention.forward adds `alibi` to the scores again before it adds that mask. The definition that the
original RefinedWeb code and SDPA follow is softmax((q k^T + alibi) / sqrt(head_dim) + causal) v.
"""

import tempfile

import torch
from transformers import AutoConfig, AutoModelForCausalLM

CONFIG = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "alibi": True}
torch.manual_seed(0)
torch.set_grad_enabled(False)
made = AutoModelForCausalLM.from_config(AutoConfig.for_model("falcon", **CONFIG))
for parameter in made.parameters():
    if parameter.ndim > 1:  # under the weights that a class begins with little shows
        parameter.copy_(1.3 * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
folder = tempfile.mkdtemp()
made.save_pretrained(folder)
ids = torch.randint(4, 64, (1, 3), generator=torch.Generator().manual_seed(1))
mask = torch.ones_like(ids)
given = {"torch_dtype": torch.float32}
plain, truth = (AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa", **given) for _ in "12")
model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", **given)
seen = model(ids, attention_mask=mask).logits
truth, wrong = truth.to(torch.float64), False
for row, own in enumerate(mask.bool()):
    at = own.nonzero()[:, 0] - (ids.shape[1] - seen.shape[1])
    expected, usual = (one(ids[row][None, own]).logits[0][at >= 0].double() for one in (truth, plain))
    error, rounding = (seen[row, at[at >= 0]] - expected).abs(), (usual - expected).abs()
    print(f"row {row}: off by {error.max():.3g} at most, expected no more than sdpa attention's {rounding.max():.3g}")
    wrong |= not (error.max() <= 4 * rounding.max() and error.mean() <= 2 * rounding.mean())
raise SystemExit(wrong)
