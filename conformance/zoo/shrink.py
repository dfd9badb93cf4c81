"""A library's default config, made small: what decides attention survives. Pure; knows fields, not types."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Config = Mapping[str, Any]

VOCABULARY, POSITIONS, LABELS = 256, 512, 64
FEWEST_POSITIONS = 300
WINDOW = 32  # shorter than the longest inputs: one that is longer decides nothing
IMAGE, PATCH = 32, 8  # pixels
# Where placeholders and special tokens go that the small vocabulary does not hold; batches draw from below.
FIRST_SPECIAL = 232
FEWEST_TOKEN = 4  # batches draw from this id on: special ones below it may stay
MOST_LAYERS = 6
LEAST_SPREAD = 0.02  # of weights: with less, what is in front of a text does not reach it
INDEX_HEADS = 32  # with fewer, ReLU leaves scores at exactly 0, and layout breaks the ties
HEADS, HEAD, ROTARY, HIDDEN = 4, 16, 8, 64  # ROTARY: of a head whose rotary part has a size of its own

# Fields by name, in the order in which they are looked at; a value is only ever made smaller.
_SIZES: tuple[tuple[str, int], ...] = (
    (
        r"(^|_)vocab_size(_per_layer_input)?$|^n_vocab$|^codebook_size$|^num_embeddings$|^ngram_vocab_size_base$",
        VOCABULARY,
    ),
    (r"(^|_)vocab$|^position_embedding_size$", VOCABULARY),
    (
        r"^(\w*max_position_embeddings|n_positions|max_sequence_length|max_seq_len|max_seqlen|model_max_length|n_ctx)$",
        POSITIONS,
    ),
    (r"^(max_target_positions|max_2d_position_embeddings|max_pos_emb|rel_extent)$", POSITIONS),
    (r"^max_source_positions$", 128),
    (r"^(num_labels|num_classes)$", LABELS),
    (r"(^|_)(sliding_window|sliding_window_size|attention_chunk_size|local_attention)$", WINDOW),
    (r"^(?!n_)(\w+_)?window(_size|_len)?$|attn_chunk_length$", WINDOW),
    (r"(^|_)n_groups?$|^num_expert_group$|groups$", 2),
    (r"^num_filters$", 4),
    (r"shared_experts$", 1),
    (r"experts_per_tok(en)?$|^moe_(topk|top_k|k)$|^top_k_experts$|^num_selected_experts$", 2),
    (r"^index_topk$", 16),
    (r"^index_block_size$", 16),
    (r"^index_topk_blocks$", 2),
    (r"lora_rank$|lowrank$|^d_rel$|adapter_rank$|laurel_rank$", 32),
    (r"^linear_num_key_heads$", 2),
    (r"^(mamba_num_heads|mamba_n_heads|n_mamba_heads)$", 8),
    (r"^linear_num_(value_)?heads$", 4),
    (r"^(mamba_|ssm_)?(d_)?state(_size)?$|^ssm_state_size$|^mamba_d_state$", 16),
    (r"^(time_step_rank|mamba_dt_rank)$", 4),
    (r"^(mamba_)?chunk_size(_linear)?$", 16),
    (r"(^|_)head_(dim|size)$|(^|_)(d_kv|kv_channels|d_head|dim_head|headdim)$", HEAD),
    (r"(^|_)(num_)?(attention_)?(n_)?heads?$|resampler_n_heads$", HEADS),
    (
        r"intermediate|(^|_)ffn_dim$|ffn_hidden|(^|_)d_ff$|(^|_)d_inner$|mlp_dim$|n_inner$|hidden_size_mlp|^dim_ff$|^dff$",
        128,
    ),
    (r"hidden_size|hidden_dim$|(^|_)d_model$|^n_embd$|embed_dim$|embedding_(size|dim)$|(^|_)dim$", HIDDEN),
    (r"proj(ection)?_(size|dim)$|output_dim$|_latents$", HIDDEN),
    (r"width$|embed_proj_dim$|_channels?$|bottleneck", HIDDEN),
    (r"^image_size$|_image_size$|^(height|width)$", IMAGE),
    (r"^patch_size$|_patch_size$", PATCH),
    (r"^(num_query_tokens|mm_tokens_per_image|resampler_n_latents|latent_query_num|num_latents)$", 4),
    (r"^num_mel_bins$|^feature_projection_input_dim$|^input_feat_per_channel$", 80),
)
# What these fields leave open must be a number before a model can be built.
_UNSAID = {
    "vocab_size": VOCABULARY,
    "head_dim": HEAD,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
}
# Fields of every config that are not about its model.
_ABOUT_CLASSES = (
    "id2label",
    "label2id",
    "architectures",
    "transformers_version",
    "_name_or_path",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "chunk_size_feed_forward",
    "problem_type",
)
# Names of stages follow from how many there are.
_OF_STAGES = ("stage_names", "out_features", "out_indices")
_POSITIONS = re.compile(r"^(max_position_embeddings|n_positions|max_sequence_length|max_seq_len|n_ctx)$")
_EXPERTS = re.compile(r"(^|_)(num_)?(local_|routed_)?experts$")
_DENSE_FIRST = ("first_k_dense_replace", "num_dense_layers", "n_dense_layers", "first_dense_layers")
_LAYERS = re.compile(
    r"^(n_layers?|num_layers|layers|depth|num_blocks|(num_)?(encoder|decoder)_layers|\w*num_hidden_layers"
    r"|num_\w+_layers|num_hidden_groups|resampler_depth|num_(en|de)coder_blocks|\w*_(en|de)coder_layers)$"
)
_NO_LAYERS = re.compile(r"kv_shared|nextn|adapter|residual|feat_extract|dense_layers|conv|predict")
_KINDS = ("layers_block_type", "layer_types")
_TOTAL = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "depth")
_SOURCES = "kv_source_layers"  # of each layer, whose keys and values it uses
_HEAD_COUNTS = ("num_attention_heads", "n_head", "num_heads", "n_heads", "decoder_attention_heads")
_KEY_VALUE = re.compile(r"(num_(global_)?key_value_heads|num_kv_heads|n_head_kv|kv_n_heads|multi_query_group_num)$")
_SPECIAL = re.compile(r"(token_id|token_index|_token|_index|_idx|lang_id|_code|_id)s?$")
_PLACEHOLDER = re.compile(r"^(image|video|audio)_token_(id|index)$")
_NOT_SPECIAL = re.compile(r"layer|_per_|block|samples|ignore|altup|active|(^|_)(num|max|n)_")
_PER_STAGE = re.compile(r"^(depths?|num_blocks|layers|num_hidden_layers|num_conv_blocks|n_attn_blocks|stage_num\w*)$")
_STAGE_WIDTHS = re.compile(r"(hidden_sizes|embed_dims?|dims|channels|widths)$")
_WHICH_LAYERS = re.compile(r"index|layers?$|layer_ids|blocks$|idxs$|indices$")


@dataclass(frozen=True)
class Chosen:
    """Which layers of one (sub-)config stay."""

    total: int
    kept: tuple[int, ...]


@dataclass
class _Shrinking:
    """What holds for a config and all of its sub-configs."""

    special: dict[int, int] = field(default_factory=dict)

    def placeholder(self, name: str) -> int:
        """The id of what has none by default."""
        return self.token(VOCABULARY + sum(map(ord, name)))  # any number that no token has

    def token(self, value: int) -> int:
        """Its id in the small vocabulary: the same for the same one, wherever it is named."""
        if value < FEWEST_TOKEN:
            return value
        return self.special.setdefault(value, min(FIRST_SPECIAL + len(self.special), VOCABULARY - 1))


def shrink(config: Config) -> dict[str, Any]:
    """What is to be given to the config's class, beside its defaults, so that its model is small.

    Layers: the first of each kind, as lists by layer tell them apart, and at least two; ratios of heads survive as
    one, some or all key/value heads.
    """
    return _small(config, _Shrinking())


def shrunk_whole(config: Config) -> dict[str, Any]:
    """All that a config says, made small: of somebody's own, unlike of a default, what is small already counts too."""
    said = {name: value for name, value in config.items() if name not in _ABOUT_CLASSES}
    return {**said, **shrink(config)}


