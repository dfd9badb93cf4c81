"""MobileBERT in 4 bits: the head concatenates the packed bytes of a quantised weight with another layer's weight.

`MobileBertLMPredictionHead` never calls its layers `decoder` and `dense`, it takes their weights. `decoder` is tied and
left as it was, `dense` becomes a Linear4bit. Sizes are such that bitsandbytes' CPU kernel takes them.
"""

import tempfile

import torch
import transformers

SIZES = {"vocab_size": 64, "hidden_size": 128, "embedding_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
INNER = {"num_attention_heads": 4, "intra_bottleneck_size": 64, "true_hidden_size": 64}

torch.manual_seed(0)
torch.set_grad_enabled(False)
print("torch", torch.__version__, "transformers", transformers.__version__)
if transformers.__version__ < "4.49" and not torch.cuda.is_available():  # bitsandbytes_frozen_devices.py
    print("cannot tell without a GPU: this release quantises nothing on a CPU")
    raise SystemExit(2)
with tempfile.TemporaryDirectory() as folder:
    config = transformers.MobileBertConfig(**SIZES, **INNER)
    transformers.MobileBertForMaskedLM(config).save_pretrained(folder)
    asked = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    given = {"quantization_config": asked, "torch_dtype": torch.bfloat16}
    model = transformers.MobileBertForMaskedLM.from_pretrained(folder, **given).eval()
head = model.cls.predictions
for name, layer in (("decoder", head.decoder), ("dense", head.dense)):
    print(f"{name}: expected Linear, seen {type(layer).__name__} with a weight of {tuple(layer.weight.shape)}")
try:
    print("logits of", tuple(model(torch.arange(4, 20, device=model.device)[None]).logits.shape))
except RuntimeError as error:
    raise SystemExit(f"{type(error).__name__}: {str(error)[:150]}") from error
