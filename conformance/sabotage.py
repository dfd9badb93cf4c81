"""Sabotage of the suite itself: whatever makes it look away, or measure something else, must not leave a cell green.

A seeded fault spoils the candidate and asks whether the oracle sees it. Here the candidate is what the cell names, and
it is the suite that is spoiled: checkpoint, fixture, batch, references, comparison, evidence, or its process.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from conformance import course
from conformance.bench import Bench
from conformance.evidence import structure
from conformance.evidence.watch import Watch
from conformance.faults import find
from conformance.judging import comparison, found, references, shared
from conformance.models import batches, fixtures, loading
from conformance.models.outputs import forward, home
from conformance.quantisers import bitsandbytes
from conformance.workloads import padding_invariance
from matrix import oracle
from matrix.architectures import load_architectures
from matrix.cell import parse_cell
from matrix.expectation import SUPPORTED
from matrix.stack import Device
from matrix.verdict import Verdict, judge
from reports.power import SabotageTrial

ARCHITECTURES = load_architectures()
PREFILL, GENERATE, RELATION = (
    f"llama-bfloat16-sdpa-left-{name}" for name in ("prefill", "generate", "padding_invariance")
)
STEPWISE = "llama-bfloat16-sdpa-left-stepwise"
EACH = (PREFILL, GENERATE, RELATION)


@dataclass(frozen=True)
class Stage:
    """What a sabotage may touch before its cell runs."""

    cell: str
    cache: Path  # fixtures
    folder: Path  # empty, its own

    @property
    def architecture(self) -> str:
        """Whose cell it is."""
        return self.cell.partition("-")[0]

    def fixture(self) -> Path:
        """The checkpoint that the cell would be measured on."""
        return fixtures.fixture(ARCHITECTURES[self.architecture], self.cache)


@dataclass(frozen=True)
class Sabotage:
    """One way to make the suite look away."""

    name: str
    stands_for: str
    cells: tuple[str, ...]
    # Spoils the suite while entered; what it gives, if anything, is the checkpoint that the bench is told of.
    spoil: Callable[[Stage], AbstractContextManager[Path | None]]
    own_fixtures: bool = False  # whether it spoils fixtures, which then must be nobody else's
    fault: str = ""  # that is seeded into the candidate as well


SABOTAGE: dict[str, Sabotage] = {}
Patches = Callable[[Stage], Iterator[Any]]


def sabotage(*cells: str, **more: Any) -> Callable[[Patches], Patches]:
    """Put a generator on the list: it yields patches, and a Path if the bench is to be told of a checkpoint.

    Its docstring says what it stands for; `more` are fields of `Sabotage`.
    """

    def register(patches: Patches) -> Patches:
        @contextlib.contextmanager
        def spoil(stage: Stage) -> Iterator[Path | None]:
            checkpoint = None
            with contextlib.ExitStack() as stack:
                for part in patches(stage):
                    if isinstance(part, Path):
                        checkpoint = part
                    else:
                        stack.enter_context(part)
                yield checkpoint

        name = patches.__name__
        SABOTAGE[name] = Sabotage(name, str(patches.__doc__).rstrip("."), cells or EACH, spoil, **more)
        return patches

    return register


def sabotage_trials(
    device: Device, cache: Path, name: str, known: Iterable[SabotageTrial] = ()
) -> Iterator[SabotageTrial]:
    """Every cell of the sabotage of that name, without those that are known."""
    one, done = SABOTAGE[name], {trial.cell for trial in known}
    return (sabotage_trial(one, cell, device, cache) for cell in one.cells if cell not in done)


def sabotage_trial(one: Sabotage, cell_id: str, device: Device, cache: Path) -> SabotageTrial:
    """Run one cell in a suite that is spoiled so."""
    cell = parse_cell(cell_id)
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(cell_id, Path(folder) / "cache" if one.own_fixtures else cache, Path(folder))
        with one.spoil(stage) as checkpoint:
            told = {} if checkpoint is None else {stage.architecture: str(checkpoint)}
            bench = Bench(
                device=device,
                architectures=ARCHITECTURES,
                fixture_cache=stage.cache,
                checkpoints=told,
                explains=False,
            )
            bench.fault = find(one.fault) if one.fault else None
            observation = bench.run(cell)
        judgement = judge(cell, ARCHITECTURES[cell.architecture], observation, SUPPORTED, device)
    mended = [line for line in observation.evidence.warnings if "is built anew" in line]
    return SabotageTrial(
        name=one.name,
        stands_for=one.stands_for,
        cell=cell_id,
        verdict=judgement.verdict,
        reason=mended[0] if mended and judgement.verdict is Verdict.SUPPORTED else judgement.reason,
        caught=judgement.verdict is not Verdict.SUPPORTED or bool(mended),
    )


def _rewritten(stage: Stage, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Path:
    """A copy of the fixture with other weights."""
    target = stage.folder / "checkpoint"
    shutil.copytree(stage.fixture(), target)
    weights = target / "model.safetensors"
    save_file(change(load_file(weights)), weights, metadata={"format": "pt"})
    return target


def _without(part: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda weights: {name: tensor for name, tensor in weights.items() if part not in name}


def _renamed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"x.{name}": tensor for name, tensor in weights.items()}


def _silenced() -> Iterator[Any]:
    for module in (loading, structure):
        yield mock.patch.object(module, "lacking", return_value=[])


@sabotage()
def keys_renamed(stage: Stage) -> Iterator[Any]:
    """A checkpoint whose keys carry another prefix."""
    yield _rewritten(stage, _renamed)


@sabotage()
def keys_renamed_and_unreported(stage: Stage) -> Iterator[Any]:
    """The same, and nobody reads the load report."""
    yield _rewritten(stage, _renamed)
    yield from _silenced()


@sabotage()
def layer_missing(stage: Stage) -> Iterator[Any]:
    """A shard that is missing."""
    yield _rewritten(stage, _without("layers.1."))


@sabotage()
def layer_missing_and_unreported(stage: Stage) -> Iterator[Any]:
    """The same, and nobody reads the load report."""
    yield _rewritten(stage, _without("layers.1."))
    yield from _silenced()


@sabotage()
def q_proj_missing(stage: Stage) -> Iterator[Any]:
    """A projection that a conversion lost."""
    yield _rewritten(stage, _without("q_proj"))


@sabotage()
def norms_missing(stage: Stage) -> Iterator[Any]:
    """Norms that a conversion lost: they are ones for everybody."""
    yield _rewritten(stage, _without("layernorm"))


@sabotage()
def shape_of_another(stage: Stage) -> Iterator[Any]:
    """A weight in another shape."""

    def halved(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor[:32].clone() if "q_proj" in name else tensor for name, tensor in weights.items()}

    yield _rewritten(stage, halved)


@sabotage()
def drawn_instead_of_loaded(stage: Stage) -> Iterator[Any]:
    """A model made from its config instead of its weights."""

    def drawn(source: Any, **arguments: Any) -> Any:
        config = transformers.AutoConfig.from_pretrained(source.checkpoint)
        config._attn_implementation = arguments["attn_implementation"]
        dtype = arguments[loading.DTYPE_ARGUMENT]
        return loading.auto_class(source).from_config(config).to(dtype).eval()

    yield mock.patch.object(loading, "from_pretrained", drawn)


@sabotage(*(cell.replace("llama", "gpt2") for cell in EACH))
def another_model(stage: Stage) -> Iterator[Any]:
    """Another architecture's checkpoint."""
    yield fixtures.fixture(ARCHITECTURES["llama"], stage.cache)


