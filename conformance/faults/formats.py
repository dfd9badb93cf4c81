"""Faults of checkpoints in a format: what its writer got wrong, or a reader that takes it for another layout.

Each spoils the tensors of the candidate's checkpoint. That of the references stays as it was.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from conformance.faults.catalogue import Fault, add, named
from conformance.quantisers.gguf_files import GGUF_FILE
from matrix.architectures import Architecture
from matrix.axes import Attention
from matrix.cell import Cell

Tensors = dict[str, torch.Tensor]


@contextlib.contextmanager
def _tensors(folder: Path) -> Iterator[Tensors]:
    """The tensors of a checkpoint, which are written back; one that is taken out is gone from the index too."""
    shards = {path: load_file(path) for path in sorted(folder.glob("*.safetensors"))}
    where = {name: path for path, held in shards.items() for name in held}
    tensors = {name: shards[path][name] for name, path in where.items()}
    yield tensors
    for path in shards:
        held = {name: tensor.contiguous() for name, tensor in tensors.items() if where[name] == path}
        save_file(held, path, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: where[name].name for name in tensors}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _spoils(
    ending: str, change: Callable[[torch.Tensor], torch.Tensor], *, all_of_them: bool = False
) -> Callable[[Path, Cell], None]:
    """Change the first tensor whose name ends so, or all; the first that has several blocks to a side if any has."""

    def spoil(folder: Path, cell: Cell) -> None:
        with _tensors(folder) as tensors:
            names = [name for name in sorted(tensors) if name.endswith(ending)]
            several = [name for name in names if tensors[name].ndim == 2 and min(tensors[name].shape) > 1]
            for name in names if all_of_them else (several or names)[:1]:
                tensors[name] = change(tensors[name])

    return spoil


def _one_block(scales: torch.Tensor) -> torch.Tensor:
    """The largest scale of a block has lost its sign."""
    changed = scales.float().flatten()
    changed[changed.argmax()] *= -1
    return changed.view(scales.shape).to(scales.dtype)


def _transposed(scales: torch.Tensor) -> torch.Tensor:
    """Scales written column by column."""
    return scales.T.contiguous().view(scales.shape)


def _nibbles_swapped(packed: torch.Tensor) -> torch.Tensor:
    """The two codes of each byte have each other's place."""
    halves = packed.contiguous().view(torch.uint8)
    return ((halves << 4) | (halves >> 4)).view(packed.dtype)


def _codes_raised(packed: torch.Tensor) -> torch.Tensor:
    """Each code of 4 bits is one more, as if the offset were 7: the largest stays."""
    halves = packed.contiguous().view(torch.uint8)
    low, high = (halves & 15).clamp_max(14) + 1, (halves >> 4).clamp_max(14) + 1
    return (high << 4 | low).view(packed.dtype)


def _rolled(scales: torch.Tensor) -> torch.Tensor:
    """The scales of each row are those of the row before."""
    return scales.roll(1, 0)


def _one_power(scales: torch.Tensor) -> torch.Tensor:
    """The largest power of two is four times what it was."""
    changed = scales.flatten().clone()
    changed[changed.argmax()] += 2
    return changed.view(scales.shape)


def _bias_of_128(scales: torch.Tensor) -> torch.Tensor:
    """Powers of two read as if 128 were 1."""
    return scales - 1


def _transposed_in_experts(scales: torch.Tensor) -> torch.Tensor:
    """Of each expert scales written column by column."""
    return scales.mT.contiguous().view(scales.shape)


def _in_halves(rows: torch.Tensor) -> torch.Tensor:
    """What belongs to gates stands before what belongs to the rest, not in turn with it."""
    return torch.cat([rows[:, 0::2], rows[:, 1::2]], 1)


def _experts_rolled(experts: torch.Tensor) -> torch.Tensor:
    """Each expert has what belongs to the one before."""
    return experts.roll(1, 0)


def _without(ending: str) -> Callable[[Path, Cell], None]:
    """The scale of the whole is 1, as for a reader that knows no such scale."""
    return _spoils(ending, torch.ones_like, all_of_them=True)


def _in_gguf(
    names: tuple[str, ...], change: Callable[[torch.Tensor, int], torch.Tensor]
) -> Callable[[Path, Cell], None]:
    """Change the bytes of the tensors of the first layer that have these names, given how many make a block."""

    def spoil(folder: Path, cell: Cell) -> None:
        import gguf

        for tensor in gguf.GGUFReader(folder / GGUF_FILE, "r+").tensors:
            if tensor.name in names:
                size = gguf.GGML_QUANT_SIZES[tensor.tensor_type][1]
                tensor.data[:] = change(torch.from_numpy(tensor.data.copy()), size).numpy()

    return spoil


def _sign_of_a_block(rows: torch.Tensor, size: int) -> torch.Tensor:
    """The scale of the first block of each row has lost its sign."""
    rows[:, 1] ^= 0x80
    return rows


