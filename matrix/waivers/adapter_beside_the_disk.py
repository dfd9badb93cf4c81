"""A LoRA over a base with one layer on the disk, or beside a GPU on the CPU: garbage from call to call, or an error.

The LoRA's weights go to the device of the weight that they stand beside, which is `meta` where that waits elsewhere,
and nothing brings them back. `PeftModel.from_pretrained` then infers a device map of its own, of one device, and calls
`model.to`. A base that is loaded without a map shows what is right.
"""

import tempfile

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model

SMALL = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2}
NEAR = 0 if torch.cuda.is_available() else "cpu"
PLACES = dict.fromkeys(("model.embed_tokens", "model.layers.0", "model.norm", "model.rotary_emb", "lm_head"), NEAR)
AWAY = ("disk", "cpu") if torch.cuda.is_available() else ("disk",)
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
        for away in (None, *AWAY):
            places = {**PLACES, "model.layers.1": away} if away else {"": NEAR}
            with tempfile.TemporaryDirectory() as offloaded:
                base = transformers.AutoModelForCausalLM.from_pretrained(
                    folder, device_map=places, offload_folder=offloaded
                )
                try:
                    model = load(base, adapter).eval()
                    found = [model(tokens.to(NEAR)).logits.cpu() for _ in range(3)]
                    off = [float((logits - expected).abs().max()) for logits in found]
                    said = ", ".join(f"{one:.3g}" for one in off)
                    wrong |= not all(one < 1e-3 for one in off)
                except (NotImplementedError, RuntimeError) as error:
                    said, wrong = f"{type(error).__name__}: {error}", True
            where = f"a layer on the {away}" if away else "all in one place"
            print(f"{what}, {where}: expected the logits with the adapter, three times off by {said}")
raise SystemExit(wrong)
