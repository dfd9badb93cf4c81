"""`python -m matrix advise`: what to run, measured on somebody's own model, and why not the others."""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

from conformance.advising.journal import Journal
from conformance.advising.processes import Processes
from conformance.advising.task import Task, Way, truth_of
from conformance.plugin.settings import REPORTS
from matrix.advice.call import Paste
from matrix.advice.search import Failed, Finding, Found, Sample, State, Trials, search, search_again
from matrix.advice.space import Configuration, Model, eager_of, plain_cell
from matrix.advice.wanted import Wanted, fitted
from matrix.architectures import Architecture, Kind, load_architectures
from matrix.axes import Attention, Dtype, SdpaKernel
from matrix.caches import CACHES
from matrix.cell import SILENT, parse_cell
from matrix.clocks import slowed, slower
from matrix.errors import UsageError, quoted
from matrix.expectation import load_rules
from matrix.files import read_file, read_json
from matrix.installed import FIXTURE_CACHE, of_checkpoint
from matrix.memory import free_bytes, parameters_of, weight_files
from matrix.selection import parse_selection
from matrix.shortage import in_use_by_others
from matrix.stack import Device, Stack, detect_stack
from reports.advice import Advice, Entry, Held, Subject, advice_of, differing, holds, read_advice
from reports.files import write_whole
from reports.html import render_advice

Say = Callable[[str], None]
Hunt = Callable[[Model, Wanted, Trials], Found]
NAME = "mine"  # of the model among the architectures
_LOOKED = 120.0  # seconds
_A_TRUTH = 400.0
_WEIGHTS = 400.0
_A_CALL, _A_CALL_AT_LEAST = 240.0, 60.0
_LONGEST_JUDGED = {
    Device.CPU: 640,
    Device.CUDA: 2048,
}  # tokens of a row: golden takes eight bytes where bfloat16 has two
_GOLDEN = 12  # bytes for a parameter, with what passes through
_BYTES = {Dtype.FLOAT32: 4, Dtype.FLOAT16: 2, Dtype.BFLOAT16: 2}
_CHECKED = 3  # of what was right: the first was advised
_EXPLAINED = 3  # wrong configurations; of more the place takes as long as the advice
_FOR_PLACES = 0.2  # of the minutes, beside them
_ROOM = 0.85  # of what is free
_BUSY = 0.5  # processes a core that others keep running


@dataclass(frozen=True)
class Asked:
    """What was asked for."""

    path: Path
    wanted: Wanted
    minutes: float
    output: Path | None = None
    cells: str = ""  # a selection: what else is not tried
    faults: Mapping[str, str] = field(default_factory=dict)  # by name of a configuration: seeded, to try the advice
    room: int | None = None  # bytes of the device, where others measure beside it (`quiet`)
    beside: int = 1  # how many measure on this machine, this one among them


def advise(asked: Asked, say: Say) -> Advice:
    """Measure what is worth it, and write `advice.json` and `index.html` into the folder.

    Raises:
        UsageError: there is no config to be read, nothing of its kind can be made, or the folder is another's.
    """
    return Advising(asked, say).run()


def room_of(stack: Stack) -> int:
    """Bytes of the device that may be taken."""
    free = stack.gpus[0].free_mib * 2**20 if stack.device is Device.CUDA else free_bytes()
    return int(_ROOM * free)


def check(asked: Asked, file: Path, say: Say) -> tuple[bool, Advice]:
    """Whether what was advised in that file still is, and what was measured for that.

    Raises:
        UsageError: as above, or the file holds no advice.
    """
    before = read_advice(file)
    now = Advising(replace(asked, wanted=before.asked.wanted), say).run(
        lambda model, wanted, trials: search_again(model, wanted, trials, _to_check(before, model)),
        "" if before.advised is None else before.advised.name,
    )
    kept, sentence = holds(before, now)
    for name, (then, here) in differing(before, now).items():
        say(f"{name}: {then} then, {here} now")
    say(f"{'holds' if kept else 'does not hold'}: {sentence}")
    return kept, now


