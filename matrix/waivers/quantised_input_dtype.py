"""Inputs are cast to the dtype of a Linear's weight, which in 4 bits is the uint8 that holds two values each.

What is cast loses sign and fraction, and bitsandbytes hands back the dtype that it was given: the patches of SigLIP2
(NaFlex; LFM2-VL's tower), Cosmos3-Edge and ERNIE-4.5-VL, the features of Granite Speech 5, and the input of `wo` where
T5's MLP was copied without `_keep_in_fp32_modules` (Pix2Struct's vision, LongT5, Switch, Kosmos-2.5: the guard there
knows int8 alone). The like was fixed for Gemma 4 in issue 46932. Runs on a CPU too, with bitsandbytes.
"""

import tempfile

import torch
import transformers

T5 = {"vocab_size": 64, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_heads": 4, "local_radius": 7}
VIT = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 1, "num_patches": 16}
PIX = {"hidden_size": 64, "patch_embed_hidden_size": 192, "d_ff": 128, "num_attention_heads": 4, "num_hidden_layers": 1}
IMAGE = {"pixel_values": torch.randn(1, 16, 768), "pixel_attention_mask": torch.ones(1, 16).long()}
CASES = (
    ("Siglip2VisionModel", "Siglip2VisionConfig", VIT, "patch_embedding", IMAGE | {"spatial_shapes": [[4, 4]]}),
    ("Pix2StructVisionModel", "Pix2StructVisionConfig", PIX, "wo", {"flattened_patches": torch.rand(1, 16, 194)}),
    ("LongT5EncoderModel", "LongT5Config", T5, "wo", {"input_ids": torch.arange(8)[None]}),
)

print("torch", torch.__version__, "transformers", transformers.__version__)
if transformers.__version__ < "4.49" and not torch.cuda.is_available():  # bitsandbytes_frozen_devices.py
    raise SystemExit(print("cannot tell without a GPU: this release loads nothing in 4 bits on a CPU") or 2)
asked, wrong = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16), 0
for kind, config, fields, layer, given in (case for case in CASES if hasattr(transformers, case[0])):
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        getattr(transformers, kind)(getattr(transformers, config)(**fields)).save_pretrained(folder)
        loading = {"quantization_config": asked, "torch_dtype": torch.bfloat16}
        model, seen = getattr(transformers, kind).from_pretrained(folder, **loading), []
    place = next(module for name, module in model.named_modules() if name.endswith(layer))
    place.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0].dtype))
    given = {name: torch.as_tensor(value).to(model.device) for name, value in given.items()}
    model(**{name: v.bfloat16() if v.is_floating_point() else v for name, v in given.items()})
    print(f"{kind}: {layer} ({type(place).__name__}): expected torch.bfloat16, seen {seen}")
    wrong += seen != [torch.bfloat16]
raise SystemExit(wrong > 0)
