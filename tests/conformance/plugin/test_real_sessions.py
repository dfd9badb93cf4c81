"""Short runs over real models: workers change nothing, and a reproducing script tells the same story."""

import subprocess
import sys
from pathlib import Path

import pytest
import transformers

from tests.sessions import ROOT, run_pytest, run_script

CELLS = [
    "gpt2-float32-sdpa-left-prefill",
    "gpt2-float32-sdpa-cudnn-prefill",
    "gpt2-bfloat16-sdpa-nf4-left-generate",
    "gpt2-float16-flash_attention_2-prefill",
    "opt-float16-sdpa-int8-left-prefill",
]


def test_one_process_and_two_workers_give_the_same_records(tmp_path: Path) -> None:
    chosen = [f"--cell={cell}" for cell in CELLS]
    alone = run_pytest(tmp_path / "alone", *chosen, "-n", "0", real=True)
    shared = run_pytest(tmp_path / "two", *chosen, "-n", "2", real=True)
    assert alone.status == shared.status == 0, alone.output + shared.output
    assert alone.verdicts == shared.verdicts
    assert set(alone.verdicts.values()) == {"supported", "refused", "unavailable"}
    for cell in CELLS:
        ours, theirs = alone.record(cell), shared.record(cell)
        assert ours.kernels == theirs.kernels
        assert [bound.name for bound in ours.bounds] == [bound.name for bound in theirs.bounds]


@pytest.mark.parametrize(("workers", "order"), [("0", 1), ("2", -1)])
def test_no_cell_is_accused_of_what_another_left_behind(tmp_path: Path, workers: str, order: int) -> None:
    cells = [
        f"gpt2-{dtype}-sdpa-left-{workload}" for dtype in ("float32", "float16") for workload in ("prefill", "generate")
    ]
    chosen = [f"--cell={cell}" for cell in cells[::order]]
    session = run_pytest(tmp_path / "out", "-p", "tests.leaker", *chosen, "-n", workers, real=True)
    assert session.verdicts == dict.fromkeys(cells, "supported"), session.output
    assert session.status == 0
    suffered = [record for record in session.report.records if record.first_verdict is not None]
    assert suffered
    assert all("which left the process changed" in record.reason for record in suffered)


@pytest.mark.parametrize("cell", [CELLS[0], CELLS[1], CELLS[4]])
def test_a_reproducing_script_shows_the_same_outcome(tmp_path: Path, cell: str) -> None:
    session = run_pytest(tmp_path / "out", f"--cell={cell}", "-n", "0", real=True)
    record = session.record(cell)
    reproduce = [sys.executable, "-m", "matrix", "reproduce", cell]
    script = subprocess.run(reproduce, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    path = tmp_path / "reproduce.py"
    path.write_text(script)
    answer = run_script(path).stdout
    failure = record.observation.failure
    if failure is not None:
        assert f"raised in phase {failure.phase}: {failure.type}: {failure.message}" in answer
    else:
        (comparison,) = record.observation.comparisons
        assert f"{comparison.name} max error {comparison.candidate_max:.3g}, allowed" in answer
        assert "within bounds" in answer


def test_a_checkpoint_in_shards_is_the_same_model(tmp_path: Path) -> None:
    config = transformers.GPT2Config(vocab_size=256, n_positions=512, n_embd=64, n_layer=2, n_head=4)
    transformers.set_seed(0)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "mine", max_shard_size="100KB")
    _, second, *others = sorted((tmp_path / "mine").glob("*.safetensors"))
    assert others
    chosen = f"--checkpoint=gpt2={tmp_path / 'mine'}"
    session = run_pytest(tmp_path / "out", chosen, f"--cell={CELLS[0]}", "-n", "0", real=True)
    assert session.verdicts == {CELLS[0]: "supported"}, session.output
    second.unlink()
    session = run_pytest(tmp_path / "again", chosen, f"--cell={CELLS[0]}", "-n", "0", real=True)
    assert session.status == 4
    assert f"shards are not there: {second.name}" in session.output
