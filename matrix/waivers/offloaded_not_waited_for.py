"""`cache_implementation="offloaded"` and two layers: what is brought back was still being sent away. Needs a GPU.

`Cache.update` sends a layer to the CPU on the default stream and brings the next one back on a stream of its own, which
does not wait for the first: of two layers the next is the one sent away just before. It is a race, lost now more and
now less. Seen with transformers 5.17.0; 5.20.2 waits.
"""

import torch
import transformers

print("torch", torch.__version__, "transformers", transformers.__version__)
if not torch.cuda.is_available():
    print("cannot tell without a GPU")
    raise SystemExit(2)
SIZES = {"vocab_size": 256, "hidden_size": 64, "ffn_dim": 128, "num_attention_heads": 4, "word_embed_proj_dim": 64}
wrong = False
for layers in (2, 8):
    torch.manual_seed(0)
    config = transformers.OPTConfig(num_hidden_layers=layers, init_std=0.3, **SIZES)
    model = transformers.OPTForCausalLM(config).to("cuda", torch.bfloat16).eval()
    tokens = torch.randint(4, 256, (4, 48), device="cuda")
    given = {"max_new_tokens": 32, "min_new_tokens": 32, "do_sample": False, "pad_token_id": 0}
    given["attention_mask"] = torch.ones_like(tokens)
    dynamic = model.generate(tokens, **given)[:, 48:]
    for _ in range(4):
        seen = model.generate(tokens, cache_implementation="offloaded", **given)[:, 48:]
        agree = int((seen == dynamic).sum())
        print(f"{layers} layers: expected the tokens of a dynamic cache, {agree} of {seen.numel()} are")
        wrong |= agree < 0.75 * seen.numel()
raise SystemExit(wrong)
