"""What becomes of a cell, step by step. Scripts carry it along; the bench keeps what it sees."""

import tempfile
from contextlib import contextmanager
from dataclasses import replace

import torch

from conformance.evidence.watch import Watch
from conformance.judging.precision import convolutions_in_float32
from conformance.judging.references import References
from conformance.models.batches import batch_for, checked, inputs_of, moved
from conformance.models.loading import load, needs_moving, torch_dtype
from conformance.spellings import forget_compiled, pinned
from matrix.oracle import may_be_luck


class Course:
    """One cell, from its load to its comparisons.

    Args:
        cell: a Cell, or anything with the names of its values.
        source: where its weights come from.
        does: the halves of its rooms.
        device: a torch.device.
        seed: of the batch.
        references: golden and baseline; made anew if not given.
    """

    def __init__(self, cell, source, does, device, seed=0, references=None):
        self.cell, self.source, self.does, self.device, self.seed = cell, source, does, device, seed
        self.references = references or References(cell, source, does, device)
        self.watch = Watch(does.ops)
        self.phase = "load"

    @contextmanager
    def during(self, phase):
        """A step. An asynchronous fault belongs to the one that caused it."""
        self.phase = phase
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def load(self, *, checkpoint=None, mapped=True, **differing):
        """A model on the device that differs so from the cell's."""
        source = self.source if checkpoint is None else self.source.at(checkpoint)
        with self.during("load"):
            model = load(self.cell, source, self.does, mapped=mapped, mapped_like=self.source, **differing)
        return self.placed(model, mapped)

    def placed(self, model, mapped=True):
        """The model on the device, unless a device_map has placed it."""
        if (mapped and self.cell.device_map != "none") or not needs_moving(model, self.device):
            return model
        with self.during("place"):
            return model.to(self.device)

    @contextmanager
    def folder(self):
        """A folder for what is saved: where several processes hold the model together, the first one's."""
        with tempfile.TemporaryDirectory() as own:
            if self.does.processes == 1:
                yield own
                return
            folders = [own]
            torch.distributed.broadcast_object_list(folders)
            yield folders[0]
            torch.distributed.barrier()  # it is there until all have read it

    def takes(self, model):
        """What the model takes: see conformance/models/inputs.py."""
        return inputs_of(self.source.architecture, model.config)

    def loaded(self, model):
        """Look at the cell's model as it was loaded."""

    def inspect(self, model):
        """Look at what is about to run."""

    @contextmanager
    def watching(self, model):
        """While entered, calls are counted, and SDPA may use the cell's kernel alone."""
        with self.watch.calls(model), pinned(self.cell.sdpa_kernel), convolutions_in_float32():
            yield

    @contextmanager
    def instead(self, model):
        """From here on it is this model that the cell names: what was seen before was another's."""
        self.inspect(model)
        with self.watch.anew(model):
            yield

    def prepared(self, model=None):
        """The model, loaded unless it is given, and the batch, both in place; nothing runs yet."""
        if model is None:
            with self.during("load"):
                model = load(self.cell, self.source, self.does)
        self.loaded(model)
        model = self.does.transform(self.placed(model), self)
        self.inspect(model)
        with self.during("build"):
            batch = batch_for(self.source, model.config, self.does.inputs, self.cell.padding, self.seed)
            checked(batch, self.cell.padding)
        # What is rounded on the way in is no error of the model.
        batch = moved(batch, self.device, torch_dtype(self.cell.dtype))
        if self.cell.attention == "flex_attention":
            forget_compiled()
        return model, batch

    def run(self, model=None):
        """Do what the workload says, and return what it found."""
        model, batch = self.prepared(model)
        with torch.no_grad(), self.watching(model):
            return self.does.run(model, batch, self)

    def compare(self, found):
        """The comparisons of what was found with golden and baseline. Its model is gone by now, to make room."""
        judged_as = self.cell.dtype, self.does.quantised
        with torch.no_grad(), self.during("reference"):
            comparisons = found.compare(self.references, *judged_as)
            if may_be_luck(comparisons):
                drawn = self.references.drawn()
                comparisons = found.compare(drawn, *judged_as)
                comparisons = tuple(replace(comparison, draws=drawn.draws) for comparison in comparisons)
            return comparisons
