"""A GGUF file asked for by name is dequantised at load, and the plain model that comes of it cannot be saved.

transformers' guide to GGUF calls what is dequantised "a regular dense model", and says that architectures other than
Qwen3.5 are. Llama is read by the legacy loader: `GgufHfQuantizer.validate_environment` returns before it would note
`dequantize = True`, the quantiser stays on the model, and `is_serializable` is False. `half` and `dequantize` are
refused as well. With `GgufConfig(dequantize=True)`, which changes no weight, it is saved. Seen with transformers
5.17.0, 5.19.0, 5.23.0 and 5.24.0 and gguf 0.19.0.
"""

import logging
import tempfile

import gguf
import torch
import transformers
from transformers import GgufConfig, LlamaForCausalLM

logging.disable(logging.WARNING)
Q8_0 = gguf.GGMLQuantizationType.Q8_0
SHAPES = {"token_embd": (256, 64), "output": (256, 64), "output_norm": (64,), "blk.0.attn_norm": (64,)}
SHAPES |= {"blk.0.ffn_norm": (64,), "blk.0.attn_q": (64, 64), "blk.0.attn_k": (64, 64), "blk.0.attn_v": (64, 64)}
SHAPES |= {"blk.0.attn_output": (64, 64), "blk.0.ffn_gate": (128, 64), "blk.0.ffn_up": (128, 64)}
SHAPES |= {"blk.0.ffn_down": (64, 128)}

torch.manual_seed(0)
print("torch", torch.__version__, "transformers", transformers.__version__)
wrong, loaded = False, []
with tempfile.TemporaryDirectory() as folder:
    writer = gguf.GGUFWriter(f"{folder}/model.gguf", "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(256)
    for name, shape in SHAPES.items():
        weight = torch.randn(shape).numpy()
        packed = gguf.quantize(weight, Q8_0) if len(shape) == 2 else weight
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=Q8_0 if len(shape) == 2 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for asked in ({}, {"quantization_config": GgufConfig(dequantize=True)}):
        model = LlamaForCausalLM.from_pretrained(folder, gguf_file="model.gguf", **asked)
        loaded.append(model.state_dict())
        try:
            model.save_pretrained(f"{folder}/saved")
            said = "saved"
        except ValueError as error:
            said, wrong = f"refused: {error}", True
        print(f"asked {[*asked]}: {model.dtype} weights, expected to be saved, {said}")
same = all(torch.equal(weight, loaded[1][name]) for name, weight in loaded[0].items())
print("the two have the same weights:", same)
raise SystemExit(wrong)
