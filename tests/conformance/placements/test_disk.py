"""The device_map `disk`."""

from conformance.placements.disk import placing
from tests.placed import empty


def test_what_from_pretrained_is_given() -> None:
    placed = placing("disk", lambda: empty("t5"))["device_map"]
    assert {name for name, place in placed.items() if place == "disk"} == {"encoder.block.1", "decoder.block.1"}
    assert {*placed.values()} == {0, "disk"}
