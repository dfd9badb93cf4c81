"""OPT by generate_batch with FlashAttention-2: queries are scaled twice. Needs a GPU and flash-attn.

OPT scales its queries and asks for a softmax scale of 1; paged flash attention takes `module.scaling` all the same.
Seen with transformers 5.17.0; later releases take the scale that is asked for. Through paged sdpa it is right.
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
SIZES = {"vocab_size": 256, "hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 2, "word_embed_proj_dim": 64}
ASKED = transformers.GenerationConfig(max_new_tokens=16, do_sample=False, eos_token_id=-1, pad_token_id=0)
prompt = torch.randint(4, 256, (1, 40), generator=torch.Generator().manual_seed(1))
wrong = False
for attention in ("paged|sdpa", "flash_attention_2"):
    torch.manual_seed(0)
    config = transformers.OPTConfig(num_attention_heads=4, init_std=0.3, **SIZES)
    model = transformers.OPTForCausalLM(config).to("cuda", torch.bfloat16).eval()
    with torch.no_grad():
        expected = model(prompt.cuda()).logits[0, -1].float().log_softmax(-1)
    model.set_attn_implementation(attention)
    (answer,) = model.generate_batch(
        inputs=prompt.tolist(),
        generation_config=ASKED,
        continuous_batching_config=ContinuousBatchingConfig(num_blocks=4, max_batch_tokens=64, return_logprobs=True),
        warmup=False,
    ).values()
    off = abs(answer.logprobs[0] - float(expected[answer.generated_tokens[0]]))
    print(f"{attention}: expected the log-probability of the first token as of one pass, off by {off:.2g}")
    wrong |= off > 0.1
raise SystemExit(wrong)
