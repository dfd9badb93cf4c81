"""What happened when a cell ran, as plain data: the engine writes it, the judge reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from matrix.dials import Reading


class Phase(StrEnum):
    """Where in a cell's life something happened."""

    REQUIRE = "require"  # looking for what the cell needs
    BUILD = "build"  # making the fixture, never the candidate
    LOAD = "load"  # from_pretrained
    PLACE = "place"  # moving the model to the device
    TRANSFORM = "transform"  # what is done to the loaded model
    FORWARD = "forward"  # the forward pass, or those of a relation, or forward and backward
    GENERATE = "generate"  # model.generate
    SAVE = "save"  # save_pretrained
    REFERENCE = "reference"  # golden or baseline, never the candidate


class Ending(StrEnum):
    """How a cell's run ended."""

    COMPLETED = "completed"
    RAISED = "raised"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    DEVICE_LOST = "device_lost"
    NOT_RUN = "not_run"  # something that the cell needs is not here


@dataclass(frozen=True)
class Failure:
    """An exception, the phase that it ended, and where."""

    phase: Phase
    type: str
    message: str
    frames: tuple[str, ...] = ()  # of the libraries, `package/path.py:line function`, the innermost last
    module: str = ""  # of the model, that was running: model.layers.1.self_attn
    module_class: str = ""
    inputs: tuple[str, ...] = ()  # of that module: `name: dtype shape device`
    causes: tuple[str, ...] = ()  # what it came from, the nearest first: `type: message`


@dataclass(frozen=True)
class Comparison:
    """Errors of candidate and baseline against golden, over the attended positions.

    All are absolute differences of logits; `positions` counts (row, position) pairs, none left out. For a
    relation `candidate_*` is the difference of its two runs.
    """

    name: str
    positions: int
    shape_matches: bool
    dtype_matches: bool
    finite: bool  # golden, baseline and candidate alike
    candidate_max: float
    candidate_mean: float
    baseline_max: float
    baseline_mean: float
    floor_max: float  # 2 * max|(G_d + 0.3 - 0.3) - G_d|, G_d = golden in the cell's dtype
    floor_mean: float  # mean|G_d - G|: what it costs to write the truth down in that dtype
    regret_max: float | None = None  # of reports up to schema 1.2: the regret, before there were other consequences
    quantised: bool = False  # whether the weights are, or what waits in the cache
    gradients: bool = False  # of the loss, instead of logits
    few: bool = False  # whether so few numbers were compared that their mean is chance
    single: bool = False  # whether the cell's dtype is float32, where rounding is far below what a fault does
    runs: int = 1  # how many runs of the candidate are in the error: 2 where one is held against another
    draws: int = 0  # how often the baseline ran with its inputs rounded otherwise, of which the worst is the baseline
    # What was made of the logits, by name -> how far it is off: `regret` is max over steps of max_v G[v] - G[chosen].
    consequences: Mapping[str, float] = field(default_factory=dict)
    readings: tuple[Reading, ...] = ()  # how far each dial of attention is off; before 2.3 nobody asked


@dataclass(frozen=True)
class ModuleError:
    """How far one module's output is from golden's, in the order of the forward pass."""

    module: str  # its name in the model; empty for the model itself
    kind: str  # its class
    candidate: float  # mean absolute error
    baseline: float
    ratio: float  # of the larger of max and mean error to what is allowed there


@dataclass(frozen=True)
class Origin:
    """Where wrong numbers begin: the first module whose inputs are right and whose output is not."""

    run: str  # of a relation which of the two; empty for a single run
    call: int  # which forward pass of that run, from 0
    module: str  # its name in the model; empty for the model itself
    kind: str  # its class
    pattern: str  # which rows and tokens of its output, in words
    candidate: float  # largest error of its output; of gradients, of what it hands back
    baseline: float
    allowed: float
    inputs: float  # largest error of what went in; 0 where nothing that can be compared did
    inputs_allowed: float
    brings: (
        bool  # whether what went in was right: else it only hands the error on, and nothing before could be compared
    )
    finite: bool = True  # of its output
    largest_input: float = 0.0  # absolute value, of where the output is not finite
    eager_too: bool = False  # whether eager attention in the same dtype is not finite there either
    backwards: bool = False  # whether it is of gradients, in the order of the backward pass
    heads: tuple[int, ...] = ()  # those that are wrong, where it is attention and not all are
    strip: tuple[ModuleError, ...] = ()  # of that forward pass
    rows: tuple[str, ...] = ()  # of the logits, a character for each position: see `matrix.pattern`

    @property
    def place(self) -> str:
        """Where, in words."""
        named = f"{self.module} ({self.kind})" if self.module else self.kind
        return f"{'the gradient of ' if self.backwards else ''}{named}"

    @property
    def cause(self) -> str:
        """What cells with the same fault have in common."""
        return f"{'gradient of ' if self.backwards else ''}{self.kind}, {self.pattern}"


@dataclass(frozen=True)
class QuantisationCost:
    """The candidate against the unquantised model: reported, never gated."""

    kl_mean: float  # nats per position
    kl_p99: float
    top1_agreement: float  # share of positions


