"""GIT: a cached step embeds its token at the place of the text plus the length of the cache, image included.

The first token that follows a prompt of 3 belongs at position 3; `GitModel.forward` adds the whole cache's length
(image, too) to a position that `generate` has already counted. Without a cache the positions are right.
"""

import torch
import transformers

SMALL = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "max_position_embeddings": 256}
VISION = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}

torch.manual_seed(0)
torch.set_grad_enabled(False)
print("torch", torch.__version__, "transformers", transformers.__version__)
vision = {**VISION, "image_size": 32, "patch_size": 8}
config = transformers.GitConfig(**SMALL, **IDS, vision_config=vision)
model = transformers.GitForCausalLM(config).eval()
tokens, pixels = torch.tensor([[5, 6, 7]]), torch.randn(1, 3, 32, 32)
places, found = [], {}
table = model.git.embeddings.position_embeddings
table.register_forward_hook(lambda _, given, __: places.append(given[0].flatten().tolist()))
asked = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "output_logits": True}
for cached in (False, True):
    places.clear()
    found[cached] = model.generate(
        input_ids=tokens,
        attention_mask=torch.ones_like(tokens),
        pixel_values=pixels,
        use_cache=cached,
        return_dict_in_generate=True,
        **asked,
    ).logits
    print(f"use_cache={cached}: last position of each step", [place[-1] for place in places])
off = float((found[True][1] - found[False][1]).abs().max())
spread = float(found[False][1].std())
print(f"the second step is off by {off:.2g} where logits spread by {spread:.2g}")
raise SystemExit("FAULT: a cached step is another" if off > 1e-4 else print("OK"))
