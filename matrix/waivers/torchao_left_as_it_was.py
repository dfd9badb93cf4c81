"""Models that torchao is asked to quantise and leaves as they are, in whole or in part.

Only `nn.Linear` is looked for, and GPT-2 is made of `Conv1D`: it says that it is quantised, and nothing of it is. Seen
with transformers 4.57.6 to 5.24.0. BERT's head, of which only the last layer is tied, stays whole in 4.57.6. Seen with
torchao 0.18.0.
"""

import tempfile

import torch
import transformers
from torchao.quantization import Int8WeightOnlyConfig

BERT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
MODELS = {
    "h.0.attn.c_attn": transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=256, n_embd=64, n_layer=2, n_head=4)
    ),
    "transform.dense": transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=256, **BERT)),
}

left = False
print("torch", torch.__version__, "transformers", transformers.__version__)
try:
    quantised = transformers.TorchAoConfig(Int8WeightOnlyConfig())
except ImportError as error:
    print("this release does not know this torchao:", error)
    raise SystemExit(0) from None
for name, made in MODELS.items():
    with tempfile.TemporaryDirectory() as folder:
        made.save_pretrained(folder)
        model = type(made).from_pretrained(folder, quantization_config=quantised)
    (weight,) = (module.weight for path, module in model.named_modules() if path.endswith(name))
    found = "an Int8Tensor" if "Int8Tensor" in f"{type(weight)} {weight}" else "as it was"
    print(f"{type(model).__name__} {name}: expected an Int8Tensor, is {found}")
    left |= found == "as it was"
raise SystemExit(left)
