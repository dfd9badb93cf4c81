"""The device_map `gpu0`."""

from conformance.placements.gpu0 import placing


def test_what_from_pretrained_is_given() -> None:
    assert placing("gpu0", lambda: None) == {"device_map": {"": 0}}
