"""transformers 4.48 and a bitsandbytes of today, on a CPU: no quantised model loads.

`validate_bnb_backend_availability` discards from `bitsandbytes.supported_torch_devices`, a frozenset by now.
"""

import tempfile

import torch
import transformers


def main():
    """Quantise a small Llama to 8 bits."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    folder = tempfile.mkdtemp()
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    try:
        transformers.LlamaForCausalLM.from_pretrained(
            folder, quantization_config=transformers.BitsAndBytesConfig(load_in_8bit=True)
        )
        print("loaded")
    except AttributeError as error:
        print("FAULT:", error)


if __name__ == "__main__":
    main()
