"""The whole of it on a Ray cluster of this machine: a node dies and one joins, and nothing is lost."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.cluster import command
from conformance.cluster.command import Wanted, run_on_cluster
from conformance.cluster.nodes import Slots
from matrix.architectures import FOLDER as ARCHITECTURE_FOLDER
from matrix.errors import UsageError
from reports.document import Record, Report, Sharded, make_report
from reports.merge import Part
from reports.reading import read_report
from tests.builders import ended, make_run, record_of
from tests.sessions import ROOT, run_pytest

SELECTION = "architecture=llama,gpt2,opt attention=eager,sdpa sdpa_kernel=unpinned quantisation=none dtype=float32"
CHOSEN = ("conformance/test_cells.py", "--profile=smoke", f"--cells={SELECTION}")
WAITS, WRONG, CRASHES = "gpt2-float32-sdpa-left-prefill", "opt-float32-sdpa-prefill", "llama-float32-sdpa-prefill"


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What happens to some cells: one waits for a file, so that there is a middle of its block."""
    sabotage = {WAITS: f"wait for {tmp_path / 'go'}", WRONG: "err", CRASHES: "crash"}
    monkeypatch.setenv("SABOTAGE", json.dumps(sabotage))
    monkeypatch.setenv("CONFORMANCE_PRELOAD", "")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return sabotage


@pytest.fixture
def ray_cluster(played: dict[str, str]) -> Iterator[Any]:
    """A head and three nodes of one core each."""
    pytest.importorskip("ray", reason="no Ray: python -m pip install -e '.[cluster]'")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(3):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def _raylet(node: Any) -> str:
    return str(node.all_processes["raylet"][0].process.pid)


def what(records: list[Record]) -> list[dict[str, Any]]:
    """All that does not say who found it and when."""
    return [one.model_dump(exclude={"worker", "began", "took"}) for one in records]


def test_a_node_dies_and_one_joins_and_the_report_is_that_of_a_local_run(
    ray_cluster: Any, played: dict[str, str], tmp_path: Path
) -> None:
    options = ["--address", ray_cluster.address, "--report-dir", str(tmp_path / "out"), "--blocks", "6"]
    said = tmp_path / "said"
    with said.open("wb") as output:
        command_line = [sys.executable, "-m", "matrix", "cluster", *options, "-p", "tests.saboteur", *CHOSEN]
        driver = subprocess.Popen(command_line, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    _kill_the_node_that_waits(ray_cluster, tmp_path, driver)
    ray_cluster.add_node(num_cpus=1, wait=False)
    (tmp_path / "go").touch()
    status, text = driver.wait(timeout=900), said.read_text(encoding="utf-8")
    assert status == 1, text
    report = read_report(tmp_path / "out")
    local = run_pytest(tmp_path / "local", *CHOSEN[1:], "-n", "1", sabotage=played)
    assert "a block was cut off, " in text
    assert what(report.records) == what(local.report.records)
    assert (report.counts, report.problems) == (local.report.counts, local.report.problems)
    assert report.run.planned == local.report.run.planned
    _nothing_ran_twice(tmp_path / "out", report)
    for name in ("records.jsonl", "matrix.json", "index.html", "summary.md"):
        assert (tmp_path / "out" / name).is_file()
    assert what(read_report(tmp_path / "out" / "records.jsonl").records) == what(report.records)
    assert "until their first cells" in text


def _kill_the_node_that_waits(cluster: Any, folder: Path, driver: subprocess.Popen[bytes]) -> None:
    waiting = folder / "go.waiting"
    while not (waiting.exists() and waiting.read_text(encoding="utf-8")):
        with contextlib.suppress(subprocess.TimeoutExpired):
            pytest.fail(f"ended with {driver.wait(timeout=0.1)}: {(folder / 'said').read_text(encoding='utf-8')}")
    raylet = waiting.read_text(encoding="utf-8")
    victim = next(node for node in cluster.worker_nodes if raylet == _raylet(node))
    cluster.remove_node(victim, allow_graceful=False)


def _nothing_ran_twice(folder: Path, report: Report) -> None:
    """What the dead node had measured was kept."""
    lines = [line for path in folder.glob("blocks/*/records.jsonl") for line in path.read_text().splitlines()]
    cells = [json.loads(line)["cell"] for line in lines if json.loads(line)["kind"] == "record"]
    assert sorted(cells) == sorted(report.run.planned)


def test_without_ray_the_remedy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"a cluster needs Ray: python -m pip install -e '\.\[cluster\]'"):
        run_on_cluster(Wanted((), None, None, None), print)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379"])