class Advising:
    """One call of the command: what it is about, and what it has to say beside the figures."""

    def __init__(self, asked: Asked, say: Say) -> None:
        self.asked, self.say = asked, say
        self.stack = detect_stack()
        self.notes: list[str] = []
        self.held: list[Held] = []
        self.slowed = slowed()
        self.config = _config_of(asked.path)
        named = asked.path.resolve().parent if asked.path.name == "config.json" else asked.path.resolve()
        self.name = re.sub(r"[/\\\0]", "-", named.name).strip(".") or NAME
        self.began = time.monotonic()

    def run(self, hunt: Hunt | None = None, checked: str = "") -> Advice:
        """Measure what `hunt` asks for, else what is worth it, and write the document and the page.

        Args:
            hunt: asks the trials for what it wants.
            checked: what it is about, by which its measurements are told from others of the same model.

        Raises:
            UsageError: see `advise`.
        """
        folder = self.asked.output or REPORTS / f"advice-{self.name}-{self._digest(checked)}"
        journal = Journal(folder, self._facts(checked))
        (folder / "truth").mkdir(exist_ok=True)
        if len(journal):
            self.say(f"{len(journal)} measurements of an earlier call are in {folder}")
        source, real = self._weights()
        known = load_architectures()
        architecture = of_checkpoint(NAME, self.config.parent, FIXTURE_CACHE.expanduser(), known)
        rules = load_rules({**known, NAME: architecture})
        only = parse_selection(self.asked.cells, {**known, NAME: architecture}) if self.asked.cells else None
        processes = Processes(self._room(), lambda task: self._expected(task, architecture))
        try:
            looked = self._looked(processes, architecture)
            if not real:
                source = folder / "generated"
                self._make_weights(processes, architecture, source)
            wanted = self._fitted(architecture, looked)
            model = self._model(architecture, looked, real)
            self._watch()
            trials = _Trials(self, processes, journal, model, wanted, str(source), folder / "truth")
            if hunt is None:
                found = search(model, wanted, self.stack, rules, trials, only)
            else:
                found = hunt(model, wanted, trials)
            trials.explain(found)
            self._watch()
            self.notes += slower(self.slowed, slowed(), time.monotonic() - self.began)
        finally:
            processes.end_all()
        advice = self._written(found, model, wanted, looked, source, folder, real)
        shutil.rmtree(folder / "truth", ignore_errors=True)
        shutil.rmtree(folder / "generated", ignore_errors=True)
        return advice

    def _written(
        self,
        found: Found,
        model: Model,
        wanted: Wanted,
        looked: Mapping[str, Any],
        source: Path,
        folder: Path,
        real: bool,
    ) -> Advice:
        architecture = model.architecture
        subject = Subject(
            name=self.name,
            path=str(self.asked.path),
            model_type=architecture.model_type,
            auto_class=architecture.auto_class,
            parameters=model.parameters,
            real=real,
            default=model.default.name,
            disk_bytes=sum(path.stat().st_size for path in weight_files(source)) if source.is_dir() else None,
        )
        path = self.asked.path  # as somebody wrote it, who will paste it where this was run
        pasted = str(path.parent if path.name == "config.json" else path)
        paste = Paste(pasted, self.stack.device, bool(looked["words"]), wanted.new, looked["vocabulary"])
        notes = list(dict.fromkeys(self.notes))
        spent = time.monotonic() - self.began
        advice = advice_of(found, model, wanted, self.stack, subject, paste, notes, spent)
        advice.held = self.held
        write_whole(folder / "advice.json", advice.model_dump_json(indent=1) + "\n")
        write_whole(folder / "index.html", render_advice(advice))
        self.say(f"{folder / 'index.html'}")
        return advice

    def _weights(self) -> tuple[Path, bool]:
        """The folder of the weights, and whether they are real."""
        folder = self.config.parent
        if self.asked.path.name == "config.json":
            self.notes.append(_GENERATED)
            return folder, False
        if not weight_files(folder):
            pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
            self.notes.append(_PICKLED if pickled else _GENERATED)
            return folder, False
        try:
            parameters_of(folder)
        except UsageError as error:
            self.notes.append(f"{error}; {_GENERATED}")
            return folder, False
        index = folder / "model.safetensors.index.json"
        gone = _shards_gone(index) if index.exists() else []
        if gone:
            self.notes.append(f"{len(gone)} shards are not there, such as {gone[0]}; {_GENERATED}")
        return folder, not gone

    def _make_weights(self, processes: Processes, architecture: Architecture, target: Path) -> None:
        if weight_files(target):
            return
        self.say("making weights of these shapes")
        aside = target.with_name("generated.part")
        shutil.rmtree(aside, ignore_errors=True)
        task = self._task(architecture, plain_cell(architecture, "float32", "eager").id, str(self.config.parent), "")
        failed = processes.once("make_weights", task, str(aside), seconds=_WEIGHTS)
        if isinstance(failed, Failed):
            raise UsageError(f"{self.asked.path}: no weights of its shapes can be made: {failed.state}, {failed.why}")
        os.rename(aside, target)

    def _looked(self, processes: Processes, architecture: Architecture) -> dict[str, Any]:
        self.say("looking at what the library does by itself")
        task = self._task(architecture, plain_cell(architecture, "float32", "eager").id, str(self.config.parent), "")
        looked = processes.once("look", task, seconds=_LOOKED)
        if isinstance(looked, Failed):
            raise UsageError(f"{self.asked.path}: cannot be looked at: {looked.why}")
        found: dict[str, Any] = looked
        return found

    def _fitted(self, architecture: Architecture, looked: Mapping[str, Any]) -> Wanted:
        new = 0 if architecture.kind is Kind.ENCODER else self.asked.wanted.new
        # What goes into an encoder, and what a decoder behind it makes, have their positions apart.
        beside = 0 if architecture.kind is Kind.ENCODER_DECODER else new
        prompt, fewer, line = fitted(self.asked.wanted.prompt, beside, looked["positions"])
        if line:
            self.notes.append(line)
        return replace(self.asked.wanted, prompt=prompt, new=fewer if beside else new)

    def _model(self, architecture: Architecture, looked: Mapping[str, Any], real: bool) -> Model:
        dtype = looked["dtype"] if looked["dtype"] in list(Dtype) else Dtype.FLOAT32
        attention = looked["attention"] if looked["attention"] in list(Attention) else Attention.EAGER
        bytes_ = 2 * looked["parameters"]
        fits = self.stack.device is Device.CPU or bytes_ < _ROOM * self.stack.gpus[0].memory_mib * 2**20
        if not fits:
            self.notes.append("it does not fit on the GPU in 16 bits: what a device_map spreads is tried instead")
        if looked["pooled"]:
            self.notes.append("right is its last hidden state: what its pooler makes of that is held against nothing")
        return Model(
            architecture=architecture,
            parameters=looked["parameters"],
            default=Configuration(plain_cell(architecture, dtype, attention)),
            reads=real,
            fits=fits,
        )

    def _expected(self, task: Task, architecture: Architecture) -> float:
        return float(architecture.parameters * _BYTES[parse_cell(task.cell).dtype])

    def _room(self) -> int:
        return self.asked.room or room_of(self.stack)

    def _task(self, architecture: Architecture, cell: str, source: str, references: str, **more: Any) -> Task:
        longest = min(self.asked.wanted.prompt, _LONGEST_JUDGED[self.stack.device])
        return Task(architecture, source, cell, device=self.stack.device, judged=longest, references=references, **more)

    def _watch(self) -> None:
        """Say who else uses the machine."""
        self.notes += in_use_by_others(self.stack.gpus)
        busy = os.getloadavg()[0] / (os.cpu_count() or 1)
        if self.stack.device is Device.CPU and busy > 1 + _BUSY:
            self.notes.append("others keep the processor busy: times and their intervals are of a shared machine")

    def _facts(self, checked: str) -> dict[str, str]:
        wanted = self.asked.wanted
        weights = [(path.name, path.stat().st_size) for path in weight_files(self.config.parent) if path.is_file()]
        return {
            "path": str(self.asked.path.resolve()),
            "config.json": hashlib.sha256(read_file(self.config)).hexdigest(),
            "weights": hashlib.sha256(repr(weights).encode()).hexdigest(),
            "options": repr(wanted),
            "stack": json.dumps([dict(self.stack.versions), self.stack.hardware]),
            "selection": self.asked.cells,
            "faults": repr(sorted(self.asked.faults.items())),
            "what is checked": checked,
        }

    def _digest(self, checked: str) -> str:
        return hashlib.sha256(repr(sorted(self._facts(checked).items())).encode()).hexdigest()[:8]