def _spoiled_fixture(stage: Stage, spoil: Callable[[Path], None], *, unread: bool) -> Iterator[Any]:
    spoil(stage.fixture())
    if unread:
        yield mock.patch.object(fixtures, "_damage", return_value="")


def _of_llama(stage: Stage) -> Callable[[Path], None]:
    def exchange(target: Path) -> None:
        shutil.rmtree(target)
        shutil.copytree(fixtures.fixture(ARCHITECTURES["llama"], stage.cache), target)

    return exchange


def _truncate(target: Path) -> None:
    weights = target / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def _flip_bits(target: Path) -> None:
    weights = target / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-2000::7] = bytes(byte ^ 0x40 for byte in content[-2000::7])
    weights.write_bytes(bytes(content))


def _edit_config(target: Path) -> None:
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    (target / "config.json").write_text(
        json.dumps({**config, "rope_theta": 7.0, "rms_norm_eps": 0.5}), encoding="utf-8"
    )


@sabotage(*(cell.replace("llama", "gpt2") for cell in EACH), own_fixtures=True)
def fixture_of_another(stage: Stage) -> Iterator[Any]:
    """Another architecture's folder in the cache."""
    yield from _spoiled_fixture(stage, _of_llama(stage), unread=False)


@sabotage(*(cell.replace("llama", "gpt2") for cell in EACH), own_fixtures=True)
def fixture_of_another_unread(stage: Stage) -> Iterator[Any]:
    """The same, and nobody looks at digests."""
    yield from _spoiled_fixture(stage, _of_llama(stage), unread=True)


