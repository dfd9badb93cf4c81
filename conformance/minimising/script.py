"""The script of a minimised case: torch and transformers alone, at most 40 lines."""

from keyword import iskeyword
from pathlib import Path
from textwrap import wrap

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from conformance import decoding, spellings
from conformance.minimising.case import Case
from conformance.minimising.symptom import LOUDNESS
from conformance.models.batches import DECODER_TOKENS
from conformance.workloads.chunked_prefill import CHUNK
from conformance.workloads.static_cache import SPARE_SLOTS
from matrix.architectures import Architecture, Kind
from matrix.axes import Dtype, Padding
from matrix.cell import SILENT
from matrix.verdict import Verdict

LINES = 40
# Whose runs are told positions, as `generate` would tell them.
_IN_LOOPS = ("stepwise", "chunked_prefill", "static_cache")
_TOLD = ("padding_invariance", "batch_permutation", "causality", "reload", "switched", *_IN_LOOPS)
_ALSO = ("prefill", "single_row", "generate", "continued")
_BITSANDBYTES = {
    "int8": "load_in_8bit=True",
    "nf4": 'load_in_4bit=True, bnb_4bit_quant_type="nf4"',
    "fp4": 'load_in_4bit=True, bnb_4bit_quant_type="fp4"',
    "nf4_double_quant": 'load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True',
}


def script_of(
    case: Case,
    architecture: Architecture,
    verdict: Verdict,
    title: str,
    *,
    cache_argument: str,
    positions: bool,
    cuda: bool,
) -> str | None:
    """The script, or None for a case that needs the suite's own machinery: beams, gradients, placed weights, pictures.

    Args:
        case: what is left of the cell.
        architecture: of the cell.
        verdict: inaccurate or error.
        title: the first line.
        cache_argument: by which the model is handed its cache.
        positions: whether the model can be told positions.
        cuda: whether it runs on a GPU.
    """
    cell, workload = case.cell, str(case.cell.workload)
    packed = cell.quantisation != SILENT["quantisation"]
    known = workload in (*_TOLD, *_ALSO) and (not packed or str(cell.quantisation) in _BITSANDBYTES)
    listens = architecture.kind is Kind.ENCODER_DECODER
    others = architecture.inputs and (architecture.inputs["noise"] or architecture.inputs["by_token"])
    if not known or (listens and workload != "prefill") or others:
        return None
    if any(getattr(cell, axis) != SILENT[axis] for axis in ("device_map", "transformation")):
        return None
    padded = cell.padding is not Padding.NONE
    told = positions and (
        workload in _TOLD or (padded and (architecture.positions == "told" or workload == "continued"))
    )
    arguments = f"BitsAndBytesConfig({_BITSANDBYTES[str(cell.quantisation)]})" if packed else ""
    # A checkpoint's config may call its options anything, and none of it may become code.
    if all(name.isidentifier() and not iskeyword(name) for name in case.config):
        written = f"dict({', '.join(f'{name}={value!r}' for name, value in case.config.items())})"
    else:
        written = repr(dict(case.config))
    first_cache = None
    if workload == "static_cache":
        given = spellings.static_cache_arguments("model", len(case.lengths), case.lengths[0] + SPARE_SLOTS)
        first_cache = f"StaticCache({given})"
    elif (
        workload in (*_IN_LOOPS, "continued") and architecture.model_type == "recurrent_gemma"
    ):  # which does not give it back
        first_cache = "DynamicCache(config=model.config)"
    static = str(cell.cache) == "static"
    return _template().render(
        title=title,
        auto_class=architecture.auto_class,
        model_type=repr(architecture.model_type),
        config="\n    ".join(wrap(f"CONFIG = {written}", width=112)),
        loudness=LOUDNESS,
        vocabulary=repr(case.config.get("vocab_size", 256)),
        rows=len(case.lengths),
        longest=case.lengths[0],
        decoder_tokens=DECODER_TOKENS if listens else 0,
        padding=list(_padding(case)),
        raises=verdict is Verdict.ERROR,
        dtype_argument=spellings.DTYPE_ARGUMENT,
        dtype=cell.dtype.value,
        golden="float64" if cell.dtype is Dtype.FLOAT32 else "float32",
        attention=cell.attention.value,
        loaded_as="eager" if workload == "switched" else cell.attention.value,
        quantisation=f', "quantization_config": {arguments}' if packed else "",
        reference=architecture.reference_attention,
        workload=workload,
        told=told,
        masked=padded or workload not in ("causality", "continued"),
        new_tokens=case.new_tokens,
        cache=', "cache_implementation": "static"' if static else "",
        ends=_ends(case, workload),
        cache_argument=cache_argument,
        first_cache=first_cache,
        imported=f", {first_cache.partition('(')[0]}" if first_cache else "",
        experts="".join(f", {name}={value!r}" for name, value in spellings.PLAIN_EXPERTS.items())
        if any("experts" in name for name in case.config)
        else "",
        to_device=".cuda()" if cuda else "",
        model_to_device=".cuda()" if cuda and not packed else "",  # packed weights are put there by their quantiser
    )


def _ends(case: Case, workload: str) -> list[int] | range | None:
    """Where each call of a loop ends."""
    longest = case.lengths[0]
    if workload == "chunked_prefill":
        return [*range(CHUNK, longest, CHUNK), longest]
    if workload in ("stepwise", "static_cache"):
        return range(longest - decoding.STEPS, longest + 1)
    return range(longest, longest + case.new_tokens + 1) if workload == "continued" else None


def _padding(case: Case) -> list[str]:
    longest = case.lengths[0]
    if case.cell.padding is Padding.NONE:
        return []
    left = case.cell.padding is Padding.LEFT
    shorter = [(row, length) for row, length in enumerate(case.lengths) if length < longest]
    return [f"{row}, :{longest - length}" if left else f"{row}, {length}:" for row, length in shorter]


def _template():  # type: ignore[no-untyped-def]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    return environment.get_template("script.py.j2")
