"""ShieldGemma 2 as text from images (AutoModelForImageTextToText): what was saved is not found again when it is loaded.

The auto class gives it Gemma3ForConditionalGeneration, but the renaming of weights goes by model type, and that of
`shieldgemma2` is for ShieldGemma2ForImageClassification, which holds such a model under `model`. The language model is
then drawn at random, with a warning alone. Runs on a CPU too.
"""

import tempfile

import torch
import transformers

TEXT = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
SEEN = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16}
MORE = {"num_key_value_heads": 1, "head_dim": 16}

print("torch", torch.__version__, "transformers", transformers.__version__)
if not hasattr(transformers, "ShieldGemma2Config"):
    print("ShieldGemma 2 is not in this release")
    raise SystemExit(0)
transformers.logging.set_verbosity_error()
torch.manual_seed(0)
config = {"text_config": TEXT | MORE, "vision_config": SEEN | {"patch_size": 8}, "mm_tokens_per_image": 4}
kind = transformers.AutoModelForImageTextToText
model = kind.from_config(transformers.ShieldGemma2Config(**config))
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    again, told = kind.from_pretrained(folder, output_loading_info=True)
before, after = (one.get_input_embeddings().weight for one in (model, again))
print(f"{type(again).__name__}: {len(told['missing_keys'])} missing, {len(told['unexpected_keys'])} unexpected")
print("embeddings as they were saved: expected True, seen", torch.equal(before, after))
raise SystemExit(not torch.equal(before, after))