def only_layers(config: Config) -> dict[str, Any]:
    """The config with as few layers as a small one has, and else as it is."""
    small, chosen, found = shrink(config), _chosen(config), dict[str, Any]()
    lists = _layer_lists(config, chosen.total)
    for name, value in config.items():
        counts = _LAYERS.match(name) and not _NO_LAYERS.search(name)
        if is_config(name, value):
            found[name] = only_layers(value)
        elif counts or name in (*lists, *_DENSE_FIRST) or _names_layers(name, value, chosen.total):
            found[name] = small.get(name, value)
        elif name not in _ABOUT_CLASSES:
            found[name] = value
    return found


def _small(config: Config, shrinking: _Shrinking) -> dict[str, Any]:
    chosen = _chosen(config)
    given: dict[str, Any] = {}
    for name, value in config.items():
        small = _smaller(name, value, config, chosen, shrinking)
        whole = is_config(name, value) or "rope" in name
        if name not in _ABOUT_CLASSES and (whole or small != value):
            given[name] = small
    return given


def is_config(name: str, value: Any) -> bool:
    """Whether a field of a config is a config of its own."""
    return isinstance(value, Mapping) and (name.endswith("config") or "model_type" in value)


def _smaller(name: str, value: Any, config: Config, chosen: Chosen, shrinking: _Shrinking) -> Any:
    if value is None:
        return shrinking.placeholder(name) if _PLACEHOLDER.match(name) else _UNSAID.get(name)
    if name == "initializer_range" and 0 < value < LEAST_SPREAD:
        return LEAST_SPREAD
    if isinstance(value, (bool, str, float)):
        return value
    if isinstance(value, Mapping):
        return _table(name, value, config, chosen, shrinking)
    if isinstance(value, (list, tuple)):
        return _shorter(name, list(value), config, chosen, shrinking)
    if not isinstance(value, int):
        return value
    if _SPECIAL.search(name) and not _NOT_SPECIAL.search(name):
        return shrinking.token(value)
    if _LAYERS.match(name) and not _NO_LAYERS.search(name) and value > 0:
        return _layers(value, config, chosen)
    if name in _DENSE_FIRST:
        return min(value, 1)
    if name == "num_kv_shared_layers":
        return sum(layer >= chosen.total - value for layer in chosen.kept)
    if re.search(r"_(period|interval|frequency|sparse_step)$|^(interleave_moe_layer_step)$", name):
        return min(value, 2)
    if re.search(r"_offset$", name) and "layer" in name:
        return min(value, 1)
    return _size(name, value, config)