@dataclass(frozen=True)
class Side:
    """What one of two cells takes that are measured in turns."""

    seconds: tuple[float, ...]  # of each turn: for a pass, or for a new token of every row, the prompt apart
    prompt_seconds: tuple[
        float, ...
    ] = ()  # of each turn of a generation: until the logits of the first token are there
    peak_mib: float | None = None  # of the GPU, the model and the most beside it; a CPU has no counter of it
    weight_bytes: int = 0
    disk_bytes: int | None = None  # of the weights' files, where weights are quantised and can be saved


@dataclass(frozen=True)
class Price:
    """A cell beside its twin, the same without one thing: reported, never gated."""

    axis: str  # in which they differ
    twin: str  # id of the other cell
    unit: str  # what is timed: a `pass` or a `token`
    own: Side
    usual: Side  # the twin's
    spent: float = 0.0  # seconds that it took to say so


@dataclass(frozen=True)
class Evidence:
    """What really ran. Counts are calls during the measured run."""

    model_class: str = ""
    model_type: str = ""  # of its config
    missing_parameters: tuple[str, ...] = ()  # that the checkpoint did not have: they were drawn at random
    mismatched_parameters: tuple[
        str, ...
    ] = ()  # those of another shape, which were drawn too: `name: (8, 4) is (8, 6)`
    unexpected_parameters: tuple[str, ...] = ()  # that the checkpoint has and the class does not
    attn_implementations: Mapping[str, str] = field(default_factory=dict)  # submodule class -> implementation
    attention_classes: tuple[str, ...] = ()
    attention_ops: Mapping[str, int] = field(default_factory=dict)  # fused attention ops by name
    sdpa_calls: int = 0  # calls of torch.nn.functional.scaled_dot_product_attention
    flex_calls: int = 0  # calls of flex_attention
    unfused_flex_calls: int = 0  # those that ran uncompiled
    quantised_ops: Mapping[str, int] = field(default_factory=dict)  # ops of quantisers by name
    linear_classes: Mapping[str, int] = field(default_factory=dict)  # class of linear module -> how many
    # Class of a module that runs another's forward pass, as layers of the hub do -> how many; before 2.7 not looked at.
    replaced_forward: Mapping[str, int] = field(default_factory=dict)
    unquantised_linear: tuple[str, ...] = ()  # names of plain linear modules in a quantised model
    unquantised_parameters: Mapping[str, float] = field(
        default_factory=dict
    )  # of a quantised model, those that no quantiser holds: name with * for a layer -> share of the model's bytes
    unquantised_stacked: float = 0.0  # the share of those that stack several matrices, as experts are held
    quantised_formats: tuple[str, ...] = ()  # formats that the quantised weights carry
    parameter_dtypes: Mapping[str, int] = field(default_factory=dict)  # dtype -> how many parameters
    foreign_parameters: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # floating dtype not asked for -> names
    caches: tuple[str, ...] = ()  # classes of the caches that came out of generations
    # Of their layers: class, dtype, device, tokens held and slots for them -> how many; before 2.4 not looked at.
    cache_layers: Mapping[str, int] = field(default_factory=dict)
    placement: Mapping[str, int] = field(default_factory=dict)  # device type -> how many parameters
    hf_device_map: Mapping[str, str] | None = None
    weight_bytes: int = 0
    # Of a model that several processes hold together: the bytes in each, those of the whole, and of how many parameters
    # each holds a part.
    rank_bytes: tuple[int, ...] = ()
    whole_bytes: int = 0
    divided: int = 0
    left_by_loads: Mapping[str, float] = field(default_factory=dict)  # MiB of the device, threads: of twelve loads
    warnings: tuple[str, ...] = ()  # what the libraries said while it ran
    leaks: tuple[str, ...] = ()  # global state that it left changed, and that was put back
    # Of torch.compile: graphs that inductor "compiled", or had "cached" on the disk, and "replays" of CUDA graphs; of a
    # model that is compiled whole also its "graphs", how often one of them "runs", the "forwards" and those that ran
    # "plain".
    graphs: Mapping[str, int] = field(default_factory=dict)
    graph_breaks: Mapping[str, int] = field(default_factory=dict)  # of a model that is compiled: reason -> how often
    recompiled: tuple[str, ...] = ()  # why it was compiled once more
    left_on_gpu_mib: float = 0.0  # what it left there beside what torch knows of, if much (matrix/gpu_growth.py)


@dataclass(frozen=True)
class Observation:
    """One run of one cell."""

    ending: Ending
    failure: Failure | None = None
    missing: tuple[str, ...] = ()  # requirements not met, when ending is NOT_RUN
    comparisons: tuple[Comparison, ...] = ()
    quantisation_cost: QuantisationCost | None = None
    price: Price | None = None  # what it takes beside its twin; asked for with --costs, before 2.6 nobody could
    origin: Origin | None = None  # where wrong numbers begin
    evidence: Evidence = field(default_factory=Evidence)
    declared: Mapping[str, bool] = field(default_factory=dict)  # the class's own _supports_* flags
    seconds: Mapping[str, float] = field(default_factory=dict)  # by phase, what was spent compiling apart
    peak_memory_mib: float | None = None
    wrong_scale: float | None = None  # what a softmax scale wrong by 10 % does to the fixture's output, on average

    @property
    def readings(self) -> tuple[Reading, ...]:
        """How far the dials are off, of all that was compared."""
        return tuple(one for comparison in self.comparisons for one in comparison.readings)
