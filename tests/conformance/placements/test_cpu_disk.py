"""The device_map `cpu_disk`."""

from conformance.placements.cpu_disk import placing
from tests.placed import empty


def test_what_from_pretrained_is_given() -> None:
    placed = placing("cpu_disk", lambda: empty("t5"))["device_map"]
    assert {name for name, place in placed.items() if place == "disk"} == {"encoder.block.1", "decoder.block.1"}
    assert {*placed.values()} == {"cpu", "disk"}
