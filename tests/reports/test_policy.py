"""The policy of a team: what it says is what counts, and what it cannot say is refused in one line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.errors import UsageError
from reports.differences import Aspect, Kind
from reports.policy import Counts, Policy, read_policy
from tests.builders import PROPERTY


def written(folder: Path, text: str, name: str = "policy.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_word_the_usual_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_policy(None) == Policy()
    written(tmp_path, "[project]\nname = 'x'\n", "pyproject.toml")
    assert read_policy(None) == Policy()


def test_it_stands_in_the_project_of_the_current_folder_or_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = "strict = true\n[{0}counts]\nmessage = 'regression'\n[{0}matters]\narchitectures = ['gemma*']\n"
    written(tmp_path, "[tool.conformance.gate]\n" + said.format("tool.conformance.gate."), "pyproject.toml")
    own = read_policy(written(tmp_path, said.format("")))
    assert own == read_policy(None) == read_policy(Path("pyproject.toml"))
    assert own.strict
    assert own.kind_of(Kind.CHANGE, Aspect.MESSAGE) is Kind.REGRESSION
    assert own.matters.includes("gemma3", "float16", "sdpa")
    assert not own.matters.includes("llama", "float16", "sdpa")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("strict = 'very'", "strict"),
        ("strickt = true", "strickt"),
        ("[counts]\nspeed = 'ignore'", "counts.speed"),
        ("[counts]\ntime = 'much'", "counts.time"),
        ("[matters]\ndtypes = ['float8']", "matters.dtypes"),
        ("[within]\ntime_factor = 0.5", "within.time_factor"),
        ("[within]\naccuracy_step = nan", "within.accuracy_step"),
        ("counts = 3", "counts"),
        ("strict = ", "not valid TOML"),
        ("[tool]\nconformance = 3", "must be a table"),
    ],
)
def test_what_a_policy_does_not_know_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError, match=str(path)) as caught:
        read_policy(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml"):
        read_policy(tmp_path / "none.toml")


@PROPERTY
@given(st.sampled_from(Kind), st.sampled_from(Aspect), st.sampled_from(["regression", "change", "ignore"]))
def test_only_what_got_worse_or_is_never_worse_of_itself_is_weighed(kind: Kind, aspect: Aspect, weight: str) -> None:
    named = aspect.value in Counts.model_fields
    policy = Policy.model_validate({"counts": {aspect.value: weight} if named else {}})
    counts = policy.kind_of(kind, aspect)
    if kind in (Kind.IMPROVEMENT, Kind.ADDED, Kind.DELETED) or not named:
        assert counts is kind
    elif weight == "ignore":
        assert counts is None
    elif kind is Kind.REGRESSION:
        assert counts == weight
    else:
        assert counts in (Kind.CHANGE, Kind(weight))
