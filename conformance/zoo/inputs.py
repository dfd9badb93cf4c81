"""What a model takes, found out by trying: a description that batches are made from without the model."""

import contextlib
import copy
import inspect
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from conformance.decoding import cached
from conformance.models.batches import length_of
from conformance.models.inputs import NOTHING, made
from conformance.models.outputs import forward
from conformance.spellings import cache_argument, text_config
from conformance.zoo.shrink import FIRST_SPECIAL

Spec = dict[str, Any]

LENGTHS, DECODER_TOKENS = (40, 33), 6  # of the batches that are tried
SAMPLES, FRAMES, TILES = (4000, 7680), (128, 200), 4
# Which of text alone and text with something in front of it is tried first.
MEDIA_FIRST = ("AutoModelForImageTextToText", "AutoModelForSpeechSeq2Seq", "AutoModelForImageClassification")
DECODES = ("is_encoder_decoder", "canvas_length")  # config fields that say that what a decoder takes is needed
PIXELS = ("pixel_values", "pixel_values_images", "image_patches", "flattened_patches")
SOUND = ("input_features", "input_values")
# For each token, whether it is a placeholder: wherever the forward pass takes one of these.
MARKS = ("mm_token_type_ids", "token_type_ids", "moe_mm_token_type_ids", "image_embeds_position_mask")
# What else is said of each token, where it is asked for: one cell, one image, one tile.
OF_TOKENS: dict[str, Any] = {
    "bbox": [1, 2, 30, 40],
    "image_attention_mask": [1],
    "cross_attention_mask": [[1] * TILES],
}
# Config fields that say how many placeholders an image has, where nothing else does.
COUNTS = ("image_seq_length", "num_query_tokens", "latent_query_num", "mm_tokens_per_image", "num_image_tokens")
GETTERS = {"image": ("get_image_features", "get_video_features"), "sound": ("get_audio_features",)}
# What must be told so that the same input gives the same output.
ARGUMENTS = {"sample": False}
_PLACEHOLDER = {
    "image": re.compile(r"^(image|img|im|media|visual|vision)\w*token(_id|_index)$|^image_patch_id$"),
    "sound": re.compile(r"^(audio|speech|sound)\w*token(_id|_index)$"),
}
_AROUND = re.compile(r"start|end|bos|eos|begin|boi|eoi|newline|sep|break|row|col|frame|video|ignore|pad_")
_START = {
    "image": re.compile(r"^(image|img|vision|im|boi)\w*(start|begin|bos)?\w*token(_id|_index)$"),
    "sound": re.compile(r"^(audio|boa)\w*(start|begin|bos)?\w*token(_id|_index)$"),
}
_MISMATCH = re.compile(r"tokens?:? *=? *(\d+)\D+features?:? *=? *\D*(\d+)")


@dataclass(frozen=True)
class Media:
    """One way in which an image or a sound may be given to a model."""

    kind: str
    noise: Mapping[str, list[int]]
    constant: Mapping[str, Any] = field(default_factory=dict)
    stamped: Mapping[str, Any] = field(default_factory=dict)
    frames: tuple[str, int] | None = None


class NotFoundError(ValueError):
    """Nothing that was tried is what the model takes."""


def inputs_of(model: Any, auto_class: str) -> Spec:
    """What the model takes, as plain data.

    Raises:
        NotFoundError: none of what was tried could be run; the message says what became of each.
    """
    reasons: list[str] = []
    with _without_zeros(model):
        for spec in _candidates(model, auto_class):
            try:
                found = _tried(model, spec)
            except Exception as error:
                reasons.append(f"{_short(spec)}: {type(error).__name__}: {str(error).strip()[:200]}")
                continue
            media = _media_wanted(model, auto_class) and not found["noise"]
            return found | {"note": f"on text alone: {reasons[0] if reasons else 'no other input'}"} if media else found
    raise NotFoundError("; ".join(dict.fromkeys(reasons)) or "takes neither tokens, pixels nor sound")


