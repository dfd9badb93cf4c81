"""generate_batch and processors that look back: it hands them each request's last token in place of all it has.

The penalty then falls on one token, the list of n-grams cannot be made, and nobody knows how many tokens there are.
"""

import logging

import torch
import transformers
from transformers.generation import ContinuousBatchingConfig

logging.disable(logging.CRITICAL)
print("torch", torch.__version__, "transformers", transformers.__version__)
SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
SHAPING = {
    "greedily": {},
    "repetition_penalty=5": {"repetition_penalty": 5.0},
    "no_repeat_ngram_size=1": {"no_repeat_ngram_size": 1},
    "min_new_tokens=12": {"min_new_tokens": 12, "eos_token_id": list(range(3, 250))},
}
torch.manual_seed(0)
config = transformers.LlamaConfig(**SIZES, num_attention_heads=4, initializer_range=0.1)
model = transformers.LlamaForCausalLM(config).eval()
prompt = torch.randint(4, 256, (1, 18))
wrong = 0
for what, shaping in SHAPING.items():
    asked = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "eos_token_id": -1, **shaping}
    wanted = model.generate(prompt, attention_mask=torch.ones_like(prompt), **asked)[0, 18:].tolist()
    (answer,) = model.generate_batch(
        inputs=prompt.tolist(),
        generation_config=transformers.GenerationConfig(**asked),
        continuous_batching_config=ContinuousBatchingConfig(num_blocks=32, page_size=16, max_batch_tokens=64),
        warmup=False,
    ).values()
    right = sum(a == b for a, b in zip(answer.generated_tokens, wanted, strict=False))
    print(f"{what}: expected 12 tokens as of generate, seen {right} of {len(answer.generated_tokens)}, {answer.error}")
    wrong += right < 12
raise SystemExit(wrong > 0)
