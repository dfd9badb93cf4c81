"""BERT for masked language modelling in 4 and in 8 bits, saved: what save_pretrained makes of its tied last layer.

Needs a GPU with transformers 4.48.
"""

import tempfile

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as again:
    transformers.BertForMaskedLM(transformers.BertConfig(num_hidden_layers=2, **SMALL)).save_pretrained(folder)
    for flag in ("load_in_8bit", "load_in_4bit"):
        quantised = transformers.BitsAndBytesConfig(**{flag: True})
        model = transformers.AutoModelForMaskedLM.from_pretrained(folder, quantization_config=quantised)
        try:
            model.save_pretrained(again)
            print(flag, "saved")
        except RuntimeError as error:
            print(flag, "RuntimeError:", str(error).strip().splitlines()[0])
