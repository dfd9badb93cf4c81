"""RecurrentGemma with a cache sees the future where a prompt is longer than the window of its attention.

_update_cache cuts keys and values to the last of the prompt, the mask is cut to its first columns: each token attends
to the end of the prompt. Without a cache there is no window at all. Seen with transformers 4.48.3 and 4.57.6; not with
5.23.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 128, "lru_width": 64}
ATTENTION = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "attention_window_size": 16}

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
model = transformers.RecurrentGemmaForCausalLM(transformers.RecurrentGemmaConfig(**SMALL, **ATTENTION)).eval()
for parameter in model.parameters():
    if parameter.ndim == 2:
        parameter.data.mul_(4)  # under the weights that a class begins with little shows
worst = 0.0
for length in (12, 24):
    tokens = torch.randint(4, 200, (1, length), generator=torch.Generator().manual_seed(0))
    other = tokens.clone()
    other[:, -1] = 201
    with torch.no_grad():
        one, two = (model(given, use_cache=True).logits[:, :-1] for given in (tokens, other))
    worst = float((one - two).abs().max())
    print(f"{length} tokens, a window of 16: another last token moves earlier logits by: expected 0, seen {worst:.2g}")
raise SystemExit(worst > 1e-4)
