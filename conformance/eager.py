"""What eager attention itself computes of a fixture's bytes, kept so that another release can be held against it.

Within one release eager attention is the yardstick: one that changes what a model computes is green on both sides.
So the same files are given the same inputs in each, on the CPU in float32, by a plain `from_pretrained`.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open

from conformance.evidence.said import said
from conformance.models.batches import DECODER_TOKENS, LENGTHS, inputs_of, judged
from conformance.models.fixtures import CALIBRATION, DIGESTS, fixture
from conformance.models.inputs import made
from conformance.models.loading import Source, auto_class, from_pretrained
from conformance.models.outputs import logits_of
from conformance.plugin.usage import peak_host_mib, resident_host_mib, start_peak_anew
from conformance.spellings import DTYPE_ARGUMENT, text_config
from matrix.architectures import Architecture
from reports.document import EagerTrace, six_digits
from reports.eager import RULED_OUT

POSITIONS, CLASSES = 24, 8  # of the logits that are kept
NEW_TOKENS = 4
_NAMES = 39  # that a list of a trace holds, before it says how many more there are
_LONGEST = 1000  # characters of what was raised
_LOAD, _FORWARD, _GENERATE, _SAVE = "load", "forward", "generate", "save"


class NotHere(Exception):
    """There are no bytes to load: another run's are not in the cache, or this release cannot make its own."""


@dataclass(frozen=True)
class Given:
    """What a fixture's bytes are loaded as and given. It stands beside them: a release that reads off its library
    something else of the type gives it the same all the same."""

    auto_class: str
    inputs: Mapping[str, Any]  # see conformance/models/inputs.py
    padding: str
    pad_token: int
    seed: int

    def batch(self, lengths: str) -> dict[str, Any]:
        """A batch of the suite's own; `lengths` names a workload."""
        decoder_tokens = DECODER_TOKENS if self.inputs["decoder"] and lengths == "prefill" else 0
        return made(self.inputs, LENGTHS[lengths], self.padding, self.pad_token, decoder_tokens, self.seed + 1)


def watch(architecture: Architecture, cache: Path, seed: int = 0, name: str | None = None) -> EagerTrace:
    """What the architecture computes of its fixture, or of the fixture of that name, which another release made.

    Raises:
        NotHere: there is none of that name, or it cannot be made.
    """
    folder = _made(architecture, cache, seed) if name is None else cache / name
    if not (folder / DIGESTS).is_file():
        raise NotHere(f"{folder.name} is not in --fixture-cache: the other run had another one")
    given = _given(folder, architecture, seed)
    source = Source(replace(architecture, auto_class=given.auto_class), str(folder))
    trace = EagerTrace(fixture=folder.name, files=_digest_of_files(folder), padding=given.padding)
    with said(), torch.no_grad():
        with _failing(trace, _LOAD):
            model = _loaded(source, trace)
        if _LOAD not in trace.failures:
            with _failing(trace, _FORWARD):
                _compute(model, given, trace)
            if given.inputs["tokens"] and _generates(model):
                with _failing(trace, _GENERATE):
                    _generate(model, given, trace)
            with _failing(trace, _SAVE):
                _save(model, folder, trace)
    return EagerTrace.model_validate(trace.model_dump())


def _made(architecture: Architecture, cache: Path, seed: int) -> Path:
    try:
        return fixture(architecture, cache, seed)
    except Exception as error:  # a type that this release does not know, for one
        raise NotHere(f"no fixture of it can be made: {type(error).__name__}: {error}"[:_LONGEST]) from None


@contextlib.contextmanager
def _failing(trace: EagerTrace, step: str) -> Iterator[None]:
    """What is raised becomes a part of the trace: that is an answer too."""
    try:
        yield
    except Exception as error:
        trace.failures[step] = f"{type(error).__name__}: {error}"[:_LONGEST]


def _given(folder: Path, architecture: Architecture, seed: int) -> Given:
    """What stands beside the fixture, written there by the release that looks first."""
    beside = folder.with_name(f"{folder.name}.inputs.json")
    if not beside.exists():
        config = transformers.AutoConfig.for_model(architecture.model_type, **architecture.config)
        known = [getattr(one, "pad_token_id", None) for one in (config, text_config(config))]
        sides = [side for side in ("left", "right") if architecture.cannot_pad(side) is None]
        given = Given(
            auto_class=architecture.auto_class,
            inputs=dict(inputs_of(architecture, config)),
            padding=(sides or ["none"])[0],
            pad_token=next((one for one in known if isinstance(one, int)), 0),
            seed=seed,
        )
        with tempfile.NamedTemporaryFile("w", dir=folder.parent, prefix=".inputs-", delete=False) as file:
            json.dump(asdict(given), file)
        os.replace(file.name, beside)
    return Given(**json.loads(beside.read_text(encoding="utf-8")))


