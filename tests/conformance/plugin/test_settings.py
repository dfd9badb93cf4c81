"""Options that can be nothing: refused in a line before anything is read."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.plugin.settings import LONGEST_TIMEOUT, add_options, settings_from
from matrix.errors import UsageError
from tests.builders import make_stack


def settings(*arguments: str, folder: Path = Path("/")) -> Any:
    parser = pytest.Parser(_ispytest=True)
    add_options(parser)
    option = parser.parse(list(arguments))
    config: Any = SimpleNamespace(option=option, invocation_params=SimpleNamespace(dir=folder))
    return settings_from(config, make_stack(), str(folder / "out"))


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "0", "-1", "1e300", str(LONGEST_TIMEOUT + 1)])
def test_a_time_that_no_cell_can_have_is_refused(seconds: str) -> None:
    with pytest.raises(UsageError, match=r"--cell-timeout .*: must be more than 0 seconds"):
        settings(f"--cell-timeout={seconds}")


@pytest.mark.parametrize("seed", ["-1", str(2**32 + 1), "9" * 4_000])
def test_a_seed_that_no_generator_takes_is_refused(seed: str) -> None:
    with pytest.raises(UsageError, match=r"--seed .*: must be from 0") as caught:
        settings(f"--seed={seed}")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("option", ["--cells", "--cell", "--architectures", "--require", "--profile", "--checkpoint"])
@pytest.mark.parametrize("value", ["x" * 100_000, "x=" * 50_000, "x," * 50_000, "~\0/x", "\ud800", "~no-such-user/x"])
def test_a_value_of_any_length_is_quoted_shortly(option: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings(f"{option}={value}")
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 2_000


@pytest.mark.parametrize("option", ["--fixture-cache", "--expectations", "--waivers"])
def test_a_path_that_can_be_none_is_refused(option: str) -> None:
    with pytest.raises(UsageError, match=f"{option} '~no-such-user/x': "):
        settings(f"{option}=~no-such-user/x")


@pytest.mark.parametrize("option", ["--fixture-cache", "--expectations", "--waivers", "--resume"])
@pytest.mark.parametrize("value", ["x" * 20_000, "a\0b"])
def test_a_path_that_no_file_can_have_is_refused(option: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"{option} '"):
        settings(f"{option}={value}")


@pytest.mark.parametrize("name", ["gpt2-float33-eager-prefill", "mood:right", "property:", "x" * 5_000])
def test_a_name_of_neither_a_cell_nor_a_row_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "names").write_text(f"gpt2-float32-eager-prefill\nproperty:right\n{name}\n")
    with pytest.raises(UsageError, match=r"--only names: '.*' is no cell and no row: "):
        settings("--only=names", folder=tmp_path)


def test_what_is_refused_is_but_a_step_beyond_what_is_taken() -> None:
    taken = settings(f"--cell-timeout={LONGEST_TIMEOUT}", f"--seed={2**32}", "--cells=architecture=gpt2")
    assert {cell.architecture for cell in taken.plan} == {"gpt2"}


@pytest.mark.parametrize(
    ("option", "words"), [("--seed", "is no whole number"), ("--cell-timeout", "is no number of seconds")]
)
@pytest.mark.parametrize("value", ["x", "9" * 5_000 + "x", "", "1_"])
def test_what_is_no_number_is_quoted_shortly(option: str, words: str, value: str) -> None:
    with pytest.raises(pytest.UsageError, match=words) as caught:
        settings(f"{option}={value}")
    assert len(str(caught.value)) < 5_000
