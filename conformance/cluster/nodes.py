"""The nodes of a cluster: what each has, whether they may measure together, and what a task asks of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matrix.errors import UsageError

_MODEL = "accelerator_type:"  # the resource by which Ray names the model of a node's GPUs


@dataclass(frozen=True)
class Node:
    """A node that Ray knows."""

    id: str
    address: str
    resources: Mapping[str, float]

    @property
    def model(self) -> str:
        """The model of its GPUs as Ray names it; empty without any, or where Ray does not know it."""
        return next((name.removeprefix(_MODEL) for name in self.resources if name.startswith(_MODEL)), "")

    @property
    def gpus(self) -> int:
        """How many GPUs it has."""
        return int(self.resources.get("GPU", 0))

    @property
    def cores(self) -> int:
        """How many cores it lends."""
        return int(self.resources.get("CPU", 0))


@dataclass(frozen=True)
class Found:
    """What a node says of itself: its libraries and the suite's commit, or what keeps it from measuring."""

    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Slots:
    """Where the tasks of one report run: on nodes alike, each with a share of one."""

    model: str  # of their GPUs, or empty
    gpus: int  # of a task: 1, or 0 on nodes without
    cores: int  # of a task
    count: int  # how many tasks run at once, as things stand

    def __str__(self) -> str:
        cores = f"{self.cores} {'core' if self.cores == 1 else 'cores'}"
        return f"{self.gpus} {self.model or 'GPU'} and {cores}" if self.gpus else cores

    def fit(self, node: Node) -> bool:
        """Whether a task could run there, once nothing else does."""
        of_model = not self.model or node.model == self.model
        return of_model and node.gpus >= self.gpus and node.cores >= self.cores

    @property
    def resources(self) -> dict[str, float]:
        """What a task asks for beside GPUs and cores."""
        return {f"{_MODEL}{self.model}": 0.001} if self.model else {}


def slots_of(nodes: Sequence[Node]) -> list[Slots]:
    """A report for each model of GPU; where there is no GPU one of the cores.

    A task has a GPU and its share of the node's cores, since workers on one GPU share the process that imports the
    libraries; without GPUs it has a core.

    Raises:
        UsageError: no node lends anything, one lends GPUs without a core, or there are GPUs of which Ray does not know
            the model beside others.
    """
    with_gpus = [node for node in nodes if node.gpus]
    if not with_gpus:
        cores = sum(node.cores for node in nodes)
        if not cores:
            raise UsageError("the cluster has no node with a CPU or GPU to lend")
        return [Slots("", 0, 1, cores)]
    for node in with_gpus:
        if not node.cores:
            raise UsageError(f"node {node.address}: lends GPUs, but no core for a task; start it with --num-cpus")
    models = list(dict.fromkeys(node.model for node in with_gpus))
    if len(models) > 1 and "" in models:
        nameless = next(node for node in with_gpus if not node.model)
        raise UsageError(f"node {nameless.address}: Ray does not know the model of its GPUs; start it with --resources")
    return [_slots(model, [node for node in with_gpus if node.model == model]) for model in models]


def _slots(model: str, nodes: Sequence[Node]) -> Slots:
    cores = max(1, min(node.cores // node.gpus for node in nodes))
    return Slots(model, gpus=1, cores=cores, count=sum(min(node.gpus, node.cores // cores) for node in nodes))


def check(found: Mapping[str, Found], commit: str) -> None:
    """Whether nodes, by address, may measure together what a driver with that commit of the suite has planned.

    Raises:
        UsageError: one cannot measure, or has another release of a library or of the suite.
    """
    for address, one in found.items():
        if one.problem:
            raise UsageError(f"node {address}: {one.problem}")
        if one.commit != commit:
            here, there = (known or "unknown" for known in (one.commit, commit))
            raise UsageError(f"node {address}: commit {here} of the suite, but {there} where this command runs")
    if not found:  # nobody lends anything, which slots_of says
        return
    first, known = next(iter(found.items()))
    for address, one in found.items():
        for name in {**known.versions, **one.versions}:
            here, there = (of.get(name, "not installed") for of in (one.versions, known.versions))
            if here != there:
                raise UsageError(f"node {address}: {name} {here}, but {there} on {first}; install the same on both")
