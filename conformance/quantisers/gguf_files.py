"""GGUF, as llama.cpp writes it: blocks of 32 values, and rows of queries and keys in an order of its own.

Scripts carry it along.
"""

import torch
import transformers

from conformance.models.formats import FORMATTED, TWIN, write_checkpoint

GGUF_FILE = "model.gguf"
GGUF_VALUES = 32  # a block
BY_NAME = "_by_name"  # ends the format of a file of which nothing else is said
# By model_type what gguf calls it, and whether rows of queries and keys are in another order there.
GGUF_ARCHITECTURES = {"llama": ("llama", True), "qwen3": ("qwen3", False), "qwen3_moe": ("qwen3moe", False)}


def load_arguments(quantisation, dtype):
    """The name of the file in its folder, and that it is to be dequantised, where that is not all that is done."""
    asked = {"gguf_file": GGUF_FILE}
    if hasattr(transformers, "GgufConfig") and not quantisation.endswith(BY_NAME):
        asked["quantization_config"] = transformers.GgufConfig(dequantize=True)
    return asked


def stored_as(module):
    """The format of a module's weight; None if the module is not one of transformers' GGUF modules."""
    return "blocks" if type(module).__module__.startswith("transformers.integrations.gguf") else None


def spell_out(model, folder, device, golden):
    """The twin says already what the weights mean."""


def write(quantisation, plain, folder):
    """The file, and its twin."""
    import gguf

    kind = quantisation.removeprefix("gguf_").removesuffix(BY_NAME)
    name, permuted = GGUF_ARCHITECTURES[plain.config["model_type"]]
    config = plain.empty.config
    writer = gguf.GGUFWriter(folder / FORMATTED / GGUF_FILE, name)
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_name("fixture")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if name == "qwen3moe":
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    names = gguf.get_tensor_name_map(_of_name(gguf, name), config.num_hidden_layers)
    twin, stacks = {}, {}
    for tensor_name, tensor in plain.tensors.items():
        if tensor_name not in plain.chosen or tensor.shape[-1] % GGUF_VALUES:
            twin[tensor_name] = tensor.to(plain.dtype).float()
            writer.add_tensor(_renamed(names, tensor_name), twin[tensor_name].numpy())
            continue
        packed = gguf_packed(kind, tensor)
        twin[tensor_name] = gguf_unpacked(kind, packed)
        if ".experts." in tensor_name:
            before, _, after = tensor_name.partition(".experts.")
            number, _, part = after.partition(".")
            stacks.setdefault(f"{before}.experts.{part}", {})[int(number)] = packed
            continue
        if permuted and ("q_proj" in tensor_name or "k_proj" in tensor_name):
            packed = rows_permuted(packed, heads if "q_proj" in tensor_name else groups)
        writer.add_tensor(_renamed(names, tensor_name), packed.numpy(), raw_dtype=_type(gguf, kind))
    for stack_name, members in stacks.items():
        whole = torch.stack([members[number] for number in sorted(members)])
        writer.add_tensor(_renamed(names, stack_name), whole.numpy(), raw_dtype=_type(gguf, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_checkpoint(folder / TWIN, plain, twin, {})


def _of_name(gguf, name):
    return next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == name)


def _type(gguf, kind):
    return gguf.GGMLQuantizationType[kind.upper()]


def _renamed(names, name):
    owner, _, kind = name.rpartition(".")
    return f"{names.get_name(owner)}.{kind}"


def rows_permuted(rows, heads):
    """Rows of queries or keys as llama.cpp orders them: of each head those of the two halves in turn."""
    return rows.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def gguf_packed(kind, weight):
    """The bytes of a float32 weight (rows, columns), uint8 (rows, bytes): block after block, its scale first.

    Q8_0 is d · q. Q4_0 is d · (q - 8) and Q5_1 d · q + m, d and m in half precision: of a byte the lower half is of the
    first 16 values, the upper of the last; the fifth bits of Q5_1 stand before, in a word of 32.
    """
    blocks = weight.unflatten(1, (-1, GGUF_VALUES))
    low, high = blocks.amin(-1), blocks.amax(-1)
    if kind == "q8_0":
        scale = (torch.maximum(high, -low) / 127).half()
        codes = (blocks / divisor(scale)).round().clamp(-127, 127).to(torch.int8)
        return torch.cat([as_bytes(scale), codes.view(torch.uint8)], -1).flatten(1)
    if kind == "q4_0":
        scale = (torch.where(high > -low, high, low) / -8).half()
        codes = ((blocks / divisor(scale)).round() + 8).clamp(0, 15).to(torch.uint8)
        return torch.cat([as_bytes(scale), in_halves(codes)], -1).flatten(1)
    scale, least = ((high - low) / 31).half(), low.half()
    codes = ((blocks - least.float()[..., None]) / divisor(scale)).round().clamp(0, 31).to(torch.uint8)
    fifth = ((codes >> 4).unflatten(-1, (4, 8)) << torch.arange(8, dtype=torch.uint8)).sum(-1).to(torch.uint8)
    return torch.cat([as_bytes(scale), as_bytes(least), fifth, in_halves(codes & 15)], -1).flatten(1)


def gguf_unpacked(kind, packed):
    """The float32 weight that these bytes mean."""
    size = {"q8_0": 34, "q4_0": 18, "q5_1": 24}[kind]
    blocks = packed.unflatten(1, (-1, size))
    scale = blocks[..., :2].contiguous().view(torch.float16).float()
    if kind == "q8_0":
        return (blocks[..., 2:].view(torch.int8).float() * scale).flatten(1)
    halves = blocks[..., -16:]
    codes = torch.cat([halves & 15, halves >> 4], -1).float()
    if kind == "q4_0":
        return ((codes - 8) * scale).flatten(1)
    least = blocks[..., 2:4].contiguous().view(torch.float16).float()
    fifth = (blocks[..., 4:8, None] >> torch.arange(8, dtype=torch.uint8)) & 1
    return ((codes + 16 * fifth.flatten(-2)) * scale + least).flatten(1)


def divisor(scale):
    """A scale by which may be divided, of shape (rows, blocks, 1): a block of zeros has none."""
    scale = scale.float()[..., None]
    return torch.where(scale == 0, 1.0, scale)


def as_bytes(numbers):
    """Half-precision numbers, two bytes each along a last dimension."""
    return numbers[..., None].contiguous().view(torch.uint8)


def in_halves(codes):
    """Codes of 4 bits, the first 16 in the lower halves of 16 bytes, the last in the upper."""
    return codes[..., :16] | codes[..., 16:] << 4
