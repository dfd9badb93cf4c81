"""BertForMaskedLM in 8 bits: the layer before the decoder stays in 16 bits, silently, as all of `cls` does.

transformers 4.x leaves all of `cls` alone, because the decoder in it is tied; 5.x leaves the decoder alone.
`get_keys_to_not_convert`, integrations/bitsandbytes.py. transformers 4.48 loads nothing in 8 bits without a GPU.
"""

import tempfile

import torch
import transformers

print("torch", torch.__version__, "transformers", transformers.__version__)
config = transformers.BertConfig(
    vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4
)
with tempfile.TemporaryDirectory() as folder:
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    try:
        model = transformers.BertForMaskedLM.from_pretrained(
            folder, quantization_config=transformers.BitsAndBytesConfig(load_in_8bit=True)
        )
    except AttributeError as error:  # bitsandbytes_frozen_devices.py
        print("cannot tell without a GPU:", error)
        raise SystemExit(2) from None
kinds = {name: type(module).__name__ for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
for name in ("cls.predictions.transform.dense", "cls.predictions.decoder"):
    print(f"{name}: expected {'Linear' if 'decoder' in name else 'Linear8bitLt'}, seen {kinds[name]}")
raise SystemExit(kinds["cls.predictions.transform.dense"] == "Linear")