@sabotage(own_fixtures=True)
def fixture_half_built(stage: Stage) -> Iterator[Any]:
    """A fixture that was half written."""
    yield from _spoiled_fixture(stage, _truncate, unread=False)


@sabotage(own_fixtures=True)
def fixture_half_built_unread(stage: Stage) -> Iterator[Any]:
    """The same, and nobody looks at digests."""
    yield from _spoiled_fixture(stage, _truncate, unread=True)


@sabotage(own_fixtures=True)
def fixture_with_flipped_bits(stage: Stage) -> Iterator[Any]:
    """A disk that flips bits."""
    yield from _spoiled_fixture(stage, _flip_bits, unread=False)


@sabotage(own_fixtures=True)
def fixture_with_another_config(stage: Stage) -> Iterator[Any]:
    """A config that somebody edited."""
    yield from _spoiled_fixture(stage, _edit_config, unread=False)


_ask = shared.SharedReferences.__call__


def _asked_for(answer: Callable[..., Any]) -> Any:
    return mock.patch.object(shared.SharedReferences, "__call__", answer)


@sabotage()
def references_swapped(stage: Stage) -> Iterator[Any]:
    """Golden and baseline exchanged."""
    yield _asked_for(lambda self, batch, *, golden: _ask(self, batch, golden=not golden))


@sabotage()
def golden_no_more_precise(stage: Stage) -> Iterator[Any]:
    """Golden in the cell's own dtype."""
    yield mock.patch.object(loading, "golden_dtype", loading.torch_dtype)


@sabotage(PREFILL, GENERATE)
def golden_is_the_candidate(stage: Stage) -> Iterator[Any]:
    """Golden from the candidate's own logits."""
    usual = course.Course.compare

    def compare(self: Any, one: Any) -> Any:
        self.references.found, pick = one, one.pick
        one.pick = lambda logits: logits if logits is one.copied else pick(logits)
        one.copied = one.logits.float()
        return usual(self, one)

    yield mock.patch.object(course.Course, "compare", compare)
    yield _asked_for(lambda self, batch, *, golden: self.found.copied if golden else _ask(self, batch, golden=golden))


@sabotage()
def references_through_sdpa(stage: Stage) -> Iterator[Any]:
    """References with the attention of the candidate."""
    usual = loading.from_pretrained
    yield mock.patch.object(
        loading,
        "from_pretrained",
        lambda source, **arguments: usual(source, **{**arguments, "attn_implementation": "sdpa"}),
    )


@sabotage()
def golden_sees_the_padding(stage: Stage) -> Iterator[Any]:
    """Golden from the padded batch."""
    yield mock.patch.object(references, "each_row_alone", lambda model, batch: home(forward(model, batch)))


def _rolled(which: bool) -> Any:
    def answer(self: Any, batch: Any, *, golden: bool) -> Any:
        logits = _ask(self, batch, golden=golden)
        return logits.roll(1, 0) if golden is which else logits

    return _asked_for(answer)


