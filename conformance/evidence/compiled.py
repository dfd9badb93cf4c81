"""Watching a compiled model run: what torch.compile made of it, and how often that ran. Scripts carry it along."""

from contextlib import contextmanager

import torch

from conformance.evidence.watch import each_pass
from conformance.spellings import compile_graph, forget_compiled

# Ops that no kernel stands behind: they choose one, or are spelled out. A dispatch mode does not see them either.
COMPOSITE = ("aten::scaled_dot_product_attention", "aten::_scaled_dot_product_attention_math")


def around(event):
    """The events of the profiler's during which this one came, the nearest first."""
    while (event := event.cpu_parent) is not None:
        yield event


class Compiled:
    """A backend of torch.compile: it compiles as inductor does, and counts.

    Ops are seen while a graph runs for the first time: later runs do the same.

    Args:
        watch: the Watch that keeps what is seen.
        mode: of torch.compile.
    """

    def __init__(self, watch, mode="default"):
        self.watch, self.mode = watch, mode
        self.graphs = self.runs = self.forwards = self.plain = 0
        forget_compiled()
        watch.compiled = self

    def __call__(self, graph, inputs):
        """Compile a graph that was traced; what is returned runs it."""
        compiled = compile_graph(graph, inputs, self.mode)
        self.graphs += 1
        attention = sum("scaled_dot_product_attention" in str(node.target) for node in graph.graph.nodes)
        seen = False

        def run(*args):
            nonlocal seen
            self.runs += 1
            if seen:
                return compiled(*args)
            seen = True
            self.watch.sdpa_calls += attention
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                found = compiled(*args)
            for event in profile.events():
                counter = self.counter_of(event)
                if counter is not None and all(self.counter_of(one) is None for one in around(event)):
                    counter[event.name] += 1
            return found

        return run

    def counter_of(self, event):
        """Where an event of the profiler's is counted, or None. Triton's kernels are named after what they replace."""
        is_op = "::" in event.name and event.name not in COMPOSITE
        return self.watch.counter_of(event.name) if is_op else None

    def passes(self, model):
        """While entered, forward passes are counted, and those that ran plain."""
        return each_pass(model, self._one_pass)

    @contextmanager
    def _one_pass(self):
        before = self.runs
        yield
        self.forwards += 1
        self.plain += self.runs == before

    def counts(self):
        """What was counted, by name."""
        return {name: getattr(self, name) for name in ("graphs", "runs", "forwards", "plain")}
