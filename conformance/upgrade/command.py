"""`python -m matrix upgrade`: a candidate beside the current environment, one plan in both, and what the gate says."""

import argparse
import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conformance.children import planned
from conformance.plugin.forkserver import ROOT
from conformance.plugin.guarding import heed_signals
from conformance.plugin.settings import REPORTS
from conformance.upgrade.advised import advised_again
from conformance.upgrade.choices import How, Question
from conformance.upgrade.environments import Current, Environment, build, fulfils, name_of, unmet
from conformance.upgrade.ground import Ground, device_of, facts_of, ground_of, refuse_other_ground
from conformance.upgrade.inquiry import Inquiry, inquire
from conformance.upgrade.sides import GO_ON, Say, check_versions, measure, refuse_own
from conformance.upgrade.state import Workplace
from matrix.architectures import load_architectures
from matrix.errors import UsageError, enumerated, quoted
from matrix.releases import Pin, parse_pin
from matrix.shard import Shard
from matrix.stack import DISTRIBUTIONS, Device, detect_stack
from matrix.waiver import load_waivers
from reports.advice import Advice, fell, holds, read_advice
from reports.differences import Difference
from reports.document import Report
from reports.files import write_whole
from reports.gate import Allowed, Format, Gate, gate_lines, judge
from reports.html import render_gate
from reports.markdown import summary_markdown
from reports.merge import merge, read_part
from reports.packed import report_file
from reports.policy import read_policy
from reports.reading import read_report
from reports.records import write_lines
from reports.text import headline
from reports.write import write_html, write_json

# Of the reports of either side, the whole one first, and of what differs beside them.
Judge = Callable[[Sequence[Report], Sequence[Report], Sequence[Difference]], Gate]
_Reports = dict[str, list[Report]]  # by side: the whole, then what was measured again
CURRENT, CANDIDATE = "current", "candidate"
_TESTS_PER_BLOCK = 150  # a block costs a start, on either side
_MOST_BLOCKS = 8
_FEW = 20  # tests that are not divided
_TOLD = (Format.TEXT, Format.MARKDOWN, Format.JSON, Format.GITHUB)
ROUNDS = 3  # of measuring again what looks worse


@dataclass(frozen=True)
class Wanted:
    """What was asked for."""

    pins: tuple[Pin, ...]
    arguments: tuple[str, ...] = ()  # of pytest
    before: Path | None = None  # a report that stands in for the current side
    how: How = How.AUTO
    find_links: Path | None = None
    allowed: tuple[Allowed, ...] = ()
    report_dir: Path | None = None
    blocks: int | None = None
    questions: frozenset[Question] = frozenset()
    advice: tuple[Path, ...] = ()  # that is to hold in the candidate still

    @property
    def folder(self) -> Path:
        """Where everything is kept."""
        what = "-".join(f"{pin.name}-{pin.version}" for pin in self.pins)
        return self.report_dir or REPORTS / f"upgrade-{re.sub(r'[^A-Za-z0-9.+-]', '_', what)[:120]}"


def pins_of(texts: Sequence[str]) -> tuple[Pin, ...]:
    """The releases that --to names.

    Raises:
        UsageError: one is no `name==version`, there is none, or two are of one package.
    """
    if not texts:
        raise UsageError('upgrade: say what to, as in --to "transformers==5.24.0"')
    pins = tuple(map(parse_pin, texts))
    names = [pin.name for pin in pins]
    for pin in pins:
        if names.count(pin.name) > 1:
            both = " and ".join(str(one) for one in pins if one.name == pin.name)
            raise UsageError(f"--to {both}: two releases of one package; name one")
    return pins


def upgrade(wanted: Wanted, judged: Judge, say: Say) -> Gate:
    """Build the candidate, measure both sides block by block, and judge; what looks worse is measured again in both.

    All is kept in the folder of the upgrade, where the same command goes on wherever it was ended.

    Raises:
        UsageError: it cannot be built, measured or compared, or was interrupted.
    """
    refuse_own(wanted.arguments)
    stored = None if wanted.before is None else _stored(wanted.before)
    advices = {file: read_advice(file) for file in wanted.advice}  # before anything is built
    arguments = _with_profile(wanted.arguments)
    workplace = Workplace(wanted.folder)
    try:
        prepared = _prepared(wanted, arguments, stored, workplace, say)
        measured = _measured(prepared)
        gate = _judged(prepared, measured, judged, list(_advice_that_fell(prepared, advices)))
        _keep(gate, workplace)
        return gate
    except KeyboardInterrupt:
        raise UsageError(f"interrupted; {GO_ON} with what is in {wanted.folder}") from None
    finally:
        workplace.close()


