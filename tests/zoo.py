"""A report of as many made-up architectures as one likes, each with the cells of the coming profile `zoo`."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from typing import Any, TypeVar

from matrix.cell import make_cell
from matrix.rows import RowOutcome
from matrix.verdict import Verdict
from reports.document import ArchitectureFacts, End, Record, Report, make_report

T = TypeVar("T")

_DEFAULTS = {
    "dtype": "bfloat16",
    "attention": "eager",
    "sdpa_kernel": "unpinned",
    "quantisation": "none",
    "transformation": "none",
    "device_map": "none",
    "padding": "none",
    "cache": "dynamic",
}
_ATTENTION = [
    {"attention": "eager"},
    {"attention": "sdpa"},
    *({"attention": "sdpa", "sdpa_kernel": kernel} for kernel in ("flash", "mem_efficient", "math", "cudnn")),
    {"attention": "flash_attention_2"},
    {"attention": "flash_attention_3"},
    {"attention": "flash_attention_4"},
    {"attention": "flex_attention"},
]
_CELLS = [
    *({**attention, "workload": workload} for attention, workload in product(_ATTENTION, ("prefill", "generate"))),
    {"attention": "eager", "dtype": "float32", "workload": "prefill"},
    {"attention": "sdpa", "dtype": "float32", "workload": "prefill"},
    {"attention": "sdpa", "padding": "left", "workload": "prefill"},
    {"attention": "flash_attention_2", "padding": "left", "workload": "prefill"},
    {"attention": "flex_attention", "padding": "left", "workload": "prefill"},
]
# How often of a hundred; kind; traits that take turns.
_FAMILIES: dict[str, tuple[int, str, list[list[str]]]] = {
    "text decoder": (40, "decoder", [[], ["moe"], ["window"], ["moe", "window"], ["alibi"], ["mla", "moe"], ["sinks"]]),
    "text encoder": (20, "encoder", [[], ["window"], ["alibi"]]),
    "encoder-decoder": (12, "encoder_decoder", [["cross"], ["cross", "window"]]),
    "image": (12, "encoder", [[], ["window"]]),
    "speech": (8, "encoder", [[], ["cross"]]),
    "image and text": (8, "decoder", [["cross"], ["cross", "moe"], []]),
}
# How often of a hundred; which attention it is; which verdict that has; whether it is known.
_FATES = [
    (50, "", Verdict.SUPPORTED, False),
    (14, "flash_attention_2", Verdict.INACCURATE, True),
    (9, "flash_attention_2", Verdict.INACCURATE, False),
    (6, "sdpa", Verdict.ERROR, False),
    (8, "flash_attention_2", Verdict.REFUSED, False),
    (8, "flex_attention", Verdict.ERROR, True),
    (5, "", Verdict.NOT_BUILT, False),
]


def zoo_report(architectures: int, source: Report) -> Report:
    """A report of so many architectures; the bodies of its cells are those that were measured in another report."""
    bodies: dict[tuple[str, Verdict], list[Record]] = defaultdict(list)
    for record in source.records:
        bodies[record.axes["attention"], record.verdict].append(record)
        bodies["", record.verdict].append(record)
    excuse = next(record.waived for record in source.records if record.waived)
    records: list[Record] = []
    facts: dict[str, ArchitectureFacts] = {}
    for number in range(architectures):
        name = f"arch_{number:03}"
        # Steps that have no factor in common with 100, so that families, traits and fates meet in all ways.
        family, kind, traits = _drawn([(of[0], (family, *of[1:])) for family, of in _FAMILIES.items()], number)
        _, touched, verdict, known = _drawn([(fate[0], fate) for fate in _FATES], 37 * number + number // 100)
        facts[name] = ArchitectureFacts(
            kind=kind,
            family=family,
            traits=traits[number // 7 % len(traits)],
            model_type=name,
            auto_class="AutoModel",
            weak="one layer" if number % 50 == 0 else "",
            parameters=100_000 + number,
        )
        declared = {"_supports_sdpa": True, "_supports_flash_attn": number % 9 > 0, "_supports_flex_attn": True}
        for values in _CELLS:
            # What does not generate is held against itself instead.
            other = {"workload": "padding_invariance"} if (kind, values["workload"]) == ("encoder", "generate") else {}
            cell = make_cell(name, **{**_DEFAULTS, **values, **other})
            hit = touched in ("", values["attention"])
            away = values["attention"] in ("flash_attention_3", "flash_attention_4")
            wanted = verdict if hit else Verdict.UNAVAILABLE if away else Verdict.SUPPORTED
            alike = bodies[values["attention"], wanted] or bodies["", wanted] or source.records
            body = alike[(number + len(records)) % len(alike)]
            reason = "the fixture could not be made" if wanted is Verdict.NOT_BUILT else body.reason
            changes: dict[str, Any] = {
                "cell": cell.id,
                "axes": dict(cell.axis_values()),
                "verdict": wanted,
                "reason": reason,
            }
            excused = {"waived": excuse if hit and known else None, "demanded": []}
            seen = replace(body.observation, declared=declared)
            if wanted is Verdict.NOT_BUILT:
                seen = replace(seen, failure=None, origin=None)
            observed = {"observation": seen}
            records.append(body.model_copy(update={**changes, **excused, **observed}))
    rows = [
        row.model_copy(update={"outcome": RowOutcome.MISSING, "reason": "planned, but nothing came", "waived": None})
        for row in source.rows
    ]
    planned = {"planned": [record.cell for record in records], "planned_rows": [], "architectures": facts}
    run = source.run.model_copy(update={**planned, "profile": "zoo"})
    return make_report(run, records, rows=rows, power=source.power, end=End(finished=source.finished))


def _drawn(shares: Iterable[tuple[int, T]], number: int) -> T:
    """What falls to a number, where each value has so many of a hundred."""
    place = number * 61 % 100
    for share, value in shares:
        if place < share:
            return value
        place -= share
    raise AssertionError("the shares do not add up to 100")
