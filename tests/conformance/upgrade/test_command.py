"""An upgrade from its command to its verdict: with sides that are played here, and once as a user would."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conformance.upgrade import command, environments
from conformance.upgrade.choices import How, Question
from conformance.upgrade.command import Wanted, gated, pins_of, upgrade
from conformance.upgrade.sides import Say, finished
from conformance.upgrade.state import Workplace
from matrix.advice.search import State
from matrix.cell import parse_cell
from matrix.errors import UsageError
from matrix.releases import Pin
from matrix.shard import Shard, divide
from matrix.stack import DISTRIBUTIONS
from matrix.verdict import Verdict
from reports.advice import Advice
from reports.differences import Aspect
from reports.document import Report, Sharded, make_report
from reports.gate import Allowed, Answer, Gate, judge
from reports.policy import Policy
from reports.reading import read_report
from reports.write import write_json
from tests.builders import ROOT, cuda_stack, ended, make_run, make_stack, record_of
from tests.reports.test_advice import advised
from tests.sessions import environment_of_a_session
from tests.wheels import make_wheel

CELLS = [
    f"{architecture}-float32-{attention}-prefill"
    for architecture in ("gpt2", "llama", "opt")
    for attention in ("eager", "sdpa")
]
BAD = CELLS[3]
HERE = {"torch": "2.13.0", "transformers": "5.23.0", "idna": "3.20"}
RAISED = (Pin("transformers", "5.24.0"),)


@dataclass
class Played:
    """Both environments, and what is measured there."""

    here: dict[str, str] = field(default_factory=lambda: dict(HERE))
    there: dict[str, str] = field(default_factory=lambda: HERE | {"transformers": "5.24.0"})
    measured_there: dict[str, str] | None = None  # where a run finds other releases than its environment holds
    wrong: dict[tuple[str, str], list[Verdict]] = field(default_factory=dict)  # by side and cell, time after time
    plans: dict[str, list[str]] = field(default_factory=lambda: {"current": CELLS, "candidate": CELLS})
    gpu: tuple[str, ...] = ()  # the sides that see one
    needs: dict[str, list[str]] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    built: int = 0
    said: list[str] = field(default_factory=list)

    def measure(
        self, environment: "Place", folder: Path, arguments: Sequence[str], shard: Shard | None, say: Say
    ) -> Report:
        """As `sides.measure`: what is finished is kept."""
        if (found := finished(folder)) is not None:
            return found
        self.runs.append(str(folder.relative_to(folder.parents[2 if shard else 1])))
        plan = self.plans[environment.side]
        only = [Path(one.partition("=")[2]) for one in arguments if one.startswith("--only=")]
        chosen = only[0].read_text(encoding="utf-8").split() if only else plan
        sharded = None
        if shard is not None:
            numbers, _ = divide([parse_cell(cell) for cell in plan], (), shard.of)
            chosen = [cell for cell, number in zip(plan, numbers, strict=True) if number == shard.number]
            sharded = Sharded(number=shard.number, of=shard.of, planned=plan)
        versions = {name: of for name, of in environment.measured.items() if name in DISTRIBUTIONS}
        stack = cuda_stack(versions) if environment.side in self.gpu else make_stack(versions)
        run = make_run(*chosen, stack=stack, shard=sharded)
        report = make_report(run, [self._record(environment.side, cell) for cell in chosen], end=ended())
        folder.mkdir(parents=True)
        write_json(report, folder)
        return report

    def _record(self, side: str, cell: str) -> Any:
        verdicts = self.wrong.get((side, cell), [])
        return record_of(cell, verdicts.pop(0) if verdicts else Verdict.SUPPORTED)

    def build(self, *_: Any) -> "Place":
        self.built += 1
        return Place(self, "candidate")

    def planned(self, _: Any, python: str, environ: dict[str, str]) -> tuple[list[str], list[str]]:
        return self.plans[python], []

    def verdict(self, folder: Path, **asked: Any) -> Gate:
        """What comes of an upgrade there."""
        wanted = Wanted(**{"pins": RAISED, "arguments": ("--profile=smoke",), "report_dir": folder} | asked)
        return upgrade(
            wanted,
            lambda before, after, beside: judge(before, after, Policy(), wanted.allowed, beside),
            self.said.append,
        )


@dataclass(frozen=True)
class Place:
    """An environment of which nothing is asked but what is there."""

    of: Played
    side: str

    overlay = None

    @property
    def python(self) -> str:
        return self.side

    @property
    def measured(self) -> dict[str, str]:
        there = self.of.measured_there if self.side == "candidate" else None
        return self.versions() if there is None else there

    def environ(self) -> dict[str, str]:
        return {}

    def versions(self) -> dict[str, str]:
        return self.of.here if self.side == "current" else self.of.there

    def installed(self) -> list[dict[str, Any]]:
        found = self.versions().items()
        return [{"name": name, "version": of, "needs": self.of.needs.get(name, [])} for name, of in found]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    """Two sides on which all is well."""
    found = Played()
    monkeypatch.setattr(command, "Current", lambda: Place(found, "current"))
    for name in ("measure", "build", "planned"):
        monkeypatch.setattr(command, name, getattr(found, name))
    monkeypatch.setattr(command, "detect_stack", make_stack)
    return found


def test_an_identical_pair_is_safe_and_each_block_is_measured_in_turn(played: Played, tmp_path: Path) -> None:
    gate = played.verdict(tmp_path, blocks=2)
    assert (gate.verdict, gate.exit_status, gate.compared) == (Answer.SAFE, 0, len(CELLS))
    assert played.runs == [
        "current/blocks/001",
        "candidate/blocks/001",
        "candidate/blocks/002",
        "current/blocks/002",
    ]
    for name in ("gate.json", "gate.md", "index.html", "current/index.html", "candidate/matrix.json"):
        assert (tmp_path / name).is_file()
    assert Gate.model_validate_json((tmp_path / "gate.json").read_text(encoding="utf-8")) == gate
    assert [record.cell for record in read_report(tmp_path / "candidate").records] == CELLS
    assert "raised: transformers 5.23.0 -> 5.24.0" in played.said


@pytest.mark.parametrize(
    ("now", "verdict", "asked"),
    [
        ({}, Answer.SAFE, ["candidate"]),
        ({"candidate": "wrong"}, Answer.REGRESSIONS, ["candidate", "current"]),
        ({"candidate": "beaten"}, Answer.SAFE, ["candidate", "current"]),
        ({"candidate": "wrong", "current": "wrong"}, Answer.SAFE, ["candidate", "current"]),
    ],
)
def test_an_advice_that_holds_here_is_to_hold_in_the_candidate(
    played: Played,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    now: dict[str, str],
    verdict: Answer,
    asked: list[str],
) -> None:
    given = advised()
    file = tmp_path / "mine.json"
    file.write_text(given.model_dump_json(), encoding="utf-8")
    seen: list[str] = []

    def again(environment: Place, before: Advice, file: Path, folder: Path) -> Advice:
        seen.append(environment.side)
        state = now.get(environment.side)
        assert before.advised is not None
        name = before.advised.name
        entries = [
            one.model_copy(update={"state": State.WRONG}) if one.name == name and state == "wrong" else one
            for one in before.entries
        ]
        other = before.advised.model_copy(update={"name": "other", "alike": []})
        return before if state is None else before.model_copy(update={"entries": entries, "advised": other})

    monkeypatch.setattr(command, "advised_again", again)
    gate = played.verdict(tmp_path / "out", advice=(file,))
    assert (gate.verdict, seen) == (verdict, asked)
    assert [cause.aspect for cause in gate.groups] == ([Aspect.ADVICE] if now and "current" not in now else [])


def test_what_is_no_advice_is_said_before_anything_is_built(played: Played, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.json"):
        played.verdict(tmp_path / "out", advice=(tmp_path / "none.json",))
    assert (played.built, played.runs) == (0, [])


def test_what_looks_worse_is_believed_once_it_was_measured_again(played: Played, tmp_path: Path) -> None:
    played.wrong["candidate", BAD] = [Verdict.INACCURATE, Verdict.INACCURATE]
    gate = played.verdict(tmp_path)
    assert (gate.verdict, gate.exit_status) == (Answer.REGRESSIONS, 1)
    assert [cause.names for cause in gate.groups] == [[BAD]]
    assert played.runs[2:] == ["candidate/again-1", "current/again-1"]
    assert [record.cell for record in read_report(tmp_path / "current" / "again-1").records] == [BAD]


def test_what_was_worse_once_is_no_regression(played: Played, tmp_path: Path) -> None:
    played.wrong["candidate", BAD] = [Verdict.INACCURATE]
    gate = played.verdict(tmp_path)
    assert gate.verdict is not Answer.REGRESSIONS
    assert len(played.runs) > 2


def test_the_same_command_goes_on_and_measures_nothing_twice(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played.wrong["candidate", BAD] = [Verdict.INACCURATE] * 9
    real, left = played.measure, [3]

    def interrupted(*arguments: Any) -> Report:
        report = real(*arguments)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return report

    monkeypatch.setattr(command, "measure", interrupted)
    for _ in range(2):
        with pytest.raises(UsageError, match=rf"^interrupted; the same command goes on with what is in {tmp_path}$"):
            played.verdict(tmp_path, blocks=2)
        left[0] = 4
    monkeypatch.setattr(command, "measure", real)
    gate = played.verdict(tmp_path, blocks=2)
    assert gate.verdict is Answer.REGRESSIONS
    assert len(played.runs) == len(set(played.runs)) == 6
    assert played.verdict(tmp_path, blocks=2) == gate
    assert len(played.runs) == 6


def test_a_candidate_that_measured_another_release_is_refused(played: Played, tmp_path: Path) -> None:
    played.measured_there = dict(HERE)
    with pytest.raises(UsageError, match=r"^the candidate measured transformers 5\.23\.0, not 5\.24\.0$"):
        played.verdict(tmp_path)


def test_a_candidate_that_lost_the_gpu_is_refused(played: Played, tmp_path: Path) -> None:
    played.gpu = ("current",)
    with pytest.raises(UsageError, match=r"one side was measured on cuda \(.*\), the candidate on cpu; --allow device"):
        played.verdict(tmp_path)
    assert played.verdict(tmp_path, allowed=(Allowed.DEVICE,)).verdict is not None


def test_what_changes_with_the_pins_is_said(played: Played, tmp_path: Path) -> None:
    played.there |= {"idna": "4.0", "new": "1.0"}
    played.needs = {"torch": ["idna<4"]}
    played.plans = {"current": CELLS, "candidate": CELLS[:-1]}
    gate = played.verdict(tmp_path, pins=(*RAISED, Pin("new", "1.0")))
    assert gate.counts["deleted"] == 1
    assert {
        "raised: transformers 5.23.0 -> 5.24.0, new absent -> 1.0",
        "changed with it: idna 3.20 -> 4.0",
        "note: new is no part of the measured stack: only what the stack makes of it is seen",
        "note: in the candidate torch 2.13.0 needs idna<4, and finds 4.0",
        f"note: only the current side plans 1 tests: {CELLS[-1]}",
    } <= set(played.said)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([], r"upgrade: say what to, as in --to"),
        (["transformers>=5"], r"--to 'transformers>=5': must name one release"),
        (["transformers"], r"--to 'transformers': must name one release"),
        (
            ["Transformers==5.24.0", "transformers==5.23"],
            r"--to transformers==5\.24\.0 and transformers==5\.23: two",
        ),
    ],
)
def test_what_is_no_release_is_one_line(texts: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        pins_of(texts)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"pins": (Pin("transformers", "5.23"),)},
            r"--to transformers==5\.23: nothing to upgrade, transformers 5",
        ),
        ({"arguments": ("--shard=1/2",)}, r"--shard=1/2: runs are divided, continued and ended by the command itself"),
        ({"arguments": ("-x",)}, r"-x: runs are divided"),
        ({"blocks": 7}, r"--blocks 7: must be at most 6, the tests of the plan"),
    ],
)
def test_what_cannot_be_tried_is_one_line(played: Played, tmp_path: Path, asked: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        played.verdict(tmp_path, **asked)
    assert not played.runs


def test_a_folder_holds_one_upgrade(played: Played, tmp_path: Path) -> None:
    played.verdict(tmp_path, blocks=2)
    with pytest.raises(UsageError, match=r"holds something else: --to was transformers==5\.24\.0, is transformers==5"):
        played.verdict(tmp_path, pins=(Pin("transformers", "5.25.0"),))
    with pytest.raises(UsageError, match=r"holds something else: what pytest was asked for was --profile=smoke, is"):
        played.verdict(tmp_path, arguments=("--profile=smoke", "--seed=1"))
    with pytest.raises(UsageError, match=r"--blocks 3: .* was begun with 2"):
        played.verdict(tmp_path, blocks=3)
    played.here |= {"torch": "2.14.0"}
    with pytest.raises(UsageError, match=r"holds something else: the current stack was torch 2\.13\.0"):
        played.verdict(tmp_path, blocks=2)


def test_what_nobody_knows_of_a_folder_is_not_taken_to_be_the_same(played: Played, tmp_path: Path) -> None:
    played.verdict(tmp_path)
    facts = json.loads((tmp_path / "upgrade.json").read_text(encoding="utf-8"))
    del facts["the commit of the suite"]
    (tmp_path / "upgrade.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(UsageError, match=r"holds something else: the commit of the suite was nothing, is "):
        played.verdict(tmp_path)


@pytest.mark.parametrize(
    ("asked", "here", "told"),
    [
        ({"how": How.PIP}, {}, r"--how was auto, is pip"),
        ({"find_links": Path("/wheels")}, {}, r"--find-links was nothing, is /wheels"),
        ({}, {"idna": "3.99"}, r"the current environment was as-here-.*, is as-here-"),
    ],
)
def test_blocks_of_one_side_come_of_one_environment(
    played: Played,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, Any],
    here: dict[str, str],
    told: str,
) -> None:
    monkeypatch.setattr(environments, "_sources", lambda find_links: (str(find_links),))
    played.verdict(tmp_path)
    played.here |= here
    with pytest.raises(UsageError, match=rf"holds something else: {told}"):
        played.verdict(tmp_path, **asked)


def test_two_commands_do_not_share_a_folder(played: Played, tmp_path: Path) -> None:
    other = Workplace(tmp_path)
    with pytest.raises(UsageError, match=r"--report-dir .*: another command works there"):
        played.verdict(tmp_path)
    other.close()
    assert played.verdict(tmp_path).verdict is Answer.SAFE


@pytest.fixture
def stored(played: Played, tmp_path: Path) -> Path:
    """The current side of an upgrade that was tried before."""
    played.verdict(tmp_path / "before")
    played.runs.clear()
    return tmp_path / "before" / "current"


def test_a_stored_report_stands_in_for_the_current_side(played: Played, stored: Path, tmp_path: Path) -> None:
    played.wrong["candidate", BAD] = [Verdict.INACCURATE] * 9
    gate = played.verdict(tmp_path / "out", before=stored)
    assert gate.verdict is Answer.REGRESSIONS
    assert all(run.startswith("candidate/") for run in played.runs)
    assert read_report(tmp_path / "out" / "current").counts == read_report(stored).counts


def test_what_is_here_may_be_the_candidate_of_a_stored_report(played: Played, stored: Path, tmp_path: Path) -> None:
    played.here, played.built = dict(played.there), 0
    assert played.verdict(tmp_path / "out", before=stored).verdict is Answer.SAFE
    assert not played.built
    with pytest.raises(UsageError, match=r"nothing to upgrade, transformers 5\.23\.0 is in .*current already"):
        played.verdict(tmp_path / "other", before=stored, pins=(Pin("transformers", "5.23.0"),))


@pytest.mark.parametrize(
    ("changed", "allowed", "told"),
    [
        ({"seed": 3}, Allowed.SEED, r"it was measured with --seed 3, this with 0; --allow seed"),
        (
            {"stack": cuda_stack()},
            Allowed.DEVICE,
            r"it was measured on cuda \(1 × .*\), and here is cpu; --allow",
        ),
        ({"planned": CELLS[1:]}, Allowed.PLAN, rf"its plan lacks 1 of its tests \({CELLS[0]}\) that this one holds"),
        (
            {"options": {"--fault": "x"}},
            Allowed.PLAN,
            r"it was asked for --fault x, this for nothing else; --allow",
        ),
    ],
)
def test_another_ground_is_refused_unless_it_is_allowed(
    played: Played, stored: Path, tmp_path: Path, changed: dict[str, Any], allowed: Allowed, told: str
) -> None:
    report = read_report(stored)
    records = [one for one in report.records if one.cell in changed.get("planned", CELLS)]
    other = make_report(report.run.model_copy(update=changed), records, end=ended())
    (tmp_path / "other").mkdir()
    write_json(other, tmp_path / "other")
    with pytest.raises(UsageError, match=rf"--from .*other: {told}"):
        played.verdict(tmp_path / "out", before=tmp_path / "other")
    gate = played.verdict(tmp_path / "out", before=tmp_path / "other", allowed=(allowed,))
    assert gate.verdict is not Answer.REGRESSIONS


def test_a_stored_report_must_have_reached_its_end(played: Played, stored: Path, tmp_path: Path) -> None:
    report = read_report(stored)
    cut_off = make_report(report.run, report.records, end=ended("the run was cut off: SIGINT"))
    write_json(cut_off, stored)
    with pytest.raises(UsageError, match=r"--from .*: the run was cut off: SIGINT"):
        played.verdict(tmp_path / "out", before=stored)


def test_the_verdict_is_told_and_is_the_exit_status(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "heed_signals", lambda told: None)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    played.wrong["candidate", BAD] = [Verdict.INACCURATE] * 9
    said: list[str] = []
    wanted = Wanted(RAISED, ("--profile=smoke",), report_dir=tmp_path / "out")
    assert gated(wanted, None, "github", said.append, played.said.append) == 1
    assert any(line.startswith("::error ") for line in said)
    assert "## Upgrade: regressions" in (tmp_path / "summary").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match=r"--format 'html': may be text, markdown, json, github"):
        gated(wanted, None, "html", said.append, played.said.append)


def test_what_cannot_be_asked_leaves_the_verdict_as_it_is(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inquire(*given: Any) -> None:
        raise UsageError("the candidate is gone")

    monkeypatch.setattr(command, "heed_signals", lambda told: None)
    monkeypatch.setattr(command, "inquire", inquire)
    played.wrong["candidate", BAD] = [Verdict.INACCURATE] * 9
    said: list[str] = []
    wanted = Wanted(RAISED, ("--profile=smoke",), report_dir=tmp_path / "out", questions=frozenset({Question.BLAME}))
    assert gated(wanted, None, "text", said.append, played.said.append) == 1
    assert said[-1] == "not asked: the candidate is gone"


def test_the_usual_folder_is_named_by_the_pins() -> None:
    pins = (Pin("transformers", "5.24.0"), Pin("torch", "2.13.0+cpu"))
    assert Wanted(pins).folder == Path("reports/out/upgrade-transformers-5.24.0-torch-2.13.0+cpu")
    assert Wanted(pins, how=How.PIP, report_dir=Path("x")).folder == Path("x")


@contextlib.contextmanager
def started(arguments: list[str], environ: dict[str, str], said: Path) -> Any:
    with said.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "matrix", "upgrade", *arguments],
            cwd=ROOT,
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_command_that_is_killed_goes_on_to_its_verdict(tmp_path: Path) -> None:
    """With pip, wheels, pytest and signals as they are; only the cells are played."""
    chosen = CELLS[:3]
    make_wheel(tmp_path / "wheels", "transformers", "99.0")
    go, said, out = tmp_path / "go", tmp_path / "said", tmp_path / "out"
    environ = environment_of_a_session({chosen[1]: f"wait for {go}"})
    arguments = ["--to", "transformers==99.0", "--how", "overlay", "--find-links", str(tmp_path / "wheels")]
    arguments += ["--report-dir", str(out), "-p", "tests.saboteur", "conformance/test_cells.py", "-n", "1"]
    arguments += [f"--cell={cell}" for cell in chosen]
    with started(arguments, environ, said) as process:
        while not go.with_suffix(".waiting").exists():
            assert process.poll() is None, said.read_text(encoding="utf-8")
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    go.touch()
    with started(arguments, environ, said) as process:
        assert process.wait(timeout=900) == 0, said.read_text(encoding="utf-8")
    for side in ("current", "candidate"):
        report = read_report(out / side)
        assert {record.cell: record.verdict for record in report.records} == dict.fromkeys(chosen, Verdict.SUPPORTED)
        assert len(read_report(out / side / "blocks" / "001").run.resumed) == (side == "current")
    assert read_report(out / "candidate").run.stack.versions["transformers"] == "99.0"
    assert "safe: nothing got worse" in said.read_text(encoding="utf-8")
