"""CodeGen in 16 bits hands out logits in float32: its forward pass ends with `.to(torch.float32)` up to 4.x."""

import torch
import transformers
from transformers import CodeGenConfig, CodeGenForCausalLM, GPT2Config, GPT2LMHeadModel

SMALL = {"vocab_size": 256, "n_embd": 64, "n_positions": 64, "n_layer": 2, "n_head": 4}


def main():
    """Print the dtype of the logits by that of the weights, beside GPT-2's."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    for model_class, config in (
        (GPT2LMHeadModel, GPT2Config(**SMALL)),
        (CodeGenForCausalLM, CodeGenConfig(**SMALL, rotary_dim=8)),
    ):
        for dtype in (torch.float16, torch.bfloat16):
            model = model_class._from_config(config, attn_implementation="eager").to(dtype).eval()
            with torch.no_grad():
                found = model(torch.randint(4, 256, (2, 12))).logits.dtype
            print(f"{model_class.__name__}: weights {dtype}, logits {found}{' FAULT' if found != dtype else ''}")


if __name__ == "__main__":
    main()
