"""`--checkpoint`: a folder must be what it is said to be, before anything is loaded."""

import contextlib
import json
import sys
import types
from pathlib import Path

import pytest

from matrix.checkpoints import check_hub_model, folders_by_name, parse_checkpoints
from matrix.errors import UsageError
from tests.builders import ARCHITECTURES


def checkpoint(folder: Path, model_type: object = "llama", weights: str = "model.safetensors") -> Path:
    """A folder that looks like a checkpoint."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    (folder / weights).touch()
    return folder


def refusal(*arguments: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_checkpoints(arguments, ARCHITECTURES)
    return str(caught.value)


@pytest.mark.parametrize("weights", ["model.safetensors", "model-00001-of-00002.safetensors"])
def test_the_right_folder_is_accepted(tmp_path: Path, weights: str) -> None:
    folder = checkpoint(tmp_path / "mine", weights=weights)
    assert parse_checkpoints([f"llama={folder}"], ARCHITECTURES) == {"llama": str(folder)}


def test_shards_that_the_index_names_must_be_there(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine", weights="model-00001-of-00002.safetensors")
    index = folder / "model.safetensors.index.json"
    both = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index.write_text(json.dumps({"weight_map": both}), encoding="utf-8")
    assert "1 of 2 shards are not there: model-00002-of-00002.safetensors" in refusal(f"llama={folder}")
    (folder / "model-00002-of-00002.safetensors").touch()
    assert parse_checkpoints([f"llama={folder}"], ARCHITECTURES)
    for said in ("[]", "{", '{"weight_map": 3}'):
        index.write_text(said, encoding="utf-8")
        assert "model.safetensors.index.json cannot be read" in refusal(f"llama={folder}")


def test_a_relative_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers may run elsewhere."""
    folder = checkpoint(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    for spelled in ("mine", "./mine", "../" + tmp_path.name + "/mine"):
        assert parse_checkpoints([f"llama={spelled}"], ARCHITECTURES) == {"llama": str(folder)}


def test_one_folder_may_serve_two_architectures_of_its_model_type(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine", "falcon")
    found = parse_checkpoints([f"falcon={folder}", f"falcon_alibi={folder}"], ARCHITECTURES)
    assert list(found) == ["falcon", "falcon_alibi"]


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Qwen3-0.6B", "qwen3_0_6b"), ("llama", "llama_checkpoint"), ("7b", "checkpoint_7b"), ("_", "checkpoint")],
)
def test_a_folder_alone_is_an_architecture_with_a_name_of_its_own(tmp_path: Path, folder: str, name: str) -> None:
    path = checkpoint(tmp_path / folder)
    assert folders_by_name([str(path)], ARCHITECTURES) == {name: path}


def test_a_folder_may_be_named(tmp_path: Path) -> None:
    """Only under a name that no architecture has: else it is a checkpoint of that one."""
    path = checkpoint(tmp_path / "mine")
    arguments = [f"before={path}", f"llama={path}", "after=org/model", f"Not-A-Name={path}"]
    assert folders_by_name(arguments, ARCHITECTURES) == {"before": path}


@pytest.mark.parametrize("other", ["{0}", "mine={1}", "again={0}"])
def test_a_folder_or_a_name_is_given_once(tmp_path: Path, other: str) -> None:
    paths = [checkpoint(tmp_path / name) for name in ("mine", "other")]
    with pytest.raises(UsageError, match="is given twice"):
        folders_by_name([str(paths[0]), other.format(*paths)], ARCHITECTURES)


def test_folders_alone_are_among_the_checkpoints(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "mine")
    arguments = [str(path), "opt=x/y", f"new={checkpoint(tmp_path / 'other')}"]
    known = {**ARCHITECTURES, "mine": ARCHITECTURES["llama"], "new": ARCHITECTURES["llama"]}
    found = parse_checkpoints(arguments, known, folders_by_name(arguments, ARCHITECTURES))
    assert found == {"opt": "x/y", "mine": str(path), "new": str(tmp_path / "other")}
    (path / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"no \.safetensors file"):
        parse_checkpoints(arguments, known, folders_by_name(arguments, ARCHITECTURES))


def test_a_hub_id_passes_through() -> None:
    assert parse_checkpoints(["llama=meta-llama/Llama-3.2-1B"], ARCHITECTURES) == {"llama": "meta-llama/Llama-3.2-1B"}


def test_a_path_may_hold_an_equals_sign(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "step=100")
    assert parse_checkpoints([f"llama={folder}"], ARCHITECTURES) == {"llama": str(folder)}


def test_no_argument_is_no_checkpoint() -> None:
    assert parse_checkpoints([], ARCHITECTURES) == {}


@pytest.mark.parametrize("model_type", ["mistral", "Llama", None, 5])
def test_another_model_type_is_refused(tmp_path: Path, model_type: object) -> None:
    folder = checkpoint(tmp_path / "mine", model_type)
    message = refusal(f"llama={folder}")
    assert f"checkpoint {folder} is of model_type {model_type!r}, not 'llama'" in message


@pytest.mark.parametrize("content", [None, "", "{", "[]", '"llama"', "5"])
def test_a_folder_without_a_readable_config_is_refused(tmp_path: Path, content: str | None) -> None:
    folder = checkpoint(tmp_path / "mine")
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_text(content, encoding="utf-8")
    assert refusal(f"llama={folder}") == f"checkpoint {folder}: there is no readable config.json in it"


@pytest.mark.parametrize("path", ["/nowhere/at/all", "./nowhere", "../nowhere"])
def test_a_path_that_is_not_there_is_no_hub_id(path: str) -> None:
    assert refusal(f"llama={path}") == f"checkpoint {Path(path)}: there is no readable config.json in it"


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine", weights="pytorch_model.bin")
    message = refusal(f"llama={folder}")
    assert str(folder) in message
    assert "no .safetensors file" in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["grok=x/y"], ["'grok=x/y'", "unknown architecture", "llama"]),
        (["x/y"], ["'x/y'", "ARCHITECTURE=PATH_OR_HUB_ID"]),
        (["llama="], ["'llama='", "ARCHITECTURE=PATH_OR_HUB_ID"]),
        (["=x/y"], ["'=x/y'", "llama"]),
        (["llama=x/y", "llama=x/z"], ["llama is given twice"]),
    ],
)
def test_a_bad_argument_is_refused_by_name(arguments: list[str], words: list[str]) -> None:
    message = refusal(*arguments)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("checkpoint", ["~nosuchuser/x", "x" * 300])
