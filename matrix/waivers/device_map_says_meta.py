"""A model whose embedding waits on the disk: `model.device` says meta, and inputs that are brought there are lost.

`device` is where the first parameter is. Inputs that are left on the CPU show what is right.
"""

import tempfile

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2}
PLACES = {"model.embed_tokens": "disk", "model.norm": "cpu", "lm_head": "cpu", "model.rotary_emb": "cpu"}
PLACES |= {"model.layers.0": "cpu", "model.layers.1": "cpu"}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(4, 256, (1, 20))
with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as offloaded, torch.no_grad():
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL)).eval()
    plain.save_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, device_map=PLACES, offload_folder=offloaded)
    off = float((model.eval()(tokens).logits - plain(tokens).logits).abs().max())
    print(f"inputs on the CPU: expected the logits without a map, off by {off:.3g}")
    print(f"model.device: expected where inputs belong, {model.device}")
    try:
        off = float((model(tokens.to(model.device)).logits - plain(tokens).logits).abs().max())
        print(f"inputs on model.device: expected the logits without a map, off by {off:.3g}")
        wrong = not off < 1e-3
    except NotImplementedError as error:
        print(f"inputs on model.device: expected the logits without a map, {type(error).__name__}: {error}")
        wrong = True
raise SystemExit(wrong)
