"""flash_attention_2 given a mask of shape (batch, 1, queries, keys) fails deep inside, without saying what is wrong.

Custom masks are four-dimensional; eager and SDPA take them. Needs flash-attn and a CUDA GPU.
"""

import torch
import transformers


def main():
    """Run one forward pass with a 2-D and a 4-D mask."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4
    )
    tokens = torch.randint(0, 256, (2, 16), device="cuda")
    padding = torch.ones_like(tokens)
    padding[1, :5] = 0
    causal = torch.ones(16, 16, dtype=torch.bool, device="cuda").tril()
    for implementation in ("sdpa", "flash_attention_2"):
        model = transformers.LlamaForCausalLM._from_config(config, attn_implementation=implementation)
        model = model.to("cuda", torch.float16).eval()
        for mask in (padding, (causal & padding[:, None, None].bool())):
            try:
                with torch.no_grad():
                    model(tokens, attention_mask=mask)
                print(f"{implementation}, {mask.ndim}-D mask: runs")
            except Exception as error:
                print(f"{implementation}, {mask.ndim}-D mask: {type(error).__name__}: {str(error)[:150]}")


if __name__ == "__main__":
    main()
