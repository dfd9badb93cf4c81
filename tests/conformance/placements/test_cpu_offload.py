"""The device_map `cpu_offload`."""

from conformance.placements.cpu_offload import placing
from tests.placed import empty


def test_what_from_pretrained_is_given() -> None:
    placed = placing("cpu_offload", lambda: empty("llama"))["device_map"]
    assert {name for name, place in placed.items() if place == "cpu"} == {"model.layers.1"}
    assert {*placed.values()} == {0, "cpu"}
