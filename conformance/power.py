"""What the oracle can see: `python -m conformance.power` seeds every fault and counts which are caught.

Each fault runs in every dtype on every architecture that has what it breaks and on which the same cell is green without
it. Beside the suite's verdict stands what three common rules say of the very same logits. A fault that is not caught
is run once more in higher precision: its effect there, over what eager attention errs by in the cell's dtype, says
whether there was anything to see. Last the suite itself is spoiled, in every way of `conformance.sabotage`.
"""

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from conformance.bench import Bench
from conformance.common_rules import Logits, assert_close_passes, transformers_passes
from conformance.faults import FAULTS, Fault, find
from conformance.faults.attention import wrong_scale
from conformance.faults.catalogue import sdpa_answered_by
from conformance.judging.found import OneRun
from conformance.judging.precision import TrueFloat64
from conformance.judging.references import References
from conformance.models.batches import told
from conformance.models.fixtures import fixture
from conformance.models.loading import Source, from_pretrained, golden_dtype, torch_dtype
from conformance.models.outputs import forward
from conformance.notes import Notes
from conformance.plugin.workers import auto_workers
from conformance.pool import Work, campaign, processes
from conformance.sabotage import SABOTAGE, sabotage_trials
from conformance.spellings import DTYPE_ARGUMENT, PLAIN_EXPERTS
from matrix import oracle
from matrix.architectures import Architecture, Kind, load_architectures
from matrix.axes import Attention, Dtype
from matrix.cell import SILENT, Cell
from matrix.command_line import run
from matrix.constraints import why_impossible
from matrix.expectation import SUPPORTED
from matrix.installed import FIXTURE_CACHE, with_installed
from matrix.observation import Comparison
from matrix.stack import Stack, detect_stack
from matrix.verdict import Judgement, Verdict, judge
from matrix.waiver import load_waivers
from matrix.workloads import WORKLOADS
from reports.files import make_room_for, write_whole
from reports.power import COMMAND, Power, Rules, SabotageTrial, Trial, power_lines, summarise, zoo_lines

# Faults need an architecture with softcapped scores, which the matrix itself does not try.
ARCHITECTURES = Path(__file__).parent / "faults" / "architectures"
SWEEP = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10)  # per cent of softmax scale

# What is seeded into every type of the installed library: what any attention may have, and what tells its traits apart.
ZOO_FAULTS = (
    "scale_2_percent",
    "scale_10_percent",
    "causal_dropped",
    "causal_off_by_one",
    "padding_ignored",
    "left_read_as_right",
    "one_key_dropped",
    "window_off_by_one",
    "window_ignored",
    "heads_repeated_wrongly",
    "one_kv_head_for_all",
    "one_head_zeroed",
    "heads_swapped",
    "strides_misread",
    "softmax_over_queries",
    "layer_repeated",
)
NO_SIGNAL = 1e-3  # of rounding: a fault that moves logits by less sits where nothing passes
ZOO_DTYPES = (Dtype.FLOAT32, Dtype.FLOAT16)

_OF_USE = (Verdict.SUPPORTED, Verdict.INACCURATE)
# A seeded fault goes wrong silently; one that raises is itself at fault.
_OF_FAULTS = (Verdict.SUPPORTED, Verdict.INACCURATE, Verdict.SUBSTITUTED)

app = typer.Typer(help=__doc__, add_completion=False)


@dataclass(frozen=True)
class Share:
    """What one process does: every fault on one architecture in one dtype."""

    architecture: str
    dtype: Dtype
    stack: Stack
    fixture_cache: Path
    faults: tuple[str, ...]  # empty for all
    zoo: bool = False  # whether the architecture is one of the installed library's


