"""The device_map `gpu0`."""

from conformance.placements.gpu0 import device_map


def test_what_from_pretrained_is_given() -> None:
    assert device_map(lambda: None) == {"": 0}
