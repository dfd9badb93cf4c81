"""Architecture files: what is wrong with one is said before anything runs."""

from pathlib import Path

import pytest

from matrix.architectures import load_architectures
from matrix.errors import UsageError


@pytest.mark.parametrize("line", ['kept_linear = "lm_head"', "kept_linear = 5", "config = 5"])
def test_a_broken_architecture_is_refused(tmp_path: Path, line: str) -> None:
    text = 'model_type = "llama"\nkind = "decoder"\nauto_class = "AutoModelForCausalLM"\n'
    text += line + ("" if line.startswith("config") else "\n[config]\nvocab_size = 256\n")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        load_architectures(tmp_path)