def measure_share(share: Share, known: Iterable[Trial] = ()) -> Iterator[Trial]:
    """The trials of one architecture in one dtype, the honest ones first, without those that are known."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    architectures = _installed(share.fixture_cache) if share.zoo else load_architectures(ARCHITECTURES)
    architecture, waivers = architectures[share.architecture], load_waivers(architectures)
    chosen = [find(name) for name in share.faults] or list(FAULTS.values())
    suited = [fault for fault in chosen if fault.suits(architecture) and share.dtype not in fault.eager_does_it_in]
    # The matrix does not try it: what it shows is no fault, and is none without one.
    faults = [one for one in suited if why_impossible(one.cell(architecture, share.dtype), architecture) is None]
    extra = not share.zoo and share.architecture not in load_architectures()
    if extra:  # it is there for the faults that need it
        faults = [fault for fault in faults if fault.attention is not Attention.SDPA]
    laboratory = _Laboratory(architecture, share)
    done = {(one.cell, one.fault, one.percent): one for one in known}
    runnable = set()
    for cell in dict.fromkeys(fault.cell(architecture, share.dtype) for fault in faults):
        if (cell.id, "", None) not in done:
            honest = laboratory.trial(cell, None)
            waived = any(one.verdict is honest.verdict and one.covers(cell, share.stack) for one in waivers)
            if honest.verdict not in _OF_USE or waived:
                continue  # refused, unavailable or at fault by itself: what is seeded there could not be told
            yield honest
        runnable.add(cell)
    for fault in faults:
        cell = fault.cell(architecture, share.dtype)
        if cell in runnable and (cell.id, fault.name, None) not in done:
            yield from laboratory.seeded(cell, fault, if_it_applies=share.zoo)
    if not share.faults and not extra and (swept := laboratory.swept(share.dtype)) in runnable:
        # From the largest error to the first that is not caught.
        for percent in reversed(SWEEP):
            fault = _scale_off_by(percent)
            trial = done.get((swept.id, fault.name, percent))
            if trial is None:
                trial = laboratory.trial(swept, fault, percent=percent)
                yield trial
            if not trial.caught.suite:
                return


class _Laboratory:
    """A bench, and what the last cell left on it."""

    def __init__(self, architecture: Architecture, share: Share) -> None:
        self._architecture = architecture
        self._stack = share.stack
        self._bench = Bench(
            device=share.stack.device,
            architectures={architecture.name: architecture},
            fixture_cache=share.fixture_cache,
            on_found=self._keep,
            is_judged=self._hear,
            explains=False,
        )
        self._source = Source(architecture, str(fixture(architecture, share.fixture_cache)))
        self._logits: Logits | None = None
        self._texts: list[torch.Tensor | None] | None = None  # where nobody is to judge, what was chosen
        self._eager_texts: dict[Cell, torch.Tensor | None] = {}

    def seeded(self, cell: Cell, fault: Fault, *, if_it_applies: bool) -> Iterator[Trial]:
        """The trial of a fault; with `if_it_applies` none of one that raises here, or that moves next to no number."""
        try:
            trial = self.trial(cell, fault)
        except (AssertionError, AttributeError, IndexError, RuntimeError, StopIteration, TypeError):
            if if_it_applies:
                return
            raise
        moves = trial.signal_to_noise is None or trial.signal_to_noise > NO_SIGNAL
        if moves or not if_it_applies:
            yield trial

    def trial(self, cell: Cell, fault: Fault | None, *, percent: float | None = None) -> Trial:
        """Run the cell with the fault, or honestly, and ask every rule."""
        judgement, comparisons = self._judge(cell, fault)
        ratios = [bound.ratio for comparison in comparisons for bound in oracle.bounds(comparison)]
        of_size = [oracle.problems(replace(comparison, readings=())) for comparison in comparisons]
        too_large = any(of_size) if of_size else None
        logits = self._logits
        if fault is not None and judgement.verdict not in _OF_FAULTS:
            raise AssertionError(f"{fault.name} in {cell}: {judgement.verdict}: {judgement.reason}")
        missed = judgement.verdict is Verdict.SUPPORTED
        to_noise = self._signal_to_noise(cell, fault) if fault is not None and missed else None
        caught = Rules(suite=not missed, size=too_large)
        if logits is not None:
            caught = Rules(
                suite=not missed,
                size=too_large,
                transformers=not transformers_passes(logits, cell.dtype),
                assert_close=not assert_close_passes(logits, cell.dtype),
                greedy_text=self._text_differs(cell, fault) if percent is None else None,
            )
        return Trial(
            fault=fault.name if fault is not None else "",
            percent=percent,
            cell=cell.id,
            dtype=cell.dtype,
            architecture=cell.architecture,
            verdict=judgement.verdict,
            ratio=max(ratios, default=None),
            caught=caught,
            signal_to_noise=to_noise,
        )

    def swept(self, dtype: Dtype) -> Cell:
        """The cell of the sweep."""
        return _scale_off_by(SWEEP[0]).cell(self._architecture, dtype)

    def _judge(self, cell: Cell, fault: Fault | None) -> tuple[Judgement, tuple[Comparison, ...]]:
        self._logits = None
        self._bench.fault = fault
        observation = self._bench.run(cell)
        judgement = judge(cell, self._architecture, observation, SUPPORTED, self._stack.device)
        return judgement, observation.comparisons

    def _hear(self, found: Any) -> bool:
        """Whether what was found is judged."""
        if self._texts is not None:
            self._texts.append(found.chosen)
        return self._texts is None

    def _keep(self, found: OneRun, references: References) -> None:
        references = found.truth(references)
        self._logits = Logits(
            candidate=found.logits,
            baseline=found.pick(references(found.forced, golden=False)).cpu(),
            golden=found.pick(references(found.forced, golden=True)).cpu(),
            attended=found.attended,
            chosen=found.chosen,
            forced=found.forced,
        )

    def _text_differs(self, cell: Cell, fault: Fault | None) -> bool:
        """Whether the greedy text is another than eager's; an encoder's is its best token at each position."""
        if self._architecture.kind is Kind.ENCODER:
            logits = self._logits
            ours, eager = logits.candidate.cpu().argmax(-1), logits.baseline.cpu().argmax(-1)
            return bool((ours != eager)[logits.attended].any())
        generating = replace(cell, workload=WORKLOADS["generate"])
        eager = replace(generating, attention=Attention(self._architecture.reference_attention))
        if eager not in self._eager_texts:
            self._eager_texts[eager] = self._chosen(eager, None)
        text, usual = self._chosen(generating, fault), self._eager_texts[eager]
        return text is None or usual is None or not text.equal(usual)

    def _chosen(self, cell: Cell, fault: Fault | None) -> torch.Tensor | None:
        """The tokens that the cell chooses, which nobody judges; None where it raises."""
        self._texts, self._bench.fault = [], fault
        try:
            self._bench.run(cell)
            return self._texts[0] if self._texts else None
        finally:
            self._texts = None

    def _signal_to_noise(self, cell: Cell, fault: Fault) -> float | None:
        """How far the fault moves the logits in higher precision, over how far eager is off in the cell's dtype."""
        ordinary = ("quantisation", "device_map")  # of others nobody here has the logits, or a more precise model
        if cell.workload != "prefill" or any(getattr(cell, axis) != SILENT[axis] for axis in ordinary):
            return None
        logits = self._logits
        # With plain experts, since the fused product has no kernel for float64.
        arguments = {
            DTYPE_ARGUMENT: torch_dtype(cell.dtype),
            "attn_implementation": str(cell.attention),
            **PLAIN_EXPERTS,
        }
        model = from_pretrained(self._source, **arguments).to(self._bench.device).to(golden_dtype(cell.dtype))
        fault.loaded(model, cell)
        precise = TrueFloat64() if cell.dtype is Dtype.FLOAT32 else contextlib.nullcontext()
        with torch.no_grad(), fault.running(model), precise:
            faulty = forward(model, told(logits.forced, model, self._architecture))
        signal = (faulty.to(logits.golden.device) - logits.golden)[logits.attended].double().abs().mean()
        noise = (logits.baseline - logits.golden)[logits.attended].double().abs().mean()
        return float(signal / noise)


