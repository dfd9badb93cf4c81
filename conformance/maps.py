"""Device maps as people write them: a place for each module. Scripts carry it along."""

import torch


def near_and_far():
    """Where a machine computes, and where weights wait: GPU 0 and the CPU, or where there is no GPU the CPU and the
    disk."""
    return (0, "cpu") if torch.cuda.is_available() else ("cpu", "disk")


def map_with_last_away(model, near, far):
    """A device map that leaves the last block of each stack at `far` and puts the rest `near`."""
    away = last_blocks(model)
    placed = {}

    def place(module, prefix):
        for name, child in module.named_children():
            path = prefix + name
            if path in away:
                placed[path] = far
            elif any(block.startswith(path + ".") for block in away):
                place(child, path + ".")
            else:
                placed[path] = near

    place(model, "")
    return placed


def last_blocks(model):
    """The names of the last block of each outermost stack."""
    stacks = [name for name, module in model.named_modules() if isinstance(module, torch.nn.ModuleList)]
    outermost = [name for name in stacks if not any(name.startswith(other + ".") for other in stacks)]
    return {f"{name}.{len(model.get_submodule(name)) - 1}" for name in outermost}
