"""Everything on GPU 0 but the last block of each stack, which waits on the disk. Scripts carry it along."""

from conformance.maps import map_with_last_away


def placing(placement, make_empty):
    """What from_pretrained is given; `make_empty` makes the model without memory for its weights."""
    return {"device_map": map_with_last_away(make_empty(), 0, "disk")}
