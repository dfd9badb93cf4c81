"""Architecture files: what is wrong with one is said before anything runs."""

from pathlib import Path

import pytest

from matrix.architectures import Architecture, load_architectures
from matrix.errors import UsageError
from matrix.plan import named_cell


@pytest.mark.parametrize("line", ['kept_linear = "lm_head"', "kept_linear = 5", "config = 5"])
def test_a_broken_architecture_is_refused(tmp_path: Path, line: str) -> None:
    text = 'model_type = "llama"\nkind = "decoder"\nauto_class = "AutoModelForCausalLM"\n'
    text += line + ("" if line.startswith("config") else "\n[config]\nvocab_size = 256\n")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        load_architectures(tmp_path)


SCALED = """model_type = "llama"
kind = "decoder"
auto_class = "AutoModelForCausalLM"
{positions}
[config]
max_position_embeddings = 64
rope_parameters = {{ rope_type = "{kind}", rope_theta = 10000.0, factor = 4.0 }}
"""


def scaled(folder: Path, kind: str, positions: str) -> dict[str, Architecture]:
    (folder / "scaled.toml").write_text(SCALED.format(kind=kind, positions=positions), encoding="utf-8")
    return load_architectures(folder)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_frequencies_that_follow_the_length_must_be_owned_to(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError, match=f"{kind}.*positions = .length."):
        scaled(tmp_path, kind, "")
    architectures = scaled(tmp_path, kind, 'positions = "length"')
    for workload in ("padding_invariance", "generate", "beam", "stepwise", "chunked_prefill", "continued"):
        with pytest.raises(UsageError, match="a part is another model"):
            named_cell(f"scaled-float32-sdpa-left-{workload}", architectures)
    assert named_cell("scaled-float32-sdpa-left-prefill", architectures)


def test_other_scalings_and_positions_stay_as_they_are(tmp_path: Path) -> None:
    assert named_cell("scaled-float32-sdpa-left-padding_invariance", scaled(tmp_path, "linear", ""))
    with pytest.raises(UsageError, match="positions must be one of kept, told, fixed, length"):
        scaled(tmp_path, "linear", 'positions = "elsewhere"')


GOOD = {
    "model_type": '"llama"',
    "kind": '"decoder"',
    "auto_class": '"AutoModelForCausalLM"',
    "config": "{ vocab_size = 256 }",
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("auto_class", '["AutoModel"]'),
        ("auto_class", "5"),
        ("auto_class", "1979-05-27"),
        ("auto_class", '"AutoModel\\nimport os"'),
        ("auto_class", '"class"'),
        ("auto_class", '""'),
        ("model_type", '"llama\\nimport os"'),
        ("model_type", '"../llama"'),
        ("aliases", '["a b"]'),
        ("reference_attention", "true"),
        ("reference_attention", '"fast"'),
        ("reference_reason", "5"),
        ("recurrent", '"yes"'),
        ("recurrent", "1"),
        ("name", "[1]"),
        ("config", '{ "x=1), exit(), dict(y" = 1 }'),
        ("config", "{ lambda = 1 }"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_file_and_key(tmp_path: Path, key: str, value: str) -> None:
    lines = [f"{name} = {written}" for name, written in {**GOOD, key: value}.items()]
    (tmp_path / "mine.toml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"mine\.toml: {key}\b"):
        load_architectures(tmp_path)


def test_the_file_that_the_wrong_values_are_put_into_is_good(tmp_path: Path) -> None:
    lines = [f"{name} = {written}" for name, written in GOOD.items()]
    (tmp_path / "mine.toml").write_text("\n".join(lines), encoding="utf-8")
    assert "mine" in load_architectures(tmp_path)
