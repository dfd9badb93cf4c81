"""Mixture of experts in 4 bits: the experts, most of the model, silently keep their 16-bit weights.

transformers 5 holds the experts of a layer in one 3-D parameter; bitsandbytes conversion replaces nn.Linear modules
only. transformers 4 had a module per expert and quantised them.
"""

import tempfile

import torch
import transformers
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, MixtralConfig, MixtralForCausalLM


def main():
    """Load a small Mixtral in 4 bits and print where its bytes are."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    config = MixtralConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
    )
    with tempfile.TemporaryDirectory() as folder:
        MixtralForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
        quantised = AutoModelForCausalLM.from_pretrained(
            folder,
            torch_dtype=torch.bfloat16,
            quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"),
        )
    experts = {name: weight for name, weight in quantised.named_parameters() if ".experts." in name}
    plain = {name: weight for name, weight in experts.items() if weight.is_floating_point()}
    for name, weight in list(experts.items())[:2]:
        print(f"{name}: {tuple(weight.shape)} {weight.dtype}")
    total = sum(weight.nbytes for weight in quantised.parameters())
    left = sum(weight.nbytes for weight in plain.values())
    print(f"is_quantized: {quantised.is_quantized}; experts left in 16 bits: {left} of {total} bytes")
    print(f"FAULT: {len(plain)} of {len(experts)} expert weights" if plain else "all experts are quantised")


if __name__ == "__main__":
    main()
