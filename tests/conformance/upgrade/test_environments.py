"""Environments are whole or not there, hold what was asked for, and share nothing by accident."""

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.plugin.forkserver import ROOT, SOCKET
from conformance.upgrade import environments
from conformance.upgrade.choices import How
from conformance.upgrade.environments import (
    Current,
    Environment,
    build,
    fulfils,
    name_of,
    told_by_installer,
    unmet,
)
from matrix.errors import UsageError
from matrix.releases import Pin
from tests.wheels import make_wheel

HERE = ("alpha==1.0", "beta==1.0", "torch==1.0", "masked==1.0")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an index would have."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "alpha", "1.0")
    make_wheel(folder, "alpha", "2.0", needs=["beta>=2"])
    make_wheel(folder, "alpha", "3.0", needs=["torch>=2"])
    make_wheel(folder, "alpha", "4.0", python=">=3.99")
    make_wheel(folder, "beta", "1.0")
    make_wheel(folder, "beta", "2.0")
    make_wheel(folder, "torch", "1.0")
    make_wheel(folder, "torch", "2.0")
    make_wheel(folder, "masked", "1.0", module="matrix")  # which this checkout has too
    make_wheel(folder, "needed", "1.0")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, index: Path) -> Environment:
    """A small environment to begin with."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    link_pip(folder)
    python = folder / "bin" / "python"
    offline = ["--quiet", "--no-index", "--find-links", str(index)]
    subprocess.run([str(python), "-m", "pip", "install", *offline, *HERE], check=True, cwd=folder)
    return Environment(python, alone=True)


def link_pip(folder: Path) -> None:
    """Give a new environment the pip that is here: to install one takes many seconds."""
    (libraries,) = folder.glob("lib/python*/site-packages")
    pip = metadata.distribution("pip")
    for name in {file.parts[0] for file in pip.files or () if file.parts[0] != ".."}:
        (libraries / name).symlink_to(str(pip.locate_file(name)))


@pytest.fixture
def _with_the_pip_of_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy is made as it is, but for its own pip."""
    real = environments._Build._run

    def run(build: environments._Build, command: Sequence[str], environ: Mapping[str, str], remedy: str = "") -> None:
        if "venv" in command:
            real(build, [*command, "--without-pip"], environ, remedy)
            link_pip(build.place / "venv")
        else:
            real(build, command, environ, remedy)

    monkeypatch.setattr(environments._Build, "_run", run)


def imported(environment: Environment, module: str) -> str:
    """The version of a module that a process there imports."""
    command = [str(environment.python), "-c", f"import {module}; print({module}.__version__)"]
    answer = subprocess.run(command, env=environment.environ(), capture_output=True, text=True, check=True, cwd=ROOT)
    return answer.stdout.strip()


def test_an_overlay_holds_what_the_pins_change_and_no_more(base: Environment, index: Path, tmp_path: Path) -> None:
    before = base.versions()
    overlaid = build([Pin("alpha", "2.0")], tmp_path, How.OVERLAY, index, base)
    assert overlaid.overlay is not None
    assert {one.name for one in overlaid.overlay.iterdir() if not one.name.endswith(".dist-info")} == {"alpha", "beta"}
    assert overlaid.versions() == before | {"alpha": "2.0", "beta": "2.0"}
    assert [imported(overlaid, name) for name in ("alpha", "beta", "torch")] == ["2.0", "2.0", "1.0"]
    assert base.versions() == before


def test_an_overlay_never_brings_a_torch_that_nobody_named(base: Environment, index: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"alpha==3\.0 cannot be installed .*the conflict is caused by: .*torch"):
        build([Pin("alpha", "3.0")], tmp_path, How.OVERLAY, index, base)


@pytest.mark.usefixtures("_with_the_pip_of_here")
def test_a_venv_is_a_copy_with_the_pins_and_shares_nothing(
    base: Environment, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "_needs_of_suite", lambda: ["needed"])
    stray = tmp_path / "stray"
    shutil.unpack_archive(make_wheel(tmp_path, "stray", "1.0"), stray, "zip")
    monkeypatch.setenv("PYTHONPATH", str(stray))
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path / "user"))
    monkeypatch.setenv("PIP_USER", "1")
    apart = build([Pin("alpha", "2.0")], tmp_path / "out", How.PIP, index, base)
    assert apart.python != base.python
    assert apart.overlay is None
    versions = apart.versions()
    assert versions.pop("pip")
    assert {name: versions[name] for name in ("alpha", "beta", "torch", "masked", "needed")} == {
        "alpha": "2.0",
        "beta": "2.0",
        "torch": "1.0",
        "masked": "1.0",
        "needed": "1.0",
    }
    assert "stray" not in versions
    assert "stray" in Environment(base.python).versions()  # such a leak would be seen
    assert apart.environ()["PYTHONPATH"] == str(ROOT)
    assert imported(apart, "alpha") == "2.0"


