"""Mistral by generate_batch with FlashAttention-2: the window is lost. Needs a GPU and flash-attn.

Paged flash attention reads `module.sliding_window`, and Mistral's attention has no such attribute: the tokens of a
prompt see all of it. Seen with transformers 5.17.0; later releases are given the window.
"""

import logging

import torch
import transformers
from transformers.generation import ContinuousBatchingConfig
from transformers.utils import is_flash_attn_2_available

logging.disable(logging.CRITICAL)
print("torch", torch.__version__, "transformers", transformers.__version__)
if not torch.cuda.is_available() or not is_flash_attn_2_available():
    print("cannot tell without a GPU and flash-attn")
    raise SystemExit(2)
SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
ASKED = transformers.GenerationConfig(max_new_tokens=16, do_sample=False, eos_token_id=-1, pad_token_id=0)
prompt = torch.randint(4, 256, (1, 60), generator=torch.Generator().manual_seed(1))
wrong = False
for window in (None, 16):
    torch.manual_seed(0)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3}
    config = transformers.MistralConfig(sliding_window=window, **heads, **SMALL)
    config._attn_implementation = "flash_attention_2"
    model = transformers.MistralForCausalLM(config).to("cuda", torch.bfloat16).eval()
    with torch.no_grad():
        expected = int(model(prompt.cuda()).logits[0, -1].argmax())
    (answer,) = model.generate_batch(
        inputs=prompt.tolist(),
        generation_config=ASKED,
        continuous_batching_config=ContinuousBatchingConfig(num_blocks=4, max_batch_tokens=64),
        warmup=False,
    ).values()
    seen = answer.generated_tokens[0] if answer.generated_tokens else answer.error
    print(f"window of {window}: expected {expected} as the first token, seen {seen}")
    wrong |= seen != expected
raise SystemExit(wrong)