def _scale_off_by(percent: float) -> Fault:
    return Fault(
        f"scale {percent:g} %",
        "a sweep for the detection limit",
        lambda architecture: True,
        running=lambda model: sdpa_answered_by(wrong_scale(percent), model),
    )


def shares(stack: Stack, fixture_cache: Path, faults: tuple[str, ...]) -> list[Share]:
    """The work, in parts for one process each."""
    # The catalogue is of attention: beside recurrent layers its faults drown.
    names = [name for name, one in load_architectures(ARCHITECTURES).items() if not one.recurrent]
    return [Share(name, dtype, stack, fixture_cache, faults) for name in names for dtype in Dtype]


def zoo_shares(stack: Stack, fixture_cache: Path, faults: tuple[str, ...], every: int) -> list[Share]:
    """The same of the installed types that take text, padded on the left, through SDPA; of every so many-th."""
    names = [
        name
        for name, one in _installed(fixture_cache).items()
        if one.flags.get("_supports_sdpa")
        and not one.unbuilt
        and one.inputs.get("tokens", True)
        and one.cannot_pad("left") is None
        and Attention.SDPA not in one.cannot
    ]
    return [
        Share(name, dtype, stack, fixture_cache, faults or ZOO_FAULTS, zoo=True)
        for name in names[::every]
        for dtype in ZOO_DTYPES
    ]


