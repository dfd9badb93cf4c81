"""Support as version intervals: what each release came to, and no more than was measured."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.stack import Stack
from matrix.verdict import Verdict
from reports.document import Report, make_report
from reports.support import Series, all_series, support_data, version_order
from tests.builders import PROPERTY, cuda_stack, ended, make_run, make_stack, record_of

FLASH = "falcon-bfloat16-flash_attention_2-prefill"
LEFT = "falcon-bfloat16-flash_attention_2-left-prefill"
NF4 = "falcon-bfloat16-sdpa-nf4-prefill"
OLD, MIDDLE, NEW = "4.48.3", "4.57.6", "5.17.0"  # others lie between them


def run(version: str, stack: Any = cuda_stack, **cells: Verdict) -> Report:
    named = {"flash": FLASH, "left": LEFT, "nf4": NF4}
    records = [record_of(named[name], verdict) for name, verdict in cells.items()]
    made: Stack = stack({"transformers": version, "accelerate": f"1.{len(version)}"})
    return make_report(make_run(*(r.cell for r in records), stack=made), records, end=ended())


def told(*reports: Report, column: str = "flash_attention_2") -> dict[str, int]:
    (series,) = all_series(reports)
    found = [table.rows["falcon"][column] for table in series.tables if column in table.rows.get("falcon", {})]
    return {history.words: history.cells for history in found[0]}


@pytest.mark.parametrize(
    ("old", "middle", "new", "words"),
    [
        ("supported", "supported", "supported", "since ≤ 4.48.3"),
        ("supported", "unavailable", "supported", "since ≤ 4.48.3"),
        ("unavailable", "supported", "supported", "since ≤ 4.57.6"),
        ("refused", "supported", "supported", "since ≤ 4.57.6; refused in 4.48.3"),
        ("refused", "refused", "supported", "since ≤ 5.17.0; refused in 4.48.3 to 4.57.6"),
        ("supported", "inaccurate", "supported", "since ≤ 5.17.0; wrong in 4.57.6; supported in 4.48.3"),
        ("supported", "supported", "substituted", "wrong since ≤ 5.17.0; supported in 4.48.3 to 4.57.6"),
        ("crashed", "error", "missing", "wrong in 4.48.3 to 4.57.6, not measured since"),
        ("supported", "refused", "missing", "refused in 4.57.6, not measured since; supported in 4.48.3"),
        ("refused", "missing", "refused", "refused since ≤ 4.48.3"),
    ],
)
def test_an_interval_says_what_was_measured_and_no_more(old: str, middle: str, new: str, words: str) -> None:
    verdicts = zip((OLD, MIDDLE, NEW), (old, middle, new), strict=True)
    runs = [run(version, flash=Verdict(verdict)) for version, verdict in verdicts]
    assert told(*runs) == told(*reversed(runs)) == {words: 1}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("5.23.0", "5.24.0", "since 5.24.0; refused in 5.23.0"),
        ("4.57.6", "5.0.0", "since 5.0.0; refused in 4.57.6"),
        ("4.57.1", "4.57.6", "since 4.57.6; refused in 4.57.1"),
        ("5.22.2", "5.24.0", "since ≤ 5.24.0; refused in 5.22.2"),
        ("4.56.2", "5.0.0", "since ≤ 5.0.0; refused in 4.56.2"),
        ("nightly", "0.0.1", "since ≤ 0.0.1; refused in nightly"),
    ],
)
def test_a_change_is_of_a_release_where_the_one_before_was_measured(before: str, after: str, words: str) -> None:
    assert told(run(before, flash=Verdict.REFUSED), run(after, flash=Verdict.SUPPORTED)) == {words: 1}


def test_a_cell_that_the_release_before_lacks_may_have_changed_in_it() -> None:
    right, refused = Verdict.SUPPORTED, Verdict.REFUSED
    runs = [run("5.22.2", flash=refused), run("5.22.3", left=right), run("5.22.4", flash=right)]
    assert "since ≤ 5.22.4; refused in 5.22.2" in told(*runs)


def test_cells_of_one_combination_are_counted_by_their_history() -> None:
    right, wrong = Verdict.SUPPORTED, Verdict.INACCURATE
    runs = [run(OLD, flash=right, left=wrong), run(NEW, flash=right, left=right)]
    assert told(*runs) == {"since ≤ 4.48.3": 1, "since ≤ 5.17.0; wrong in 4.48.3": 1}


def test_a_cell_that_one_release_lacks_counts_with_those_in_which_nothing_changed() -> None:
    right = Verdict.SUPPORTED
    assert told(run(OLD, flash=right), run(NEW, flash=right, left=right)) == {"since ≤ 4.48.3": 2}
    (series,) = all_series([run(OLD, flash=right), run(NEW, flash=right, left=right)])
    (history,) = series.tables[0].rows["falcon"]["flash_attention_2"]
    assert history.count_words == "2 cells, 1 in every release"


@pytest.mark.parametrize("other", [Verdict.SUPPORTED, Verdict.ERROR])
def test_of_a_cell_that_one_release_lacks_no_change_is_told(other: Verdict) -> None:
    words = {Verdict.SUPPORTED: "since ≤ 5.17.0", Verdict.ERROR: "wrong since ≤ 5.17.0"}[other]
    assert told(run(OLD, flash=Verdict.ERROR), run(NEW, flash=Verdict.SUPPORTED, left=other)) == {
        "since ≤ 5.17.0; wrong in 4.48.3": 1,
        words: 1,
    }


def test_of_two_runs_of_one_release_the_worse_counts() -> None:
    runs = [run(NEW, flash=Verdict.SUPPORTED), run(NEW, flash=Verdict.REFUSED), run(NEW, flash=Verdict.UNAVAILABLE)]
    assert told(*runs) == {"refused since ≤ 5.17.0": 1}


def test_quantised_cells_stand_apart() -> None:
    both = run(NEW, flash=Verdict.SUPPORTED, nf4=Verdict.ERROR)
    assert told(both) == {"since ≤ 5.17.0": 1}
    assert told(both, column="nf4") == {"wrong since ≤ 5.17.0": 1}


def devices(series: list[Series]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.device, one.library, one.versions) for one in series]


def test_only_runs_that_differ_in_one_library_and_its_companions_make_a_series() -> None:
    right = Verdict.SUPPORTED

    def stack(**versions: str) -> Report:
        return run(NEW, lambda given: cuda_stack({**given, "accelerate": "1", **versions}), flash=right)

    found = all_series([stack(), stack(torch="2.14.0"), stack(bitsandbytes="0.51"), run(OLD, make_stack, flash=right)])
    assert devices(found) == [
        ("NVIDIA H100", "transformers", (NEW,)),
        ("NVIDIA H100", "transformers", (NEW,)),
        ("NVIDIA H100", "transformers", (NEW,)),
        ("CPU", "transformers", (OLD,)),
        ("NVIDIA H100", "torch", ("2.13.0", "2.14.0")),
    ]
    assert dict(found[1].fixed)["torch"] == "2.14.0"


def test_programs_get_the_same() -> None:
    series = all_series([run(OLD, flash=Verdict.REFUSED), run(NEW, flash=Verdict.SUPPORTED)])
    (entry,) = support_data(series)
    assert entry["device"] == "NVIDIA H100"
    assert (entry["architecture"], entry["backend"]) == ("falcon", "flash_attention_2")
    assert entry["histories"] == [
        {
            "cells": 1,
            "in_every_release": 1,
            "spans": [
                {"state": "refused", "first": OLD, "last": OLD},
                {"state": "supported", "first": NEW, "last": NEW},
            ],
            "words": "since ≤ 5.17.0; refused in 4.48.3",
        }
    ]


def test_releases_stand_from_old_to_new_whatever_they_are_called() -> None:
    names = ["5.0.0.dev0", "4.9", "nightly", "4.10.1", "5.0.0", "2.11.0+cu130", "9" * 5000]
    assert sorted(names, key=version_order) == [
        "9" * 5000,
        "nightly",
        "2.11.0+cu130",
        "4.9",
        "4.10.1",
        "5.0.0.dev0",
        "5.0.0",
    ]


@PROPERTY
@given(st.lists(st.sampled_from([Verdict.SUPPORTED, Verdict.REFUSED, Verdict.ERROR, Verdict.UNAVAILABLE]), min_size=1))
def test_spans_alternate_and_cover_what_was_measured(verdicts: list[Verdict]) -> None:
    runs = [run(f"5.{number}.0", flash=verdict) for number, verdict in enumerate(verdicts)]
    measured = [f"5.{number}.0" for number, verdict in enumerate(verdicts) if verdict is not Verdict.UNAVAILABLE]
    series = all_series(runs)
    assert bool(series) is bool(measured)
    for one in series:
        (history,) = one.tables[0].rows["falcon"]["flash_attention_2"]
        assert history.cells == 1
        spans = history.spans
        assert all(span.state is not other.state for span, other in pairwise(spans))
        assert (spans[0].first, spans[-1].last) == (measured[0], measured[-1])
        assert ("not measured since" in history.words) is (measured[-1] != one.versions[-1])
