"""What is wrong with a whole run beside its cells: first of all, nothing where nothing is."""

from dataclasses import replace

import pytest

from matrix.guide import load_guide
from matrix.plan import load_profiles
from matrix.selection import parse_selection
from matrix.stack import CPU_FLAGS, Stack
from matrix.verdict import Verdict
from matrix.waiver import Waiver, load_waivers
from reports.problems import problems_of
from tests.builders import ARCHITECTURES, completed, cuda_stack, make_run, make_stack, plan, record_of

SUITE_WAIVERS = load_waivers(ARCHITECTURES)
LEGACY = {"transformers": "4.48.3", "optimum": "1.27.0"}
LIBRARIES = {"flash-attn": "2.8.3", "bitsandbytes": "0.50.2", "accelerate": "1.15.0"}
CPU = make_stack(LIBRARIES, cpu_flags=CPU_FLAGS)


def of_a_whole_run(stack: Stack, waivers: tuple[Waiver, ...], profile: str = "pairwise") -> list[str]:
    """The problems of a run of a profile in which nothing could be tried."""
    ids = [cell.id for cell in plan(profile)]
    seen = completed(plan(profile)[0])
    records = [record_of(name, Verdict.UNAVAILABLE, observation=seen) for name in ids]
    run = make_run(*ids, stack=stack, profile=profile)
    told = problems_of(run, records, [], waivers=waivers, architectures=ARCHITECTURES, guide=load_guide())
    nothing_ran, *others = told
    assert nothing_ran == "no cell was executed: an empty run is a failed run"
    return others


@pytest.mark.parametrize(
    "stack", [CPU, cuda_stack(LIBRARIES), make_stack(LIBRARIES | LEGACY)], ids=["cpu", "cuda", "legacy"]
)
def test_whoever_runs_pairwise_is_told_of_no_waiver_whose_cells_another_profile_tries(stack: Stack) -> None:
    """It holds waivers to account, or else the profiles that try what it leaves out."""
    assert of_a_whole_run(stack, SUITE_WAIVERS) == []


def test_a_waiver_whose_cells_no_profile_tries_is_told() -> None:
    others = {cell for profile in load_profiles() if profile != "full" for cell in plan(profile)}
    nowhere = next(cell for cell in plan("full") if cell not in others)
    text = " ".join(f"{axis}={value}" for axis, value in nowhere.axis_values())
    always = next(waiver for waiver in SUITE_WAIVERS if waiver.condition.holds(CPU))
    idle = replace(always, selection=parse_selection(text, ARCHITECTURES), place="mine.toml: waiver 1")
    assert of_a_whole_run(CPU, (idle,)) == [f"mine.toml: waiver 1: no planned cell matches {text!r}"]
    assert of_a_whole_run(CPU, (idle,), "relations") == []
