"""flex_attention on CUDA, float32: a batch of one short row ends in `NoValidChoicesError: No choices to select`.

Llama with grouped heads and without a padding mask, so that a row of 9, 65 or 131 tokens is compiled by itself.
torch/_inductor/kernel/flex. Seen with torch 2.11.0 and transformers 5.17.0. Needs a CUDA GPU.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__)
if not torch.cuda.is_available():
    print("cannot tell without a CUDA GPU")
    raise SystemExit(2)
torch.manual_seed(0)
config = transformers.LlamaConfig(**SIZES, num_attention_heads=4, num_key_value_heads=2)
for dtype in (torch.float32, torch.bfloat16):
    model = transformers.LlamaForCausalLM._from_config(config, attn_implementation="flex_attention")
    model = model.to("cuda", dtype).eval()
    torch._dynamo.reset()
    for length in (144, 131, 65, 9):  # in the order of the suite's batch
        tokens = torch.randint(4, 256, (1, length), device="cuda")
        try:
            with torch.no_grad():
                model(tokens, attention_mask=torch.ones_like(tokens))
            print(f"{dtype} {length:4} tokens: expected to run, runs")
        except Exception as error:
            print(f"{dtype} {length:4} tokens: expected to run, {type(error).__name__}: {str(error)[:150]}")
            wrong = True
raise SystemExit(wrong)
