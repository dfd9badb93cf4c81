"""Whole pytest runs over played cells: every planned cell is accounted for, whatever happens to it."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from matrix.regressions import load_regressions
from tests.sessions import ROOT, run_pytest

CELLS = [
    "gpt2-float32-eager-prefill",
    "gpt2-float32-sdpa-prefill",
    "llama-float32-eager-prefill",
    "opt-float32-eager-prefill",
]
CHOSEN = [f"--cell={cell}" for cell in CELLS]


def test_a_good_run_ends_0_and_leaves_a_whole_report(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "0")
    assert session.status == 0, session.output
    assert session.verdicts == dict.fromkeys(CELLS, "supported")
    assert "4 cells, 4 executed: 4 as documented" in session.output
    assert (tmp_path / "out" / "index.html").read_text().startswith("<!doctype html>")
    lines = [json.loads(line)["kind"] for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert lines == ["run", "process", "record", "record", "record", "record", "process", "end"]
    (process,) = session.report.processes
    assert process.memory is not None
    assert process.memory.host > 10


def test_an_inaccurate_cell_fails_the_run_and_is_named_first(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "0", sabotage={CELLS[2]: "err"})
    assert session.status == 1
    assert session.verdicts[CELLS[2]] == "inaccurate"
    summary = session.output.partition("support matrix")[2]
    assert summary.index(f"INACCURATE {CELLS[2]}") < summary.index("as documented")
    assert f"python -m matrix reproduce {CELLS[2]}" in summary
    assert "max error 9 exceeds 3.1" in summary


def test_wrong_numbers_say_where_they_begin_and_cells_of_one_cause_are_one_entry(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "0", sabotage=dict.fromkeys(CELLS[:2], "err"))
    record = session.record(CELLS[0])
    assert record.observation.origin is not None
    assert record.reason.endswith("begins in model.layers.0.mlp (MLP): row 1 only")
    summary = session.output.partition("support matrix")[2]
    assert f"INACCURATE {CELLS[1]} and 1 more" in summary
    assert f"the same: {CELLS[0]}" in summary


@pytest.mark.parametrize("how", ["crash", "hang"])
def test_an_explanation_that_takes_the_process_down_costs_the_explanation_alone(tmp_path: Path, how: str) -> None:
    sabotage = {CELLS[1]: f"err, and {how} when explained"}
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "1", "--cell-timeout=2", sabotage=sabotage)
    assert session.verdicts == {**dict.fromkeys(CELLS, "supported"), CELLS[1]: "inaccurate"}
    assert session.record(CELLS[1]).observation.origin is None
    assert "max error 9 exceeds" in session.record(CELLS[1]).reason


def test_an_explanation_that_loses_the_device_ends_the_process_and_no_other_cell_is_blamed(tmp_path: Path) -> None:
    sabotage = {CELLS[0]: "err, and lose the device when explained"}
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "1", sabotage=sabotage)
    assert session.verdicts == {**dict.fromkeys(CELLS, "supported"), CELLS[0]: "inaccurate"}
    workers = {record.worker for record in session.report.records}
    assert len(workers) == 2, "the rest must run in a fresh process"


@pytest.mark.parametrize("says", ["", 'message = "the checkpoint lacks"', 'message = "something else"'])
def test_what_a_checkpoint_lacks_is_no_fault_but_where_a_waiver_says_that_it_is(tmp_path: Path, says: str) -> None:
    waiver = tmp_path / "waivers.toml"
    waiver.write_text(
        f"""[[waiver]]
