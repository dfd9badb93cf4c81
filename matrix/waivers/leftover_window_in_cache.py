"""A `sliding_window` left in the config of a model without a window: its cache forgets, its mask does not.

Seen with transformers 5.23.0 and 5.24.0 for Llama, GPT-2 and OLMo 2.
"""

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2, "sliding_window": 8}

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__, "expected: as in one pass")
for model_type, sizes in {"llama": {}, "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4}, "olmo2": {}}.items():
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **SMALL | sizes)
    model, tokens = transformers.AutoModelForCausalLM.from_config(config).eval(), torch.randint(4, 256, (2, 20))
    asked = {"max_new_tokens": 4, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    with torch.no_grad():
        found = model.generate(tokens, attention_mask=torch.ones_like(tokens), pad_token_id=0, **asked)
        truth = model(found.sequences[:, :-1], use_cache=False).logits[:, 19:]
    off = (torch.stack(found.logits, 1) - truth[:, : len(found.logits)]).abs().max()
    print(f"{model_type}: off by {off:.2g} where logits spread by {truth.std():.2g}")
    wrong |= bool(off > 1e-3)
raise SystemExit(wrong)