def test_what_is_here_and_cannot_be_had_again_is_one_line_with_the_remedy(
    base: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(build: environments._Build, command: Sequence[str], environ: Mapping[str, str], remedy: str = "") -> None:
        (build.place / "venv").mkdir(exist_ok=True)
        (build.place / "output.txt").touch()
        if "--requirement" in command:
            listed = (build.place / "as-here.txt").read_text(encoding="utf-8").split()
            assert {"alpha==1.0", "torch==1.0"} <= {*listed}
            assert "beta==1.0" not in listed
            raise UsageError(f"no torch==1.0{remedy}")

    monkeypatch.setattr(environments._Build, "_run", run)
    with pytest.raises(UsageError, match=r"no torch==1\.0; --how overlay leaves what is here where it is"):
        build([Pin("beta", "2.0")], tmp_path, How.PIP, None, base)
    assert not list(tmp_path.glob("*/venv"))
    assert list(tmp_path.glob("*/output.txt"))


def test_what_is_installed_as_editable_is_not_lost_in_a_copy(
    base: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editable = {"url": "file:///home/alpha", "dir_info": {"editable": True}}
    here = [{**one, "origin": editable if one["name"] == "alpha" else None} for one in base.installed()]
    monkeypatch.setattr(Environment, "installed", lambda self: here)
    monkeypatch.setattr(Environment, "check", lambda self, pins: None)
    monkeypatch.setattr(environments._Build, "_run", lambda *given: None)
    with pytest.raises(UsageError, match="alpha: installed as editable, which pip cannot copy; --how overlay"):
        build([Pin("beta", "2.0")], tmp_path, How.PIP, None, base)
    build([Pin("alpha", "2.0")], tmp_path, How.PIP, None, base)


def test_what_is_whole_is_taken_again_and_half_a_build_is_made_anew(
    base: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = [Pin("beta", "2.0")]
    monkeypatch.setattr(Environment, "check", lambda self, pins: None)
    monkeypatch.setattr(environments._Build, "make", half_a_build)
    with pytest.raises(KeyboardInterrupt):
        build(pins, tmp_path, How.OVERLAY, None, base)
    (half,) = tmp_path.glob("*/half")
    monkeypatch.setattr(environments._Build, "make", lambda self: (self.place / "packages").mkdir())
    first = build(pins, tmp_path, How.OVERLAY, None, base)
    assert not half.exists()
    assert first.overlay is not None
    assert first.overlay.is_dir()
    monkeypatch.setattr(environments._Build, "make", half_a_build)
    assert build(pins, tmp_path, How.OVERLAY, None, base) == first
    assert not half.exists()


def test_a_folder_is_of_all_that_an_environment_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[dict[str, Any]] = [{"name": "alpha", "version": "1.0", "origin": None}]
    monkeypatch.setattr(Environment, "installed", lambda self: installed)
    pins, base, names = [Pin("beta", "2.0")], Environment(Path("python")), list[str]()

    def named(how: How = How.PIP, find_links: Path | None = None) -> None:
        names.append(name_of(pins, how, find_links, base))

    named()
    named(How.OVERLAY)
    named(find_links=tmp_path)
    installed[0]["origin"] = {"url": "file:///other/alpha"}
    named()
    monkeypatch.setattr(environments.platform, "python_version", lambda: "3.99.0")
    named()
    monkeypatch.setattr(environments, "_needs_of_suite", lambda: ["needed"])
    named()
    assert len(set(names)) == len(names)
    named()
    assert names[-1] == names[-2]


def test_what_was_whole_once_is_looked_at_again(
    base: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments._Build, "make", lambda self: (self.place / "packages").mkdir())
    with monkeypatch.context() as patch:
        patch.setattr(Environment, "check", lambda self, pins: None)
        build([Pin("beta", "2.0")], tmp_path, How.OVERLAY, None, base)
    with pytest.raises(UsageError, match=r"beta==2\.0 was installed into .*, where beta 1\.0 is found"):
        build([Pin("beta", "2.0")], tmp_path, How.OVERLAY, None, base)


# An installer with a child that holds a pipe open for as long as it lives.
INSTALLER = """
import os, signal, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[int(sys.argv[1])])
os.write(int(sys.argv[1]), b"started")
signal.pause()
"""


def test_what_an_installer_started_ends_with_it(
    base: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    popen = subprocess.Popen

    class Interrupted(popen[str]):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, close_fds=False, **more)

        def communicate(self, *given: Any, **more: Any) -> Any:
            os.close(writing)
            assert os.read(reading, 100) == b"started"
            raise KeyboardInterrupt

    build = environments._Build((), tmp_path, How.PIP, (), base, [])
    monkeypatch.setattr(environments.subprocess, "Popen", Interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            build._run([sys.executable, "-c", INSTALLER, str(writing)], dict(os.environ))
        ended, _, _ = select.select([reading], [], [], 30)  # its end can be read once nobody has it open
        assert ended
    finally:
        os.close(reading)


def half_a_build(build: environments._Build) -> None:
    (build.place / "half").touch()
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("pin", "told"),
    [
        (Pin("alpha", "9.9"), r"no matching distribution found for alpha==9\.9; the newest there is 4\.0$"),
        (Pin("gamma", "1.0"), r"no matching distribution found for gamma==1\.0; there is no release of it$"),
        (Pin("alpha", "4.0"), r"3\.99"),
    ],
)
def test_what_cannot_be_had_is_one_line(base: Environment, index: Path, tmp_path: Path, pin: Pin, told: str) -> None:
    with pytest.raises(UsageError, match=rf"^{pin.name}=={pin.version} cannot be installed \(overlay\): .*{told}"):
        build([pin], tmp_path, How.OVERLAY, index, base)


def test_a_folder_of_wheels_that_is_not_there(base: Environment, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--find-links .*none: no such folder"):
        build([Pin("alpha", "2.0")], tmp_path, How.OVERLAY, tmp_path / "none", base)


def test_no_room_is_said_before_anything_is_copied(
    base: Environment, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(UsageError, match=r"0\.0 GiB are free, and the environment needs some .* --how overlay"):
        build([Pin("beta", "2.0")], tmp_path, How.PIP, index, base)
    assert not list(tmp_path.glob("*/venv"))


def test_without_uv_there_is_pip(
    base: Environment, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"--how uv: there is no uv here; --how pip needs none"):
        build([Pin("beta", "2.0")], tmp_path, How.UV, index, base)
    made: list[How] = []
    monkeypatch.setattr(environments._Build, "make", lambda self: made.append(self.how))
    monkeypatch.setattr(Environment, "check", lambda self, pins: None)
    build([Pin("beta", "2.0")], tmp_path, How.AUTO, index, base)
    monkeypatch.setattr(environments.shutil, "which", lambda name: "/usr/bin/uv")
    build([Pin("beta", "2.0")], tmp_path, How.AUTO, index, base)
    assert made == [How.PIP, How.UV]


def test_a_package_that_an_import_does_not_find_is_refused(base: Environment) -> None:
    base.check([Pin("alpha", "1.0")])
    with pytest.raises(UsageError, match=r"alpha==2\.0 was installed into .*, where alpha 1\.0 is found"):
        base.check([Pin("alpha", "2.0")])
    with pytest.raises(UsageError, match=rf"masked was installed into .*, but an import finds {ROOT}/matrix"):
        base.check([Pin("masked", "1.0")])


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Those of a process that an upgrade may be asked for in."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["here", "", str(ROOT)]))
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    monkeypatch.setenv(SOCKET, "/tmp/socket")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/tmp/summary")
    return {}


@pytest.mark.usefixtures("variables")
def test_the_path_of_each_environment() -> None:
    python, overlay = Path("/new/bin/python"), Path("/overlay")
    current = Current().environ()
    assert current["PYTHONPATH"].split(os.pathsep) == [str(ROOT), os.path.abspath("here")]
    assert Environment(python, overlay).environ()["PYTHONPATH"].split(os.pathsep)[:2] == [str(overlay), str(ROOT)]
    apart = Environment(python, alone=True).environ()
    assert (apart["PYTHONPATH"], apart["PYTHONNOUSERSITE"]) == (str(ROOT), "1")
    assert apart["PATH"].startswith(f"/new/bin{os.pathsep}")
    for environ in (current, apart):
        assert not {"PYTEST_XDIST_WORKER", SOCKET, "GITHUB_STEP_SUMMARY"} & environ.keys()


@pytest.mark.parametrize(
    ("version", "pin", "same"),
    [
        ("0.22.0", "0.22", True),
        ("2.13.0+cpu", "2.13.0", True),
        ("2.13.0", "2.13.0+cpu", False),
        ("5.24.0rc1", "5.24.0", False),
        ("5.24.0rc1", "5.24.0rc1", True),
        (None, "1", False),
    ],
)
def test_which_versions_are_one(version: str | None, pin: str, same: bool) -> None:
    assert fulfils(version, Pin("any", pin)) is same


def package(name: str, version: str, *needs: str) -> dict[str, object]:
    return {"name": name, "version": version, "needs": list(needs)}


def test_what_a_package_does_not_find_any_more() -> None:
    needs = ["beta<2,>=1", "gamma>=1; extra == 'more'", "not a requirement", "delta; python_version < '3'"]
    assert unmet([package("alpha", "1.0", *needs), package("beta", "1.5")]) == set()
    assert unmet([package("alpha", "1.0", *needs), package("beta", "2.0")]) == {
        "alpha 1.0 needs beta<2,>=1, and finds 2.0"
    }
    assert unmet([package("alpha", "1.0", *needs)]) == {"alpha 1.0 needs beta<2,>=1, and finds none"}


OTHER_PYTHON = """\
ERROR: Ignored the following versions that require a different python version: 5.9.0 Requires-Python >=3.99; 6.0.0 \
Requires-Python >=3.100
ERROR: Could not find a version that satisfies the requirement alpha==6.0 (from versions: 1.0, 2.0)
ERROR: No matching distribution found for alpha==6.0
"""
NO_ROOM = "Collecting alpha\nERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
OF_UV = """\
Using Python 3.11.7 environment at: here
error: No solution found when resolving dependencies
  cause: Because alpha==4.0 requires Python >=3.99 and you require alpha==4.0, we can conclude that it cannot be.
"""
OF_OLDER_UV = """\
  × No solution found when resolving dependencies:
  ╰─▶ Because there is no version of alpha==9.9 and you require
      alpha==9.9, we can conclude that your requirements are unsatisfiable.

      hint: Pre-releases are available
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (OTHER_PYTHON, "alpha==6.0 needs another Python (>=3.100), this is "),
        (NO_ROOM, "Could not install packages due to an OSError: [Errno 28] No space left on device"),
        (
            OF_UV,
            "Because alpha==4.0 requires Python >=3.99 and you require alpha==4.0, we can conclude that it cannot be.",
        ),
        (OF_OLDER_UV, "Because there is no version of alpha==9.9 and you require alpha==9.9, we can conclude that"),
        ("error: Failed to fetch: timed out\n", "Failed to fetch: timed out"),
        ("Traceback:\n  ...\nValueError: odd\n", "ValueError: odd"),
        ("/usr/bin/python: No module named pip\n", "there is no pip in that environment; python -m ensurepip"),
        ("", "it said nothing"),
    ],
)
def test_the_last_words_of_an_installer(said: str, told: str) -> None:
    found = told_by_installer(said, [Pin("alpha", "6.0")])
    assert found.startswith(told)
    assert "hint" not in found
    assert "\n" not in found


def test_how_each_package_is_copied(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "alpha", "1.0")
    origins = {
        "alpha==1.0": None,
        f"alpha @ {wheel.as_uri()}": {"url": wheel.as_uri(), "archive_info": {}},
        "alpha == 1.0".replace(" ", ""): {"url": (tmp_path / "gone.whl").as_uri(), "archive_info": {}},
        "alpha @ git+https://host.invalid/alpha@abc": {
            "url": "https://host.invalid/alpha",
            "vcs_info": {"vcs": "git", "commit_id": "abc"},
        },
    }
    for wanted, origin in origins.items():
        assert environments._requirement({"name": "alpha", "version": "1.0", "origin": origin}) == wanted
    assert environments._is_editable({"origin": json.loads('{"url": "file:///x", "dir_info": {"editable": true}}')})
    assert not environments._is_editable({"origin": None})
