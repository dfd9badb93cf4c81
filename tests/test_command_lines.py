"""The command lines: what they print, how they refuse, and that none of them needs torch."""

import ast
import builtins
import dis
import itertools
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType

import pytest

from matrix.__main__ import main as matrix_main
from matrix.axes import Attention, Dtype, Padding, SdpaKernel
from matrix.cell import AXES, Cell, parse_cell
from matrix.constraints import why_impossible
from matrix.dials import Reading
from matrix.plan import load_profiles
from matrix.reproduce import reproducing_script, script_pieces
from matrix.verdict import Verdict
from reports.__main__ import main as reports_main
from reports.document import Waived, make_report
from reports.records import RecordWriter
from reports.write import write_json
from tests.builders import ARCHITECTURES, ROOT, ended, make_run, read, record_of

CELL = "llama-bfloat16-sdpa-left-generate"
ONE = "llama-float32-eager-prefill"
MAIN = {"matrix": matrix_main, "reports": reports_main}
Call = Callable[..., tuple[int, list[str], list[str]]]
Printed = Callable[..., list[str]]

RUN = make_run("llama-float32-eager-prefill", "llama-float32-sdpa-prefill").model_dump_json()
RECORD = record_of("llama-float32-eager-prefill", Verdict.INACCURATE, "max error 9 exceeds 1").model_dump_json()
END = ended().model_dump_json()


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call a command line within this process, which takes a tenth of the time."""

    def call(package: str, *arguments: str) -> tuple[int, list[str], list[str]]:
        monkeypatch.setattr(sys, "argv", [package, *arguments])
        with pytest.raises(SystemExit) as ended:
            MAIN[package]()
        streams = capsys.readouterr()
        return int(ended.value.code or 0), streams.out.splitlines(), streams.err.splitlines()

    return call


@pytest.fixture
def printed(call: Call) -> Printed:
    """The lines that a good call prints, and nothing on stderr."""

    def printed(*arguments: str) -> list[str]:
        code, out, err = call(*arguments)
        assert (code, err) == (0, [])
        return out

    return printed


def test_list_prints_the_ids_of_a_plan(printed: Printed) -> None:
    lines = printed("matrix", "list", "--profile", "smoke", "--cells", "architecture=llama workload=generate")
    assert CELL in lines
    assert {parse_cell(line).architecture for line in lines} == {"llama"}


def test_profiles_prints_every_profile_with_its_size(printed: Printed) -> None:
    lines = printed("matrix", "profiles")
    assert [line.split()[0] for line in lines] == list(load_profiles())
    # How large that of the installed library is, only looking at it would tell.
    assert all(int(line.split()[1]) > 0 for line in lines if not line.startswith("zoo "))


def test_explain_says_what_should_happen_and_where_that_is_documented(printed: Printed) -> None:
    text = "\n".join(printed("matrix", "explain", "bloom-float32-sdpa-prefill"))
    assert "bloom-float32-sdpa-prefill" in text
    assert "refused" in text
    assert "ValueError in phase load" in text
    assert "the class does not set _supports_sdpa" in text


@pytest.mark.parametrize(("cell", "told"), [("llama-float16-sdpa", True), ("llama-float16-flex_attention", False)])
def test_explain_says_of_how_many_batches_dials_are_read(cell: str, told: bool, printed: Printed) -> None:
    text = "\n".join(printed("matrix", "explain", f"{cell}-left-prefill"))
    assert "off by 6 error bars" in text
    assert ("up to 16 batches are added up, of which 0.1 % and 5 bars are enough" in text) is told


def test_explain_heeds_rules_and_waivers_of_the_user(tmp_path: Path, printed: Printed) -> None:
    rule, waiver = tmp_path / "rules.toml", tmp_path / "waivers.toml"
    rule.write_text('[[rule]]\ncells = "architecture=llama"\noutcome = "supported"\nsource = "my page"\n')
    waiver.write_text(
        '[[waiver]]\ncells = "architecture=llama"\nverdict = "error"\nreason = "my fault"\nurl = "https://example.org/1"\n'
    )
    text = "\n".join(printed("matrix", "explain", CELL, "--expectations", str(rule), "--waivers", str(waiver)))
    assert "my page" in text
    assert "waived if error: my fault" in text
    assert "https://example.org/1" in text


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """The report of a run in which a cell has another softmax scale than it should."""
    cell = "llama-bfloat16-sdpa-prefill"
    seen = read(parse_cell(cell), Reading("scale", "%", 5.0, 0.03, 0.99))
    wrong = record_of(cell, Verdict.INACCURATE, "off by 3", observation=seen, waived=Waived(reason="r", url="u"))
    write_json(make_report(make_run(cell), [wrong], end=ended()), tmp_path)
    return tmp_path


def test_explain_and_reproduce_say_which_dials_explain_what_a_run_found(turned: Path, printed: Printed) -> None:
    cell, said = "llama-bfloat16-sdpa-prefill", "softmax scale +5.000 ± 0.030 %: explains 99 % of the error"
    assert printed("matrix", "explain", cell, "--report", str(turned))[-1] == f"  diagnosis: {said}"
    assert not any(said in line for line in printed("matrix", "explain", cell))
    script = printed("matrix", "reproduce", cell, "--report", str(turned))
    assert f"# What a run found of it: {said}." in script
    compile("\n".join(script), "reproduce.py", "exec")
    lines = printed("reports", "validate", str(turned / "matrix.json"), "--faults")
    assert lines[-3:] == ["known: r (u)", f"  {said} in 1 cell", f"    {cell}: {said}"]
    assert printed("reports", "validate", str(turned / "matrix.json"))[-1].startswith("known faults: 1 cell with")


def test_reproduce_prints_a_script_for_the_cell(printed: Printed) -> None:
    text = "\n".join(printed("matrix", "reproduce", CELL))
    compile(text, "reproduce.py", "exec")
    assert text.startswith(f'"""{CELL}: ')