def _stored(path: Path) -> Report:
    report = read_report(report_file(path))
    if report.cut_off:
        raise UsageError(f"--from {path}: {report.cut_off}")
    return report


def _with_profile(arguments: Sequence[str]) -> tuple[str, ...]:
    """With the profile that a run would choose here: a candidate with another torch may not see the GPU."""
    if any(argument.partition("=")[0] == "--profile" for argument in arguments):
        return tuple(arguments)
    return *arguments, f"--profile={'pairwise' if detect_stack().device is Device.CUDA else 'smoke'}"


@dataclass(frozen=True)
class _Upgrade:
    """One that can be measured."""

    wanted: Wanted
    arguments: tuple[str, ...]  # of pytest, on either side
    stored: Report | None
    environments: Mapping[str, Environment]  # of the sides that are measured
    blocks: int
    workplace: Workplace
    say: Say

    def run(self, name: str, place: str, what: str, shard: Shard | None = None, *more: str) -> Report:
        """A run of one side, in a folder of its own there."""
        environment, folder = self.environments[name], self.workplace.folder / name / place
        report = measure(
            environment, folder, (*self.arguments, *more), shard, lambda line: self.say(f"{name}, {what}: {line}")
        )
        self.say(f"{name}, {what}: {headline(report)}")
        check_versions(report, environment.versions(), name)
        return report


def _prepared(
    wanted: Wanted, arguments: tuple[str, ...], stored: Report | None, workplace: Workplace, say: Say
) -> _Upgrade:
    """The candidate built, and the plan known."""
    current = Current()
    installed = current.installed()
    versions = current.versions()
    before = versions if stored is None else dict(stored.run.stack.versions)
    _refuse_nothing(wanted, before)
    measured = any((workplace.folder / side / "blocks").exists() for side in (CURRENT, CANDIDATE))
    workplace.claim(_facts(wanted, arguments, versions, current), measured=measured)
    if stored is not None and all(fulfils(versions.get(pin.name), pin) for pin in wanted.pins):
        candidate: Environment = current
        say("candidate: the environment that is here")
    else:
        place = workplace.folder / "environments"
        say(f"candidate: {enumerated(map(str, wanted.pins))}, in {place}")
        candidate = build(wanted.pins, place, wanted.how, wanted.find_links, current)
    there = candidate.installed()
    for line in (*_changes(before, candidate.versions(), wanted.pins, whole=stored is None), *_notes(installed, there)):
        say(line)
    environments = {CANDIDATE: candidate} if stored is not None else {CURRENT: current, CANDIDATE: candidate}
    plans = {name: _plan_of(one, arguments) for name, one in environments.items()}
    if stored is not None:
        here = Ground(device_of(detect_stack()), _options(arguments).seed, plans[CANDIDATE])
        refuse_other_ground(ground_of(stored.run), here, wanted.allowed, wanted.before)
    for line in _of_one_plan(plans):
        say(line)
    blocks = _blocks(wanted.blocks, min(map(len, plans.values())), workplace)
    say(f"{len(plans[CANDIDATE]):,} tests in {blocks} {'block' if blocks == 1 else 'blocks'}")
    return _Upgrade(wanted, arguments, stored, environments, blocks, workplace, say)


def _refuse_nothing(wanted: Wanted, before: Mapping[str, str]) -> None:
    if all(fulfils(before.get(pin.name), pin) for pin in wanted.pins):
        known = enumerated(f"{pin.name} {before[pin.name]}" for pin in wanted.pins)
        there = "here" if wanted.before is None else f"in {wanted.before}"
        raise UsageError(f"--to {enumerated(map(str, wanted.pins))}: nothing to upgrade, {known} is {there} already")


def _facts(
    wanted: Wanted, arguments: Sequence[str], versions: Mapping[str, str], current: Environment
) -> dict[str, str]:
    """What must be the same for what was measured before to count."""
    return {
        "command": "upgrade",
        "--to": " ".join(map(str, wanted.pins)),
        **facts_of(arguments, versions, wanted.how, wanted.find_links),
        # What is not told above: an installer that was found, a library that is no part of the stack.
        "the current environment": name_of((), wanted.how, wanted.find_links, current),
        **({"--advice": " ".join(str(file.absolute()) for file in wanted.advice)} if wanted.advice else {}),
        "the candidate's environment": name_of(wanted.pins, wanted.how, wanted.find_links, current),
    }


