"""The figures that the README gives are those that were measured."""

import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matrix.axes import Dtype
from matrix.plan import make_plan
from matrix.regressions import load_regressions
from matrix.stack import Device
from reports.calibration import Calibration
from reports.front import front_of
from reports.places import published_places
from reports.policy import Counts, Matters, Policy, Within
from reports.power import RULES, Power, PowerSummary, published_power, read_power
from reports.reading import read_report
from reports.runs import collect
from reports.support import all_series
from tests.builders import ARCHITECTURES, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
# Campaigns of later faults alone, which a CPU has seen.
ON_A_CPU = ("cpu-decoding", "cpu-quantisers", "cpu-formats", "cpu-placements", "cpu-processes")


_WORDS = {22: "twenty-two"}


def measured(device: Device) -> PowerSummary:
    found = published_power(device)
    assert found is not None
    return found


def test_plans_are_as_large_as_it_says() -> None:
    for profile in ("smoke", "pairwise", "relations", "full"):
        assert f"{len(make_plan(profile, ARCHITECTURES)):,}" in README
    for profile in ("full", "relations", "decoding", "quantisers", "placements", "hub_kernels"):
        assert re.search(rf"--profile {profile} +# {len(make_plan(profile, ARCHITECTURES)):,} ", README)
    # Of types of the installed library too, as the plan of that run had them.
    divided = read_report(ROOT / "reports" / "published" / "cpu-torch2.13.0-transformers5.24.0-tensor-parallel.json.gz")
    cells = [record.cell for record in divided.records if "-tp2-" in record.cell]
    assert re.search(rf"--profile tensor_parallel +# {len(cells):,} ", README)
    assert f"{len({cell.partition('-')[0] for cell in cells})} architectures, among them tied heads" in README
    assert f"{len(load_regressions())} reported failures" in README


