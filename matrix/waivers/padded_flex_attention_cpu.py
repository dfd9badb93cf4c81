"""A padded batch with flex_attention generates C++ that does not compile on a CPU.

Decoding makes inductor recompile its CPU flex_attention template for a growing key length; where the mask asks a tensor
of padding, the code that it then writes uses `cur_kvSplitSize0`, which nothing declares. Without padding it runs.
torch/_inductor/codegen/cpp_flex_attention_template.py.
"""

import torch
import transformers

SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}

print("torch", torch.__version__, "transformers", transformers.__version__)
torch.manual_seed(0)
config = transformers.LlamaConfig(**SIZES, **HEADS)
model = transformers.LlamaForCausalLM._from_config(config, attn_implementation="flex_attention").eval()
tokens = torch.randint(4, 256, (2, 48))
asked = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
for padding in (0, 7):
    mask = torch.ones_like(tokens)
    mask[0, :padding] = 0
    try:
        model.generate(tokens, attention_mask=mask, **asked)
        print(f"{padding} tokens of padding: expected 8 tokens, no error")
    except Exception as error:
        lines = [line for line in str(error).splitlines() if " error: " in line]
        said = lines[0][-120:] if lines else str(error)[:200]
        raise SystemExit(f"FAULT: {padding} of padding: expected 8 tokens, {type(error).__name__} {said}") from None
