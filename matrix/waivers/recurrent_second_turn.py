"""A second turn through generate with the cache of the first: Mamba and Mamba-2 are given all tokens again.

`_prefill`, `generation/utils.py`, cuts off what the cache has seen only where some layer of it is attention. A state
that has seen the first turn sees it once more. Llama shows what is right. Seen with transformers 5.23.0 and 5.24.0.
"""

import inspect

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "initializer_range": 0.2}
MODELS = {
    "llama": {"num_attention_heads": 4, "intermediate_size": 128},
    "mamba": {},
    "mamba2": {"num_heads": 16, "head_dim": 8},
}
GREEDY = {"do_sample": False, "return_dict_in_generate": True, "output_logits": True}

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__, "expected: the logits of one pass")
for model_type, sizes in MODELS.items():
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **SMALL | sizes, pad_token_id=0, eos_token_id=None)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    known = inspect.signature(model.forward).parameters
    name = next(name for name in ("cache", "cache_params", "past_key_values") if name in known)
    tokens = torch.randint(4, 256, (1, 20))
    first = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=8, **GREEDY)
    both = torch.cat([first.sequences, torch.randint(4, 256, (1, 3))], 1)
    cache = {name: first.past_key_values}
    second = model.generate(both, attention_mask=torch.ones_like(both), max_new_tokens=1, **cache, **GREEDY)
    with torch.no_grad():
        whole = model(both, use_cache=False).logits[:, -1]
    off = float((second.logits[0] - whole).abs().max())
    print(f"{model_type}: off by {off:.2g} where they spread by {float(whole.std()):.2g}")
    wrong |= off > 1e-3
raise SystemExit(wrong)