def test_reproduce_takes_a_checkpoint(printed: Printed) -> None:
    text = "\n".join(printed("matrix", "reproduce", CELL, "--checkpoint", "llama=meta-llama/Llama-3.2-1B"))
    assert "CHECKPOINT = 'meta-llama/Llama-3.2-1B'" in text


def test_render_rebuilds_the_report_and_names_what_it_could_not_read(tmp_path: Path) -> None:
    source = tmp_path / "records.jsonl"
    source.write_text(f"{RUN}\n{RECORD}\n{RECORD[:60]}\n{END}\n", encoding="utf-8")
    answer = python("-m", "reports", "render", str(source))
    assert answer.returncode == 0
    assert answer.stdout.splitlines() == [
        "2 cells, 1 executed: 0 as documented, 1 inaccurate, 1 missing",
        str(tmp_path / "index.html"),
    ]
    (complaint,) = answer.stderr.splitlines()
    assert complaint.startswith("unreadable: records.jsonl: line 3: ")
    report = json.loads((tmp_path / "matrix.json").read_text(encoding="utf-8"))
    assert report["counts"] == {"inaccurate": 1, "missing": 1}
    assert (tmp_path / "index.html").is_file()


def test_a_run_that_was_cut_off_is_rendered_and_not_taken_for_a_whole_one(tmp_path: Path, call: Call) -> None:
    (tmp_path / "records.jsonl").write_text(f"{RUN}\n{RECORD}\n", encoding="utf-8")
    code, out, _ = call("reports", "render", str(tmp_path))
    assert code == 1
    assert out[0].startswith("CUT OFF before its end; 2 cells, 1 executed")
    report = json.loads((tmp_path / "matrix.json").read_text(encoding="utf-8"))
    assert report["problems"][0].startswith("the run was cut off: nothing says that it ended; 1 of 2 have no record")
    assert report["finished"] == report["run"]["started"], "nothing is known of what came later"
    assert call("reports", "render", str(tmp_path))[0] == 1


