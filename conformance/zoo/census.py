"""What must be known of a type before it can be planned, measured and judged."""

import logging
import re
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
import transformers
from transformers.models.auto import modeling_auto

from conformance.models.batches import takes_positions
from conformance.models.outputs import forward
from conformance.models.recipe import calibration_batch
from conformance.spellings import (
    CLASS_FLAGS,
    kept_in_float32,
    left_unquantised,
    made_in_float32,
    made_of_text,
    text_config,
    without_memory,
)
from conformance.zoo.by_design import cannot, hears_padding, lacking
from conformance.zoo.derive import derived_config
from conformance.zoo.inputs import inputs_of
from matrix.architectures import Family, Kind

_SECONDS = 60  # for one type
LARGEST = 30_000_000  # parameters of what is tried at all
BASE = "AutoModel"


@dataclass(frozen=True)
class Head:
    """An auto class, and what its models are."""

    auto_class: str
    mapping: str
    suffix: str  # of the architectures' names
    family: Family


HEADS = (
    Head("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", "", Family.TEXT_DECODER),
    Head("AutoModelForSeq2SeqLM", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES", "_seq2seq", Family.ENCODER_DECODER),
    Head("AutoModelForMaskedLM", "MODEL_FOR_MASKED_LM_MAPPING_NAMES", "_masked", Family.TEXT_ENCODER),
    Head("AutoModelForImageClassification", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES", "_image", Family.IMAGE),
    Head("AutoModelForSpeechSeq2Seq", "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES", "_speech", Family.SPEECH),
    Head("AutoModelForCTC", "MODEL_FOR_CTC_MAPPING_NAMES", "_ctc", Family.SPEECH),
    Head(
        "AutoModelForImageTextToText",
        "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
        "_image_text",
        Family.IMAGE_AND_TEXT,
    ),
    Head(BASE, "MODEL_MAPPING_NAMES", "_base", Family.TEXT_ENCODER),
)
_HEADS = {head.auto_class: head for head in HEADS}


def entries() -> list[tuple[str, str]]:
    """(model_type, auto class): all behind the heads, and those that have no head, as AutoModel."""
    found, headed = [], set[str]()
    for head in HEADS:
        types = getattr(modeling_auto, head.mapping, {})
        if head.auto_class == BASE:
            found += [(model_type, head.auto_class) for model_type in types if model_type not in headed]
        else:
            headed |= set(types)
            found += [(model_type, head.auto_class) for model_type in types]
    return found


def quiet() -> None:
    """What a process does that looks at types one after the other, beside others that do the same."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)


def known_of(entry: tuple[str, str]) -> dict[str, Any] | None:
    """What is known of a type, as pure data; None of one without a head that is no plain encoder."""
    model_type, auto_class = entry
    known = known_of_config(model_type, auto_class, lambda: derived_config(model_type, auto_class))
    if auto_class == BASE and known["inputs"].get("output") != "last_hidden_state":
        return None
    return known


def known_of_config(model_type: str, auto_class: str, make_config: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is known of the small model that such a config makes, as pure data; under `unbuilt` why there is none."""
    head = _HEADS[auto_class]
    name = re.sub(r"\W", "_", model_type).lower() + head.suffix
    known: dict[str, Any] = {
        "name": name,
        "model_type": model_type,
        "auto_class": auto_class,
        "kind": Kind.DECODER,
        "family": head.family,
        "config": {},
        "kept_linear": [],
        "kept_float32": [],
        "positions": "kept",
        "recurrent": False,
        "aliases": [],
        "inputs": {},
        "traits": [],
        "flags": {},
        "parameters": 0,
        "unbuilt": "",
        "missing": [],
        "cannot": cannot(name),
    }
    phase = "config"
    try:
        with _time_limit():
            known["config"] = make_config()
            phase = "build"
            model = small_model(model_type, auto_class, known["config"])
            known |= facts_of(model, auto_class, model_type)
            phase = "inputs"
            with torch.no_grad():
                known["inputs"] = inputs_of(model, auto_class)
            known |= _of_inputs(model, known)
    except Exception as error:
        said = (str(error).strip() or "nothing was said").splitlines()[0]
        known["unbuilt"] = f"{phase}: {type(error).__name__}: {said[:300]}"
        absent = isinstance(error, ImportError)
        known["missing"] = _packages(str(error)) if absent else lacking(name, known["unbuilt"])
    return known


def _packages(message: str) -> list[str]:
    """The packages that an ImportError names, in the library's words or in Python's."""
    found = re.findall(r"requires the (\w+) library|No module named '(\w+)'|pip install (\w+)", message)
    return sorted({name.lower() for names in found for name in names if name})[:1]


@contextmanager
def _time_limit() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer after {_SECONDS} s")

    usual = signal.signal(signal.SIGALRM, ring)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, usual)


def small_model(model_type: str, auto_class: str, config: Mapping[str, Any], largest: int = LARGEST) -> Any:
    """A model of that config in float32, drawn as its class draws.

    Raises:
        RuntimeError: it has more parameters than `largest`.
    """
    made = transformers.AutoConfig.for_model(model_type, **{k: v for k, v in config.items() if k != "model_type"})
    made._attn_implementation = "eager"
    known = getattr(transformers, auto_class)
    size = sum(parameter.numel() for parameter in without_memory(lambda: known.from_config(made)).parameters())
    if size > largest:
        raise RuntimeError(f"even small it has {size / 1e6:.0f} million parameters")
    torch.manual_seed(0)
    return known.from_config(made).float().eval()


def facts_of(model: Any, auto_class: str, model_type: str) -> dict[str, Any]:
    """What its class and its parameters say; they need not hold any numbers."""
    head, config = _HEADS[auto_class], model.config
    encodes = head.family in (Family.TEXT_ENCODER, Family.IMAGE) or head.auto_class == "AutoModelForCTC"
    kind = Kind.ENCODER if encodes else Kind.DECODER
    if getattr(config, "is_encoder_decoder", False) and head.auto_class != BASE:
        kind = Kind.ENCODER_DECODER
    names = [name for name, _ in model.named_parameters()]
    loaded = (text_config(config) if made_of_text(auto_class, config) else config).model_type
    return {
        "kind": kind,
        "kept_linear": left_unquantised(model),
        "kept_float32": sorted({*kept_in_float32(model), *made_in_float32(model)}),
        "traits": sorted(_traits(config, names, kind is Kind.ENCODER_DECODER)),
        "recurrent": any(_RECURRENT.search(name) for name in names),
        "flags": {
            **{flag: bool(getattr(model, flag)) for flag in CLASS_FLAGS if getattr(model, flag, None) is not None},
            **{f"part{flag}": False for flag in _BACKEND_FLAGS if not _declared_by_parts(model, flag)},
        },
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "aliases": [loaded] if loaded != model_type else [],
    }


# Every part with a config of its own is asked for these, too, once its whole has passed.
_BACKEND_FLAGS = ("_supports_sdpa", "_supports_flash_attn", "_supports_flash_attn_2", "_supports_flex_attn")


def _declared_by_parts(model: Any, flag: str) -> bool:
    models = (part for part in model.modules() if isinstance(part, transformers.PreTrainedModel))
    return all(getattr(part, flag, True) for part in models if type(part.config) is not type(model.config))


def _of_inputs(model: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """Positions and modality, as far as the inputs say."""
    inputs, found = known["inputs"], dict[str, Any]()
    # Who can be told positions is told them, as `generate` does; the others count for themselves, if at all. With
    # images in front positions are three to a token, which only the model itself works out.
    if inputs["tokens"] and inputs["mask"] and not inputs["noise"] and takes_positions(model):
        found["positions"] = "told" if _counts_from_zero(model, inputs) else "kept"
    elif any(_COUNTED.search(name) for name, _ in model.named_modules()) and not takes_positions(model):
        found["positions"] = "fixed"
    if inputs["mask"] and not inputs["tokens"]:
        found["positions"] = "fixed"  # frames next to the padding hear it by design
    if known["model_type"] in hears_padding():
        found["positions"] = "fixed"
    images = any("pixel" in name or "patches" in name for name in inputs["noise"])
    if known["auto_class"] == BASE and not inputs["tokens"]:
        found["family"] = Family.IMAGE if images else Family.SPEECH
    if known["family"] is Family.ENCODER_DECODER and known["kind"] is Kind.DECODER:  # it hears, and goes on in text
        found["family"] = Family.SPEECH if inputs["noise"] else Family.TEXT_DECODER
    return found


# Tables of absolute positions, which count the padding; those of pictures have none.
_COUNTED = re.compile(r"^(?!.*(vis|image|patch|pixel|audio)).*(embed_positions|position_embeddings|wpe)$")


def _counts_from_zero(model: Any, inputs: Mapping[str, Any]) -> bool:
    """Whether an unpadded row is the same when it is told that it begins at position 0."""
    batch = calibration_batch(inputs, 0)
    tokens = batch["input_ids"]
    told = {**batch, "position_ids": torch.arange(tokens.shape[1]).repeat(len(tokens), 1)}  # some are written to
    with torch.no_grad():
        return torch.allclose(forward(model, batch), forward(model, told), rtol=1e-3, atol=1e-4)


_RECURRENT = re.compile(r"mamba|A_log|rg_lru|linear_attn|short_conv|ssm|time_decay|recurrent|\.conv\.conv\.|retention")
_BY_PARAMETER = {
    "recurrent": _RECURRENT,
    "sinks": re.compile(r"sinks?$"),
    "mla": re.compile(r"kv_a_proj|kv_a_layernorm|kv_b_proj"),
    "relative_bias": re.compile(r"relative_attention_bias|relative_position_bias|rel_pos"),
    "qk_norm": re.compile(r"\.(q|k|query|key)_?(layer)?norm\.weight$"),
    "indexer": re.compile(r"indexer"),
    "cross": re.compile(r"cross_?att|encoder_attn|EncDecAttention|crossattention"),
    "moe": re.compile(r"experts?\.|\.router\."),
}
_BY_FIELD = {
    "window": re.compile(r"^(sliding_window|attention_window|local_attention|sliding_window_size|window_size)$"),
    "chunk": re.compile(r"^attention_chunk_size$"),
    "alibi": re.compile(r"^alibi$"),
    "softcap": re.compile(r"softcap|logit_cap"),
    "shared_kv": re.compile(r"^num_kv_shared_layers$"),
    "mrope": re.compile(r"^mrope_section$"),
}
_ALIBI = ("bloom", "mpt")  # whose configs do not say so


def _traits(config: Any, names: list[str], encoder_decoder: bool) -> Iterator[str]:
    """What its config and its parameters say of it; see `_BY_PARAMETER` and `_BY_FIELD`."""
    fields = list(_fields(config.to_dict()))
    kinds = {str(kind) for name, value in fields if name == "layer_types" for kind in value or ()}
    for trait, pattern in _BY_PARAMETER.items():
        if any(pattern.search(name) for name in names):
            yield trait
    for trait, pattern in _BY_FIELD.items():
        if any(pattern.search(name) and value for name, value in fields):
            yield trait
    if config.model_type in _ALIBI:
        yield "alibi"
    if any("linear" in kind for kind in kinds) or any(re.search(r"linear_attn|A_log", name) for name in names):
        yield "linear"
    if encoder_decoder:
        yield "encoder_decoder"
    said = {name: value for name, value in fields if isinstance(value, int)}
    if said.get("num_key_value_heads", 0) and said["num_key_value_heads"] < said.get("num_attention_heads", 0):
        yield "gqa"


def _fields(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        yield str(name), value
        if isinstance(value, Mapping):
            yield from _fields(value)
