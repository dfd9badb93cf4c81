"""What dials can be read to: `python -m conformance.dial_power` turns each, and asks.

Honest backends, every dial at many sizes and the faults that are no dial, in each architecture and dtype with several
seeds: how small an error is read, how often the truth lies inside the error bars, and whom it is laid to.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from conformance.course import Course
from conformance.dials import DIALS
from conformance.dials.reading import Reader
from conformance.faults import FAULTS
from conformance.faults.catalogue import THROUGH_SDPA
from conformance.judging.found import OneRun
from conformance.judging.shared import Kept, SharedReferences
from conformance.models.fixtures import fixture
from conformance.models.loading import Source, load
from conformance.notes import Notes
from conformance.plugin.workers import auto_workers
from conformance.pool import Work, campaign, processes
from conformance.rooms import doing
from conformance.spellings import quieten
from matrix import oracle
from matrix.architectures import Architecture, load_architectures
from matrix.axes import Attention, Dtype, Padding, SdpaKernel
from matrix.cell import Cell, make_cell
from matrix.command_line import run
from matrix.dialled import another_batch, dials_add_up
from matrix.dials import Reading
from matrix.errors import UsageError, quoted
from matrix.installed import FIXTURE_CACHE
from matrix.stack import Device, Stack, detect_stack
from reports.dials import COMMAND, DialPower, DialTrial, dial_lines, dial_markdown
from reports.files import make_room_for, write_whole

ARCHITECTURES = (*THROUGH_SDPA, "falcon_alibi")
# Sizes that are seeded, from the largest to the first that is not seen.
SIZES = {
    "%": (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 50),
    "tokens": (0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1),
}
HONEST = (
    *((Attention.SDPA, kernel) for kernel in SdpaKernel),
    (Attention.FLASH_ATTENTION_2, SdpaKernel.UNPINNED),
    (Attention.FLEX_ATTENTION, SdpaKernel.UNPINNED),  # without a GPU minutes of compiling
)
KEPT = 2**31  # bytes: all batches of a cell, and what turning does there, which each trial asks again
_NOT_HERE = (ImportError, ValueError, RuntimeError, NotImplementedError)

app = typer.Typer(help=__doc__, add_completion=False)


@dataclass(frozen=True)
class Share:
    """What one process does: one architecture in one dtype with one seed of weights and inputs."""

    architecture: str
    dtype: Dtype
    seed: int
    stack: Stack
    fixture_cache: Path
    dials: tuple[str, ...] = ()  # that are seeded; empty for all
    honest_only: bool = False


def measure_share(share: Share, known: Sequence[DialTrial] = ()) -> Iterator[DialTrial]:
    """Its trials, the honest ones first, without those that are known.

    Raises:
        UsageError: the architecture does not answer through SDPA.
    """
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    quieten()
    laboratory = Laboratory(load_architectures()[share.architecture], share, known)
    answers = bool(known)
    for trial in laboratory.honest():
        answers = True
        yield trial
    if not answers:
        raise UsageError(f"{share.architecture} does not answer through SDPA: it has no dials")
    if not share.honest_only:
        yield from laboratory.seeded()
        yield from laboratory.faulty()


class Laboratory:
    """The models and references of one share."""

    def __init__(self, architecture: Architecture, share: Share, known: Iterable[DialTrial] = ()) -> None:
        self._architecture, self._share = architecture, share
        self._known = {(one.cell, one.dial, one.size, one.fault): one for one in known}
        self._device = torch.device("cuda:0" if share.stack.device is Device.CUDA else "cpu")
        self._source = Source(architecture, str(fixture(architecture, share.fixture_cache, share.seed)))
        self._kept = Kept()
        self._reader = Reader(KEPT)

    def honest(self) -> Iterator[DialTrial]:
        """Every backend that is here, under every padding; of these as of the others those that are not known."""
        for attention, kernel in HONEST:
            if attention is Attention.FLEX_ATTENTION and self._device.type == "cpu":
                continue
            with contextlib.suppress(*_NOT_HERE):
                model = self.loaded(attention)
                for padding in Padding:
                    cell = self.cell(attention, kernel, padding)
                    if (cell.id, "", 0.0, "") not in self._known:
                        yield self.trial(cell, model)

    def seeded(self) -> Iterator[DialTrial]:
        """Each dial from its largest size to the first that is not seen."""
        model, cell = self.loaded(), self.cell()
        for name, dial in DIALS.items():
            if (self._share.dials and name not in self._share.dials) or not dial.suits(model):
                continue
            for size in reversed(SIZES[dial.knob.unit]):
                trial = self._known.get((cell.id, name, size, ""))
                if trial is None:
                    trial = self.trial(cell, model, partial(dial.turning, model, size), dial=name, size=size)
                    if not any(one.speaks_of(name) for one in trial.readings):
                        break  # it moves nothing in this fixture
                    yield trial
                if not any(one.is_off and one.speaks_of(name) for one in trial.readings):
                    break

    def faulty(self) -> Iterator[DialTrial]:
        """The faults of the catalogue that sit in a forward pass through SDPA."""
        cell = self.cell()
        for fault in FAULTS.values():
            if (
                not self._share.dials
                and fault.suits(self._architecture)
                and cell.dtype not in fault.eager_does_it_in
                and fault.cell(self._architecture, cell.dtype) == cell
                and (cell.id, "", 0.0, fault.name) not in self._known
            ):
                model = self.loaded()
                fault.loaded(model, cell)
                yield self.trial(cell, model, partial(fault.running, model), fault=fault.name)

    def cell(
        self,
        attention: Attention = Attention.SDPA,
        kernel: SdpaKernel = SdpaKernel.UNPINNED,
        padding: Padding = Padding.LEFT,
    ) -> Cell:
        """A forward pass of the share's architecture and dtype."""
        return make_cell(
            self._architecture.name,
            dtype=self._share.dtype,
            attention=attention,
            sdpa_kernel=kernel,
            padding=padding,
        )

    def loaded(self, attention: Attention = Attention.SDPA) -> Any:
        """A candidate."""
        cell = self.cell(attention)
        return load(cell, self._source, doing(cell)).to(self._device)

    def trial(
        self,
        cell: Cell,
        model: Any,
        turned: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
        *,
        dial: str = "",
        size: float = 0.0,
        fault: str = "",
    ) -> DialTrial:
        """Run the model as the cell says while something is turned, and read all dials.

        Raises:
            UsageError: the architecture does not answer through SDPA, so that it has none.
        """
        references = SharedReferences(cell, self._source, self._device, self._kept)

        def course(number: int = 0) -> Course:
            seed = self._share.seed + another_batch(number)
            return Course(cell, self._source, doing(cell), self._device, seed, references)

        def ran(number: int = 0) -> OneRun:
            with turned():
                return course(number).run(model)

        found = ran()
        comparisons = course().compare(found)
        if not getattr(references.model(True), "_supports_sdpa", False):
            raise UsageError(f"{cell.architecture} does not answer through SDPA")
        return DialTrial(
            architecture=cell.architecture,
            dtype=cell.dtype,
            seed=self._share.seed,
            cell=cell.id,
            dial=dial,
            size=size,
            fault=fault,
            seen=any(oracle.problems(one) for one in comparisons),
            readings=list(self._read(found, references, ran)),
        )

    def _read(self, found: OneRun, references: SharedReferences, again: Callable[[int], OneRun]) -> tuple[Reading, ...]:
        if dials_add_up(references.cell):
            return self._reader.surely(found, references, again)
        return self._reader(found, references)


