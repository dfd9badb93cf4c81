"""A map of "" and of one layer on the disk: an error at load that says nothing of the map.

check_device_map takes it, and weights go where the longer key says. Then `attach_align_device_hook_on_blocks` gives ""
a hook with place_submodules, which wants to place the layer as well that waits on the disk. A map that names each part
shows what is right.
"""

import tempfile

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False}
MAPS = {
    "each part named": {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.norm": "cpu", "lm_head": "cpu"}
    | {"model.rotary_emb": "cpu", "model.layers.1": "disk"},
    '"" and a part': {"": "cpu", "model.layers.1": "disk"},
}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(4, 256, (1, 20))
wrong = False
with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as offloaded, torch.no_grad():
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL)).eval()
    plain.save_pretrained(folder)
    for what, places in MAPS.items():
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, device_map=places, offload_folder=offloaded
            )
            off = float((model.eval()(tokens).logits - plain(tokens).logits).abs().max())
            print(f"{what}: expected the logits without a map, off by {off:.3g}")
            wrong |= not off < 1e-3
        except (KeyError, ValueError) as error:
            print(f"{what}: expected the logits without a map, {type(error).__name__}: {error}")
            wrong = True
raise SystemExit(wrong)