def test_a_strange_path_is_refused_or_passed(checkpoint: str) -> None:
    with contextlib.suppress(UsageError):
        parse_checkpoints([f"llama={checkpoint}"], ARCHITECTURES)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('{"model_type": "opt"}', "org/model is of model_type 'opt', not 'llama'"),
        ("not json", "no readable config.json"),
        (None, "neither a folder here nor to be had from the hub: OSError: offline"),
        ('{"model_type": "llama"}', None),
    ],
)
def test_a_hub_model_is_asked_for_its_model_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str | None, words: str | None
) -> None:
    def download(hub_id: str, name: str) -> str:
        if answer is None:
            raise OSError("offline")
        (tmp_path / name).write_text(answer)
        return str(tmp_path / name)

    hub = types.ModuleType("huggingface_hub")
    monkeypatch.setattr(hub, "hf_hub_download", download, raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    if words is None:
        check_hub_model("org/model", ARCHITECTURES["llama"])
        return
    with pytest.raises(UsageError) as caught:
        check_hub_model("org/model", ARCHITECTURES["llama"])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "path", ["~\0x/y", "~nobody-of-that-name/x", "a\0b", "\ud800", "~\ud800", "/\udcff", "x" * 100_000]
)
def test_what_can_be_no_path_is_refused_in_a_line(path: str) -> None:
    assert folders_by_name([path, f"mine={path}"], ARCHITECTURES) == {}
    for argument in (path, f"llama={path}"):
        said = refusal(argument)
        assert said.isprintable()
        assert len(said) < 2_000


@pytest.mark.parametrize("hub_id", ["a b", "a/b/c", "owner/na\x1bme", "owner/"])
def test_what_can_be_no_model_of_the_hub_is_refused(hub_id: str) -> None:
    assert "neither a folder here nor the id of a model on the hub" in refusal(f"llama={hub_id}")


@pytest.mark.parametrize("content", ["[" * 100_000, '{"model_type": ' + "9" * 5_000 + "}", "5"])
def test_a_config_that_json_cannot_bear_is_refused(tmp_path: Path, content: str) -> None:
    folder = checkpoint(tmp_path / "mine")
    (folder / "config.json").write_text(content, encoding="utf-8")
    assert "there is no readable config.json in it" in refusal(f"llama={folder}")
