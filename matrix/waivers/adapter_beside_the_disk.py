"""A LoRA over a base with one layer on the disk: garbage that changes from call to call, or NotImplementedError.

The LoRA's weights go to the device of the weight that they stand beside, which is `meta` where that waits on the disk,
and nothing brings them back. `PeftModel.from_pretrained` then infers a device map of its own, of one device, and calls
`model.to`. A base that is loaded without a map shows what is right.
"""

import tempfile

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2}
PLACES = {"model.embed_tokens": "cpu", "model.norm": "cpu", "lm_head": "cpu", "model.rotary_emb": "cpu"}
PLACES |= {"model.layers.0": "cpu", "model.layers.1": "disk"}
LORA = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False)

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
tokens = torch.randint(4, 256, (1, 20))
wrong = False


def by_model(model, folder):
    """As transformers loads an adapter."""
    model.load_adapter(folder)
    return model


def by_peft(model, folder):
    """As peft does."""
    return PeftModel.from_pretrained(model, folder)


with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as adapter, torch.no_grad():
    plain = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, initializer_range=0.2)).eval()
    plain.save_pretrained(folder)
    adapted = get_peft_model(plain, LORA).eval()
    adapted.save_pretrained(adapter)
    expected = adapted(tokens).logits
    for what, load in (("model.load_adapter", by_model), ("PeftModel.from_pretrained", by_peft)):
        for places in (None, PLACES):
            with tempfile.TemporaryDirectory() as offloaded:
                base = transformers.AutoModelForCausalLM.from_pretrained(
                    folder, device_map=places, offload_folder=offloaded
                )
                try:
                    model = load(base, adapter).eval()
                    off = [float((model(tokens).logits - expected).abs().max()) for _ in range(3)]
                    said = ", ".join(f"{one:.3g}" for one in off)
                    wrong |= not all(one < 1e-3 for one in off)
                except NotImplementedError as error:
                    said, wrong = f"{type(error).__name__}: {error}", True
            where = "a layer on the disk" if places else "no map"
            print(f"{what}, {where}: expected the logits with the adapter, three times off by {said}")
raise SystemExit(wrong)
