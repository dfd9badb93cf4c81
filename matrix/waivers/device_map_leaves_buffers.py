"""A device map that names every parameter of BERT's embeddings, and a forward pass with position_ids on the GPU.

A buffer is placed where the map says for its own name or for a module around it: `token_type_ids` of `bert.embeddings`,
of which the map names the parts, stays on the CPU. Inputs without position_ids show what is right. Needs a GPU.
"""

import tempfile

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4}
PARTS = ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm", "dropout")

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(4, 256, (1, 20))
places = {f"bert.embeddings.{part}": 0 for part in PARTS} | {"bert.embeddings.word_embeddings": "cpu"}
places |= {"bert.encoder": 0, "cls": 0}
wrong = False
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    plain = transformers.BertForMaskedLM(transformers.BertConfig(**SMALL)).eval()
    plain.save_pretrained(folder)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder, device_map=places).eval()
    for given in ({}, {"position_ids": torch.arange(20)[None]}):
        inputs = {name: value.to(0) for name, value in {"input_ids": tokens, **given}.items()}
        try:
            said = f"off by {float((model(**inputs).logits.cpu() - plain(tokens).logits).abs().max()):.3g}"
        except RuntimeError as error:
            said, wrong = f"RuntimeError: {error}", True
        print(f"inputs {', '.join(inputs)}: expected the logits without a map, {said}")
raise SystemExit(wrong)