@sabotage(PREFILL, GENERATE)
def golden_rows_rolled(stage: Stage) -> Iterator[Any]:
    """Golden's rows in another order."""
    yield _rolled(True)


@sabotage()
def baseline_rows_rolled(stage: Stage) -> Iterator[Any]:
    """Baseline's rows in another order: whatever comes is within its bounds."""
    yield _rolled(False)


@sabotage(PREFILL, GENERATE)
def references_of_another_seed(stage: Stage) -> Iterator[Any]:
    """References from other weights than the candidate's."""
    other = fixtures.fixture(ARCHITECTURES[stage.architecture], stage.cache, 1)
    usual = references.load_reference
    yield mock.patch.object(
        references,
        "load_reference",
        lambda cell, source, *others, **more: usual(cell, source.at(str(other)), *others, **more),
    )


@sabotage(*(cell.replace("bfloat16", "float16") for cell in EACH))
def baseline_in_bfloat16(stage: Stage) -> Iterator[Any]:
    """A baseline in bfloat16 for every cell."""

    def answer(self: Any, batch: Any, *, golden: bool) -> Any:
        logits = _ask(self, batch, golden=golden)
        return logits if golden else logits.bfloat16()

    yield _asked_for(answer)


def _compared_with(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[Any]:
    """Both comparisons are given what `change` makes of their arguments."""
    for name, candidates in (("compare", ("candidate",)), ("compare_runs", ("one", "other"))):
        usual = getattr(comparison, name)

        def compare(what: str, *, usual: Any = usual, candidates: Any = candidates, **given: Any) -> Any:
            for candidate in candidates:
                made = change({**given, "candidate": given[candidate]})
                given = {**given, candidate: made["candidate"], "attended": made["attended"]}
            return usual(what, **given)

        yield mock.patch.object(found, name, compare)


def _attending(change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[Any]:
    # A relation has two candidates, which are asked for one after the other: the mask is changed but once.
    seen: list[torch.Tensor] = []

    def changed(given: dict[str, Any]) -> dict[str, Any]:
        if not any(mask is given["attended"] for mask in seen):
            seen.append(change(given["attended"]))
            return {**given, "attended": seen[-1]}
        return given

    yield from _compared_with(changed)


@sabotage(PREFILL, RELATION)
def mask_inverted(stage: Stage) -> Iterator[Any]:
    """The mask of what is judged inverted."""
    yield from _attending(torch.logical_not)


@sabotage(PREFILL, RELATION)
def padding_judged(stage: Stage) -> Iterator[Any]:
    """Padding is judged as well."""
    yield from _attending(torch.ones_like)


@sabotage()
def nothing_judged(stage: Stage) -> Iterator[Any]:
    """Nothing is judged."""
    yield from _attending(torch.zeros_like)


def _kept(rows: slice, positions: slice) -> Callable[[torch.Tensor], torch.Tensor]:
    def keep(mask: torch.Tensor) -> torch.Tensor:
        kept = torch.zeros_like(mask)
        kept[rows, positions] = mask[rows, positions]
        return kept

    return keep


@sabotage()
def first_row_judged(stage: Stage) -> Iterator[Any]:
    """Only the longest row is judged."""
    yield from _attending(_kept(slice(0, 1), slice(None)))


@sabotage()
def last_position_judged(stage: Stage) -> Iterator[Any]:
    """Only the last position is judged."""
    yield from _attending(_kept(slice(None), slice(-1, None)))


@sabotage()
def first_half_judged(stage: Stage) -> Iterator[Any]:
    """Only the first half of the positions is judged."""
    yield from _attending(_kept(slice(None), slice(0, 8)))


def _candidate(change: Callable[[torch.Tensor, dict[str, Any]], torch.Tensor]) -> Iterator[Any]:
    yield from _compared_with(lambda given: {**given, "candidate": change(given["candidate"], given)})


@sabotage()
def not_a_number_is_nought(stage: Stage) -> Iterator[Any]:
    """What is not a number counts as nought."""
    yield from _candidate(lambda logits, given: logits.nan_to_num())


@sabotage()
def errors_below_ignored(stage: Stage) -> Iterator[Any]:
    """The candidate's logits are looked at from above only."""
    yield from _candidate(lambda logits, given: torch.maximum(logits, given["golden"].to(logits.dtype)))


@sabotage()
def baseline_in_its_place(stage: Stage) -> Iterator[Any]:
    """Baseline is judged in the candidate's place."""
    yield from _candidate(lambda logits, given: given["baseline"].to(logits.dtype))


@sabotage()
def one_logit_judged(stage: Stage) -> Iterator[Any]:
    """Only one logit of each position is judged."""

    def kept(logits: torch.Tensor, given: dict[str, Any]) -> torch.Tensor:
        one = given["golden"].to(logits.dtype).clone()
        one[..., 0] = logits[..., 0]
        return one

    yield from _candidate(kept)


@sabotage()
def errors_averaged_first(stage: Stage) -> Iterator[Any]:
    """Errors are averaged over the vocabulary before the largest is taken."""

    def averaged(logits: torch.Tensor, given: dict[str, Any]) -> torch.Tensor:
        golden = given["golden"].to(logits.dtype)
        return golden + (logits - golden).nan_to_num().mean(-1, keepdim=True)

    yield from _candidate(averaged)


@sabotage()
def tolerance_a_thousandfold(stage: Stage) -> Iterator[Any]:
    """Bounds that nothing exceeds."""
    for name in ("UNQUANTISED", "SINGLE", "AGREEING"):
        yield mock.patch.object(oracle, name, oracle.Tolerance(k_max=2000.0, k_mean=1400.0))


@sabotage()
def oracle_content(stage: Stage) -> Iterator[Any]:
    """An oracle that finds nothing wrong."""
    yield mock.patch.object(oracle, "problems", return_value=())


@sabotage(GENERATE, GENERATE.replace("generate", "beam"))
def choices_unjudged(stage: Stage) -> Iterator[Any]:
    """Tokens that nobody compares with the best."""
    usual = found.OneRun.__init__

    def made(self: Any, *args: Any, consequences: Any = None, **kwargs: Any) -> None:
        usual(self, *args, **kwargs)

    yield mock.patch.object(found.OneRun, "__init__", made)


@sabotage(RELATION)
def run_against_itself(stage: Stage) -> Iterator[Any]:
    """A relation that holds a run against itself."""
    usual = padding_invariance.TwoRuns
    yield mock.patch.object(padding_invariance, "TwoRuns", lambda name, one, other, *more: usual(name, one, one, *more))


@sabotage(STEPWISE)
def one_call_is_no_decoding(stage: Stage) -> Iterator[Any]:
    """Decoding in a single call."""
    from conformance.workloads import stepwise

    yield mock.patch.object(stepwise, "steps", lambda batch: [batch["attention_mask"].shape[1]])


@sabotage(GENERATE)
def generation_without_cache(stage: Stage) -> Iterator[Any]:
    """Generation without a cache."""
    usual = transformers.GenerationMixin.generate
    yield mock.patch.object(
        transformers.GenerationMixin,
        "generate",
        lambda self, *args, **kwargs: usual(self, *args, **{**kwargs, "use_cache": False}),
    )


def _batches(change: Callable[..., Any]) -> Any:
    usual = batches.made
    return mock.patch.object(batches, "made", lambda *given: change(usual, *given))


@sabotage()
def padding_left_out(stage: Stage) -> Iterator[Any]:
    """A batch without the padding that the cell names."""
    yield _batches(lambda make, spec, lengths, padding, *more: make(spec, lengths, "none", *more))


@sabotage(PREFILL, RELATION)
def padding_on_the_other_side(stage: Stage) -> Iterator[Any]:
    """A batch padded on the other side."""
    yield _batches(lambda make, spec, lengths, padding, *more: make(spec, lengths, "right", *more))


@sabotage()
def every_token_unknown(stage: Stage) -> Iterator[Any]:
    """A tokenizer that knows no word."""

    def unknown(make: Any, *given: Any) -> Any:
        batch = make(*given)
        return {**batch, "input_ids": batch["input_ids"].clamp_max(4)}

    yield _batches(unknown)


@sabotage()
def one_row_repeated(stage: Stage) -> Iterator[Any]:
    """A batch of one row, repeated."""

    def repeated(make: Any, *given: Any) -> Any:
        return {name: tensor[1:2].expand_as(tensor).clone() for name, tensor in make(*given).items()}

    yield _batches(repeated)


@sabotage()
def one_token_long(stage: Stage) -> Iterator[Any]:
    """Prompts of a single token."""
    yield mock.patch.object(batches, "LENGTHS", dict.fromkeys(batches.LENGTHS, (3, 2, 2, 1)))


def _loaded_with(**changed: Any) -> Any:
    usual = course.load

    def load(cell: Any, source: Any, does: Any, **more: Any) -> Any:
        fields = {name: str(getattr(cell, name)) for name in ("dtype", "attention", "quantisation", "device_map")}
        return usual(mock.Mock(**{**fields, **changed}), source, does, **more)

    return mock.patch.object(course, "load", load)


@sabotage(*(cell.replace("sdpa", "eager") for cell in EACH))
def attention_not_asked_for(stage: Stage) -> Iterator[Any]:
    """Attn_implementation is not handed on."""
    yield _loaded_with(attention="sdpa")


@sabotage()
def dtype_not_asked_for(stage: Stage) -> Iterator[Any]:
    """Dtype is not handed on."""
    yield _loaded_with(dtype="float32")


@sabotage(PREFILL.replace("left", "nf4-left"), GENERATE.replace("left", "nf4-left"))
def quantisation_not_asked_for(stage: Stage) -> Iterator[Any]:
    """Quantisation is not handed on."""
    yield mock.patch.object(bitsandbytes, "load_arguments", return_value={})


@sabotage(PREFILL.replace("left", "nf4-left"))
def references_unquantised(stage: Stage) -> Iterator[Any]:
    """References whose weights were never quantised."""
    yield mock.patch.object(bitsandbytes, "spell_out", return_value=None)


@sabotage(*(cell.replace("sdpa", "sdpa-math") for cell in EACH))
def kernel_not_pinned(stage: Stage) -> Iterator[Any]:
    """No kernel is pinned."""
    yield mock.patch.object(course, "pinned", return_value=contextlib.nullcontext())


@sabotage()
def nobody_watches(stage: Stage) -> Iterator[Any]:
    """Nobody watches which kernels run."""
    yield mock.patch.object(Watch, "calls", return_value=contextlib.nullcontext())


@sabotage(fault="served_by_eager")
def served_by_eager_and_forged(stage: Stage) -> Iterator[Any]:
    """Eager serves, and the evidence is forged to name SDPA."""
    from conformance import bench

    usual = bench.structure

    def forged(*given: Any) -> Any:
        evidence = usual(*given)
        return replace(evidence, attn_implementations=dict.fromkeys(evidence.attn_implementations, "sdpa"))

    yield mock.patch.object(bench, "structure", forged)


def _in_attention(act: Callable[[], Any]) -> Any:
    usual = torch.nn.functional.scaled_dot_product_attention

    def attend(*given: Any, **more: Any) -> Any:
        act()
        return usual(*given, **more)

    return mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", attend)


@sabotage()
def process_ended(stage: Stage) -> Iterator[Any]:
    """A library ends the process with status 0."""
    yield _in_attention(lambda: os._exit(0))


@sabotage()
def system_exit(stage: Stage) -> Iterator[Any]:
    """A library leaves by SystemExit."""

    def leave() -> None:
        raise SystemExit(0)

    yield _in_attention(leave)


@sabotage()
def skipped_from_within(stage: Stage) -> Iterator[Any]:
    """A library skips the test that it runs in."""
    yield _in_attention(lambda: pytest.skip("not today"))


@sabotage()
def process_ended_in_load(stage: Stage) -> Iterator[Any]:
    """The process is ended while a model loads."""
    usual = course.load

    def load(*given: Any, **more: Any) -> Any:
        os._exit(0)
        return usual(*given, **more)

    yield mock.patch.object(course, "load", load)
