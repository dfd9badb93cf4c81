"""Expectations: the rules that come with the suite, whose rule decides, and how a broken file is refused."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from matrix.cell import parse_cell
from matrix.errors import UsageError
from matrix.expectation import FOLDER, Condition, Expectation, Outcome, Rule, expect, load_rules
from matrix.observation import Failure, Phase
from matrix.plan import load_profiles, valid_cells
from matrix.stack import Device, Gpu, Stack
from tests.builders import ARCHITECTURES, PROVEN_ABSENT, REFUSAL, REFUSED, cuda_stack, make_stack, plan, toml_table

CELL = parse_cell("llama-bfloat16-sdpa-prefill")
SUITE_RULES = load_rules(ARCHITECTURES)
RULE = {
    "cells": '"architecture=llama"',
    "when": '{ torch = ">=2" }',
    "outcome": '"refused"',
    "phase": '"run"',
    "type": '"ValueError"',
    "message": '"no such .* here"',
    "source": '"a page"',
}


def rules_from(folder: Path, *tables: Mapping[str, str | None]) -> tuple[Rule, ...]:
    """The rules of a user's file, without the suite's."""
    path = folder / "mine.toml"
    path.write_text("".join(toml_table("rule", table) for table in tables), encoding="utf-8")
    return tuple(rule for rule in load_rules(ARCHITECTURES, path) if rule.place.startswith(str(path)))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.name)
def test_every_file_of_the_suite_brings_rules(path: Path) -> None:
    """A file that is not read, or a table under another name, would bring none."""
    brought = [rule for rule in SUITE_RULES if rule.place.startswith(f"{path}: rule ")]
    assert len(brought) == path.read_text(encoding="utf-8").count("[[rule]]") > 0


def test_every_rule_of_the_suite_speaks_of_a_cell_that_exists() -> None:
    """A rule for cells that no plan holds has a slip in its `cells`."""
    planned = {cell for profile in load_profiles() for cell in plan(profile)}
    here = [rule for rule in SUITE_RULES if not rule.selection.means_absent]
    beyond = [rule for rule in here if not any(cell in rule.selection for cell in planned)]
    alone = [{name: architecture} for name, architecture in ARCHITECTURES.items()]
    idle = [rule.place for rule in beyond if not any(valid_cells(one, rule.selection) for one in alone)]
    assert idle == []


def test_without_a_rule_a_cell_should_work() -> None:
    assert expect(CELL, make_stack(), ()).outcome is Outcome.SUPPORTED


def test_the_first_match_wins(tmp_path: Path) -> None:
    first, second = RULE | {"source": '"first"'}, RULE | {"source": '"second"'}
    assert expect(CELL, make_stack(), rules_from(tmp_path, first, second)).source == "first"
    assert expect(CELL, make_stack(), rules_from(tmp_path, second, first)).source == "second"


@pytest.mark.parametrize(
    "passed_over",
    [{"cells": '"architecture=t5"'}, {"when": '{ torch = "<2" }'}],
    ids=["other cells", "other stacks"],
)
def test_a_rule_that_speaks_of_something_else_is_passed_over(tmp_path: Path, passed_over: dict[str, str]) -> None:
    rules = rules_from(tmp_path, RULE | passed_over | {"source": '"first"'}, RULE | {"source": '"second"'})
    assert expect(CELL, make_stack(), rules).source == "second"


@pytest.mark.parametrize(
    ("cell", "release", "outcome"),
    [
        ("mixtral-float32-eager-prefill", "4.48.3", "supported"),
        ("jamba-float32-eager-prefill", "4.48.3", "supported"),
        ("zamba2-float32-eager-prefill", "4.48.3", "unavailable"),
        ("zamba2-float32-eager-prefill", "4.49.0", "supported"),
        ("qwen3_moe-float32-eager-prefill", "4.50.3", "unavailable"),
        ("qwen3_moe-float32-eager-prefill", "4.51.0", "supported"),
        ("falcon_h1-float32-eager-prefill", "4.52.4", "unavailable"),
        ("falcon_h1-float32-eager-prefill", "4.53.0", "supported"),
        ("glm4_moe-float32-eager-prefill", "4.53.3", "unavailable"),
        ("glm4_moe-float32-eager-prefill", "4.54.0", "supported"),
        ("mamba-float32-sdpa-prefill", "4.57.6", "refused"),
        ("mamba2-float32-flash_attention_2-prefill", "4.48.3", "refused"),
        ("recurrent_gemma-float32-sdpa-prefill", "4.57.6", "refused"),
        ("recurrent_gemma-float32-eager-prefill", "4.57.6", "supported"),
        ("recurrent_gemma-float32-eager-prefill", "5.3.0", "unavailable"),
        ("recurrent_gemma-float32-eager-prefill", "5.4.0", "supported"),
        ("recurrent_gemma-float32-sdpa-prefill", "5.12.1", "refused"),
        ("recurrent_gemma-float32-sdpa-prefill", "5.13.0", "supported"),
        ("recurrent_gemma-bfloat16-flash_attention_2-prefill", "5.12.1", "refused"),
        ("t5-float32-sdpa-prefill", "5.14.1", "refused"),
        ("t5-float32-sdpa-prefill", "5.15.0", "supported"),
        ("opt-float32-flex_attention-prefill", "4.51.3", "refused"),
        ("bamba-float32-flex_attention-prefill", "4.57.6", "refused"),
        ("bamba-float32-eager-continued", "4.57.6", "unavailable"),
        ("bamba-float32-eager-continued", "5.0.0", "supported"),
        ("zamba2-float32-eager-continued", "4.57.6", "supported"),
        ("mamba-float32-eager-continued", "4.57.6", "refused"),
        ("mamba-float32-eager-continued", "5.0.0", "supported"),
    ],
)
def test_a_release_is_spoken_of_as_far_as_it_goes(cell: str, release: str, outcome: str) -> None:
    stack = make_stack({"transformers": release, "flash-attn": "2.8.3"})
    assert expect(parse_cell(cell), stack, SUITE_RULES).outcome == outcome


@pytest.mark.parametrize("as_folder", [False, True], ids=["file", "folder"])
def test_a_rule_of_the_user_overrides_the_suite(tmp_path: Path, as_folder: bool) -> None:
    cell = parse_cell("bloom-float32-sdpa-prefill")
    path = tmp_path / "mine.toml"
    path.write_text(
        toml_table("rule", {"cells": '"architecture=bloom"', "outcome": '"supported"', "source": '"my fork"'}),
        encoding="utf-8",
    )
    assert expect(cell, make_stack(), SUITE_RULES).outcome is Outcome.REFUSED
    rules = load_rules(ARCHITECTURES, tmp_path if as_folder else path)
    assert expect(cell, make_stack(), rules) == Expectation(Outcome.SUPPORTED, "my fork")


@pytest.mark.parametrize(
    ("phase", "workload", "expected"),
    [
        ("run", "prefill", Phase.FORWARD),
        ("run", "generate", Phase.GENERATE),
        ("load", "prefill", Phase.LOAD),
        ("load", "generate", Phase.LOAD),
        ("generate", "generate", Phase.GENERATE),
    ],
)
def test_the_phase_run_is_what_the_workload_runs(tmp_path: Path, phase: str, workload: str, expected: Phase) -> None:
    rules = rules_from(tmp_path, RULE | {"phase": f'"{phase}"'})
    assert expect(parse_cell(f"llama-bfloat16-sdpa-{workload}"), make_stack(), rules).phase is expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"outcom": '"refused"'}, ["unknown key 'outcom'", "outcome"], id="unknown key"),
        pytest.param({"cells": None}, ["cells"], id="no cells"),
        pytest.param({"cells": '" "'}, ["cells", "' '"], id="empty cells"),
        pytest.param({"cells": '"dtype=float64"'}, ["'float64'", "bfloat16"], id="unknown value in cells"),
        pytest.param({"cells": '"architecture=grok"'}, ["'grok'", "llama"], id="unknown architecture in cells"),
        pytest.param({"source": None}, ["source"], id="no source"),
        pytest.param({"source": '""'}, ["source"], id="empty source"),
        pytest.param({"source": "5"}, ["source", "5"], id="source that is no text"),
        pytest.param({"outcome": None}, ["outcome"], id="no outcome"),
        pytest.param({"outcome": '"fine"'}, ["'fine'", "supported, refused, unavailable"], id="bad outcome"),
        pytest.param({"phase": '"loading"'}, ["'loading'", "run, require, build, load"], id="bad phase"),
        pytest.param({"phase": None}, ["phase"], id="refused without a phase"),
        pytest.param({"type": None}, ["type"], id="refused without a type"),
        pytest.param({"message": None}, ["message"], id="refused without a message"),
        pytest.param({"type": '"OSError | KeyError"'}, ["'OSError | KeyError'", "with |"], id="types with spaces"),
        pytest.param({"message": '"("'}, ["message", "regular expression"], id="bad regex"),
        pytest.param({"when": '{ torch = "2.13" }'}, ["2.13"], id="version without an operator"),
        pytest.param({"when": '{ torch = ">=x" }'}, [">=x"], id="bad version"),
        pytest.param({"when": "{ torch = 2 }"}, ["torch", "not 2"], id="version that is no text"),
        pytest.param({"when": '{ capability = "9" }'}, ["'9'"], id="bad capability"),
        pytest.param({"when": '{ tensorflow = ">=2" }'}, ["'tensorflow'", "transformers"], id="unknown library"),
        pytest.param({"when": '{ device = "tpu" }'}, ["'tpu'"], id="unknown device"),
        pytest.param({"outcome": '"supported"'}, ["supported", "message"], id="supported with a message"),
        pytest.param({"cause": '"("'}, ["cause", "regular expression"], id="bad regex of a cause"),
        pytest.param({"cause": "5"}, ["cause", "regular expression"], id="a number for a cause"),
        pytest.param(
            {"outcome": '"unavailable"'}, ["missing = [what is not here]"], id="unavailable without what is missing"
        ),
        pytest.param(
            {"outcome": '"unavailable"', "missing": '["cuda"]', "type": None}, ["type"], id="unavailable, half an error"
        ),
    ],
)
def test_a_broken_rule_is_refused_with_its_place(
    tmp_path: Path, changes: dict[str, str | None], words: list[str]
) -> None:
    """The first rule of the file is right, so the second is what is refused."""
    with pytest.raises(UsageError) as caught:
        rules_from(tmp_path, RULE, {**RULE, **changes})
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'mine.toml'}: rule 2: ")
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"[[rule]\n", "not valid TOML", id="not TOML"),
        pytest.param(b'[[rule]]\nsource = "\xff"\n', "not valid TOML", id="not UTF-8"),
        pytest.param(b'[[rules]]\nsource = "x"\n', r"only [[rule]] tables", id="other table"),
        pytest.param(b"rule = 5\n", r"only [[rule]] tables", id="a number"),
        pytest.param(b"rule = [5]\n", r"only [[rule]] tables", id="a list of numbers"),
        pytest.param(b'[rule]\nsource = "x"\n', r"only [[rule]] tables", id="single brackets"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_rules(ARCHITECTURES, path)
    assert str(caught.value).startswith(f"{path}: {words}")


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml does not exist"):
        load_rules(ARCHITECTURES, tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("condition", "holds", "fails"),
    [
        pytest.param(
            Condition({"torch": SpecifierSet(">=2.13,<3")}), make_stack(), make_stack({"torch": "2.12.9"}), id="version"
        ),
        pytest.param(
            Condition({"torch": SpecifierSet("==2.13.0")}),
            make_stack({"torch": "2.13.0+cpu"}),
            make_stack({"torch": "2.13.1+cpu"}),
            id="version with a build",
        ),
        pytest.param(
            Condition({"torch": SpecifierSet(">=2.13")}),
            make_stack({"torch": "2.14.0.dev20260101"}),
            make_stack({"torch": "2.13.0.dev20260101"}),
            id="nightly",
        ),
        pytest.param(
            Condition({"peft": SpecifierSet(">=0.1")}), make_stack({"peft": "0.21.2"}), make_stack(), id="not installed"
        ),
        pytest.param(
            Condition({"torch": SpecifierSet(">=2"), "transformers": SpecifierSet(">=5")}),
            make_stack(),
            make_stack({"transformers": "4.57.0"}),
            id="second version",
        ),
        pytest.param(Condition({}, device=Device.CUDA), cuda_stack(), make_stack(), id="device"),
        pytest.param(
            Condition({}, capability=SpecifierSet(">=9.0")),
            cuda_stack(),
            cuda_stack(gpus=(Gpu("NVIDIA A100", 81920, "8.0"),)),
            id="capability",
        ),
        pytest.param(
            Condition({}, capability=SpecifierSet("<10")),
            cuda_stack(),
            cuda_stack(gpus=(Gpu("NVIDIA B200", 183359, "10.0"),)),
            id="capability of two digits",
        ),
        pytest.param(Condition({}, capability=SpecifierSet(">=9.0")), cuda_stack(), make_stack(), id="no GPU"),
        pytest.param(
            Condition({}, present=("flash-attn",)), make_stack({"flash-attn": "2.8.3"}), make_stack(), id="present"
        ),
        pytest.param(
            Condition({}, present=("torch", "avx512_bf16")),
            make_stack(cpu_flags=("avx512_bf16",)),
            make_stack(),
            id="one of two present",
        ),
        pytest.param(
            Condition({}, absent=("flash-attn",)), make_stack(), make_stack({"flash-attn": "2.8.3"}), id="absent"
        ),
        pytest.param(
            Condition({}, absent=("flash-attn", "kernels")),
            make_stack(),
            make_stack({"kernels": "0.12"}),
            id="one of two",
        ),
        pytest.param(Condition({}, absent=("compiler",)), make_stack(compiler=False), make_stack(), id="compiler"),
        pytest.param(Condition({}, present=("cuda",)), cuda_stack(), make_stack(), id="cuda"),
    ],
)
def test_each_part_of_a_condition_alone_makes_it_false(condition: Condition, holds: Stack, fails: Stack) -> None:
    assert condition.holds(holds)
    assert not condition.holds(fails)


def test_a_whole_condition_is_read_from_a_file(tmp_path: Path) -> None:
    when = '{ torch = ">=2", device = "cuda", capability = ">=9", gpus = 2, '
    when += 'present = ["flash-attn"], absent = ["kernels"] }'
    (rule,) = rules_from(tmp_path, RULE | {"when": when})
    assert rule.condition == Condition(
        {"torch": SpecifierSet(">=2")}, Device.CUDA, SpecifierSet(">=9"), 2, ("flash-attn",), ("kernels",)
    )


@pytest.mark.parametrize(
    "other",
    [
        Failure(Phase.FORWARD, REFUSAL.type, REFUSAL.message),
        Failure(REFUSAL.phase, "RuntimeError", REFUSAL.message),
        Failure(REFUSAL.phase, REFUSAL.type, "out of paper"),
    ],
    ids=["phase", "type", "message"],
)
def test_only_exactly_the_documented_failure_matches(other: Failure) -> None:
    assert REFUSED.matches(REFUSAL)
    assert not REFUSED.matches(other)


def test_builds_of_a_library_may_differ_in_the_type() -> None:
    documented = replace(REFUSED, type=f"{REFUSAL.type}|PaperJam")
    assert documented.matches(REFUSAL)
    assert documented.matches(replace(REFUSAL, type="PaperJam"))
    assert not documented.matches(replace(REFUSAL, type="Paper"))


def test_a_documented_cause_must_be_among_those_of_the_failure() -> None:
    caused = replace(REFUSAL, causes=("RuntimeError: later", "ImportError: Requires mslk >= 1.0.0"))
    documented = replace(REFUSED, cause="Requires mslk")
    assert documented.matches(caused)
    assert documented.named_in(caused) == "ImportError: Requires mslk >= 1.0.0"
    assert REFUSED.matches(caused)
    assert REFUSED.named_in(caused) is None
    assert not documented.matches(REFUSAL)
    assert not documented.matches(replace(REFUSAL, causes=("ImportError: Requires fbgemm",)))


def test_what_documents_no_error_matches_none() -> None:
    assert not Expectation(Outcome.SUPPORTED, "x").matches(REFUSAL)


def test_an_unavailable_cell_runs_only_where_an_error_proves_the_absence() -> None:
    assert PROVEN_ABSENT.runs
    assert not Expectation(Outcome.UNAVAILABLE, "x", missing=("cuda",)).runs


@pytest.mark.parametrize(
    "changes",
    [
        {"when": '"cpu"'},  # AttributeError
        {"when": "{ present = 5 }"},  # TypeError
        {"when": '{ present = "flash-attn" }'},  # read as letters: the rule never holds
        {"when": '{ absent = "flash-attn" }'},  # read as letters: the rule always holds
        {"when": '{ absent = ["flash-atn"] }'},  # a slip: always holds
        {"when": '{ present = ["flash-atn"] }'},  # a slip: never holds
        {"when": '{ torch = [">=2"] }'},
        {"outcome": '"unavailable"', "missing": '"cuda"'},  # read as letters
        {"outcome": '"unavailable"', "missing": "5"},  # TypeError
        {"missing": '["cuda"]'},  # refused, and yet something missing
    ],
    ids=lambda changes: " ".join(f"{key} = {value}" for key, value in changes.items()),
)
def test_a_broken_rule_is_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(toml_table("rule", RULE | changes), encoding="utf-8")
    with pytest.raises(UsageError, match="rule 1"):
        load_rules(ARCHITECTURES, path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("message", '"a{4294967296}"', r"message 'a\{4294967296\}' is not a regular expression"),
        ("message", f'"{"(" * 5000}"', "is not a regular expression"),
        ("message", "5", "message must be"),
        ("when", "{ torch = 5 }", "torch must be a version specifier"),
        ("when", '{ capability = [">=9"] }', "capability must be a version specifier"),
        ("when", f'{{ torch = ">={"9" * 5000}" }}', "when: torch: "),
        ("when", "{ gpus = true }", "gpus must be a number"),
        ("when", "{ gpus = -1 }", "gpus must be a number"),
        ("when", '{ device = ["cuda"] }', "device \\['cuda'\\]; allowed are cpu, cuda"),
        ("when", "{ present = [[]] }", "present names \\[\\]"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_the_rule(tmp_path: Path, key: str, value: str, words: str) -> None:
    table = {"cells": '"dtype=float16"', "outcome": '"refused"', "phase": '"load"', "type": '"ValueError"'}
    table |= {"message": '"no"', "source": '"here"', key: value}
    (tmp_path / "mine.toml").write_text(toml_table("rule", table), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"mine\.toml: rule 1: .*{words}"):
        load_rules(ARCHITECTURES, tmp_path / "mine.toml")


def test_a_folder_that_is_called_like_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").mkdir()
    with pytest.raises(UsageError, match=r"mine\.toml: is a folder, not a file"):
        load_rules(ARCHITECTURES, tmp_path)
