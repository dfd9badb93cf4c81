"""Apertus computes its activation in bfloat16 whatever dtype it is loaded in, and cannot run in float16.

XIELUActivation makes its parameters in bfloat16, and from_pretrained leaves them so: float32 is as coarse as they are,
and in float16 what they are multiplied with becomes float32. Seen with transformers 4.57.6; not with 5.23.0.
"""

import tempfile

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 1, "intermediate_size": 128}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 4, "pad_token_id": 0}

print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "ApertusConfig"):
    print("Apertus is not in this release")
    raise SystemExit(2)
wrong, tokens = False, torch.randint(4, 256, (1, 12))
with tempfile.TemporaryDirectory() as folder:
    transformers.ApertusForCausalLM(transformers.ApertusConfig(**SMALL, **HEADS)).save_pretrained(folder)
    for dtype in (torch.float32, torch.float16):
        model = transformers.ApertusForCausalLM.from_pretrained(folder, dtype=dtype)
        other = sorted({str(one.dtype) for one in model.parameters() if one.dtype is not dtype})
        print(f"{dtype}: expected no other parameters, seen {', '.join(other) or 'none'}")
        try:
            model(tokens)
        except RuntimeError as error:
            print(f"expected logits, seen: {error}")
        wrong |= bool(other)
raise SystemExit(wrong)
