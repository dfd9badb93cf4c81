"""Whether the place of a fault is found: `python -m conformance.places` plants each in one module, and asks.

Twelve faults in the second layer of each architecture, in float32 and bfloat16 through SDPA. A fault counts as named
where the module is exactly the one in which it sits; beside it stand those that were not seen at all, for they drown.
"""

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import torch
import typer

from conformance.bench import Bench
from conformance.explaining.calls import Calls
from conformance.faults.catalogue import THROUGH_SDPA
from conformance.faults.planted import PLANTED, Planted
from conformance.models.batches import DECODER_TOKENS, LENGTHS
from conformance.plugin.workers import auto_workers
from matrix import oracle
from matrix.architectures import Architecture, Kind, load_architectures
from matrix.axes import Dtype
from matrix.cell import make_cell
from matrix.command_line import run
from matrix.installed import FIXTURE_CACHE
from matrix.pattern import map_row, words
from matrix.stack import Stack, detect_stack
from reports.places import Places, PlaceTrial, places_lines

app = typer.Typer(help=__doc__, add_completion=False)


def trials_of(name: str, stack: Stack, cache: Path) -> list[PlaceTrial]:
    """Every planted fault in one architecture."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    architecture = load_architectures()[name]
    bench = Bench(device=stack.device, architectures={name: architecture}, fixture_cache=cache, explains=False)
    suited = [planted for planted in PLANTED.values() if planted.suits(architecture)]
    return [
        _trial(bench, architecture, planted, dtype) for dtype in (Dtype.FLOAT32, Dtype.BFLOAT16) for planted in suited
    ]


def _trial(bench: Bench, architecture: Architecture, planted: Planted, dtype: Dtype) -> PlaceTrial:
    cell = make_cell(architecture.name, dtype=dtype, attention="sdpa", padding="left", workload=planted.workload)
    bench.fault = planted.fault()
    observation = bench.run(cell)
    seen = any(oracle.problems(one) for one in observation.comparisons)
    origin = bench.origin(cell) if seen else None
    course, _ = bench.recorded(cell, Calls())
    model = course.load()
    names = {id(module): name for name, module in model.named_modules()}
    expected = names[id(planted.where(model))]
    order = [call.module for call in course.calls.found]
    return PlaceTrial(
        fault=planted.name,
        cell=cell.id,
        seen=seen,
        expected=expected,
        named=origin.module if origin else None,
        before=origin is not None and origin.module in order and order.index(origin.module) < order.index(expected),
        pattern=origin.pattern if origin else "",
        expected_pattern=_pattern(architecture, planted) if planted.reach else "",
    )


def _pattern(architecture: Architecture, planted: Planted) -> str:
    """The words for what the fault changes, of a batch that is padded on the left."""
    assert planted.reach is not None
    lengths = LENGTHS["prefill"]
    longest = max(lengths)
    if architecture.kind is Kind.ENCODER_DECODER:
        lengths, longest = (DECODER_TOKENS,) * len(lengths), DECODER_TOKENS
    rows = [
        map_row(
            [None if at < longest - own else 9.0 if planted.reach(row, at, longest) else 0.0 for at in range(longest)]
        )
        for row, own in enumerate(lengths)
    ]
    return words(rows)


@app.command()
def places(
    output: Annotated[Path, typer.Option("--output", "-o", help="where the JSON goes")] = Path(
        "reports/out/places.json"
    ),
    architecture: Annotated[list[str] | None, typer.Option(help="only these")] = None,
) -> None:
    """Plant every fault, ask where it is, and print how often that was right."""
    stack = detect_stack()
    workers = auto_workers(stack) or multiprocessing.cpu_count()
    chosen = architecture or THROUGH_SDPA
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        found = pool.map(trials_of, chosen, [stack] * len(chosen), [FIXTURE_CACHE.expanduser()] * len(chosen))
        trials = [trial for share in found for trial in share]
    document = Places(stack=stack, trials=trials)
    for line in places_lines(document):
        typer.echo(line)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(document.model_dump_json(indent=1) + "\n", encoding="utf-8")
    typer.echo(f"written to {output}")


if __name__ == "__main__":
    run(app)
