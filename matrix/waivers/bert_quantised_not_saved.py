"""BERT for masked language modelling in 4 and in 8 bits cannot be saved: its tied last layer is taken for a mistake.

`save_pretrained`, modeling_utils.py: two tensors share memory and are not declared as tied. transformers 4.48 loads
nothing in 8 bits without a GPU.
"""

import tempfile

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}

wrong = False
torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as again:
    transformers.BertForMaskedLM(transformers.BertConfig(num_hidden_layers=2, **SMALL)).save_pretrained(folder)
    for flag in ("load_in_8bit", "load_in_4bit"):
        quantised = transformers.BitsAndBytesConfig(**{flag: True})
        try:
            model = transformers.AutoModelForMaskedLM.from_pretrained(folder, quantization_config=quantised)
        except AttributeError as error:  # bitsandbytes_frozen_devices.py
            print("cannot tell without a GPU:", error)
            raise SystemExit(2) from None
        try:
            model.save_pretrained(again)
            print(f"{flag}: expected to be saved, saved")
        except RuntimeError as error:
            print(f"{flag}: expected to be saved, RuntimeError: {str(error).strip().splitlines()[0]}")
            wrong = True
raise SystemExit(wrong)