def _installed(fixture_cache: Path) -> Mapping[str, Architecture]:
    return with_installed(load_architectures(), fixture_cache)


@app.command()
def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="where the JSON goes")] = Path(
        "reports/out/power.json"
    ),
    fault: Annotated[list[str] | None, typer.Option(help="only this fault; may be repeated")] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 for as many as suit the machine")] = 0,
    fixture_cache: Annotated[Path, typer.Option(help="where fixtures are kept")] = FIXTURE_CACHE,
    zoo: Annotated[bool, typer.Option("--zoo", help="into every type of the installed transformers")] = False,
    every: Annotated[int, typer.Option(min=1, help="with --zoo, only each so many-th type")] = 1,
) -> None:
    """Seed every fault in every dtype on every architecture that has what it breaks, and count what is caught."""
    for name in fault or ():
        find(name)
    stack, started, notes = detect_stack(), datetime.now(UTC), Notes.beside(output)
    cache = fixture_cache.expanduser()
    for place in (output, cache / "fixtures"):
        make_room_for(place)
    faults = tuple(dict.fromkeys(fault or ()))
    parts = zoo_shares(stack, cache, faults, every) if zoo else shares(stack, cache, faults)
    sabotage = () if faults or zoo else tuple(SABOTAGE)
    asked = " ".join([*sorted(faults), *(["zoo"] if zoo else [])])
    work = [
        *(Work(name, SabotageTrial, partial(sabotage_trials, stack.device, cache, name)) for name in sabotage),
        *(Work(f"{one.architecture} in {one.dtype}", Trial, partial(measure_share, one)) for one in parts),
    ]
    with notes.held(COMMAND, stack, asked):
        trials, left = campaign(processes(workers or auto_workers(stack) or 1, len(stack.gpus)), work, notes)
        power = Power(
            started=started,
            finished=datetime.now(UTC),
            stack=stack,
            faults={fault.name: fault.stands_for for fault in FAULTS.values()},
            trials=[one for one in trials if isinstance(one, Trial)],
            sabotage=[one for one in trials if isinstance(one, SabotageTrial)],
            asked=asked,
            left=left,
        )
        write_whole(output, power.model_dump_json(exclude_defaults=True) + "\n")
        if not left:
            notes.path.unlink(missing_ok=True)
    for line in zoo_lines(power) if zoo else power_lines(summarise(power)):
        typer.echo(line)
    typer.echo(f"written to {output}")
    if power.left:
        said = "interrupted or failed: {left} architectures, each in a dtype, are left; the same command goes on"
        typer.echo(said.format(left=power.left))
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)
