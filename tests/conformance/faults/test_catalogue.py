"""Every seeded fault is caught where it can show, and the same cell without it is green."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conformance.bench import Bench
from conformance.faults import FAULTS
from conformance.power import ARCHITECTURES as EXTRA_ARCHITECTURES
from matrix.architectures import load_architectures
from matrix.axes import Attention, Dtype
from matrix.cell import Cell
from matrix.expectation import SUPPORTED
from matrix.stack import Device, detect_stack
from matrix.verdict import Verdict, judge
from tests.sessions import run_pytest

ARCHITECTURES = load_architectures(EXTRA_ARCHITECTURES)
IN_ONE_PROCESS = [name for name, fault in FAULTS.items() if fault.device_map != "tp2"]  # of others: test_ranks.py
# Together they have what every fault breaks.
SPREAD = ("llama", "mistral", "falcon_alibi", "t5", "gemma2", "mixtral", "llama_blocks", "gpt_oss")


def cell_for(name: str, dtype: Dtype) -> Cell:
    fault = FAULTS[name]
    return fault.cell(next(ARCHITECTURES[name] for name in SPREAD if fault.suits(ARCHITECTURES[name])), dtype)


def skip_unless_installed(cell: Cell) -> None:
    """What reads a format is optional, of bitsandbytes alone there is always one."""
    lacking = [name for name in cell.quantisation.needs if cell.quantisation.written and detect_stack().lacks(name)]
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}")


def verdict(cell: Cell, cache: Path, fault: str | None) -> Verdict:
    bench = Bench(
        device=Device.CPU,
        architectures=ARCHITECTURES,
        fixture_cache=cache,
        fault=FAULTS[fault] if fault else None,
        explains=False,
    )
    return judge(cell, ARCHITECTURES[cell.architecture], bench.run(cell), SUPPORTED, Device.CPU).verdict


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fixtures")


def test_the_catalogue_is_large_and_says_what_each_fault_stands_for() -> None:
    assert len(FAULTS) >= 40
    assert all(len(fault.stands_for) > 10 for fault in FAULTS.values())


@pytest.mark.parametrize("name", sorted(IN_ONE_PROCESS))
def test_a_seeded_fault_is_caught(cache: Path, name: str) -> None:
    # bfloat16 is where most noise hides a fault.
    cell = cell_for(name, Dtype.FLOAT16 if Dtype.BFLOAT16 in FAULTS[name].eager_does_it_in else Dtype.BFLOAT16)
    skip_unless_installed(cell)
    assert verdict(cell, cache, name) in (Verdict.INACCURATE, Verdict.SUBSTITUTED)


@pytest.mark.parametrize(
    "cell", sorted({cell_for(name, Dtype.BFLOAT16) for name in IN_ONE_PROCESS}, key=lambda cell: cell.id)
)
def test_without_a_fault_the_same_cells_are_green(cache: Path, cell: Cell) -> None:
    skip_unless_installed(cell)
    assert verdict(cell, cache, None) is Verdict.SUPPORTED


@pytest.mark.parametrize(
    ("name", "dtype", "same"),
    [
        *((name, dtype, True) for name, fault in FAULTS.items() for dtype in fault.eager_does_it_in),
        ("probabilities_in_bfloat16", Dtype.FLOAT16, False),
        ("scale_1_percent", Dtype.BFLOAT16, False),
    ],
)
def test_what_eager_does_too_is_the_same_bit_for_bit_and_called_no_fault_there(
    cache: Path, name: str, dtype: Dtype, same: bool
) -> None:
    cell = cell_for(name, dtype)
    answers: list[torch.Tensor] = []
    for attention, fault in ((Attention.EAGER, None), (cell.attention, FAULTS[name])):
        bench = Bench(
            device=Device.CPU,
            architectures=ARCHITECTURES,
            fixture_cache=cache,
            fault=fault,
            on_found=lambda found, references: answers.append(found.logits[found.attended]),
        )
        bench.run(replace(cell, attention=attention))
    assert torch.equal(*answers) == same


def test_a_fault_can_be_seeded_into_a_run(tmp_path: Path) -> None:
    cell = "llama-float32-sdpa-left-prefill"
    faulty = run_pytest(tmp_path / "faulty", f"--cell={cell}", "-n", "0", "--fault=scale_1_percent", real=True)
    assert (faulty.status, faulty.verdicts[cell]) == (1, "inaccurate")
