"""A cache in 4 bits of keys with large biases is that of another model. Needs hqq.

Seen with transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers

torch.manual_seed(0)
config = transformers.Qwen2Config(
    vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, initializer_range=0.12, eos_token_id=None,
)  # fmt: skip
model = transformers.AutoModelForCausalLM.from_config(config).eval()
cache = {"backend": "hqq", "nbits": 4, "residual_length": 16, "q_group_size": 16, "axis_key": 1, "axis_value": 1}
asked = {"max_new_tokens": 24, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
tokens = torch.randint(4, 256, (1, 64))
print("torch", torch.__version__, "transformers", transformers.__version__, "expected: most choices as without a cache")
kept = 0
for bias in (0.0, 40.0):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("k_proj.bias"):
                parameter.zero_()
                parameter[3], parameter[20] = bias, -bias
        given = {"attention_mask": torch.ones_like(tokens), "pad_token_id": 0, "cache_config": cache}
        found = model.generate(tokens, cache_implementation="quantized", **given, **asked)
        truth = model(found.sequences[:, :-1], use_cache=False).logits[:, 63:]
    off, kept = (
        (torch.stack(found.logits, 1) - truth).abs().max(),
        int((truth.argmax(-1) == found.sequences[:, 64:]).sum()),
    )
    print(
        f"biases of {bias}: {kept} of 24 choices kept, logits off by {off:.2g} where they spread by {truth.std():.2g}"
    )
raise SystemExit(kept < 18)