_GENERATED = "weights are generated for the shapes of its config.json: times and memory are real, their meaning is not"
_PICKLED = f"its weights are pickled, and such are not loaded; {_GENERATED}"


def _config_of(path: Path) -> Path:
    try:
        config = path if path.is_file() else path / "config.json"
        if not config.is_file():
            raise UsageError(f"{quoted(str(path))}: neither a checkpoint's folder nor a config.json")
    except (OSError, ValueError) as error:
        raise UsageError(f"{quoted(str(path))}: {error}") from None
    if config.name != "config.json":
        raise UsageError(f"{path}: must be a folder, or a file that is called config.json")
    read_json(config)
    return config.resolve()


def _shards_gone(index: Path) -> list[str]:
    try:
        shards = {str(name) for name in read_json(index)["weight_map"].values()}
    except (UsageError, KeyError, TypeError, AttributeError):
        return [index.name]
    return sorted(name for name in shards if not (index.parent / name).is_file())


def _to_check(before: Advice, model: Model) -> list[Configuration]:
    """What was advised, and what came next, with what it is held against."""
    right = [entry for entry in before.entries if entry.state is State.RIGHT]
    chosen = configurations(right[:_CHECKED], model)
    beside = [eager_of(one, model.architecture) for one in chosen[:1]]
    return list(dict.fromkeys([model.default, *chosen, *beside]))


