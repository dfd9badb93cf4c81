"""Dicts as people write them. Scripts carry it along."""

from conformance.maps import last_blocks, map_with_last_away, near_and_far


def placing(placement, make_empty):
    """What from_pretrained is given; `make_empty` makes the model without memory for its weights."""
    near, far = near_and_far()
    model = make_empty()
    placed = map_with_last_away(model, near, far)
    away = sorted(last_blocks(model))
    if placement == "root_and_part":
        placed = {"": near, away[-1]: far}
    elif placement == "layer_split":
        for block in away:
            del placed[block]
            placed |= {part: (near, far)[turn % 2] for turn, part in enumerate(parts_of(model, block))}
    elif placement == "key_missing":
        # One that has weights: of one without, such as rotary embeddings, nobody misses the key.
        kept = [key for key, place in placed.items() if place == near and [*model.get_submodule(key).parameters()]]
        del placed[kept[-1]]
    elif placement == "key_too_many":
        stack, _, last = away[-1].rpartition(".")
        placed[f"{stack}.{int(last) + 1}"] = far
    else:
        embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
        ends = [*embeddings.parameters()] if placement == "ends_away" else []
        ends += [*head.parameters()] if head is not None else []
        for name in holding(model, ends):
            if placement == "ends_away" or model.get_submodule(name) is head:
                placed = apart(model, placed, name, far)
    return {"device_map": placed}


def parts_of(model, block):
    """The names of what a block is made of: of one that has one part, the parts of that."""
    parts = [f"{block}.{name}" for name, _ in model.get_submodule(block).named_children()]
    return parts if len(parts) > 1 else parts_of(model, parts[0])


def holding(model, parameters):
    """The names of the modules that have one of these parameters as their own."""
    wanted = {id(parameter) for parameter in parameters}
    return [
        name
        for name, module in model.named_modules()
        if any(id(parameter) in wanted for parameter in module.parameters(recurse=False))
    ]


def apart(model, placed, name, far):
    """The same map with the module of that name at `far`, and with it those around it that have parameters of their
    own: a map has keys for modules."""
    above = next(key for key in placed if name == key or name.startswith(f"{key}."))
    whole = model.get_submodule(above)
    if above == name or [*whole.parameters(recurse=False)]:
        return placed | {above: far}
    parts = {f"{above}.{part}": placed[above] for part, _ in whole.named_children()}
    return apart(model, {key: place for key, place in placed.items() if key != above} | parts, name, far)
