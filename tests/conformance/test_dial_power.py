"""The command of dials, reduced: it goes on within an architecture."""

from pathlib import Path

from conformance.dial_power import Share, measure_share
from matrix.axes import Dtype
from tests.builders import make_stack


def test_of_a_share_only_what_is_not_known_is_measured(tmp_path: Path) -> None:
    share = Share("gpt2", Dtype.FLOAT32, 0, make_stack(), tmp_path, dials=("scale",))
    found = list(measure_share(share))
    assert {one.dial for one in found} == {"", "scale"}
    for lost in (found[0], found[-1]):
        known = [one for one in found if one is not lost]
        assert list(measure_share(share, known)) == [lost]
