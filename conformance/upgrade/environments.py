"""Environments beside the current one: built of pins, whole or not there, and sharing nothing by accident."""

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from conformance.bytecode import PREFIX
from conformance.interruption import end_with_parent
from conformance.plugin.forkserver import ROOT, SOCKET
from conformance.upgrade.choices import How
from matrix.errors import UsageError, enumerated
from matrix.files import read_toml
from matrix.releases import Pin
from reports.files import write_whole

_PROBE = Path(__file__).with_name("probe.py")
_WHOLE = "environment.json"  # written last: where it is, nothing lacks
_VENV, _PACKAGES = "venv", "packages"
_OURS = "transformers-inference-conformance"  # comes by the checkout's path
# What would have an environment look into another one.
_LEAKS = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "VIRTUAL_ENV", PREFIX)
# What would have an installer write to another place, or refuse to.
_PLACES = ("TARGET", "PREFIX", "ROOT", "USER", "REQUIRE_VIRTUALENV", "SYSTEM_PYTHON", "BREAK_SYSTEM_PACKAGES")
_ELSEWHERE = tuple(f"{installer}_{place}" for installer in ("PIP", "UV") for place in _PLACES)


@dataclass(frozen=True)
class Environment:
    """A Python, and where it looks for libraries."""

    python: Path
    overlay: Path | None = None  # a folder that comes before everything else
    alone: bool = False  # an environment of its own: neither PYTHONPATH nor the user's site is for it

    def environ(self) -> dict[str, str]:
        """The variables of a process in it, which finds this checkout."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        kept.pop(SOCKET, None)  # of a server with the libraries of this process
        kept.pop("GITHUB_STEP_SUMMARY", None)  # for what is said of the whole
        inherited = [os.path.abspath(place) for place in kept.get("PYTHONPATH", "").split(os.pathsep) if place]
        if self.alone:
            inherited = []
            kept = {name: value for name, value in kept.items() if name not in _LEAKS}
            kept["PYTHONNOUSERSITE"] = "1"
            kept["PATH"] = os.pathsep.join([str(self.python.parent), kept.get("PATH", os.defpath)])
        places = [*([str(self.overlay)] if self.overlay else []), str(ROOT), *inherited]
        return kept | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(places))}

    def versions(self) -> dict[str, str]:
        """The version of everything that it finds installed, by name, but for the suite itself.

        Raises:
            UsageError: its Python does not run.
        """
        return {one["name"]: one["version"] for one in self.installed()}

    def installed(self) -> list[dict[str, Any]]:
        """What it finds installed but for the suite: name, version, needs, origin where that is no index, bytes.

        Raises:
            UsageError: its Python does not run.
        """
        return [one for one in self._asked()["installed"] if one["name"] != _OURS]

    def check(self, pins: Iterable[Pin]) -> None:
        """Say whether these are what an import would find.

        Raises:
            UsageError: one is not.
        """
        versions = self.versions()
        for pin in pins:
            if not fulfils(versions.get(pin.name), pin):
                found = versions.get(pin.name, "no release at all")
                raise UsageError(f"{pin} was installed into {self._place}, where {pin.name} {found} is found")
        for name, file in self._asked(*(pin.name for pin in pins))["hidden"].items():
            if file:
                raise UsageError(f"{name} was installed into {self._place}, but an import finds {file}")

    @property
    def _place(self) -> Path:
        return self.overlay or self.python.parent.parent

    def _asked(self, *names: str) -> dict[str, Any]:
        command = [str(self.python), "-P", str(_PROBE), *names]  # its folder has names of Python's own modules
        try:
            answer = subprocess.run(command, cwd=ROOT, env=self.environ(), capture_output=True, text=True, check=False)
        except OSError as error:
            raise UsageError(f"{self.python}: {error.strerror}") from None
        if answer.returncode:
            raise UsageError(f"{self.python} does not run: {_last_line(answer.stderr)}")
        told: dict[str, Any] = json.loads(answer.stdout)
        return told


@dataclass(frozen=True)
class Current(Environment):
    """The one that this process is in."""

    python: Path = Path(sys.executable)


def fulfils(version: str | None, pin: Pin) -> bool:
    """Whether an installed version is that of the pin: 0.22.0 is 0.22, and 2.13.0+cpu is 2.13.0."""
    return version is not None and SpecifierSet(f"=={pin.version}").contains(version, prereleases=True)


def unmet(installed: Sequence[Mapping[str, Any]]) -> set[str]:
    """What packages of an environment say they need and do not find there: pip installs a pin all the same."""
    versions = {one["name"]: one["version"] for one in installed}
    found = set()
    for one in installed:
        for text in one["needs"]:
            try:
                need = Requirement(text)
            except InvalidRequirement:
                continue
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            version = versions.get(canonicalize_name(need.name))
            if version is None or not need.specifier.contains(version, prereleases=True):
                wanted = f"{need.name}{need.specifier}"
                found.add(f"{one['name']} {one['version']} needs {wanted}, and finds {version or 'none'}")
    return found


def build(pins: Sequence[Pin], folder: Path, how: How, find_links: Path | None, base: Environment) -> Environment:
    """The environment `base` in which these pins were installed, as pip or uv would: what they need changes with them.

    It is in a folder of its own below `folder`; one that is whole is taken as it is, half a build is made anew.

    Args:
        pins: at most one of a package.
        find_links: a folder with all that must be installed, where there is no network.
        base: it is left as it is.

    Raises:
        UsageError: it cannot be built; in the installer's own words.
    """
    how = _chosen(how)
    sources = _sources(find_links)
    installed = base.installed()
    place = folder.absolute() / _name_of(pins, how, sources, base, installed)
    build = _Build(tuple(pins), place, how, sources, base, installed)
    if (place / _WHOLE).is_file():
        build.environment.check(pins)
    else:
        try:
            if place.exists():
                shutil.rmtree(place)
            place.mkdir(parents=True)
            try:
                build.make()
                build.environment.check(pins)
            except UsageError:
                for half in (_VENV, _PACKAGES):  # which takes room; what the installer said is left
                    shutil.rmtree(place / half, ignore_errors=True)
                raise
            write_whole(place / _WHOLE, json.dumps({"pins": list(map(str, pins)), "how": how.value}) + "\n")
        except OSError as error:
            raise UsageError(f"{place}: cannot be built: {error.strerror or error}") from None
    return build.environment


def name_of(pins: Sequence[Pin], how: How, find_links: Path | None, base: Environment) -> str:
    """The folder in which `build` would make it: another one wherever another environment might come of it.

    Raises:
        UsageError: there is no such folder of wheels, or the base's Python does not run.
    """
    return _name_of(pins, _chosen(how), _sources(find_links), base, base.installed())


def _chosen(how: How) -> How:
    return how if how is not How.AUTO else How.UV if shutil.which("uv") else How.PIP


@dataclass(frozen=True)
class _Build:
    """How one environment is made."""

    pins: tuple[Pin, ...]
    place: Path
    how: How
    sources: tuple[str, ...]  # options of pip and uv
    base: Environment
    installed: list[dict[str, Any]]

    @property
    def environment(self) -> Environment:
        """What comes of it."""
        if self.how is How.OVERLAY:
            return Environment(self.base.python, self.place / _PACKAGES, self.base.alone)
        return Environment(self.place / _VENV / "bin" / "python", alone=True)

    def make(self) -> None:
        if self.how is How.OVERLAY:
            self._overlay()
        else:
            self._apart()

    def _overlay(self) -> None:
        torch = [f"torch=={one['version']}" for one in self.installed if one["name"] == "torch"]
        kept = [] if any(pin.name == "torch" for pin in self.pins) else torch
        constraints = self._list("constraints.txt", kept)
        report = self.place / "report.json"
        pip, environ = self._pip(self.base), self.base.environ()
        asked = [*pip, "--dry-run", "--report", str(report), "--constraint", str(constraints), *self._pins]
        self._run(asked, environ)
        changed = [one["metadata"] for one in json.loads(report.read_text(encoding="utf-8"))["install"]]
        changes = [f"{one['name']}=={one['version']}" for one in changed]
        self._check_room({canonicalize_name(one["name"]) for one in changed})
        if changes:
            self._run([*pip, "--no-deps", "--target", str(self.environment.overlay), *changes], environ)

    def _apart(self) -> None:
        """A copy of the base, in which the pins are installed then: what they do not ask for stays as it is."""
        own = {pin.name for pin in self.pins}
        copied = [one for one in self.installed if one["name"] != "pip"]
        if linked := [one["name"] for one in copied if _is_editable(one) and one["name"] not in own]:
            raise UsageError(
                f"{enumerated(linked)}: installed as editable, which {self.how} cannot copy; --how overlay keeps it"
            )
        uv = self.how is How.UV
        # Before anything large is copied.
        of_base = self._uv(self.base) if uv else self._pip(self.base)
        self._run([*of_base, "--dry-run", *self._pins], self.base.environ())
        self._check_room({one["name"] for one in copied})
        new = self.environment
        apart = new.environ()
        making = ["uv", "venv", "--quiet", "--no-project", "--python", str(self.base.python)]
        making = making if uv else [str(self.base.python), "-m", "venv"]
        self._run([*making, str(self.place / _VENV)], apart)
        install = self._uv(new) if uv else self._pip(new)
        frozen = self._list("as-here.txt", [_requirement(one) for one in copied if one["name"] not in own])
        remedy = "; --how overlay leaves what is here where it is"
        self._run([*install, "--no-deps", "--requirement", str(frozen)], apart, remedy)
        self._run([*install, *_needs_of_suite(), *self._pins], apart)

    @property
    def _pins(self) -> list[str]:
        return list(map(str, self.pins))

    def _pip(self, of: Environment) -> list[str]:
        return [str(of.python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", *self.sources]

    def _uv(self, of: Environment) -> list[str]:
        return ["uv", "pip", "install", "--no-progress", "--python", str(of.python), *self.sources]

    def _list(self, name: str, requirements: Iterable[str]) -> Path:
        path = self.place / name
        write_whole(path, "".join(f"{one}\n" for one in requirements))
        return path

    def _check_room(self, names: set[str]) -> None:
        """Raise UsageError where there is less room than these take here."""
        needed = sum(one["bytes"] for one in self.installed if one["name"] in names)
        free = shutil.disk_usage(self.place).free
        if free < needed:
            remedy = "" if self.how is How.OVERLAY else "; --how overlay installs only what changes"
            raise UsageError(
                f"{self.place}: {free / 2**30:.1f} GiB are free, and the environment needs some "
                f"{needed / 2**30:.1f} GiB: make room, or name another --report-dir{remedy}"
            )

    def _run(self, command: Sequence[str], environ: Mapping[str, str], remedy: str = "") -> None:
        kept = {name: value for name, value in environ.items() if name not in _ELSEWHERE}
        try:
            process = subprocess.Popen(
                command,
                cwd=self.place,
                env=kept,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # so that all of it can be ended
                preexec_fn=end_with_parent,
            )
        except FileNotFoundError:
            raise UsageError(f"--how {self.how}: there is no {command[0]} here; --how pip needs none") from None
        try:
            said, _ = process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing that it started is left
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        write_whole(self.place / "output.txt", said)
        if process.returncode:
            why = told_by_installer(said, self.pins)
            raise UsageError(f"{enumerated(self._pins)} cannot be installed ({self.how}): {why}{remedy}")


def _name_of(
    pins: Sequence[Pin], how: How, sources: Sequence[str], base: Environment, installed: Sequence[Mapping[str, Any]]
) -> str:
    """Of a folder that is found again for the same pins over the same base."""
    of_base = sorted(f"{one['name']} {one['version']} {json.dumps(one.get('origin'))}" for one in installed)
    python = [platform.python_version(), str(base.python), str(base.overlay)]  # base is of this process's version
    ingredients = [*map(str, sorted(pins)), how, *sources, *python, *_needs_of_suite(), *of_base]
    digest = hashlib.sha256("\0".join(ingredients).encode()).hexdigest()[:10]
    first = f"{pins[0].name}-{pins[0].version}" if pins else "as-here"
    return f"{first}{f'-and-{len(pins) - 1}-more' if len(pins) > 1 else ''}-{how}-{digest}"


def _sources(find_links: Path | None) -> tuple[str, ...]:
    if find_links is None:
        return ()
    if not find_links.is_dir():
        raise UsageError(f"--find-links {find_links}: no such folder")
    return "--no-index", "--find-links", str(find_links.absolute())


def _needs_of_suite() -> list[str]:
    return list(read_toml(ROOT / "pyproject.toml")["project"]["dependencies"])


def _is_editable(one: Mapping[str, Any]) -> bool:
    return bool(((one["origin"] or {}).get("dir_info") or {}).get("editable"))


def _requirement(one: Mapping[str, Any]) -> str:
    """How to install the same again: by its address if it came from one that is still there, else from an index."""
    origin = one["origin"] or {}
    url = str(origin.get("url", ""))
    if (vcs := origin.get("vcs_info")) is not None:
        return f"{one['name']} @ {vcs['vcs']}+{url}@{vcs['commit_id']}"
    gone = url.startswith("file://") and not Path(url.removeprefix("file://")).exists()
    return f"{one['name']} @ {url}" if url and not gone else f"{one['name']}=={one['version']}"


_OTHER_PYTHON = re.compile(r"([\w.!+]+) Requires-Python ([^;\n]+)")
_KNOWN = re.compile(r"\(from versions: ([^)]*)\)")
_CONFLICT = "The conflict is caused by:"
_OF_UV = re.compile(r"No solution found.*?(Because .*?)(?: hint: |$)")
_NO_PIP = "No module named pip"


def told_by_installer(said: str, pins: Sequence[Pin]) -> str:
    """Why pip or uv gave up, in one line of its own words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for pin in pins:
        if f"ERROR: No matching distribution found for {pin}" in lines:
            return _not_found(said, pin)
    if _CONFLICT in lines:
        causes = lines[lines.index(_CONFLICT) + 1 :]
        ends = [place for place, line in enumerate(causes) if line.startswith("To fix this")]
        return f"the conflict is caused by: {'; '.join(causes[: ends[0] if ends else None])}"
    if because := _OF_UV.search(" ".join(lines)):
        return because[1]
    if _NO_PIP in said:
        return "there is no pip in that environment; python -m ensurepip puts one there"
    errors = [line for line in lines if line.lower().startswith("error:")]
    return errors[-1].partition(" ")[2] if errors else _last_line(said)


def _not_found(said: str, pin: Pin) -> str:
    for version, needs in _OTHER_PYTHON.findall(said):
        if fulfils(version, pin):
            return f"{pin} needs another Python ({needs.strip()}), this is {platform.python_version()}"
    known = [found.split(", ")[-1] for found in _KNOWN.findall(said)]
    there = known[-1] if known else "none"
    return f"no matching distribution found for {pin}; " + (
        "there is no release of it" if there == "none" else f"the newest there is {there}"
    )


def _last_line(said: str) -> str:
    return (said.strip() or "it said nothing").splitlines()[-1].strip()