def test_render_reads_a_report_and_writes_elsewhere(tmp_path: Path, printed: Printed) -> None:
    source, folder = tmp_path / "records.jsonl", tmp_path / "a" / "b"
    source.write_text(f"{RUN}\n{RECORD}\n{END}\n", encoding="utf-8")
    first = printed("reports", "render", str(source), "--output", str(folder))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "records.jsonl"]
    (folder / "index.html").unlink()
    assert printed("reports", "render", str(folder / "matrix.json")) == first
    assert (folder / "index.html").is_file()


@pytest.mark.parametrize("name", ["some-gpu.json", "some-gpu.json.gz"])
def test_render_of_a_published_report_writes_the_page_beside_it_and_leaves_the_report_alone(
    tmp_path: Path, printed: Printed, name: str
) -> None:
    (tmp_path / "records.jsonl").write_text(f"{RUN}\n{RECORD}\n{END}\n", encoding="utf-8")
    printed("reports", "render", str(tmp_path / "records.jsonl"))
    published = (tmp_path / "matrix.json").rename(tmp_path / "some-gpu.json")
    if name.endswith(".gz"):
        printed("reports", "keep", str(published), "-o", str(tmp_path / name))
        published.unlink()
        published = tmp_path / name
    (tmp_path / "index.html").unlink()
    before = published.read_bytes()
    assert printed("reports", "render", str(published))[-1] == str(tmp_path / "some-gpu.html")
    assert published.read_bytes() == before
    assert not (tmp_path / "index.html").exists()
    assert f"<code>{name}</code>" in (tmp_path / "some-gpu.html").read_text(encoding="utf-8")


def test_every_command_reads_packed_reports_and_folders_of_runs_as_plain_ones(tmp_path: Path, printed: Printed) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "records.jsonl").write_text(f"{RUN}\n{RECORD}\n{END}\n", encoding="utf-8")
    printed("reports", "render", str(tmp_path / "old" / "records.jsonl"))
    plain, kept, folder = (tmp_path / name for name in ("old/matrix.json", "new/matrix.json.gz", "new"))
    folder.mkdir()
    printed("reports", "keep", str(tmp_path / "old"), "-o", str(kept))
    (tmp_path / "old" / "index.html").unlink()
    for form in (kept, folder):
        assert printed("reports", "validate", str(form))[1:] == printed("reports", "validate", str(plain))[1:]
        assert printed("reports", "diff", str(plain), str(form)) == printed("reports", "diff", str(plain), str(plain))
        assert printed("reports", "render", str(form))[-1] == str(folder / "index.html")
        assert printed("reports", "stacks", str(form), "-o", str(tmp_path / "s.html")) == [str(tmp_path / "s.html")]
        told = printed("reports", "calibrate", str(form), "-o", str(tmp_path / "c.svg"))
        assert told == printed("reports", "calibrate", str(plain), "-o", str(tmp_path / "c.svg"))


def test_the_report_of_a_folder_is_not_written_over(tmp_path: Path, call: Call) -> None:
    (tmp_path / "records.jsonl").write_text(f"{RUN}\n{RECORD}\n{END}\n", encoding="utf-8")
    call("reports", "render", str(tmp_path / "records.jsonl"))
    document = tmp_path / "matrix.json"
    before = document.read_bytes()
    for command in (["diff", str(tmp_path), str(tmp_path)], ["stacks", str(tmp_path)], ["keep", str(tmp_path)]):
        code, _, (line,) = call("reports", *command, "-o", str(document))
        assert (code, f"--output {document}: " in line, document.read_bytes()) == (2, True, before)
    code, _, (line,) = call("reports", "calibrate", str(tmp_path), "-o", str(tmp_path / "matrix.svg"))
    assert (code, "must be none of the sources" in line, document.read_bytes()) == (2, True, before)