def test_an_address_that_does_not_answer_is_one_line(address: str) -> None:
    with pytest.raises(UsageError, match=f"--address {address}: .*is a Ray head running there"):
        command._connect(None, address)


def test_what_ray_says_of_an_address_is_one_line() -> None:
    class Ray:
        @staticmethod
        def init(**_: Any) -> None:
            raise ConnectionError("Could not find any running Ray instance.\nPlease specify the one to connect to.")

    with pytest.raises(UsageError) as refused:
        command._connect(Ray, "auto")
    assert str(refused.value) == "--address auto: Could not find any running Ray instance."


@pytest.mark.parametrize("option", ["--shard=1/2", "--shard", "--resume=out", "--only=names", "-q"])
def test_what_the_cluster_does_by_itself_is_refused_among_the_arguments(tmp_path: Path, option: str) -> None:
    with pytest.raises(UsageError, match=f"{option}: the cluster divides and continues a plan by itself; leave it out"):
        command._one_report(None, Wanted((option,), None, None, None), Slots("", 0, 1, 1), tmp_path, print)


def test_the_waivers_and_architectures_that_pytest_was_given_count_for_the_whole(tmp_path: Path) -> None:
    assert command.value_of("--waivers", ["--waivers", "a", "-x", "--waivers=b"]) == "b"
    assert command.value_of("--waivers", ["-x", "--waivers", "a"]) == "a"
    assert command.value_of("--waivers", ["--waiver=a"]) is None
    cell = "mine-float32-eager-prefill"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.toml").write_text((ARCHITECTURE_FOLDER / "llama.toml").read_text())
    (tmp_path / "waivers.toml").write_text(
        '[[waiver]]\ncells = "architecture=mine"\nverdict = "inaccurate"\nreason = "a"\nurl = "https://example.org"\n'
    )
    sharded = Sharded(number=1, of=1, planned=[cell])
    report = make_report(make_run(cell, shard=sharded), [record_of(cell)], end=ended())
    given = ["--waivers", str(tmp_path / "waivers.toml"), f"--architectures={tmp_path / 'own'}"]
    merged = command._whole([Part(tmp_path, report, sharded)], given)
    assert [problem for problem in merged.problems if "the fault is gone" in problem]


class Waiting:
    """A Ray with tasks that nothing comes of, and with the nodes that there are each time one looks."""

    exceptions = SimpleNamespace(RayTaskError=KeyError, RayError=OSError)

    def __init__(self, *nodes: list[dict[str, Any]]) -> None:
        self._nodes = iter(nodes)

    def remote(self, function: Any) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda block: object()))

    def wait(self, streams: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return [], streams

    def nodes(self) -> list[dict[str, Any]]:
        return next(self._nodes)


def test_a_cluster_without_a_node_says_what_it_waits_for_and_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = {"Alive": True, "NodeID": "a", "NodeManagerAddress": "a", "Resources": {"CPU": 1.0}}
    gone, idle = node | {"Alive": False}, node | {"Resources": {"memory": 1.0}}
    ray, said, clock = Waiting([node], [gone], [gone, idle], [gone]), list[str](), iter([0.0, 599.0, 600.0])
    monkeypatch.setattr(command.time, "monotonic", lambda: next(clock))
    plan = Sharded(number=1, of=1, planned=["llama-float32-eager-prefill"])
    tasks = command._Tasks(ray, Slots("", 0, 1, 1), (), tmp_path, plan, said.append)
    tasks.start(tuple(plan.planned))
    with pytest.raises(UsageError, match="no node has measured anything"):
        tasks.finished()
    assert said == ["no node is left that has 1 core: 1 tests wait for one to join, at most 10 minutes"]