cells = "architecture=gpt2 attention=eager"
verdict = "inaccurate"
{says}
reason = "a fault"
url = "https://example.org/1"
"""
    )
    for sabotage, status in (("err", int(bool(says))), ("err, and lack", int("lacks" not in says))):
        out = tmp_path / sabotage.replace(", ", "-").replace(" ", "-")
        session = run_pytest(out, *CHOSEN, "-n", "0", f"--waivers={waiver}", sabotage={CELLS[0]: sabotage})
        assert session.status == status, session.output
        assert (session.record(CELLS[0]).waived is None) is bool(status)


@pytest.mark.parametrize("workers", ["0", "1", "2"])
def test_a_crash_costs_one_cell(tmp_path: Path, workers: str) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", workers, sabotage={CELLS[1]: "crash"})
    assert session.status == 1
    assert session.verdicts == {**dict.fromkeys(CELLS, "supported"), CELLS[1]: "crashed"}
    failure = session.record(CELLS[1]).observation.failure
    assert failure is not None
    assert failure.phase == "generate"


def test_a_crash_that_is_waived_does_not_fail_the_run(tmp_path: Path) -> None:
    waivers = tmp_path / "waivers.toml"
    waivers.write_text(
        '[[waiver]]\ncells = "architecture=opt"\nverdict = "crashed"\nreason = "known"\nurl = "https://example.org/1"\n'
    )
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "1", f"--waivers={waivers}", sabotage={CELLS[3]: "crash"})
    assert session.record(CELLS[3]).waived is not None
    assert session.status == 0, session.output


def test_any_number_of_rows_may_take_their_process_down(tmp_path: Path) -> None:
    names = list(load_regressions())[:16]
    session = run_pytest(
        tmp_path / "out",
        *("-n", "1", f"-k{' or '.join(f'regression[{name}]' for name in names)}"),
        sabotage={f"regression:{name}": "crash" for name in names},
        tests="conformance/test_regressions.py",
    )
    assert {row.key: row.reason for row in session.report.rows} == {
        f"regression:{name}": "the process died" for name in names
    }
    assert session.status == 1


def test_any_number_of_crashes_costs_as_many_cells(tmp_path: Path) -> None:
    plan = ["--profile=smoke", "--cells=architecture=gpt2 dtype=float32 quantisation=none"]
    every = list(run_pytest(tmp_path / "fine", *plan, "-n", "1").verdicts)
    crashing = every[: len(every) - 2]
    assert len(crashing) > 9, "xdist gives up after four for each worker"
    session = run_pytest(tmp_path / "out", *plan, "-n", "1", sabotage=dict.fromkeys(crashing, "crash"))
    executed = {cell: found for cell, found in session.verdicts.items() if found != "unavailable"}
    assert executed == {cell: "crashed" if cell in crashing else executed[cell] for cell in executed}
    assert "missing" not in session.verdicts.values()


@pytest.mark.parametrize("mode", ["loadscope", "loadgroup", "loadfile", "each"])
def test_modes_in_which_xdist_loses_cells_are_refused(tmp_path: Path, mode: str) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "2", "--dist", mode)
    assert session.status == 4
    assert f"--dist {mode}: loses cells when a worker dies; use load or worksteal" in session.output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_crash_that_does_not_come_again_is_flaky(tmp_path: Path, workers: str) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", workers, sabotage={CELLS[1]: "crash once"})
    assert session.status == 1
    assert session.verdicts == {**dict.fromkeys(CELLS, "supported"), CELLS[1]: "flaky"}
    record = session.record(CELLS[1])
    assert record.first_verdict == "crashed"
    assert record.first_observation is not None
    assert record.first_observation.ending == "crashed"
    assert record.reason.startswith("first crashed (ProcessDied in generate: the process died), then alone supported (")


def test_a_hang_is_interrupted_and_the_next_cell_runs(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "0", "--cell-timeout=1", sabotage={CELLS[0]: "hang"})
    assert session.status == 1
    assert session.verdicts == {**dict.fromkeys(CELLS, "supported"), CELLS[0]: "timeout"}
    assert "no answer after 1 s" in session.record(CELLS[0]).reason


def test_a_hang_that_does_not_listen_costs_its_process(tmp_path: Path) -> None:
    sabotage = {CELLS[0]: "hang for good"}
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "1", "--cell-timeout=1", sabotage=sabotage)
    assert session.verdicts == {**dict.fromkeys(CELLS, "supported"), CELLS[0]: "timeout"}


def test_a_lost_device_ends_the_process_but_no_other_cell_is_blamed(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "1", sabotage={CELLS[0]: "lose the device"})
    assert session.status == 1
    assert session.verdicts == {**dict.fromkeys(CELLS, "supported"), CELLS[0]: "device_lost"}
    workers = {record.worker for record in session.report.records}
    assert len(workers) == 2, "the rest must run in a fresh process"


@pytest.mark.parametrize(
    ("happens", "said"),
    [("waver", "and inaccurate (logits max error 9 "), ("fail once", f"after {CELLS[0]} it did not come again")],
)
def test_what_comes_and_goes_is_flaky_and_never_green(tmp_path: Path, happens: str, said: str) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "0", sabotage={CELLS[1]: happens})
    assert session.status == 1
    record = session.record(CELLS[1])
    assert (record.verdict, record.first_verdict) == ("flaky", "inaccurate")
    assert record.reason.startswith("first inaccurate (logits max error 9 exceeds")
    assert said in record.reason
    assert record.first_observation is not None
    assert [seen.comparisons[0].candidate_max for seen in (record.first_observation, record.observation)] == [9.0, 0.5]
    unharmed = session.record(CELLS[2])
    assert (unharmed.first_verdict, unharmed.first_observation) == (None, None)


def test_what_fails_once_with_nothing_before_it_is_its_own(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "0", sabotage={CELLS[0]: "fail once"})
    assert session.verdicts[CELLS[0]] == "flaky"
    assert "no cell had been measured before it" in session.record(CELLS[0]).reason


def test_a_device_that_is_lost_once_is_flaky_and_the_rest_runs_elsewhere(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "1", sabotage={CELLS[1]: "lose the device once"})
    assert session.verdicts == {**dict.fromkeys(CELLS, "supported"), CELLS[1]: "flaky"}
    assert session.record(CELLS[1]).first_verdict == "device_lost"
    assert len({record.worker for record in session.report.records}) == 2


@pytest.mark.parametrize("workers", ["0", "2"])
def test_want_of_memory_beside_others_is_not_the_cells_fault(tmp_path: Path, workers: str) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", workers, sabotage={CELLS[1]: "out of memory among others"})
    assert session.status == 0
    assert session.verdicts == dict.fromkeys(CELLS, "supported")
    record = session.record(CELLS[1])
    assert record.first_verdict == "out_of_memory"
    beside = "1 other worker" if workers == "2" else "what this process had kept"
    want = "(OutOfMemoryError in forward: asked for 20.00 GiB, 1.50 GiB of 79.10 GiB were free)"
    assert record.reason.endswith(f"; beside {beside} it ran out of memory {want}")


def test_want_of_memory_alone_is_believed_and_says_what_was_free(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "2", sabotage={CELLS[1]: "out of memory alone too"})
    assert session.verdicts == {**dict.fromkeys(CELLS, "supported"), CELLS[1]: "out_of_memory"}
    record = session.record(CELLS[1])
    said = "OutOfMemoryError in forward: asked for 20.00 GiB, 1.50 GiB of 79.10 GiB were free"
    assert record.reason == f"{said}; alone as well as beside 1 other worker"
    assert record.first_verdict is None


def test_a_flaky_cell_says_nothing_of_its_process(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "1", sabotage={CELLS[0]: "waver"})
    assert session.verdicts[CELLS[0]] == "flaky"
    assert len({record.worker for record in session.report.records}) == 1


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_fails_among_others_and_not_alone_is_not_accused(tmp_path: Path, workers: str) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", workers, sabotage={CELLS[1]: "suffer"})
    assert session.status == 0
    assert session.verdicts == dict.fromkeys(CELLS, "supported")
    record = session.record(CELLS[1])
    assert record.first_verdict == "inaccurate"
    assert f"after {CELLS[0]}, which left the process changed, it was inaccurate (logits max error 9" in record.reason
    left = {record.worker for record in session.report.records}
    assert len(left) == 2, "a process that was left changed goes"


def test_of_all_that_was_before_the_one_is_named_that_did_it(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "1", sabotage={CELLS[3]: f"suffer from {CELLS[0]}"})
    assert session.status == 0
    assert f"after {CELLS[0]} and " in session.record(CELLS[3]).reason
    session = run_pytest(tmp_path / "again", *CHOSEN, "-n", "1", sabotage={CELLS[3]: f"suffer from {CELLS[2]}"})
    assert f"after {CELLS[2]}, which left the process changed" in session.record(CELLS[3]).reason


def test_what_a_row_left_is_not_the_cells_fault_though_no_row_is_repeated(tmp_path: Path) -> None:
    """The cell runs once more where the row did."""
    row = "regression:gemma2_sdpa_padding_nan"
    session = run_pytest(
        tmp_path / "out",
        CHOSEN[0],
        "-n",
        "0",
        f"-kgemma2_sdpa_padding_nan or {CELLS[0]}",
        sabotage={CELLS[0]: f"suffer from {row}", row: "err"},
        tests="conformance/test_regressions.py conformance/test_cells.py",
    )
    assert [row.key for row in session.report.rows] == [row]
    assert session.verdicts == {CELLS[0]: "supported"}
    assert "after what this process had measured before, which left" in session.record(CELLS[0]).reason


def test_a_row_shares_the_memory_with_cells(tmp_path: Path) -> None:
    row = "regression:gemma2_sdpa_padding_nan"
    chosen = ["-n", "1", "-k", "gemma2_sdpa_padding_nan"]
    tests = "conformance/test_regressions.py"
    session = run_pytest(tmp_path / "out", *chosen, sabotage={row: "look"}, tests=tests)
    assert [row.reason for row in session.report.rows] == ["it shares the memory"], session.output


def test_stopping_early_leaves_missing_cells_in_the_report(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "0", "-x", sabotage={CELLS[0]: "err"})
    assert session.status == 1
    assert list(session.verdicts.values()).count("missing") == 3


def test_a_fault_of_the_suite_is_missing_not_green(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "0", sabotage={CELLS[0]: "break the suite"})
    assert session.status == 1
    assert session.verdicts[CELLS[0]] == "missing"


def test_workers_change_no_verdict(tmp_path: Path) -> None:
    arguments = ["--profile=smoke", "--cells=architecture=gpt2,bloom,t5"]
    alone = run_pytest(tmp_path / "alone", *arguments, "-n", "0", sabotage={"gpt2-float32-eager-left-prefill": "err"})
    shared = run_pytest(tmp_path / "two", *arguments, "-n", "2", sabotage={"gpt2-float32-eager-left-prefill": "err"})
    assert alone.verdicts == shared.verdicts
    assert list(alone.verdicts) == list(shared.verdicts), "both are in plan order"
    assert "inaccurate" in alone.verdicts.values()
    assert alone.status == shared.status == 1


def test_what_is_not_here_is_skipped_unless_required(tmp_path: Path) -> None:
    cell = "llama-float32-sdpa-gpu0-prefill"
    arguments = ["-n", "0", f"--cell={cell}", f"--cell={CELLS[0]}"]
    session = run_pytest(tmp_path / "lenient", *arguments)
    assert session.status == 0
    assert session.verdicts[cell] == "unavailable"
    session = run_pytest(tmp_path / "strict", *arguments, "--require=cuda")
    assert session.status == 1
    assert session.record(cell).demanded == ["cuda"]
    assert f"UNAVAILABLE (--require cuda) {cell}" in session.output


def test_a_requirement_that_no_cell_speaks_of_still_fails(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "0", "--require=cuda")
    assert session.status == 1
    assert "PROBLEM --require cuda: not here" in session.output


def test_a_run_in_which_nothing_ran_fails(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", "-n", "0", "--cell=llama-float32-sdpa-gpu0-prefill")
    assert session.status == 1
    assert "an empty run is a failed run" in session.output


def test_a_waiver_excuses_exactly_its_fault_and_must_not_outlive_it(tmp_path: Path) -> None:
    waivers = tmp_path / "waivers.toml"
    waivers.write_text(
        '[[waiver]]\ncells = "architecture=opt"\nverdict = "inaccurate"\nreason = "known"\nurl = "https://example.org/1"\n'
    )
    arguments = [*CHOSEN, "-n", "0", f"--waivers={waivers}"]
    excused = run_pytest(tmp_path / "excused", *arguments, sabotage={CELLS[3]: "err"})
    assert excused.status == 0, excused.output
    assert "1 known upstream faults" in excused.output
    gone = run_pytest(tmp_path / "gone", *arguments)
    assert gone.status == 1
    assert "the fault is gone" in gone.output
    other = run_pytest(tmp_path / "other", *arguments, sabotage={CELLS[2]: "err", CELLS[3]: "err"})
    assert other.status == 1


def test_pytests_own_options_work(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    session = run_pytest(
        tmp_path / "out", *CHOSEN, "-n", "0", "-k", "gpt2 or llama", "-m", "eager", f"--junitxml={junit}"
    )
    assert session.status == 0
    assert list(session.verdicts) == [CELLS[0], CELLS[2]]
    names = [case.get("name") for case in ElementTree.parse(junit).iter("testcase")]
    assert names == [f"test_cell[{CELLS[0]}]", f"test_cell[{CELLS[2]}]"]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_junit_xml_tells_each_verdict_and_each_failure(tmp_path: Path, workers: str) -> None:
    junit = tmp_path / "junit.xml"
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", workers, f"--junitxml={junit}", sabotage={CELLS[1]: "err"})
    cases = {str(case.get("name"))[10:-1]: case for case in ElementTree.parse(junit).iter("testcase")}
    said = {cell: case.find("properties/property[@name='verdict']") for cell, case in cases.items()}
    assert {cell: found.get("value") for cell, found in said.items() if found is not None} == session.verdicts
    failed = {cell: case.find("failure") for cell, case in cases.items() if case.find("failure") is not None}
    assert list(failed) == [CELLS[1]]
    assert f"inaccurate: {CELLS[1]}" in str(failed[CELLS[1]].text)  # type: ignore[union-attr]


def test_last_failed_runs_what_failed(tmp_path: Path) -> None:
    run_pytest(tmp_path / "first", *CHOSEN, "-n", "0", sabotage={CELLS[1]: "err"})
    session = run_pytest(tmp_path / "second", *CHOSEN, "-n", "0", "--lf")
    assert list(session.verdicts) == [CELLS[1]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--profile=everything"], ["everything", "smoke, pairwise, relations, full"]),
        (["--cells=dtype=float31"], ["float31", "float32, float16, bfloat16"]),
        (["--cells=dtype"], ["dtype", "axis=value"]),
        (["--cell=llama-float32"], ["llama-float32", "attention, workload"]),
        (["--cell=bert-float32-eager-generate"], ["bert-float32-eager-generate", "an encoder does not generate"]),
        (["--cell=lama-float32-eager-prefill"], ["mamba", "llama"]),
        (["--require=flashattn"], ["flashattn", "flash-attn"]),
        (["--checkpoint=llama"], ["llama", "ARCHITECTURE=PATH_OR_HUB_ID"]),
        (["--checkpoint=llama=/nowhere"], ["/nowhere", "config.json"]),
        (["--expectations=/nowhere.toml"], ["/nowhere.toml"]),
        (["--cell-timeout=0"], ["--cell-timeout 0"]),
        (["--keep-warm=nan"], ["--keep-warm 'nan'", "minutes"]),
        (["--fault=gravity"], ["gravity", "scale_2_percent"]),
        (["--report-dir=/proc/report"], ["/proc/report", "cannot be written to"]),
    ],
)
def test_bad_input_is_one_clear_line_and_pytests_usage_error(
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    session = run_pytest(tmp_path / "out", "-n", "0", *arguments)
    assert session.status == 4, session.output
    complaints = [line for line in session.output.splitlines() if line.startswith("ERROR: ")]
    assert len(complaints) == 1
    assert all(word in complaints[0] for word in words), complaints[0]
    assert not (tmp_path / "out" / "matrix.json").exists()


def test_a_checkpoint_of_another_architecture_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "opt"}')
    session = run_pytest(tmp_path / "out", "-n", "0", f"--checkpoint=llama={tmp_path}")
    assert session.status == 4
    assert "is of model_type 'opt', not 'llama'" in session.output


def test_a_broken_expectation_file_is_named_with_its_rule(tmp_path: Path) -> None:
    broken = tmp_path / "mine.toml"
    broken.write_text('[[rule]]\ncells = "dtype=float32"\noutcome = "refused"\nsource = "me"\n')
    session = run_pytest(tmp_path / "out", "-n", "0", f"--expectations={broken}")
    assert session.status == 4
    assert f"{broken}: rule 1: phase must be" in session.output


def test_collecting_the_full_profile_lists_ten_thousand_cells_without_torch() -> None:
    program = (
        "import sys, pytest\n"
        "status = pytest.main(['--collect-only', '-q', '--profile', 'full', '-p', 'no:cacheprovider', 'conformance'])\n"
        "print('imported', sorted({'torch', 'transformers'} & set(sys.modules)))\n"
        "sys.exit(status)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("::test_cell[") >= 10_000
    assert answer.stdout.splitlines()[-1] == "imported []"


def test_it_runs_without_xdist(tmp_path: Path) -> None:
    session = run_pytest(tmp_path / "out", *CHOSEN, "-p", "no:xdist")
    assert session.status == 0, session.output
    assert session.verdicts == dict.fromkeys(CELLS, "supported")


def test_a_list_of_architectures_may_be_longer_than_a_name_on_a_disk(tmp_path: Path) -> None:
    session = run_pytest(
        tmp_path / "out", f"--architectures={','.join(['gpt2'] * 200)}", "--collect-only", "-q", "-n", "0"
    )
    assert session.status == 0, session.output[-400:]
    assert "[gpt2-" in session.output
    assert "[llama-" not in session.output


def test_a_checkpoint_that_does_not_fit_is_said_before_it_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "huge"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    size = 2**40
    header = json.dumps({"a": {"dtype": "BF16", "shape": [size], "data_offsets": [0, 2 * size]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 2 * size)  # holes, which take no disk
    session = run_pytest(tmp_path / "out", *CHOSEN, f"--checkpoint=llama={folder}", "-n", "auto")
    assert session.verdicts == {**dict.fromkeys(CELLS, "supported"), CELLS[2]: "unavailable"}, session.output
    assert "not here: 8.8 TiB of memory (" in session.record(CELLS[2]).reason
    assert "1 worker" in session.output


def test_a_process_that_died_says_when_and_one_that_did_not_says_nothing(tmp_path: Path) -> None:
    sabotage = {CELLS[1]: "hang for good"}
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", "1", "--cell-timeout=1", sabotage=sabotage)
    first, second = session.report.processes
    died = session.record(CELLS[1])
    assert (died.verdict, died.began) == ("timeout", None)
    assert first.died is not None
    assert first.died > first.began
    assert second.died is None
    assert all(process.memory is not None and process.memory.host > 10 for process in (first, second))
    assert all(record.began is not None for record in session.report.records if record.cell != died.cell)


def test_only_the_suites_own_files_are_left_out(tmp_path: Path) -> None:
    """Files of the harness's tests have the same names."""
    files = ["tests/matrix/test_guide.py", "tests/reports/test_guide.py"]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", *files]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"{file}::" in said for file in files)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_a_library_says_does_not_steer_the_terminal(tmp_path: Path, workers: str) -> None:
    sabotage = {CELLS[0]: "steer", CELLS[1]: "break and steer"}
    session = run_pytest(tmp_path / "out", *CHOSEN, "-n", workers, "-rA", "-v", sabotage=sabotage)
    assert session.verdicts[CELLS[0]] == "error"
    # Of two failures, and in the suite's own summary of one.
    assert session.output.count("\\x1b]0;a title\\x07 \\x1b[31mred\\x9b0m") >= 3
    assert [c for c in session.output if not c.isprintable() and c != "\n"] == []


def test_whoever_names_a_cell_that_is_not_planned_is_shown_the_way(tmp_path: Path) -> None:
    cell = "llama-float16-eager-left-generate"
    named = f"conformance/test_cells.py::test_cell[{cell}]"
    session = run_pytest(tmp_path / "out", "-n", "0", tests=named)
    assert session.status == 4
    assert f"'{cell}' is no cell of profile smoke; --cell ID runs any cell that can be" in session.output
    assert "1 cells, 1 executed" in run_pytest(tmp_path / "out", f"--cell={cell}", "-n", "0", tests=named).output
