"""What compressed-tensors does to weights that it packs itself and cannot read again, or reads in another dtype.

Zero points of packed int4: the compressor of `pack-quantized` packs them in memory and not on meta, where
transformers makes the modules that a checkpoint is loaded into: shapes differ, and it is refused. NVFP4 is unpacked in
bfloat16, whatever the dtype of the model: no forward pass in another runs. A packed module has no `weight`, which T5's
`_init_weights` asks for. Seen with compressed-tensors 0.20.0 and transformers 5.23.0 and 5.24.0.
"""

import torch
import transformers
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationScheme, preset_name_to_scheme
from transformers import T5Config, T5ForConditionalGeneration

print("torch", torch.__version__, "transformers", transformers.__version__)
wrong = False


def compressed(scheme: QuantizationScheme, form: str, device: str, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    """A weight of ones as that format has it."""
    state = {"weight": torch.ones(64, 128), **more}
    state = {name: tensor.to(device) for name, tensor in state.items()}
    return BaseCompressor.get_value_from_registry(form).compress(state, scheme)


asymmetric = preset_name_to_scheme("W4A16_ASYM", ["Linear"])
scales = {"weight_scale": torch.ones(64, 1), "weight_zero_point": torch.zeros(64, 1, dtype=torch.int8)}
shapes = {
    device: tuple(compressed(asymmetric, "pack-quantized", device, **scales)["weight_zero_point"].shape)
    for device in ("cpu", "meta")
}
print("zero points of int4: expected the same shape on cpu and on meta, are", shapes)
wrong |= shapes["cpu"] != shapes["meta"]

nvfp4 = preset_name_to_scheme("NVFP4A16", ["Linear"])
state = compressed(
    nvfp4, "nvfp4-pack-quantized", "cpu", weight_scale=torch.ones(64, 8), weight_global_scale=torch.ones(1)
)
dtype = BaseCompressor.get_value_from_registry("nvfp4-pack-quantized").decompress(state, nvfp4)["weight"].dtype
print("NVFP4 of a float32 weight: expected float32, is", dtype)
wrong |= dtype is not torch.float32

model = T5ForConditionalGeneration(T5Config(vocab_size=256, d_model=64, d_kv=16, d_ff=128, num_layers=1, num_heads=4))
attention = model.encoder.block[0].layer[0].SelfAttention
del attention.q.weight  # as `compress_model` leaves it
try:
    model._init_weights(attention)
    print("T5 with a packed module: expected to be made, is")
except AttributeError as error:
    print("T5 with a packed module: expected to be made, AttributeError:", error)
    wrong = True
raise SystemExit(wrong)
