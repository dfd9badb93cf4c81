"""Mamba quantised by bitsandbytes: the layer multiplies by the weight of `dt_proj` itself, which holds codes then.

Jamba asks whether it is quantised and calls the module instead. MambaMixer.slow_forward, `modeling_mamba.py`. Seen
with transformers 5.23.0 and bitsandbytes 0.50.2.
"""

import tempfile

import torch
import transformers

wrong = False
print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.MambaConfig(vocab_size=256, hidden_size=64, num_hidden_layers=2, time_step_rank=64)
with tempfile.TemporaryDirectory() as folder:
    transformers.MambaForCausalLM(config).save_pretrained(folder)
    for flag in ("load_in_8bit", "load_in_4bit"):
        quantised = transformers.BitsAndBytesConfig(**{flag: True})
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, quantization_config=quantised)
        except AttributeError as error:  # bitsandbytes_frozen_devices.py
            print("cannot tell without a GPU:", error)
            raise SystemExit(2) from None
        try:
            with torch.no_grad():
                model(torch.randint(4, 256, (1, 12), device=model.device))
            print(f"{flag}: expected a forward pass, no error")
        except RuntimeError as error:
            print(f"{flag}: expected a forward pass, FAULT: {str(error)[:160]}")
            wrong = True
raise SystemExit(wrong)