def _halves_swapped(rows: torch.Tensor, size: int) -> torch.Tensor:
    """The two codes of each byte have each other's place."""
    codes = rows.unflatten(1, (-1, size))[..., -16:]
    codes.copy_((codes << 4) | (codes >> 4))
    return rows


def _least_off_by_one(rows: torch.Tensor, size: int) -> torch.Tensor:
    """The least value of each block is one step too high, as if codes began at 1."""
    numbers = rows.unflatten(1, (-1, size))[..., :4].contiguous().view(torch.float16)
    numbers[..., 1] += numbers[..., 0]
    rows.unflatten(1, (-1, size))[..., :4] = numbers.view(torch.uint8)
    return rows


def _in_order_of_transformers(rows: torch.Tensor, size: int) -> torch.Tensor:
    """Rows of queries, of heads 16 wide, that were written in the order in which they lay."""
    return rows.unflatten(0, (-1, 8, 2)).transpose(1, 2).flatten(0, 2)


_Q, _VALUES = "blk.0.attn_q.weight", "blk.0.attn_v.weight"


def _suits(architecture: Architecture) -> bool:
    # By name, so that a campaign need not ask of hundreds; of blocks there are several in one alone.
    return architecture.name in ("llama", "bert", "opt")


for _name, _stands_for, _quantisation, _spoilt in (
    ("fp8_block_scale", "the scale of one block", "fp8", _spoils("weight_scale_inv", _one_block)),
    ("int4_group_scale", "the scale of one group", "ct_int4", _spoils("weight_scale", _one_block)),
    ("int4_scales_transposed", "scales of groups by column", "ct_int4", _spoils("weight_scale", _transposed)),
    ("int4_nibbles_swapped", "the high half of a byte first", "ct_int4", _spoils("weight_packed", _nibbles_swapped)),
    ("int4_offset", "an offset of 7 instead of 8", "ct_int4", _spoils("weight_packed", _codes_raised)),
    (
        "int4_zero_points",
        "AutoGPTQ's zero points, which are one less",
        "ct_int4_asym_dequantised",
        _spoils("weight_zero_point", _codes_raised, all_of_them=True),
    ),
    ("int8_scales_rolled", "scales of other rows", "ct_int8", _spoils("weight_scale", _rolled)),
    ("w8a8_scales_rolled", "scales of other rows", "ct_w8a8", _spoils("weight_scale", _rolled)),
    ("fp8_scales_rolled", "scales of other rows", "ct_fp8", _spoils("weight_scale", _rolled)),
    ("nvfp4_block_scale", "the scale of one block", "ct_nvfp4", _spoils("weight_scale", _one_block)),
    ("nvfp4_nibbles_swapped", "the high half of a byte first", "ct_nvfp4", _spoils("weight_packed", _nibbles_swapped)),
    ("nvfp4_without_global_scale", "scales without that of the whole", "ct_nvfp4", _without("weight_global_scale")),
):
    _name = f"ct_{_name}" if _quantisation.startswith("ct_") else _name
    add(Fault(_name, _stands_for, _suits, quantisation=_quantisation, spoilt=_spoilt))
add(
    Fault(
        "fp8_scales_transposed",
        "scales of blocks by column",
        named("llama_blocks"),
        quantisation="fp8",
        spoilt=_spoils("weight_scale_inv", _transposed, all_of_them=True),
    )
)
for _name, _stands_for, _quantisation, _spoilt in (
    ("block_scale", "the scale of one block in each row", "gguf_q8_0", _in_gguf((_VALUES,), _sign_of_a_block)),
    ("halves_swapped", "codes side by side in a byte", "gguf_q4_0", _in_gguf((_VALUES,), _halves_swapped)),
    ("least_off_by_one", "codes that begin at 1", "gguf_q5_1", _in_gguf((_VALUES,), _least_off_by_one)),
    ("not_permuted", "rows of queries not reordered", "gguf_q8_0", _in_gguf((_Q,), _in_order_of_transformers)),
):
    add(Fault(f"gguf_{_name}", _stands_for, named("llama"), quantisation=_quantisation, spoilt=_spoilt))
for _name, _stands_for, _spoilt in (
    ("block_scale", "the scale of one block", _spoils("down_proj_scales", _one_power)),
    ("bias", "a bias of 128 instead of 127 in powers of two", _spoils("_scales", _bias_of_128, all_of_them=True)),
    ("scales_transposed", "scales of blocks by column", _spoils("_scales", _transposed_in_experts)),
    ("scales_of_others", "scales of another expert", _spoils("_scales", _experts_rolled)),
    ("nibbles_swapped", "the high half of a byte first", _spoils("_blocks", _nibbles_swapped)),
    ("gates_in_halves", "gates and the rest in halves, not in turn", _spoils("gate_up_proj_blocks", _in_halves)),
):
    add(
        Fault(
            f"mxfp4_{_name}",
            _stands_for,
            named("gpt_oss"),
            quantisation="mxfp4",
            attention=Attention.EAGER,
            spoilt=_spoilt,
        )
    )