def configurations(entries: Iterable[Entry], model: Model) -> list[Configuration]:
    """What those entries of an advice are of. One that does something else than the model of now is left out."""
    found = [Configuration(replace(parse_cell(one.cell), architecture=NAME), one.by_generate) for one in entries]
    return [one for one in found if one.cell.workload == model.default.cell.workload]


class _Trials:
    """Asks the processes, and the journal before them."""

    def __init__(
        self,
        advising: Advising,
        processes: Processes,
        journal: Journal,
        model: Model,
        wanted: Wanted,
        source: str,
        references: Path,
    ) -> None:
        self._advising, self._processes, self._journal = advising, processes, journal
        self._model, self._wanted, self._source, self._references = model, wanted, source, references
        self._truths: dict[tuple[str, str], Failed | None] = {}
        # What is known is answered in the time in which it was measured: the same is tried, in the same order.
        self._before = 0.0  # seconds that were spent by then
        self._since: float | None = None  # when this call asked what nobody had answered; from then its own time counts

    def say(self, line: str) -> None:
        """Hand it on."""
        self._advising.say(line)

    def left(self) -> float:
        """As a share of the minutes, which the calls before this one have spent from too."""
        return 1 - self._spent / self._allowed

    @property
    def _allowed(self) -> float:
        return 60 * self._advising.asked.minutes

    @property
    def _spent(self) -> float:
        return self._before + (0.0 if self._since is None else time.monotonic() - self._since)

    def _known(self, asked: str) -> Finding | Sample | Failed | None:
        known = self._journal.get(asked)
        if self._since is None and known is None:
            # Looking at the model and making its weights is part of the minutes of a call that begins.
            self._before = self._journal.spent()
            self._since = time.monotonic() if len(self._journal) else self._advising.began
        elif self._since is None:
            self._before = max(self._before, self._journal.spent(asked))
        return known

    def judge(self, one: Configuration) -> Finding:
        """Hold it against the truth, which is made if there is none."""
        asked = f"judge {one.name}"
        known = self._known(asked)
        if isinstance(known, Finding):
            return known
        found: Any = self._truth(one)
        if found is None:
            how = (_way(one), self._wanted.rows[0], self._wanted.prompt, self._wanted.new)
            found = self._processes.ask(self._task(one), "judge", *how, seconds=self._patience(one))
        finding = Finding(found.state, found.why) if isinstance(found, Failed) else found
        self._journal.keep(asked, finding, self._spent)
        return finding

    def time(self, one: Configuration, rows: int, new: int, turn: int) -> Sample | Failed:
        """One call."""
        asked = f"time {one.name} {rows} {new} {turn}"
        known = self._known(asked)
        if isinstance(known, Sample | Failed):
            return known
        # What generate compiles is judged in its shapes first, by a process that knows of no judgement before it.
        found: Any = self._truth(one) if one.by_generate else None
        if found is None:
            how = (_way(one), rows, self._wanted.prompt, new)
            found = self._processes.ask(self._task(one), "time", *how, seconds=self._patience(one))
        self._journal.keep(asked, found, self._spent)
        return found  # type: ignore[no-any-return]

    def explain(self, found: Found) -> None:
        """Add to what is wrong where it begins, of the first few, as far as the time for places goes."""
        wrong = [one for one, known in found.known.items() if known.finding.state is State.WRONG]
        for one in wrong[:_EXPLAINED]:
            finding, asked = found.known[one].finding, f"explain {one.name}"
            known = self._known(asked)
            if not isinstance(known, Finding):
                left = (1 + _FOR_PLACES) * self._allowed - self._spent
                if left <= 0:
                    continue
                self.say(f"{one.name}: looking for the place where it begins")
                place = self._processes.once("explain", self._task(one), _way(one), seconds=left)
                known = (
                    finding
                    if isinstance(place, Failed) or not place
                    else replace(finding, why=f"{finding.why}; {place}")
                )
                self._journal.keep(asked, known, self._spent)
            found.known[one].finding = known

    def _patience(self, one: Configuration) -> float:
        """None may take all that is left, nor be given up at once; without the default nothing can be compared.

        What compiles takes longest of all, and most of it once. Who measures side by side waits for
        the others, too.
        """
        longest = _A_CALL * self._advising.asked.beside
        if one == self._model.default:
            return longest
        share = 0.8 if one.compiles else 0.6
        return min(longest, max(_A_CALL_AT_LEAST, share * (self._allowed - self._spent)))

    def _truth(self, one: Configuration) -> Failed | None:
        key = (str(one.cell.dtype), str(one.cell.quantisation))
        if key not in self._truths:
            plain = Configuration(plain_cell(self._model.architecture, key[0], Attention.EAGER))
            if one.cell.quantisation.stored_as and self._truth(plain) is not None:
                return self._truths[key[0], "none"]
            task = self._task(one)
            if truth_of(task.references, one.cell).exists():  # of an earlier call
                self._truths[key] = None
                return None
            self.say(f"making the truth for {key[0]}{'' if key[1] == 'none' else f', {key[1]}'}")
            # On a GPU what waits may have been compiled, which takes longer than the truth.
            on_a_gpu = self._advising.stack.device is Device.CUDA
            needed = _GOLDEN * self._model.architecture.parameters if on_a_gpu else inf
            answer = self._processes.once("make_reference", task, seconds=_A_TRUTH, needed=needed)
            self._truths[key] = None
            if isinstance(answer, Failed):
                why = f"the truth for it could not be made: {answer.why}"
                self._truths[key] = Failed(State.NOT_JUDGED, why)
        return self._truths[key]

    def _task(self, one: Configuration) -> Task:
        apart = one.by_generate or one.cell.transformation != SILENT["transformation"]
        loaded = one.cell
        if not apart:
            loaded = replace(loaded, sdpa_kernel=SdpaKernel.UNPINNED, cache=CACHES[SILENT["cache"]])
        return self._advising._task(
            self._model.architecture,
            loaded.id,
            self._source,
            str(self._references),
            own=self._model.reads,
            fault=self._advising.asked.faults.get(one.name, ""),
            apart=one.name if apart else "",
        )


def _way(one: Configuration) -> Way:
    return Way(one.cell.id, one.by_generate)