def _size(name: str, value: int, config: Config) -> int:
    """A width, a count or a limit, made smaller."""
    special = _SPECIAL_SIZES.get(name)
    if special is not None:
        return special(value, config)
    if _POSITIONS.match(name) and 0 < value < FEWEST_POSITIONS and "vocab_size" in config:
        return POSITIONS
    if _KEY_VALUE.search(name):
        return _key_value_heads(name, value, config)
    if _EXPERTS.search(name) and "shared" not in name:
        return min(value, 8 if _restricts_groups(config) else 4)
    for pattern, size in _SIZES:
        if re.search(pattern, name):
            return min(value, size)
    return value


def _restricts_groups(config: Config) -> bool:
    """Whether experts are chosen from some of their groups only."""
    groups = config.get("n_group") or config.get("num_expert_group") or 1
    return bool(groups > 1 and (config.get("topk_group") or groups) < groups)


def _head_size(value: int, config: Config) -> int:
    """The size of a head; with a rotary part of its own size, what the value was the size of."""
    rotary = config.get("qk_rope_head_dim")
    if rotary and value == rotary:
        return ROTARY
    if rotary and value == rotary + (config.get("qk_nope_head_dim") or 0):
        return ROTARY + HEAD
    return min(value, HEAD)


def _rotary_size(value: int, config: Config) -> int:
    """The same part of a head as before, even, and not too little to tell positions apart."""
    heads, hidden = _heads(config), config.get("hidden_size") or config.get("n_embd")
    head = config.get("head_dim") or (hidden // heads if heads and hidden else value)
    return max(4, value * HEAD // head // 2 * 2)


def _state_space_heads(value: int, config: Config) -> int:
    """Of a state space model its heads are as many as make up its expanded width."""
    return min(value, HIDDEN * int(config["expand"]) // HEAD if "expand" in config else HEADS)


def _index_heads(value: int, config: Config) -> int:
    """Of an indexer of blocks there is a head for each of keys and values."""
    if "index_block_size" in config and value == config.get("num_key_value_heads"):
        return _key_value_heads("num_key_value_heads", value, config)
    return INDEX_HEADS


_SPECIAL_SIZES: dict[str, Callable[[int, Config], int]] = {
    "head_dim": _head_size,
    "qk_head_dim": _head_size,
    "qk_rope_head_dim": lambda value, _: min(value, ROTARY),
    "index_n_heads": _index_heads,
    "index_head_dim": lambda value, _: min(value, HEAD),
    "global_head_dim": lambda value, config: (
        2 * HEAD if value > (config.get("head_dim") or value) else min(value, HEAD)
    ),
    "query_pre_attn_scalar": lambda value, _: min(value, HEAD + 8),  # another scale than that of the head
    "rotary_dim": _rotary_size,
    "num_heads": _state_space_heads,
    "topk_group": lambda value, config: 1 if _restricts_groups(config) else min(value, 2),
    "attention_hidden_size": lambda value, config: HIDDEN * max(1, value // (config.get("hidden_size") or value)),
}


def _layers(value: int, config: Config, chosen: Chosen) -> int:
    if value == chosen.total:
        return len(chosen.kept)
    if value == _stages(config):
        return value
    return min(value, 2)


def _heads(config: Config) -> int:
    return next((int(config[name]) for name in _HEAD_COUNTS if isinstance(config.get(name), int)), 0)


def _key_value_heads(name: str, value: int, config: Config) -> int:
    """As many of 4 heads as there were of all: all, one, or half of them."""
    heads = config.get(name.replace("key_value", "attention")) or _heads(config)
    if not isinstance(heads, int) or value >= heads:
        return min(value, HEADS)
    return 1 if value == 1 else HEADS // 2


def _stages(config: Config) -> int:
    """Of how many stages with depths of their own it is, if it is."""
    depths = (value for name, value in config.items() if _PER_STAGE.match(name) and isinstance(value, (list, tuple)))
    return next((len(value) for value in depths), 0)


def _layer_lists(config: Config, total: int) -> dict[str, list[Any]]:
    return {
        name: list(value)
        for name, value in config.items()
        if isinstance(value, (list, tuple)) and len(value) == total and total > 2 and not _STAGE_WIDTHS.search(name)
    }


def _names_layers(name: str, value: Any, total: int) -> bool:
    """Whether a list says which layers are something, and not what each is."""
    return (
        bool(_WHICH_LAYERS.search(name))
        and isinstance(value, (list, tuple))
        and 0 < len(value) < total
        and all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < total for one in value)
        and len(set(value)) == len(value)
    )


def _chosen(config: Config) -> Chosen:
    """The first layer of each kind, at least two, at most MOST_LAYERS."""
    named = [config.get(name) for name in _TOTAL] + [len(config.get(name) or ()) for name in _KINDS]
    total = next((value for value in named if isinstance(value, int) and not isinstance(value, bool)), 0)
    if total == _stages(config):
        return Chosen(0, ())
    kinds = [_kinds(name, values) for name, values in _layer_lists(config, total).items()]
    kinds += [
        [layer in value for layer in range(total)]
        for name, value in config.items()
        if _names_layers(name, value, total)
    ]
    shared = config.get("num_kv_shared_layers") or 0
    kinds.append([layer >= total - shared for layer in range(total)])
    different = config.get("per_layer_config") or {}
    kinds.append([repr(_of_layer(different, layer)) for layer in range(total)])
    seen: dict[str, int] = {}
    for layer in range(total):
        seen.setdefault(repr([values[layer] for values in kinds]), layer)
    first = sorted(seen.values())[:MOST_LAYERS]
    others = [layer for layer in range(total) if layer not in first]
    least = max(2, *(len(value) for value in config.values() if _is_pattern(value)), 0)
    return Chosen(total, tuple(sorted(first + others[: max(0, min(least, total) - len(first))])))


def _is_pattern(value: Any) -> bool:
    """A list of kinds that is repeated over the layers."""
    return isinstance(value, (list, tuple)) and 1 < len(value) <= 4 and value[0] in ("recurrent", "local", "lsh")


def _of_layer(different: Config, layer: int) -> Any:
    return next((value for name, value in different.items() if str(name).isdigit() and int(name) == layer), None)


def _kinds(name: str, values: list[Any]) -> list[Any]:
    """What tells layers apart: the values themselves if they are few, else whether they are none."""
    if name == _SOURCES:
        return [source == layer for layer, source in enumerate(values)]
    few = len({repr(one) for one in values}) <= 3
    return [one if few or isinstance(one, (str, bool)) else 0 if one in (0, None) else 1 for one in values]


def _table(name: str, value: Config, config: Config, chosen: Chosen, shrinking: _Shrinking) -> Any:
    if name == "per_layer_config":
        return {
            f"{place:02d}": _different(config, found, shrinking)
            for place, layer in enumerate(chosen.kept)
            if (found := _of_layer(value, layer))
        }
    if is_config(name, value):
        # Whole: within another config the defaults are not always those of the class.
        whole = {field: one for field, one in value.items() if field not in (*_ABOUT_CLASSES, *_OF_STAGES)}
        return {**whole, **_small(value, shrinking)}
    return _rope(value, config) if "rope" in name else value


def _different(config: Config, found: Config, shrinking: _Shrinking) -> dict[str, Any]:
    """What a layer has otherwise than the others: what is less is half as much, what is more twice."""
    both, none = {**config, **found}, Chosen(0, ())
    small = {name: _smaller(name, value, both, none, shrinking) for name, value in found.items()}
    for name, value in found.items():
        usual = config.get(name)
        if isinstance(usual, int) and isinstance(value, int) and value != usual:
            small[name] = small[name] * 2 if value > usual else max(1, small[name] // 2)
    if "head_dim" in small and "qk_nope_head_dim" in small:
        small["head_dim"] = small["qk_nope_head_dim"] + ROTARY
    return small


def _shorter(name: str, value: list[Any], config: Config, chosen: Chosen, shrinking: _Shrinking) -> Any:
    if _names_layers(name, value, chosen.total):
        return [place for place, layer in enumerate(chosen.kept) if layer in value]
    if name == _SOURCES:
        return [
            max(p for p, one in enumerate(chosen.kept[: place + 1]) if one <= value[layer])
            for place, layer in enumerate(chosen.kept)
        ]
    if name == "image_grid_pinpoints":
        return [[IMAGE, 2 * IMAGE], [2 * IMAGE, IMAGE]]
    if value and chosen.total > 2 and len(value) == chosen.total and not _STAGE_WIDTHS.search(name):
        return _by_layer(name, [value[layer] for layer in chosen.kept], config, chosen, shrinking)
    if _SPECIAL.search(name) and all(isinstance(one, int) for one in value) and not _NOT_SPECIAL.search(name):
        return [shrinking.token(one) for one in value]
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in value) or not value:
        return [{**one, **_small(one, shrinking)} if isinstance(one, Mapping) else one for one in value]
    if _PER_STAGE.match(name):
        return [min(one, 2) if place == 0 else min(one, 1) for place, one in enumerate(value)]
    if _WHICH_LAYERS.search(name):
        last = max(len(chosen.kept) - 1, 0)
        return sorted({min(one, last) if one >= 0 else max(one, -last - 1) for one in value})[:1]
    if name.endswith("image_size"):
        return [min(one, IMAGE) for one in value]
    if re.search(r"heads$", name):
        return [min(one, 2**place) for place, one in enumerate(value)]
    if _STAGE_WIDTHS.search(name):
        return [min(one, 16 * 2 ** min(place, 2)) for place, one in enumerate(value)]
    return value


def _by_layer(name: str, kept: list[Any], config: Config, chosen: Chosen, shrinking: _Shrinking) -> list[Any]:
    """One value a layer; where layers differ in heads, the least get 4, the others twice as many."""
    if "heads" in name and all(isinstance(one, int) for one in kept):
        return [min(one, HEADS if one == min(kept) else 2 * HEADS) for one in kept]
    return [_smaller(name, one, config, chosen, shrinking) if isinstance(one, int) else one for one in kept]


def _rope(value: Config, config: Config) -> dict[str, Any]:
    """Sections and factors by frequency belong to the size of a head, which is now 16."""
    found: dict[str, Any] = {
        name: _rope(one, config) if isinstance(one, Mapping) else one for name, one in value.items()
    }
    head = ROTARY if config.get("qk_rope_head_dim") else HEAD
    part = found.get("partial_rotary_factor")
    sections = found.get("mrope_section")
    if part:
        part = found["partial_rotary_factor"] = max(part, (8 if sections else 4) / head)
    if part and head == ROTARY and config.get("head_dim") != config["qk_rope_head_dim"]:  # of the whole head
        part = found["partial_rotary_factor"] = ROTARY / (ROTARY + HEAD)
        head = ROTARY + HEAD
    half = int(head * (part or 1)) // 2
    if sections:
        total = sum(sections)
        small = [max(1, one * half // total) for one in sections]
        small[-1] += half - sum(small)
        found["mrope_section"] = small
    for name in ("short_factor", "long_factor"):
        if isinstance(found.get(name), list):
            found[name] = found[name][:half]
    return found
