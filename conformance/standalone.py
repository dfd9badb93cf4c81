"""What a reproducing script does: `main` is where it begins. Scripts carry it along."""

import logging
import tempfile
import warnings

import torch
import transformers

from conformance.course import Course
from conformance.models.batches import inputs_of
from conformance.models.loading import Source, lacking
from conformance.models.recipe import build_model
from matrix.oracle import bounds, problems


class ToldCourse(Course):
    """A course that says what it sees."""

    def inspect(self, model):
        """Print what the model is made of."""
        print(f"{type(model).__name__}; parameters that the checkpoint lacks:", ", ".join(lacking(model)) or "none")
        linear = [module for module in model.modules() if "Linear" in type(module).__name__]
        print("linear modules:", sorted({type(module).__name__ for module in linear}))
        print("formats:", sorted({str(form) for module in linear if (form := self.does.stored_as(module))}) or "none")


def main(cell, architecture, checkpoint, seed, does):
    """Run the cell and print how it ends, and whether that is within bounds."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.disable_progress_bar()
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    print("torch", torch.__version__, "transformers", transformers.__version__, "device", device)
    with tempfile.TemporaryDirectory() as folder:
        if checkpoint is None:
            config = transformers.AutoConfig.for_model(architecture.model_type, **architecture.config)
            inputs = inputs_of(architecture, config)
            small = build_model(architecture.model_type, architecture.auto_class, architecture.config, inputs, seed)
            small.save_pretrained(folder, safe_serialization=True)
        source = Source(architecture, checkpoint or folder, own=checkpoint is not None, formats=f"{folder}/formats")
        course = ToldCourse(cell, source, does, device, seed)
        try:
            comparisons = course.compare(course.run())
        except Exception as error:
            print(f"raised in phase {course.phase}: {type(error).__name__}: {error}")
            return
    print("attention ops:", dict(course.watch.attention_ops), "calls of SDPA:", course.watch.sdpa_calls)
    print("ops of quantisers:", dict(course.watch.quantised_ops), "caches:", list(course.watch.caches))
    for comparison in comparisons:
        usual = f"the baseline errs by {comparison.baseline_max:.3g} at most, {comparison.baseline_mean:.3g} on average"
        print(f"{comparison.name}: finite: {comparison.finite}, {comparison.positions} positions; {usual}")
        for bound in bounds(comparison):
            print(f"{bound.name} error {bound.value:.3g}, allowed {bound.allowed:.3g}")
    wrong = [problem for comparison in comparisons for problem in problems(comparison)]
    print("OUT OF BOUNDS: " + "; ".join(wrong) if wrong else "within bounds")
