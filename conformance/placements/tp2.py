"""Divided between two processes (conformance/ranks.py). Scripts carry it along."""


def placing(placement, make_empty):
    """What from_pretrained is given; `make_empty` makes the model without memory for its weights."""
    return {"tp_plan": "auto"}