def test_the_table_of_rules_is_what_the_campaign_showed() -> None:
    power = measured(Device.CPU)
    rows = [[int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", line)] for line in _rows()]
    for rule, numbers in zip(RULES, rows, strict=True):
        caught = [power.total[dtype].caught[rule] for dtype in Dtype]
        alarms = [power.honest[dtype].caught[rule] for dtype in Dtype]
        if rule == "suite":
            tried = [power.total[dtype].asked[rule] for dtype in Dtype]
            honest = [power.honest[dtype].asked[rule] for dtype in Dtype]
            assert numbers == [n for pair in zip(caught + alarms, tried + honest, strict=True) for n in pair]
        else:
            assert numbers[-6:] == caught + alarms
    assert f"{len(power.faults)} faults that real bugs stand for" in README
    assert f"{_WORDS[len(power.architectures)]} architectures" in README


def test_nothing_is_missed_on_a_cpu_and_the_limits_are_those_it_gives() -> None:
    power, text = measured(Device.CPU), " ".join(README.split())
    assert power.misses == []
    own, by_size = ([limit(dtype) for dtype in Dtype] for limit in (power.limit, power.size_limit))
    assert "is {:g} % in float32, {:g} % in float16 and {:g} % in bfloat16".format(*own) in text
    assert "by the size of the error alone {:g} %, {:g} % and {:g} %".format(*by_size) in text


def test_what_h200s_show_is_as_it_says() -> None:
    power, text = measured(Device.CUDA), " ".join(README.split())
    shares = [(power.total[dtype].caught["suite"], power.total[dtype].asked["suite"]) for dtype in Dtype]
    assert "{} of {}, {} of {} and {} of {} are caught".format(*(n for share in shares for n in share)) in text
    by_size = [power.total[dtype].caught["size"] for dtype in Dtype]
    assert "by size alone {}, {} and {}".format(*by_size) in text
    assert f"none of {sum(tally.asked['suite'] for tally in power.honest.values())} honest cells" in text
    assert all(tally.caught["suite"] == 0 for tally in power.honest.values())
    assert [(miss.fault, miss.cell.partition("-")[0], miss.dtype) for miss in power.misses] == [
        ("state_kept_in_module", "gpt2", Dtype.BFLOAT16)
    ]
    limits = [power.limit(dtype) for dtype in Dtype]
    assert "caught there is {:g} %, {:g} % and {:g} %".format(*limits) in text


def test_the_calibration_has_the_cells_it_counts_and_accuses_none() -> None:
    path = ROOT / "reports" / "published" / "calibration.json"
    calibration = Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    on_gpu = [cell for cell in calibration.honest if cell.device != "cpu"]
    assert calibration.alarms == []
    for count in (len(calibration.honest), len(on_gpu), len(calibration.honest) - len(on_gpu)):
        assert f"{count:,}" in README
    for device, quantised in (("cpu", False), (on_gpu[0].device, False), (on_gpu[0].device, True)):
        cells = [cell for cell in calibration.honest if (cell.device, cell.quantised) == (device, quantised)]
        assert len({cell.seed for cell in cells}) >= 3


def campaign(name: str) -> Power:
    """What a campaign of seeded faults found."""
    return read_power(ROOT / "reports" / "power" / f"{name}.json")


def test_every_fault_of_the_catalogue_was_tried() -> None:
    from conformance.faults import FAULTS

    files = {Device.CPU: ("cpu", *ON_A_CPU), Device.CUDA: ("cuda",)}
    tried = {
        device: {trial.fault for name in names for trial in campaign(name).trials} & set(FAULTS)
        for device, names in files.items()
    }
    assert tried[Device.CPU] == set(FAULTS)
    of_processes = {trial.fault for trial in campaign("cpu-processes").trials}
    not_there = {name for name in FAULTS if name.startswith(("torchao_", "ct_", "fp8_")) or name in of_processes}
    assert tried[Device.CUDA] == tried[Device.CPU] - not_there
    assert f"all but {len(not_there)} of the faults" in " ".join(README.split())
    assert f"{len(FAULTS)} faults" in README
    of_files = {name for name, fault in FAULTS.items() if fault.spoilt is not None}
    assert {trial.fault for trial in campaign("cpu-formats").trials} - {""} == of_files
    assert f"The {len(of_files)} of what files in FP8, MXFP4" in " ".join(README.split())
    honest = [trial for name in ON_A_CPU[1:] for trial in campaign(name).trials if not trial.fault]
    assert f"None of the {len(honest)} honest cells beside all of these" in " ".join(README.split())


@pytest.mark.parametrize("name", ON_A_CPU)
def test_what_later_faults_show_is_as_it_says(name: str) -> None:
    trials = campaign(name).trials
    seeded, honest = [one for one in trials if one.fault], [one for one in trials if not one.fault]
    caught = sum(one.caught.suite for one in seeded)
    assert f"{caught} of {len(seeded)} on a CPU" in " ".join(README.split())
    assert not any(one.caught.suite for one in honest)


def test_the_places_of_planted_faults_are_found_as_often_as_it_says() -> None:
    for device, named in ((Device.CUDA, "on an H100"), (Device.CPU, "on a CPU")):
        places = published_places(device)
        exact = sum(trial.exact for trial in places.seen)
        assert f"{exact} of {len(places.seen)} {named}" in " ".join(README.split())
        assert exact >= 0.95 * len(places.seen)
        assert not any(trial.before for trial in places.seen)
        assert all(trial.pattern == trial.expected_pattern for trial in places.seen if trial.expected_pattern)
        assert len({trial.cell.partition("-")[0] for trial in places.seen}) == 12
        assert len({trial.fault for trial in places.trials}) == 12


def test_no_sabotage_left_a_cell_green() -> None:
    for device in Device:
        trials = measured(device).sabotage
        assert all(trial.caught for trial in trials)
        assert f"{len({trial.name for trial in trials})} ways" in README
        assert f"none of {len(trials)} cells" in README


def test_the_answers_to_the_guides_claims_are_those_that_were_measured() -> None:
    path = ROOT / "reports" / "published" / "nvidia-h100-torch2.11.0-transformers5.17.0-benchmark.json.gz"
    report = read_report(path)
    of = {row.name: row.figures for row in report.rows}
    said = {line.split("|")[1].strip(): line.split("|")[3] for line in README.splitlines() if line.startswith("| C")}

    def best(claim: str, model: str, pick: Callable[[list[float]], float]) -> float:
        return pick([value for name, value in of[claim].items() if model in name])

    assert [row.word for row in report.rows] == ["holds"] * 8
    for model in ("Llama-7B", "Falcon-7B"):
        assert f"{best('C1', model, min):.1f} to {best('C1', model, max):.1f}" in said["C1"]
        assert f"{of['C2'][f'short eager/FA2 {model}']:.2f}" in said["C2"]
        assert f"{of['C2'][f'long eager/FA2 {model}, worst']:.1f}" in said["C2"]
        assert f"{best('C3', model, max):.0f} times for {model}" in said["C3"]
        for backend in ("flash_attention_2", "sdpa"):
            assert f"{100 * of['C4'][f'share lost {backend} {model}']:.0f} %" in said["C4"]
    assert f"{of['C5']['float32/fp4 linear weights']:.1f} times" in said["C5"]
    assert f"{of['C5']['float32/fp4 whole model']:.1f} times" in said["C5"]
    assert f"{of['C6']['bfloat16/int8 linear weights']:.2f} times against bfloat16" in said["C6"]
    assert f"{of['C6']['float32/int8 linear weights']:.2f} times against float32" in said["C6"]
    assert f"{of['C7']['KL mean int8, worst']:.4f} nats" in said["C7"]
    assert f"nf4 {of['C7']['KL mean nf4, worst']:.2f}" in said["C7"]
    assert f"{of['C8']['pipeline/generate, batch 1']:.2f} times for one" in said["C8"]
    assert f"{of['C8']['pipeline/generate, batch 4']:.2f} times for four" in said["C8"]


def _rows() -> list[str]:
    table = README[README.index("| this suite |") :]
    return table.split("\n\n")[0].splitlines()


def test_the_interval_that_it_quotes_is_in_the_published_site() -> None:
    quoted = re.search(r"“`(\w+)` with `(\w+)`: (since [^”]+)”", " ".join(README.split()))
    assert quoted is not None
    backend, architecture, words = quoted.groups()
    runs = collect(ROOT / "reports" / "published", ROOT / "reports" / "out" / "site").runs
    (series,) = (one for one in all_series(run.report for run in runs) if "H100" in one.device)
    (table,) = (table for table in series.tables if table.title == "backend")
    assert table.rows[architecture][backend][0].words == words
    (front,) = (one for one in front_of([series], runs) if one.cuda)
    assert {group.rows[architecture][backend].words for group in front.groups if architecture in group.rows} == {
        f"supported {words}"
    }


def test_the_policy_that_it_shows_is_the_usual_one() -> None:
    (shown,) = re.findall(r"```toml\n(\[tool\.conformance\.gate\]\n.*?)```", README, re.DOTALL)
    table = tomllib.loads(shown)["tool"]["conformance"]["gate"]
    assert Policy.model_validate(table) == Policy()
    assert table.keys() == Policy.model_fields.keys()
    for name, part in {"counts": Counts, "matters": Matters, "within": Within}.items():
        assert table[name].keys() == part.model_fields.keys()


def blocks(language: str) -> list[str]:
    """What stands in the README in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def workflows() -> list[dict[Any, Any]]:
    yaml = pytest.importorskip("yaml")
    return [yaml.safe_load(block) for block in blocks("yaml")]


def test_every_workflow_has_jobs_whose_steps_do_something() -> None:
    assert len(workflows()) == 2
    for workflow in workflows():
        for job in workflow["jobs"].values():
            assert job["runs-on"]
            assert all(("uses" in step) is not ("run" in step) for step in job["steps"])
            assert not any("continue-on-error" in step or "||" in step.get("run", "") for step in job["steps"])


def test_the_gate_of_upgrades_ends_with_the_commands_own_status_and_uploads_its_report_either_way() -> None:
    gate = gating()["jobs"]["gate"]
    assert "self-hosted" in gate["runs-on"]
    commands = [step for step in gate["steps"] if "run" in step]
    script = commands[-1]["run"].splitlines()
    assert shlex.split(script[-1])[:4] == ["python", "-m", "matrix", "upgrade"]
    assert "--format github" in script[-1]
    # What somebody types is given as a variable: within the script it would be code.
    assert not any("${{" in step["run"] for step in commands)
    assert gate["steps"][-1]["if"] == "always()"
    assert '--report-dir "$OUT"' in script[-1]


def test_the_gate_keeps_what_it_measured_beside_the_checkout_by_what_is_asked(tmp_path: Path) -> None:
    (step,) = [step for step in gating()["jobs"]["gate"]["steps"] if "GITHUB_ENV" in step.get("run", "")]

    def kept(to: str, commit: str) -> str:
        told = tmp_path / "env"
        told.unlink(missing_ok=True)
        given = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "GITHUB_ENV": str(told)}
        asked = {**given, "TO": to, "GITHUB_SHA": commit}
        subprocess.run(["bash", "-e", "-c", step["run"]], env=asked, cwd=tmp_path, check=True, timeout=60)
        (line,) = told.read_text(encoding="utf-8").splitlines()
        assert line.startswith(f"OUT={tmp_path}/home/upgrades/")
        return line

    one = kept("transformers==5.24.0", "abc")
    assert kept("transformers==5.24.0", "abc") == one
    others = ["transformers==5.23.0", "transformers==5.24.0 peft==0.21.2"]
    assert len({one, kept("transformers==5.24.0", "abd"), *(kept(to, "abc") for to in others)}) == 4
    assert re.fullmatch(r"OUT=[\w/.=-]+", kept("a\nPATH=x ../*[$(id)]", "abc"))


def test_the_gate_uploads_verdict_and_reports_and_no_environment(tmp_path: Path) -> None:
    upload = gating()["jobs"]["gate"]["steps"][-1]["with"]["path"].splitlines()
    patterns = [path.removeprefix("${{ env.OUT }}/") for path in upload]
    wanted = {"index.html", "gate.md", "gate.json", "current/matrix.json", "candidate/index.html"}
    for name in (*wanted, "environments/candidate/venv/lib/torch/__init__.py", "current/blocks/001/matrix.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {str(path.relative_to(tmp_path)) for pattern in patterns for path in tmp_path.glob(pattern)}
    assert found == wanted


def gating() -> dict[Any, Any]:
    """The workflow that gates upgrades."""
    (found,) = (workflow for workflow in workflows() if "gate" in workflow["jobs"])
    return found


def test_it_names_releases_that_there_are() -> None:
    # Looked up in the index: what the README names anew must be, too.
    known = {
        "transformers": {"5.24.0"},
        "torch": {"2.14.0"},
        "peft": {"0.15.2", "0.21.2"},
        "accelerate": {"1.4.0"},
        "optimum": {"1.27.0"},
    }
    named = set(re.findall(r"\b([a-z][\w-]*)==(\d[\w.]*\w)", README))
    assert named
    assert {f"{name}=={version}" for name, version in named if version not in known.get(name, ())} == set()


def test_exit_codes_of_an_upgrade_are_told_once() -> None:
    assert len(re.findall(r"\b2\b[^.\n|]*could not", " ".join(README.split()))) == 1


def test_the_container_is_made_of_instructions_that_there_are_and_installs_extras_that_there_are() -> None:
    (recipe,) = blocks("dockerfile")
    known = {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "VOLUME", "CMD"}
    assert {line.split()[0] for line in recipe.splitlines() if line[0].isalpha()} == known
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = re.findall(r"-e \"\.\[([\w,]+)\]\"", "".join(blocks("dockerfile") + blocks("yaml")))
    assert {name for names in named for name in names.split(",")} <= set(extras)
    assert named