def _loaded(source: Any, trace: EagerTrace) -> Any:
    """The model, with how long and how much memory it took, and what of its weights was not found."""
    config = transformers.AutoConfig.from_pretrained(source.checkpoint)
    auto_class(source)._model_mapping.get(type(config), None)  # imported before the clock starts
    torch.manual_seed(0)
    before, counts = resident_host_mib(), start_peak_anew()
    started = time.perf_counter()
    model: Any = from_pretrained(source, **{DTYPE_ARGUMENT: torch.float32, "attn_implementation": "eager"})
    trace.seconds = six_digits(time.perf_counter() - started)
    trace.peak_mib = six_digits(max(0.0, peak_host_mib() - before)) if counts else None
    report = model.load_report
    _keep(trace, "missing", report["missing_keys"])
    _keep(trace, "unexpected", report["unexpected_keys"])
    _keep(trace, "mismatched", (name for name, *_ in report["mismatched_keys"]))
    if _generates(model):
        trace.generation = _generation_defaults(model)
    return model


def _generates(model: Any) -> bool:
    return hasattr(model, "generate") and bool(model.can_generate())


def _generation_defaults(model: Any) -> dict[str, str]:
    """What `generate` would do without being told: since transformers 5 a config leaves it open, and generate fills it
    in."""
    config = model.generation_config
    with contextlib.suppress(Exception):  # it is the library's own, and no release promises it
        config, _ = model._prepare_generation_config(None)
    kept = {name: value for name, value in config.to_dict().items() if value is not None and value != {}}
    strange = ("transformers_version", "_from_model_config", "_commit_hash")
    return {
        name: json.dumps(value, sort_keys=True, default=str)[:200]
        for name, value in sorted(kept.items())
        if name not in strange
    }


def _compute(model: Any, given: Given, trace: EagerTrace) -> None:
    batch = given.batch("prefill")
    trace.inputs = _digest_of_batch(batch)
    torch.manual_seed(0)
    logits = logits_of(model(**batch))
    attended = logits[judged(batch, logits)].double()
    trace.shape = list(logits.shape)
    trace.spread = six_digits(float(attended[attended.abs() <= RULED_OUT].std()))
    trace.numbers = [six_digits(number) for number in _sample(attended)]


def _sample(attended: torch.Tensor) -> list[float]:
    """Of positions from the first to the last some classes each, which are not the same everywhere."""
    positions, classes = attended.shape
    places = torch.linspace(0, positions - 1, min(POSITIONS, positions)).long()
    few = min(CLASSES, classes)
    columns = (torch.arange(few) * (classes // few) + torch.arange(len(places))[:, None] * 7) % classes
    found: list[float] = attended[places[:, None], columns].flatten().tolist()
    return found


def _generate(model: Any, given: Given, trace: EagerTrace) -> None:
    batch = given.batch("generate")
    torch.manual_seed(0)
    known = {} if getattr(model.generation_config, "pad_token_id", None) is not None else {"pad_token_id": 0}
    if model.config.is_encoder_decoder and getattr(model.generation_config, "decoder_start_token_id", None) is None:
        known["decoder_start_token_id"] = 0
    found = model.generate(**batch, max_new_tokens=NEW_TOKENS, do_sample=False, **known)
    tokens = getattr(found, "sequences", found).flatten(1)  # of several streams of sound one after the other
    trace.tokens = tokens[:, -NEW_TOKENS:].tolist()


def _save(model: Any, folder: Path, trace: EagerTrace) -> None:
    """Whether what the model saves is called what it was called in the files that it was loaded from."""
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        before, now = _tensors(folder), _tensors(Path(saved))
    _keep(trace, "unsaved", before - now)
    _keep(trace, "renamed", now - before)


def _tensors(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            found.update(file.keys())
    return found


def _keep(trace: EagerTrace, into: str, names: Iterable[str]) -> None:
    """Names under that name of the trace; of what is too long for it a digest says whether another's is the same."""
    known = sorted(map(str, names))
    more = len(known) - _NAMES
    listed = [name[:200] for name in known[:_NAMES]]
    if more > 0:
        listed.append(f"... and {more:,} more")
        trace.digests[into] = _digest(name.encode() for name in known)
    setattr(trace, into, listed)


def _digest_of_files(folder: Path) -> str:
    """Of what is loaded; what was measured when they were made may differ by a rounding unit."""
    files = sorted(path for path in folder.iterdir() if path.name not in (CALIBRATION, DIGESTS))
    return _digest(part for path in files for part in (path.name.encode(), path.read_bytes()))


def _digest_of_batch(batch: Mapping[str, Any]) -> str:
    return _digest(part for name in sorted(batch) for part in (name.encode(), _bytes_of(batch[name])))


def _bytes_of(given: Any) -> bytes:
    content: bytes = given.numpy().tobytes() if isinstance(given, torch.Tensor) else repr(given).encode()
    return content


def _digest(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(hashlib.sha256(part).digest())
    return found.hexdigest()[:12]
