"""RecurrentGemma by generate_batch: other tokens than one by one, and nothing is raised.

Its recurrent layers keep their states in the modules, of one batch and not of a request. Seen with transformers 5.17.0;
5.23.0 refuses it in words: a ValueError about its layers. Llama shows what is right.
"""

import logging

import torch
import transformers
from transformers.generation import ContinuousBatchingConfig

logging.disable(logging.CRITICAL)
print("torch", torch.__version__, "transformers", transformers.__version__)
SIZES = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "lru_width": 64}
SIZES |= {"num_key_value_heads": 1, "intermediate_size": 128}
PROMPTS = [torch.randint(4, 256, (1, length), generator=torch.Generator().manual_seed(1)) for length in (7, 30, 18)]
ASKED = transformers.GenerationConfig(max_new_tokens=8, do_sample=False, eos_token_id=-1, pad_token_id=0)
wrong = False
for kind in ("llama", "recurrent_gemma"):
    config = transformers.AutoConfig.for_model(kind, **SIZES)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    torch.manual_seed(0)
    right = 0
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:  # as drawn by the library a model hardly hears what came before
                parameter.copy_(torch.randn_like(parameter) * 1.3 / parameter.shape[-1] ** 0.5)
        answers = model.generate_batch(
            inputs=[prompt[0].tolist() for prompt in PROMPTS],
            generation_config=ASKED,
            continuous_batching_config=ContinuousBatchingConfig(num_blocks=8, max_batch_tokens=32),
            warmup=False,
        ).values()
        for prompt, answer in zip(PROMPTS, answers, strict=True):
            tokens = prompt
            for _ in range(8):
                best = model(tokens, use_cache=False).logits[:, -1:].argmax(-1)
                tokens = torch.cat([tokens, best], dim=1)
            right += tokens[0, prompt.shape[1] :].tolist() == answer.generated_tokens
    print(f"{kind}: expected 3 of 3 answers as of passes over each prompt alone, seen {right}")
    wrong |= right < 3
raise SystemExit(wrong)
