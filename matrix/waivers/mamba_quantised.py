"""Mamba quantised by bitsandbytes: the layer multiplies by the weight of `dt_proj` itself, which holds codes then.

Jamba asks whether it is quantised and calls the module instead. Seen with transformers 5.23.0 and bitsandbytes 0.50.2.
"""

import tempfile

import torch
import transformers


def main():
    """One forward pass in each format."""
    print("torch", torch.__version__, "transformers", transformers.__version__)
    config = transformers.MambaConfig(vocab_size=256, hidden_size=64, num_hidden_layers=2, time_step_rank=64)
    with tempfile.TemporaryDirectory() as folder:
        transformers.MambaForCausalLM(config).save_pretrained(folder)
        for wanted in ({"load_in_8bit": True}, {"load_in_4bit": True}):
            quantised = transformers.BitsAndBytesConfig(**wanted)
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, quantization_config=quantised)
            try:
                model(torch.randint(4, 256, (1, 12), device=model.device))
                print(wanted, "no error")
            except RuntimeError as error:
                print(wanted, "FAULT:", str(error)[:160])


if __name__ == "__main__":
    main()