@app.command()
def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="where the JSON goes; a .md goes beside it")] = Path(
        "reports/out/dials.json"
    ),
    architecture: Annotated[list[str] | None, typer.Option(help="only this one; may be repeated")] = None,
    dtype: Annotated[list[Dtype] | None, typer.Option(help="only this one; may be repeated")] = None,
    seed: Annotated[list[int] | None, typer.Option(min=0, help="of weights and inputs; may be repeated")] = None,
    dial: Annotated[list[str] | None, typer.Option(help="only this one is turned; may be repeated")] = None,
    honest: Annotated[bool, typer.Option("--honest", help="only honest backends")] = False,
    workers: Annotated[int, typer.Option(min=0, help="processes, of up to 4 GiB each; 0 for as many as suit it")] = 0,
    fixture_cache: Annotated[Path, typer.Option(help="where fixtures are kept")] = FIXTURE_CACHE,
) -> None:
    """Turn every dial in every architecture, and read all of them."""
    known = load_architectures()
    for what, named, allowed in (("architecture", architecture, known), ("dial", dial, DIALS)):
        for name in named or ():
            if name not in allowed:
                raise UsageError(f"unknown {what} {quoted(name)}; allowed are {', '.join(allowed)}")
    make_room_for(output)
    stack, started, notes = detect_stack(), datetime.now(UTC), Notes.beside(output)
    shares = [
        Share(name, one, number, stack, fixture_cache.expanduser(), tuple(dial or ()), honest)
        for number in seed or (0,)
        for name in architecture or ARCHITECTURES
        for one in dtype or Dtype
    ]
    asked = " ".join([*sorted(dial or ()), *(["honest"] if honest else [])])
    work = [
        Work(f"{one.architecture} in {one.dtype}, seed {one.seed}", DialTrial, partial(measure_share, one))
        for one in shares
    ]
    with notes.held(COMMAND, stack, asked):
        trials, left = campaign(processes(workers or auto_workers(stack) or 1, len(stack.gpus)), work, notes)
        power = DialPower(
            started=started, finished=datetime.now(UTC), stack=stack, trials=trials, asked=asked, left=left
        )
        write_whole(output, power.model_dump_json(exclude_defaults=True) + "\n")
        write_whole(output.with_suffix(".md"), dial_markdown(power))
        if not left:
            notes.path.unlink(missing_ok=True)
    for line in dial_lines(power):
        typer.echo(line)
    typer.echo(f"written to {output} and {output.with_suffix('.md')}")
    if left:
        typer.echo(f"interrupted or failed: {left} architectures, each in a dtype and a seed, are left")
        typer.echo("the same command goes on")
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)
