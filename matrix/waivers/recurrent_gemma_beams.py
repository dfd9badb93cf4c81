"""Beam search of RecurrentGemma: the beams change places, and the state of its recurrent layers does not.

It is kept in the modules, not in the cache that `generate` reorders; without a cache all is right.
Seen with transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 128, "lru_width": 64}
ATTENTION = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "attention_window_size": 64}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
model = transformers.RecurrentGemmaForCausalLM(transformers.RecurrentGemmaConfig(**SMALL, **ATTENTION)).eval()
for parameter in model.parameters():
    if parameter.ndim == 2:
        parameter.data.mul_(4)  # under the weights that a class begins with little shows
model.generation_config.eos_token_id = None
tokens = torch.randint(4, 256, (1, 12))
asked = {"num_beams": 4, "max_new_tokens": 16, "length_penalty": 0.0, "do_sample": False, "pad_token_id": 0}
told = {"return_dict_in_generate": True, "output_scores": True}
for use_cache in (False, True):
    try:
        output = model.generate(tokens, attention_mask=torch.ones_like(tokens), use_cache=use_cache, **asked, **told)
    except RuntimeError as error:
        raise SystemExit(f"FAULT: use_cache={use_cache}: expected four beams, {error}") from None
    with torch.no_grad():
        truth = model(output.sequences[:, :-1]).logits[:, 11:].log_softmax(-1)
    total = float(truth.gather(2, output.sequences[:, 12:, None]).sum())
    said = float(output.sequences_scores[0])
    print(f"use_cache={use_cache}: expected log-probability {total:.3f} (one pass), the search says {said:.3f}")
raise SystemExit(abs(said - total) > 1e-3)
