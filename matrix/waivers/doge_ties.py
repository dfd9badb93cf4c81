"""Doge attends to other tokens when it decodes than in one pass: which of equal keys it keeps is left to torch.topk.

Beyond `keep_window_size` prepare_dynamic_mask keeps the keys with the largest of a value that follows from a token
alone. In the first layer each repetition of a token has the same one, and in bfloat16 many others have; topk breaks
such ties by where they stand and by how many columns there are, padding included. `modeling_doge.py`.
Seen with transformers 5.17.0, 5.23.0 and 5.24.0.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "keep_window_size": 32, "initializer_range": 0.2}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "DogeConfig"):
    print("Doge is not in this release")
    raise SystemExit(0)
config = transformers.DogeConfig(**SIZES, **HEADS)
model = transformers.DogeForCausalLM._from_config(config, attn_implementation="eager").double().eval()
for name, parameter in model.named_parameters():
    if name.endswith("self_attn.A"):  # it is 0 before training, and all keys are equal
        torch.nn.init.normal_(parameter)
made, off = torch.Generator().manual_seed(1), {}
texts = {
    "no token twice": torch.stack([torch.randperm(256, generator=made)[:100] for _ in range(2)]),
    "some tokens twice": torch.randint(256, (2, 100), generator=made),
}
for name, text in texts.items():
    with torch.no_grad():
        whole = model(text, use_cache=False).logits
        cache, steps = model(text[:, :20], use_cache=True).past_key_values, []
        for place in range(20, 100):
            steps.append(model(text[:, place : place + 1], past_key_values=cache, use_cache=True).logits[:, 0])
    off[name], spread = float((torch.stack(steps, 1) - whole[:, 20:]).abs().max()), whole.std()
    print(f"{name}: expected the logits of one pass, decoding is off by {off[name]:.2g}, they spread by {spread:.2g}")
raise SystemExit(f"FAULT: off by {off[name]:.2g} in float64" if off[name] > 1e-3 else 0)
