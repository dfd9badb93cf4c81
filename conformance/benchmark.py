"""How fast the suite is beside a plain loop over the same cells: `python -m conformance.benchmark`.

The loop does without the harness what a script would do for each cell: load golden, baseline and candidate afresh,
prefill, decode 32 tokens where the cell generates, score them with one pass of golden and of baseline. It keeps no
evidence and shares nothing. Both run on the same fixtures, in this one call; only their ratio means anything.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from matrix.architectures import load_architectures
from matrix.cell import Cell, parse_cell
from matrix.expectation import Outcome, expect, load_rules
from matrix.installed import FIXTURE_CACHE
from matrix.plan import make_plan
from matrix.stack import Device, Stack, detect_stack
from matrix.verdict import Verdict
from matrix.waiver import load_waivers
from reports.reading import read_report


def supported_cells(stack: Stack, most: int) -> list[Cell]:
    """Unquantised cells of the full profile that work here, spread evenly over the plan; none of a known fault."""
    architectures = load_architectures()
    rules, waivers = load_rules(architectures), load_waivers(architectures)
    plan = [
        cell
        for cell in make_plan("full", architectures)
        if cell.attention in ("eager", "sdpa")
        and cell.quantisation == "none"
        and cell.device_map in ("none", "auto")
        and not any(waiver.covers(cell, stack) for waiver in waivers)
        and expect(cell, stack, rules).outcome is Outcome.SUPPORTED
    ]
    step = max(1, len(plan) // most)
    return plan[::step][:most]


def time_suite(cells: list[Cell], fixture_cache: Path) -> float:
    """Seconds for `pytest -n auto` over the cells, start-up included."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "conformance/test_cells.py", "-q", "-n", "auto"]
        command += ["-p", "no:cacheprovider", f"--report-dir={folder}/out", f"--fixture-cache={fixture_cache}"]
        command += [f"--cell={cell.id}" for cell in cells]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        report = read_report(Path(folder) / "out")
    wrong = [record.cell for record in report.records if record.verdict is not Verdict.SUPPORTED]
    if wrong:
        raise SystemExit(f"not all cells were supported: {report.counts}, such as {wrong[0]}")
    return seconds


def time_loop(cells: list[Cell], fixture_cache: Path) -> float:
    """Seconds for the plain loop, in a process of its own, start-up included."""
    command = [sys.executable, "-m", "conformance.benchmark", f"--fixture-cache={fixture_cache}", "--loop"]
    started = time.perf_counter()
    subprocess.run([*command, *(cell.id for cell in cells)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def loop(cells: list[Cell], fixture_cache: Path, device: Device) -> None:
    """What a script without the harness would do."""
    import torch

    from conformance.models.batches import extended, make_batch
    from conformance.models.fixtures import fixture
    from conformance.models.loading import Source, load, load_reference
    from conformance.rooms import doing
    from conformance.spellings import pinned, quieten
    from conformance.workloads.generate import NEW_TOKENS

    quieten()
    architectures = load_architectures()
    where = torch.device("cuda:0" if device is Device.CUDA else "cpu")
    # A script would know where its checkpoint lies: that a fixture is whole is looked at once.
    sources = {
        name: Source(architectures[name], str(fixture(architectures[name], fixture_cache)))
        for name in dict.fromkeys(cell.architecture for cell in cells)
    }
    for cell in cells:
        architecture, source = architectures[cell.architecture], sources[cell.architecture]
        encoder_decoder = architecture.kind == "encoder_decoder"
        decoder_tokens = 40 if encoder_decoder and cell.workload == "prefill" else 0
        batch = make_batch(cell.workload, cell.padding.value, 256, 0, decoder_tokens)
        batch = {name: tensor.to(where) for name, tensor in batch.items()}
        golden = load_reference(cell, source, doing(cell), where, golden=True)
        baseline = load_reference(cell, source, doing(cell), where, golden=False)
        candidate = load(cell, source, doing(cell))
        candidate = candidate.to(where) if cell.device_map == "none" else candidate
        with torch.no_grad(), pinned(cell.sdpa_kernel):
            if cell.workload == "generate":
                output = candidate.generate(
                    **batch,
                    max_new_tokens=NEW_TOKENS,
                    min_new_tokens=NEW_TOKENS,
                    do_sample=False,
                    pad_token_id=0,
                    output_logits=True,
                    return_dict_in_generate=True,
                )
                found = torch.stack(output.logits, dim=1)
                if encoder_decoder:
                    batch["decoder_input_ids"] = output.sequences[:, :-1]
                else:
                    batch = extended(batch, output.sequences, False)
            else:
                found = candidate(**batch).logits
        with torch.no_grad():
            truth, usual = (model(**batch).logits[:, -found.shape[1] :] for model in (golden, baseline))
            float((found - truth).abs().max() / (usual - truth).abs().max())


def main() -> None:
    """Print cells per minute of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=800, help="how many cells at most (default: %(default)s)")
    parser.add_argument("--fixture-cache", type=Path, default=FIXTURE_CACHE.expanduser())
    parser.add_argument("--loop", nargs="+", metavar="CELL", help="only run the plain loop over these cells")
    arguments = parser.parse_args()
    stack = detect_stack()
    if arguments.loop:
        loop([parse_cell(cell_id) for cell_id in arguments.loop], arguments.fixture_cache, stack.device)
        return
    cells = supported_cells(stack, arguments.most)
    generating = sum(cell.workload == "generate" for cell in cells)
    print(f"{len(cells)} cells, {generating} of them generate; device {stack.device}; start-up counts on both sides")
    time_loop(cells[:: max(1, len(cells) // 20)], arguments.fixture_cache)  # so that the fixtures are there
    plain = time_loop(cells, arguments.fixture_cache)
    suite = time_suite(cells, arguments.fixture_cache)
    print(f"plain loop            {60 * len(cells) / plain:6.0f} cells a minute")
    print(f"suite, pytest -n auto {60 * len(cells) / suite:6.0f} cells a minute")
    print(f"ratio                 {plain / suite:6.2f}")


if __name__ == "__main__":
    main()