def test_growth_wants_a_picture_and_runs_that_say_when_their_cells_ran(tmp_path: Path, call: Call) -> None:
    (tmp_path / "records.jsonl").write_text(f"{RUN}\n{RECORD}\n{END}\n", encoding="utf-8")
    for output, words in (("growth.png", "must end in .svg"), ("growth.svg", "does not say when its cells ran")):
        code, _, (line,) = call("reports", "growth", str(tmp_path / "records.jsonl"), "-o", str(tmp_path / output))
        assert (code, words in line, (tmp_path / output).exists()) == (2, True, False)


def test_schema_prints_a_schema_of_reports(printed: Printed) -> None:
    schema = json.loads("\n".join(printed("reports", "schema")))
    assert {"run", "records", "counts", "problems", "unreadable"} <= set(schema["properties"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["matrix", "list", "--profile", "smokey"], ["'smokey'", "smoke"]),
        (["matrix", "list", "--cells", "dtype:float32"], ["'dtype:float32'", "axis=value"]),
        (["matrix", "list", "--cells", "dtype=float64"], ["'float64'", "bfloat16"]),
        (["matrix", "list", "--cells", "architecture=grok"], ["'grok'", "llama"]),
        (["matrix", "list", "--architectures", "/nowhere"], ["/nowhere"]),
        (["matrix", "explain", "grok-float32-eager-prefill"], ["'grok-float32-eager-prefill'", "llama"]),
        (["matrix", "explain", "llama-float64-eager-prefill"], ["'float64'", "bfloat16"]),
        (["matrix", "explain", "bert-float32-eager-generate"], ["an encoder does not generate"]),
        (["matrix", "explain", CELL, "--expectations", "/nowhere.toml"], ["/nowhere.toml"]),
        (["matrix", "explain", CELL, "--waivers", "/nowhere.toml"], ["/nowhere.toml"]),
        (["matrix", "explain", CELL, "--report", "/nowhere.json"], ["/nowhere.json"]),
        (["matrix", "reproduce", CELL, "--report", "/nowhere.json"], ["/nowhere.json"]),
        (["matrix", "reproduce", "llama"], ["'llama'", "dtype"]),
        (["matrix", "reproduce", CELL, "--checkpoint", "grok=x/y"], ["'grok=x/y'", "llama"]),
        (["matrix", "bisect", "peft", "--cell", CELL], ["'peft'", "peft>=1.2,<3"]),
        (["matrix", "bisect", "peft>=1", "-o", "{tmp}/out"], ["--cell ID, --row KEY, or --probe FILE"]),
        (["matrix", "bisect", "peft>=1", "--row", "G1-a", "-o", "{tmp}/out"], ["G1-a", "family:name"]),
        (["matrix", "bisect", "peft>=1", "--with", "peft<2"], ["'peft<2'", "what goes with it"]),
        (["matrix", "upgrade", "--sweep", "peft>=1", "--to", "peft==2"], ["--sweep", "leave out --to"]),
        (["matrix", "upgrade", "--sweep", "peft>=1", "--format", "json"], ["--sweep", "leave out --allow"]),
        (["matrix", "upgrade", "--sweep", "peft>=1", "--policy", "p.toml"], ["--sweep", "leave out --allow"]),
        (["matrix", "upgrade", "--sweep", "peft>=1", "--allow", "seed"], ["--sweep", "leave out --allow"]),
        (["matrix", "upgrade", "--sweep", "peft>=1", "--blocks", "2"], ["--sweep", "leave out --allow"]),
        (["matrix", "upgrade", "--sweep", "peft>=1", "--advice", "a.json"], ["--sweep", "leave out --allow"]),
        (["matrix", "upgrade", "--to", "peft==2", "--with", "peft<2: torch==2"], ["--with 'peft<2: torch==2'"]),
        (["matrix", "upgrade", "--to", "peft==2", "--resume", "{tmp}"], ["--resume", "leave it out"]),
        (["matrix", "advise", "{tmp}", "-o", "{tmp}/out"], ["neither a checkpoint's folder nor a config.json"]),
        (["matrix", "advise", "{tmp}", "--memory", "much"], ["--memory 'much'", "24GiB"]),
        (["matrix", "advise", "{tmp}", "--batch", "0"], ["--batch '0'", "1,8"]),
        (["matrix", "upgrade", "--sweep", "peft>=1", "-x", "-o", "{tmp}/out"], ["-x", "leave it out"]),
        (
            ["matrix", "bisect", "peft>=1", "--cell", CELL, "--maxfail=1", "-o", "{tmp}/out"],
            ["--maxfail=1", "leave it"],
        ),
        (["reports", "render", "/nowhere/records.jsonl"], ["/nowhere/records.jsonl"]),
        (["reports", "render", "/nowhere/matrix.json"], ["/nowhere/matrix.json"]),
        (["reports", "render", "{tmp}/records.jsonl"], ["records.jsonl", "line 1"]),
        (["reports", "render", "{tmp}/matrix.json"], ["matrix.json", "not a report"]),
        (["reports", "render", "{tmp}/good.jsonl", "--output", "{tmp}/matrix.json"], ["matrix.json"]),
    ],
    ids=lambda value: " ".join(value) if "matrix" in value or "reports" in value else "",
)
def test_bad_input_is_one_line_and_exit_code_2(
    call: Call, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "records.jsonl").write_text("{oh no\n", encoding="utf-8")
    (tmp_path / "matrix.json").write_text("{oh no\n", encoding="utf-8")
    (tmp_path / "good.jsonl").write_text(f"{RUN}\n", encoding="utf-8")
    code, out, (line,) = call(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert (code, out) == (2, [])
    assert line.startswith("error: ")
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize(
    ("arguments", "status", "out", "err"),
    [
        (["matrix", "explain", CELL], 0, CELL, ""),
        (["matrix", "explain", "llama"], 2, "", "error: cell id 'llama': no value for dtype, attention, workload"),
        (["reports", "schema"], 0, "{", ""),
        (["matrix", "upgrade", "--to", "x"], 2, "", "error: --to 'x': must name one release, as in x==1.2.3"),
        (["reports", "render", "/nowhere.jsonl"], 2, "", "error: /nowhere.jsonl: No such file or directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_package_can_be_called_by_its_name(arguments: list[str], status: int, out: str, err: str) -> None:
    answer = python("-m", *arguments)
    assert (answer.returncode, answer.stdout.partition("\n")[0], answer.stderr.rstrip("\n")) == (status, out, err)


def test_planning_judging_and_reporting_import_neither_torch_nor_transformers() -> None:
    """An import of torch would make collecting slow, and a report need the stack that it is about."""
    code = """
import sys
import conformance.advising.command, conformance.upgrade.command, matrix.__main__, reports.__main__
from matrix.architectures import load_architectures
from matrix.expectation import expect, load_rules
from matrix.plan import make_plan
from matrix.stack import detect_stack
from matrix.verdict import judge
from matrix.waiver import load_waivers
known = load_architectures()
stack, rules = detect_stack(), load_rules(known)
load_waivers(known)
print(len({expect(cell, stack, rules) for cell in make_plan("full", known)[::50]}) > 1)
print(sorted({"torch", "transformers", "accelerate", "bitsandbytes"} & set(sys.modules)))
"""
    answer = python("-c", code)
    assert (answer.stdout.splitlines(), answer.stderr) == (["True", "[]"], "")


def combinations() -> Iterator[Cell]:
    """Every workload with every quantisation and every device map, which go through all else that there is."""
    names = itertools.cycle(ARCHITECTURES)
    backends = itertools.cycle(
        [(attention, SdpaKernel.UNPINNED) for attention in Attention]
        + [(Attention.SDPA, kernel) for kernel in SdpaKernel]
    )
    paddings = itertools.cycle(Padding)
    plain, changed, *_ = AXES["transformation"].values.values()
    changes = itertools.cycle([*[plain] * 6, changed])
    caches = itertools.cycle(AXES["cache"].values.values())
    workloads, formats, maps = (AXES[axis].values.values() for axis in ("workload", "quantisation", "device_map"))
    chosen = [*zip(itertools.product(workloads, formats), itertools.cycle(maps), strict=False)]
    pairs = [(workload, form, placed) for (workload, form), placed in chosen]
    chosen = [*zip(itertools.product(workloads, maps), itertools.cycle(formats), strict=False)]
    pairs += [(workload, form, placed) for (workload, placed), form in chosen]
    for (workload, quantisation, device_map), dtype in itertools.product(pairs, Dtype):
        attention, kernel = next(backends)
        changed = next(changes)
        for _ in range(len(ARCHITECTURES) * len(Padding)):
            backend = (dtype, attention, kernel, quantisation, changed)
            cell = Cell(next(names), *backend, device_map, next(paddings), next(caches), workload)
            if why_impossible(cell, ARCHITECTURES[cell.architecture]) is None:
                yield cell
                break


# A transformed model goes with few values of other axes, and no cycle hits upon them.
COMBINATIONS = [*combinations()]
COMBINATIONS += [
    parse_cell(f"llama-bfloat16-sdpa-{name}-left-generate") for name in ("compiled", "reduce_overhead", "hub_kernels")
]
COMBINATIONS += [parse_cell(f"{name}-float32-eager-prefill") for name in ARCHITECTURES]


def code_objects(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from code_objects(constant)


@cache
def arguments_of(text: str) -> dict[str, set[str]]:
    """What the bytecode of a script is about, by the name of the instruction: names read, set and imported."""
    found: dict[str, set[str]] = defaultdict(set)
    for code in code_objects(compile(text, "reproduce.py", "exec")):
        for instruction in dis.get_instructions(code):
            if isinstance(instruction.argval, str):
                found[instruction.opname].add(instruction.argval)
    return found


def undefined_names(*parts: str) -> set[str]:
    """Globals that a script in parts reads and never sets: it would end in a NameError."""
    read, written = (
        {name for text in parts for what in ("NAME", "GLOBAL") for name in arguments_of(text)[f"{does}_{what}"]}
        for does in ("LOAD", "STORE")
    )
    return read - written - set(dir(builtins)) - {"__name__", "__annotations__"}


def imported_packages(*parts: str) -> set[str]:
    """The top-level packages that a script in parts imports, anywhere in it."""
    return {module.partition(".")[0] for text in parts for module in arguments_of(text)["IMPORT_NAME"]}


def parts_of_a_script(cell: Cell) -> list[str]:
    """What stands around its definitions, and each of these, which many scripts share: looked at once."""
    pieces = list(script_pieces(cell, ARCHITECTURES[cell.architecture]))
    shared = [text for piece in pieces if isinstance(piece, tuple) and len(piece) > 1 for text in piece]
    around = [
        piece if isinstance(piece, str) else piece[0] for piece in pieces if isinstance(piece, str) or len(piece) == 1
    ]
    return ["".join(around), *shared]


def test_the_combinations_tried_hold_every_architecture_and_backend() -> None:
    assert {cell.architecture for cell in COMBINATIONS} == set(ARCHITECTURES)
    assert {cell.attention for cell in COMBINATIONS} == set(Attention)
    assert {cell.sdpa_kernel for cell in COMBINATIONS} == set(SdpaKernel)
    assert {cell.padding for cell in COMBINATIONS} == set(Padding)
    assert {cell.workload for cell in COMBINATIONS} == set(AXES["workload"].values)
    assert {cell.transformation for cell in COMBINATIONS} == set(AXES["transformation"].values)


@pytest.mark.parametrize("cell", COMBINATIONS, ids=str)
def test_a_reproducing_script_compiles_and_needs_only_torch_and_transformers(cell: Cell) -> None:
    parts = parts_of_a_script(cell)
    assert len(parts) > 1
    assert undefined_names(*parts) == set()
    # transformers brings safetensors, and a format may need its package by name.
    needed = {name.replace("-", "_") for name in (*cell.quantisation.needs, *cell.workload.needs)}
    allowed = {"torch", "transformers", "safetensors", *needed}
    assert {"torch", "transformers"} <= imported_packages(*parts) - sys.stdlib_module_names <= allowed


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_script_is_its_parts_and_compiles_as_a_whole(name: str) -> None:
    cell = parse_cell(f"{name}-float32-eager-prefill")
    text = reproducing_script(cell, ARCHITECTURES[name])
    compile(text, "reproduce.py", "exec")
    assert Counter(text) == Counter("".join(parts_of_a_script(cell)))
    assert arguments_of(text)["IMPORT_NAME"] == {
        module for part in parts_of_a_script(cell) for module in arguments_of(part)["IMPORT_NAME"]
    }


def test_the_checks_of_a_script_can_fail() -> None:
    assert undefined_names("import math\ndef f(x):\n    return math.sqrt(x) + re.I + len(x)\n") == {"re"}
    assert imported_packages("def f():\n    import numpy.linalg\n    from matrix.cell import Cell\n") == {
        "numpy",
        "matrix",
    }
    with pytest.raises(SyntaxError):
        undefined_names("def f(:\n")


@pytest.mark.parametrize("quote", ['"', "'", "'\""])
def test_a_checkpoint_with_quotes_in_its_name_is_still_one_string(quote: str) -> None:
    checkpoint = f"/data/it{quote}s mine"
    tree = ast.parse(reproducing_script(parse_cell(CELL), ARCHITECTURES["llama"], checkpoint))
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CHECKPOINT"
    ]
    assert [ast.literal_eval(value) for value in values] == [checkpoint]


@pytest.mark.parametrize("checkpoint", ['a"""b', "C:\\Users\\x"])
def test_a_script_for_any_checkpoint_compiles(checkpoint: str) -> None:
    compile(reproducing_script(parse_cell(ONE), ARCHITECTURES["llama"], checkpoint), "reproduce.py", "exec")


@pytest.mark.parametrize("end", ["\n", "\r", "\x0c", "\x00", "\u2028", '"""', "\\"])
def test_nothing_that_a_report_says_becomes_code(end: str) -> None:
    script = reproducing_script(parse_cell(ONE), ARCHITECTURES["llama"], found=f"a{end}import nothing{end}")
    compile(script, "reproduce.py", "exec")
    assert "nothing" not in imported_packages(script)
    (said,) = (line for line in script.splitlines() if line.startswith("# What a run found of it: a"))
    assert not end.isspace() or said.endswith("a import nothing .")


def test_rendering_again_keeps_the_problems_of_the_run(printed: Printed, tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "records.jsonl", make_run(ONE))
    writer.write(record_of(ONE))
    writer.write(ended("a waiver is idle"))
    writer.close()
    printed("reports", "render", str(tmp_path / "records.jsonl"))
    assert json.loads((tmp_path / "matrix.json").read_text())["problems"] == ["a waiver is idle"]


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("matrix.json", b"\xff\xfe{", 2),
        ("matrix.json", b'{"schema_version": "2.0"}', 2),
        ("matrix.json", b"[]", 2),
        ("records.jsonl", f'{make_run(ONE).model_dump_json()}\n{{"kind": "record", "axes": {{}}}}\n'.encode(), 1),
        ("records.jsonl", make_run("llama-float8-eager-prefill").model_dump_json().encode(), 1),
    ],
    ids=["not UTF-8", "other major version", "not an object", "record without axes", "planned cell unknown"],
)
def test_a_strange_report_is_refused_or_rendered_with_one_line(
    call: Call, tmp_path: Path, name: str, content: bytes, status: int
) -> None:
    (tmp_path / name).write_bytes(content)
    code, _, err = call("reports", "render", str(tmp_path / name))
    assert (code, len(err)) == (status, 1)