@contextlib.contextmanager
def _without_zeros(model: Any) -> Iterator[None]:
    """Gates and projections that are zero at first hide what is in front of the text: here they are not."""
    zero = [one for one in model.parameters() if one.is_floating_point() and not one.any()]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for one in zero:
            one.copy_(0.1 * torch.randn(one.shape, generator=generator))
        try:
            yield
        finally:
            for one in zero:
                one.zero_()


def _short(spec: Spec) -> str:
    return ", ".join(
        [*(["text"] if spec["tokens"] else []), *(f"{name}{shape}" for name, shape in spec["noise"].items())]
    )


def _asked(model: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(model.forward).parameters


def _media_wanted(model: Any, auto_class: str) -> bool:
    return auto_class in MEDIA_FIRST and any(name in _asked(model) for name in (*PIXELS, *SOUND))


def _candidates(model: Any, auto_class: str) -> Iterator[Spec]:
    text = _texts(model)
    media = itertools.chain(_alone(model), _with_media(model))
    return itertools.chain(media, text) if auto_class in MEDIA_FIRST else itertools.chain(text, media)


def _base(model: Any) -> Spec:
    asked = _asked(model)
    return {**copy.deepcopy(NOTHING), "highest": FIRST_SPECIAL} | {
        "tokens": "input_ids" in asked,
        "highest": min(FIRST_SPECIAL, _vocabulary(model.config)),
        "mask": "attention_mask" in asked,
        "decoder": "decoder_input_ids" in asked and any(getattr(model.config, name, None) for name in DECODES),
        "by_token": {name: [value] for name, value in OF_TOKENS.items() if name in asked},
        "arguments": {name: value for name, value in ARGUMENTS.items() if name in asked},
    }


def _texts(model: Any) -> Iterator[Spec]:
    base = _base(model)
    if base["tokens"]:
        yield base
        yield base | {"by_token": {}}


def _alone(model: Any) -> Iterator[Spec]:
    """Images or sound without text, or with text for a decoder only."""
    asked, base = _asked(model), _base(model)
    if "input_ids" in asked and not base["decoder"]:
        return
    for media in itertools.chain(_pictures(model), _sounds(model)):
        given = {"noise": dict(media.noise), "constant": dict(media.constant), "stamped": dict(media.stamped)}
        spec = base | given | {"tokens": False, "by_token": {}, "mask": False}
        if media.frames and base["mask"]:
            yield spec | {"mask": True, "frames": list(media.frames)}
        yield spec


def _with_media(model: Any) -> Iterator[Spec]:
    """Images or sound in front of text."""
    base = _base(model)
    if not base["tokens"]:
        return
    for media in itertools.chain(_pictures(model), _sounds(model)):
        given = {"noise": dict(media.noise), "constant": dict(media.constant), "stamped": dict(media.stamped)}
        for count in dict.fromkeys(_counts(model, media, base | given)):
            yield _in_front(model, media.kind, base | given, count)


def _in_front(model: Any, kind: str, spec: Spec, count: int) -> Spec:
    """The description with that many placeholders, between the tokens that begin and end an image."""
    ids = dict(_fields(model.config))
    placeholder = next((v for k, v in ids.items() if _PLACEHOLDER[kind].search(k) and not _AROUND.search(k)), None)
    if placeholder is None:
        placeholder = next((v for k, v in ids.items() if re.search(r"^video_token_(id|index)$", k)), None)
    if placeholder is None and "image_embeds_position_mask" in _asked(model):
        placeholder = FIRST_SPECIAL  # where the image is, the mask says
    if placeholder is None or not count:
        return spec
    around = {k: v for k, v in ids.items() if _START[kind].search(k) and "video" not in k}
    start = [v for k, v in around.items() if re.search(r"start|begin|bos|boi|boa", k)][:1]
    end = [v for k, v in around.items() if re.search(r"end|eos|eoi|eoa", k)][:1]
    prefix = [*start, *[placeholder] * count, *end]
    flipped = _marks_what_follows(model)
    kinds = [int((one == placeholder) != flipped) for one in prefix] + [int(flipped)]
    marks = {name: kinds for name in MARKS if name in _asked(model)}
    others = {name: [values[-1]] * (len(prefix) + 1) for name, values in spec["by_token"].items()}
    return spec | {"prefix": prefix, "by_token": {**others, **marks}}


def _marks_what_follows(model: Any) -> bool:
    """Whether what follows a prompt is marked, as PaliGemma, which sees a prompt both ways, has it, and not images."""
    if getattr(text_config(model.config), "use_bidirectional_attention", None) is True:
        return True
    configs = (getattr(module, "config", None) for module in model.modules())
    return any(getattr(config, "model_type", None) == "paligemma" for config in configs)  # 4.57 has no field for it


def _counts(model: Any, media: Media, spec: Spec) -> Iterator[int]:
    """How many placeholders the image may have."""
    batch = made(spec | {"tokens": False}, (1,), "none")
    for owner, name in itertools.product((model, getattr(model, "model", None)), GETTERS[media.kind]):
        getter = getattr(owner, name, None)
        if getter is None:
            continue
        takes = inspect.signature(getter).parameters
        try:
            with torch.no_grad():
                found = getter(**{name: value for name, value in batch.items() if name in takes})
        except Exception:
            continue
        yield _vectors(found)
    yield 1  # a refusal may tell how many
    for name in COUNTS:
        value = _found(model.config, name)
        if value:
            yield value
    yield 0


def _vectors(found: Any) -> int:
    """How many vectors there are, in tensors however nested."""
    if isinstance(found, torch.Tensor):
        return found.numel() // found.shape[-1]
    pooled = getattr(found, "pooler_output", None)
    if pooled is None:
        pooled = getattr(found, "last_hidden_state", None)
    if pooled is not None:
        return _vectors(pooled)
    return sum(_vectors(one) for one in found) if isinstance(found, (list, tuple)) else 0


def _tried(model: Any, spec: Spec) -> Spec:
    """The description with what the model gave for it.

    Raises:
        ValueError: what it gave is no output to judge, or does not depend on what is in front of the text.
    """
    try:
        output = _ran(model, spec)
    except Exception as error:
        told = _MISMATCH.search(str(error))
        if not told or not spec["prefix"] or int(told[2]) in (0, int(told[1])) or int(told[1]) % len(LENGTHS):
            raise
        counted = int(told[2]) // len(LENGTHS)
        kind = "image" if any(name in spec["noise"] for name in PIXELS) else "sound"
        if counted == spec["prefix"].count(max(set(spec["prefix"]), key=spec["prefix"].count)):
            raise
        spec = _in_front(model, kind, spec | {"by_token": {n: [v[-1]] for n, v in spec["by_token"].items()}}, counted)
        output = _ran(model, spec)
    name = "logits" if getattr(output, "logits", None) is not None else "last_hidden_state"
    tensor = getattr(output, name)
    if not isinstance(tensor, torch.Tensor) or not torch.isfinite(tensor).all():
        raise ValueError(f"{name} is not finite")
    if len(tensor) != len(LENGTHS):
        raise ValueError(f"{name} has {len(tensor)} rows for {len(LENGTHS)}")
    if not torch.allclose(tensor, getattr(_ran(model, spec), name), rtol=1e-4, atol=1e-4):
        raise ValueError("the same input gives another output the second time")
    if spec["noise"] and spec["tokens"] and torch.equal(tensor, getattr(_ran(model, spec, louder=True), name)):
        raise ValueError("what is in front of the text does not change the output")
    spec = spec | {"output": name, "positions": _positions(tensor, spec)}
    return spec | {"cache": cache_argument(model) is not None} | _of_steps(model, spec)


def _of_steps(model: Any, spec: Spec) -> Spec:
    """What a call with a cache must be given beside its own tokens, so that it gives what one pass over all gives.

    Found by trying, unpadded and without a mask; where nothing helps, it is given no more than most need.
    """
    if not spec["noise"] or not spec["tokens"] or spec["decoder"] or cache_argument(model) is None:
        return {}
    batch = made(spec, (24, 24), "none")
    batch.pop("attention_mask", None)
    told = [name for name in spec["by_token"] if name in OF_TOKENS]
    with torch.no_grad():
        try:
            once = forward(model, batch)
        except Exception:  # of a class that asks for a mask
            return {}
        for again, whole in itertools.product((False, True), ([], told) if told else ([],)):
            tried = {"again": again, "whole": whole}
            try:
                steps = cached(model, batch, [length_of(batch) - 2, 1, 1], tried)
            except Exception:
                continue
            if once.shape == steps.shape and torch.allclose(once, steps, rtol=1e-2, atol=1e-2 * float(once.std())):
                return tried
    return {}


def _ran(model: Any, spec: Spec, louder: bool = False) -> Any:
    """What the model gives for a batch of it, or for the same with noise half as loud again."""
    batch = made(spec, LENGTHS, "none", decoder_tokens=DECODER_TOKENS)
    if louder:
        batch |= {name: 1.5 * batch[name] for name in spec["noise"] if name not in spec["stamped"]}
        batch |= {name: torch.cat([batch[name][..., :2], 1.5 * batch[name][..., 2:]], -1) for name in spec["stamped"]}
    # A mask over sound that is cut to length only where there is a cache, as of Voxtral's realtime encoder, is none
    # that a reference could be given.
    with torch.no_grad(), _uncached(model) if spec["frames"] else contextlib.nullcontext():
        return model(**batch)


@contextlib.contextmanager
def _uncached(model: Any) -> Iterator[None]:
    usual = getattr(model.config, "use_cache", None)
    if usual is None:
        yield
        return
    model.config.use_cache = False
    try:
        yield
    finally:
        model.config.use_cache = usual


def _positions(tensor: torch.Tensor, spec: Spec) -> str:
    """What the second dimension of an output is."""
    if tensor.dim() < 3:
        return "none"
    if spec["decoder"] and tensor.shape[1] == DECODER_TOKENS:
        return "decoder"
    if spec["tokens"] and tensor.shape[1] == len(spec["prefix"]) + max(LENGTHS):
        return "tokens"
    return "patches" if any(name in spec["noise"] for name in PIXELS) else "frames"


# --- what is read off a config


def _parts(config: Any) -> list[Any]:
    """The config and all within it, outermost first."""
    found, todo = [], [config]
    while todo:
        one = todo.pop(0)
        found.append(one)
        todo += [value for value in vars(one).values() if hasattr(value, "to_dict") and hasattr(value, "model_type")]
    return found


def _fields(config: Any) -> Iterator[tuple[str, int]]:
    """All whole numbers of it, by name: the outermost of a name first."""
    seen = set()
    for part in _parts(config):
        for name, value in vars(part).items():
            if isinstance(value, int) and not isinstance(value, bool) and name not in seen:
                seen.add(name)
                yield name, value


def _found(config: Any, *names: str) -> int:
    """The first of these fields that is set anywhere, or 0."""
    for part in _parts(config):
        for name in names:
            value = getattr(part, name, None)
            value = value[0] if isinstance(value, (list, tuple)) and value else value
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return 0


def _seeing(config: Any) -> Any:
    """The part of a config that is about images, if there is one."""
    for name in ("vision_config", "vit_config", "image_config", "encoder", "backbone_config"):
        if hasattr(getattr(config, name, None), "to_dict"):
            return getattr(config, name)
    return config


def _vocabulary(config: Any) -> int:
    with contextlib.suppress(ValueError):  # which is the text's is not always plain
        for one in (config.get_text_config(decoder=True), config.get_text_config(), config):
            if isinstance(getattr(one, "vocab_size", None), int):
                return int(one.vocab_size)
    return _found(config, "vocab_size") or FIRST_SPECIAL


# --- images and sound


def _pictures(model: Any) -> Iterator[Media]:
    asked = _asked(model)
    pixels = next((name for name in PIXELS if name in asked), "inputs" if "pixel_values" in asked else None)
    if pixels is None:
        return
    seeing = _seeing(model.config)
    channels = _found(seeing, "num_channels", "in_channels", "in_chans") or 3
    size = _found(seeing, "image_size", "input_size", "img_size") or 32
    patch = _found(seeing, "patch_size", "spatial_patch_size") or _found(model.config, "patch_size") or 8
    temporal = _found(seeing, "temporal_patch_size", "patch_temporal") or 1
    flat, side = channels * patch * patch, 4
    count = side * side
    places = [[row, column] for row in range(side) for column in range(side)]
    shapes: list[tuple[list[int], dict[str, Any], Any]] = []
    if pixels == "flattened_patches":
        counted = [[row + 1, column + 1] for row, column in places]
        shapes.append(([1, count, flat + 2], {}, [counted]))
    grids = {"image_grid_thw": [[1, side, side]], "image_grid_hw": [[side, side]], "image_merge_sizes": [2]}
    if any(name in asked for name in grids):
        for shape in (
            [count, flat * temporal],
            [count, channels, patch, patch],
            [1, count, flat],
            [count, flat],
            [count, 2 * patch, 2 * patch, channels],
        ):
            shapes.append((shape, grids, None))
    packed = {
        "spatial_shapes": [[side, side]],
        "pixel_attention_mask": [[1] * count],
        "image_position_ids": [places],
    }
    if "spatial_shapes" in asked or "image_position_ids" in asked or pixels == "image_patches":
        pooled = _found(seeing, "pooling_kernel_size") or 1
        shapes += [([1, count, flat], packed, None), ([1, count, flat * pooled**2], packed, None)]
    if "target_sizes" in asked:
        shapes.append(([1, channels, patch, patch * count], {"target_sizes": [[side, side]]}, None))
    whole = {
        "image_sizes": [[size, size]],
        "num_local_patches": [0],
        "qformer_input_ids": [[5, 6, 7, 8]],
        "batch_num_images": [1],
        "aspect_ratio_ids": [[1]],
        "aspect_ratio_mask": [[[1] * TILES]],
    }
    masked = {**whole, "pixel_attention_mask": [[[[1] * size] * size]]}
    image = [channels, size, size]
    shapes += [
        ([1, *image], whole, None),
        ([1, 1, *image], masked, None),
        ([1, 1, *image], {"pixel_attention_mask": [[True]]}, None),
        ([1, 2, *image], whole, None),
        ([1, 3, *image], whole, None),
        ([1, 5, *image], whole, None),
        ([1, 1, TILES, *image], whole, None),
        ([1, count, flat], {}, None),
    ]
    high = _found(getattr(model.config, "high_res_vision_config", model.config), "image_size")
    extra = {"high_res_pixel_values": [1, channels, high, high]} if "high_res_pixel_values" in asked else {}
    for shape, constant, stamped in shapes:
        given = {name: value for name, value in constant.items() if name in asked}
        for one in [given, {}] if given and constant is whole else [given]:
            yield Media("image", {pixels: shape, **extra}, one, {pixels: stamped} if stamped else {})


def _sounds(model: Any) -> Iterator[Media]:
    asked = _asked(model)
    names = [name for name in SOUND if name in asked]
    config = model.config
    mels = [
        _found(config, "num_mel_bins", "n_mels", "feature_size", "input_feat_per_channel", "mel_bins"),
        _found(config, "feature_projection_input_dim", "input_feat_size", "input_dim", "feat_dim"),
        _found(config, "d_model"),
        _found(config, "num_mel_bins") * _found(config, "num_stacked_frames"),
        _found(config, "num_mel_bins") * 4,  # as many neighbouring frames side by side
        80,
    ]
    limit = 2 * _found(config, "max_source_positions")
    for name in names:
        if name == "input_values":
            for samples in SAMPLES:
                heard: dict[str, Any] = {"padding_mask": [[True] * samples]} if "padding_mask" in asked else {}
                for one in [{}, heard] if heard else [{}]:
                    yield Media("sound", {name: [1, samples]}, one, {}, (name, 1))
                    yield Media("sound", {name: [1, 1, samples]}, one, {}, None)
            continue
        for mel, frames in itertools.product(
            filter(None, dict.fromkeys(mels)), filter(None, dict.fromkeys((limit, *FRAMES)))
        ):
            masks = ("input_features_mask", "feature_attention_mask")
            constant = {mask: [[1] * frames] for mask in masks if mask in asked}
            for one in [constant, {}] if constant else [{}]:
                yield Media("sound", {name: [1, mel, frames]}, one, {}, (name, 2))
                yield Media("sound", {name: [1, frames, mel]}, one, {}, (name, 1))
