"""What of a failing cell can be made smaller, and how. Never imports torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from matrix.axes import Dtype, Padding, SdpaKernel
from matrix.cell import AXES, SILENT, Cell

# The config's names of one thing differ by model; the smallest that is tried of each.
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers")
_SIZES = {
    **dict.fromkeys(_LAYERS, 1),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads"), 1),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim"), 16),
    **dict.fromkeys(("intermediate_size", "n_inner", "d_ff", "ffn_dim", "hidden_dim", "moe_intermediate_size"), 16),
    **dict.fromkeys(("lru_width", "mamba_d_ssm", "state_size", "mamba_d_state", "head_dim", "d_kv"), 8),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 2),
}
_VOCABULARY, _FEWEST_TOKENS = 64, 2


@dataclass(frozen=True)
class Case:
    """A cell, with its model and inputs as small as they are by now."""

    cell: Cell
    config: Mapping[str, Any]
    lengths: tuple[int, ...]  # of the rows, the longest first
    new_tokens: int  # that are generated, or given one by one


def simpler(case: Case) -> Iterator[Case]:
    """Cases that differ from this one by one thing that is simpler; the largest steps first."""
    yield from _axes(case)
    for key, smallest in _SIZES.items():
        value = case.config.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            for smaller in dict.fromkeys((smallest, value // 4, value // 2)):
                if smallest <= smaller < value:
                    yield _with(case, key, smaller)
    if case.config.get("vocab_size", 0) > _VOCABULARY:
        yield _with(case, "vocab_size", _VOCABULARY)
    yield from _inputs(case)
    # Back to what the class has by default, which may be anything: last, and only what is no size.
    for key in case.config:
        if key not in _SIZES and key != "vocab_size":
            yield replace(case, config={name: value for name, value in case.config.items() if name != key})


def change(case: Case, step: Case) -> str:
    """By what a step differs from a case, in words."""
    parts = [
        *((name, case.config.get(name), value) for name, value in step.config.items()),
        *((name, value, None) for name, value in case.config.items() if name not in step.config),
        ("cell", case.cell, step.cell),
        ("lengths", case.lengths, step.lengths),
        ("new_tokens", case.new_tokens, step.new_tokens),
    ]
    return "; ".join(f"{name}={now}" for name, before, now in parts if before != now)


def _axes(case: Case) -> Iterator[Case]:
    cell = case.cell
    # What is wrong in a plain pass as well does not come of what else the workload does. In others it may.
    if str(cell.workload) != "prefill":
        yield replace(case, cell=replace(cell, workload=AXES["workload"].values["prefill"]))
    for axis in ("quantisation", "device_map", "transformation", "cache"):
        if getattr(cell, axis) != SILENT[axis]:
            yield replace(case, cell=replace(cell, **{axis: AXES[axis].values[SILENT[axis]]}))
    if cell.sdpa_kernel is not SdpaKernel.UNPINNED:
        yield replace(case, cell=replace(cell, sdpa_kernel=SdpaKernel.UNPINNED))
    if cell.dtype is not Dtype.FLOAT32:
        yield replace(case, cell=replace(cell, dtype=Dtype.FLOAT32))
    if cell.padding is not Padding.NONE:
        yield replace(case, cell=replace(cell, padding=Padding.NONE))


def _inputs(case: Case) -> Iterator[Case]:
    lengths = case.lengths
    if len(lengths) > 2:
        yield replace(case, lengths=(lengths[0], lengths[-1]))
    if len(lengths) == 2:
        yield from (replace(case, lengths=(one,)) for one in lengths)
    for share in (8, 4, 2):
        shorter = tuple(max(_FEWEST_TOKENS, length // share) for length in lengths)
        if shorter != lengths and (len(set(shorter)) == len(set(lengths)) or case.cell.padding is Padding.NONE):
            yield replace(case, lengths=shorter)
    fewest = max(lengths[1:], default=_FEWEST_TOKENS) + 1
    for longest in dict.fromkeys((fewest, (fewest + lengths[0]) // 2, lengths[0] - 1)):
        if fewest <= longest < lengths[0]:
            yield replace(case, lengths=(longest, *lengths[1:]))
    for fewer in dict.fromkeys((2, case.new_tokens // 4, case.new_tokens // 2)):
        if 2 <= fewer < case.new_tokens:
            yield replace(case, new_tokens=fewer)


def _with(case: Case, key: str, value: int) -> Case:
    """The config with another number; lists with an entry for each layer are cut."""
    before = case.config[key]
    config = {**case.config, key: value}
    if key in _LAYERS:
        config |= {
            name: listed[:value]
            for name, listed in case.config.items()
            if isinstance(listed, list) and len(listed) == before
        }
    return replace(case, config=config)
