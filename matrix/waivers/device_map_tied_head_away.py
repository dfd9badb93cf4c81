"""A tied head on the disk, and its embedding on the CPU: the first forward pass raises a KeyError.

The index of what waits on the disk is made of the names in the checkpoint, where a tied weight stands once, under the
name of the embedding. Both on the disk show what is right.
"""

import tempfile

import torch
import transformers

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
PLACES = {"model.embed_tokens": "cpu", "model.norm": "cpu", "lm_head": "disk", "model.rotary_emb": "cpu"}
PLACES |= {"model.layers.0": "cpu", "model.layers.1": "cpu"}
MAPS = {"both on the disk": PLACES | {"model.embed_tokens": "disk"}, "the head alone": PLACES}

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
