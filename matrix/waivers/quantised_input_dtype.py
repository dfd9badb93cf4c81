"""Inputs are cast to the dtype of a Linear's weight, which in 4 bits is the uint8 that holds two values each.

What is cast loses sign and fraction, and bitsandbytes hands its result back in the dtype that it was given: the patches of
SigLIP2 (NaFlex; LFM2-VL's tower), Cosmos3-Edge and ERNIE-4.5-VL, the features of Granite Speech 5, and the input of `wo`
where T5's MLP was copied without `_keep_in_fp32_modules` (Pix2Struct's vision, LongT5, Switch, Kosmos-2.5: the guard there
knows int8 alone). The like was fixed for Gemma 4 in issue 46932. Runs on a CPU too, with bitsandbytes.
"""

import tempfile

import torch
import transformers

T5 = {"vocab_size": 64, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_heads": 4}
VIT = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 1}
STRUCT = {"hidden_size": 64, "patch_embed_hidden_size": 192, "d_ff": 128, "d_kv": 16, "num_hidden_layers": 1}
TOKENS = torch.arange(8)[None]
PATCHES = {"pixel_values": torch.randn(1, 16, 192), "pixel_attention_mask": torch.ones(1, 16).long()}
CASES = (
    ("Siglip2VisionModel", "Siglip2VisionConfig", VIT | {"patch_size": 8, "num_patches": 16}, "patch_embedding",
     PATCHES | {"spatial_shapes": torch.tensor([[4, 4]])}),
    ("Pix2StructVisionModel", "Pix2StructVisionConfig", STRUCT | {"num_attention_heads": 4}, "wo",
     {"flattened_patches": torch.rand(1, 16, 194)}),
    ("LongT5EncoderModel", "LongT5Config", T5 | {"local_radius": 7}, "wo", {"input_ids": TOKENS}),
)  # fmt: skip

print("torch", torch.__version__, "transformers", transformers.__version__)
wrong = 0
for kind, config, fields, layer, given in CASES:
    if not hasattr(transformers, kind):
        continue
    with tempfile.TemporaryDirectory() as folder:
        getattr(transformers, kind)(getattr(transformers, config)(**fields)).save_pretrained(folder)
        asked = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16)
        loading = {"quantization_config": asked, "torch_dtype": torch.bfloat16}
        model = getattr(transformers, kind).from_pretrained(folder, **loading)
    seen = []
    place = next(module for name, module in model.named_modules() if name.endswith(layer))
    place.register_forward_pre_hook(lambda _, args: seen.append(args[0].dtype))
    with torch.no_grad():
        model(**{name: v.bfloat16() if v.is_floating_point() else v for name, v in given.items()})
    print(f"{kind}: {layer} ({type(place).__name__}): expected torch.bfloat16, seen {seen}")
    wrong += seen != [torch.bfloat16]
raise SystemExit(wrong > 0)