def _changes(before: Mapping[str, str], after: Mapping[str, str], pins: Sequence[Pin], *, whole: bool) -> Iterator[str]:
    """What differs between both sides; `whole` where all that is installed on the current one is known."""
    own = [pin.name for pin in pins]
    names = before.keys() | after.keys() if whole else before.keys() | (after.keys() & DISTRIBUTIONS)
    others = sorted(name for name in names if name not in own and before.get(name) != after.get(name))
    told = [f"{name} {before.get(name, 'absent')} -> {after.get(name, 'absent')}" for name in (*own, *others)]
    yield f"raised: {enumerated(told[: len(own)])}"
    if others:
        yield f"changed with it: {enumerated(told[len(own) :])}"
    if strange := [name for name in own if name not in DISTRIBUTIONS]:
        yield f"note: {enumerated(strange)} is no part of the measured stack: only what the stack makes of it is seen"


def _notes(installed: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What an installer lets pass: packages that do not find what they need, since something was raised."""
    for line in sorted(unmet(there) - unmet(installed)):
        yield f"note: in the candidate {line}"


def _plan_of(environment: Environment, arguments: Sequence[str]) -> tuple[str, ...]:
    cells, rows = planned(arguments, str(environment.python), environment.environ())
    return *cells, *rows


def _of_one_plan(plans: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What only one side plans: the architectures of an installed library are its own."""
    for name, plan in plans.items():
        others = {test for other, tests in plans.items() if other != name for test in tests}
        if len(plans) > 1 and (only := [test for test in plan if test not in others]):
            yield f"note: only the {name} side plans {len(only):,} tests: {enumerated(only[:3])}"


def _blocks(wanted: int | None, tests: int, workplace: Workplace) -> int:
    """How many, the same for all of the upgrade."""
    begun = workplace.known().get("blocks")
    if isinstance(begun, int) and begun > 0:
        if wanted not in (None, begun):
            raise UsageError(f"--blocks {wanted}: {workplace.folder} was begun with {begun}")
        return begun
    blocks = wanted or (1 if tests < _FEW else max(2, min(_MOST_BLOCKS, tests // _TESTS_PER_BLOCK)))
    if blocks > tests:
        raise UsageError(f"--blocks {blocks}: must be at most {tests:,}, the tests of the plan")
    workplace.keep({"blocks": blocks})
    return blocks


def _measured(upgrade: _Upgrade) -> _Reports:
    """The whole report of either side.

    A block is measured on both sides before the next, so that what changes with time changes for both. The current side
    has the first, and makes the fixtures that both load.
    """
    stored = None if upgrade.stored is None else ground_of(upgrade.stored.run)
    ground = stored
    for number in range(1, upgrade.blocks + 1):
        for name in _in_turn(upgrade.environments, number):
            shard = Shard(number, upgrade.blocks)
            now = ground_of(upgrade.run(name, f"blocks/{number:03}", f"block {shard}", shard).run)
            if stored is not None:
                refuse_other_ground(stored, now, upgrade.wanted.allowed, upgrade.wanted.before)
            ground = ground or now
            if ground.device != now.device and Allowed.DEVICE not in upgrade.wanted.allowed:
                both = f"one side was measured on {ground.device}, the {name} on {now.device}"
                raise UsageError(f"{both}; --allow {Allowed.DEVICE} compares them all the same")
    reports = {name: [_merged(upgrade, name)] for name in upgrade.environments}
    if upgrade.stored is not None:
        reports[CURRENT] = [upgrade.stored]
    for name, (report,) in reports.items():
        _write(report, upgrade.workplace.folder / name)
    return reports


def _in_turn(names: Iterable[str], number: int) -> list[str]:
    return list(names) if number % 2 else list(names)[::-1]


def _merged(upgrade: _Upgrade, name: str) -> Report:
    options = _options(upgrade.arguments)
    known = load_architectures(options.architectures)
    places = [upgrade.workplace.folder / name / f"blocks/{number:03}" for number in range(1, upgrade.blocks + 1)]
    return merge([read_part(place) for place in places], load_waivers(known, options.waivers), known)


def _options(arguments: Sequence[str]) -> Any:
    """What of pytest's options must be known here; whether they are right, pytest says."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--waivers", type=_in_checkout)
    parser.add_argument("--architectures", default="")
    known, _ = parser.parse_known_args(arguments)
    known.seed = int(known.seed) if known.seed.isdecimal() else 0
    folder = _in_checkout(known.architectures)
    known.architectures = folder if known.architectures and folder.is_dir() else None  # patterns are no folder
    return known


def _in_checkout(path: str) -> Path:
    return ROOT / Path(path).expanduser()  # where the runs look for it


def _write(report: Report, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_lines(report, folder)
        write_json(report, folder)
        write_whole(folder / "summary.md", summary_markdown(report))
        write_html(report, folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written to: {error.strerror}; {GO_ON}") from None


def _advice_that_fell(upgrade: _Upgrade, advices: Mapping[Path, Advice]) -> Iterator[Difference]:
    """What was advised and does not hold in the candidate, but for what does not hold here either by now."""
    for number, (file, before) in enumerate(advices.items(), 1):
        now: dict[str, Advice] = {}
        for name in (CANDIDATE, CURRENT):
            if name in upgrade.environments:
                place = upgrade.workplace.folder / name / f"advice-{number}"
                now[name] = advised_again(upgrade.environments[name], before, file, place)
                kept, sentence = holds(before, now[name])
                upgrade.say(f"{name}, advice for {before.model.name}: {sentence}")
                if kept:
                    break
        if (fallen := fell(before, now[CANDIDATE], now.get(CURRENT))) is not None:
            yield replace(fallen, command=f"python -m matrix advise {before.model.path} --check {file}")


def _judged(upgrade: _Upgrade, reports: _Reports, judged: Judge, beside: Sequence[Difference]) -> Gate:
    """The verdict, once what looks worse was measured again on both sides."""
    gate = judged(reports[CURRENT], reports[CANDIDATE], beside)
    for number in range(1, ROUNDS + 1):
        if not gate.doubtful:
            break
        names = upgrade.workplace.folder / f"again-{number}.txt"
        if not names.is_file():  # else it was begun with these
            upgrade.workplace.write(names.name, "".join(f"{name}\n" for name in gate.doubtful))
        upgrade.say(f"what looks worse is measured again, time {number}: {len(gate.doubtful):,} of it")
        for name in _in_turn(upgrade.environments, number + 1):
            reports[name].append(upgrade.run(name, f"again-{number}", f"again {number}", None, f"--only={names}"))
        gate = judged(reports[CURRENT], reports[CANDIDATE], beside)
    return gate


def _keep(gate: Gate, workplace: Workplace) -> None:
    markdown = "\n".join(gate_lines(gate, Format.MARKDOWN)) + "\n"
    workplace.write("gate.json", "\n".join(gate_lines(gate, Format.JSON)) + "\n")
    workplace.write("gate.md", markdown)
    workplace.write("index.html", render_gate(gate))
    if of_job := os.environ.get("GITHUB_STEP_SUMMARY"):
        with contextlib.suppress(OSError), Path(of_job).open("a", encoding="utf-8") as summary:
            summary.write(markdown)


def gated(wanted: Wanted, policy: Path | None, form: str, say: Say, progress: Say) -> int:
    """Try an upgrade, keep what the gate says of it and tell it in that form, and give back its exit status.

    `gate.json`, `gate.md` and `index.html` stand beside the folders of both sides.

    Raises:
        UsageError: as `upgrade`; or the policy cannot be read, or there is no such form.
    """
    if form not in _TOLD:
        raise UsageError(f"--format {quoted(form)}: may be {enumerated(_TOLD)}")
    counts = read_policy(policy)

    def policed(before: Sequence[Report], after: Sequence[Report], beside: Sequence[Difference]) -> Gate:
        return judge(before, after, counts, wanted.allowed, beside)

    heed_signals(lambda name: None)
    if wanted.questions and wanted.before is not None:
        raise UsageError(f"--{min(wanted.questions)}: needs the current side's environment; leave out --from")
    gate = upgrade(wanted, policed, progress)
    for line in gate_lines(gate, Format(form)):
        say(line)
    progress(f"report: {wanted.folder / 'index.html'}")
    if wanted.questions:
        tell = say if form == Format.TEXT else progress
        try:
            _inquire(wanted, gate, tell)
        except UsageError as error:  # the verdict stands whatever else cannot be told
            tell(f"not asked: {error}")
    return gate.exit_status


def _inquire(wanted: Wanted, gate: Gate, say: Say) -> None:
    workplace = Workplace(wanted.folder)
    try:
        current, place = Current(), workplace.folder / "environments"
        candidate = build(wanted.pins, place, wanted.how, wanted.find_links, current)  # that was measured
        inquiry = Inquiry(
            current, candidate, wanted.pins, wanted.arguments, workplace.folder, wanted.how, wanted.find_links
        )
        inquire(inquiry, gate, wanted.questions, say)
    except KeyboardInterrupt:
        raise UsageError(f"interrupted; {GO_ON} with what is in {wanted.folder}") from None
    finally:
        workplace.close()
