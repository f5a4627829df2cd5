"""The containers that pass between the stages, in memory as they are on disk.

Axis order is always (time, state, sweep, start); an array lacks the axes that do not apply to it.
Times are in ms, voltages in mV, stimuli and currents in µA/cm² unless a ``units`` entry says
otherwise. Containers hold numpy arrays and plain values only, and know nothing of how they are
made, stored or drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import ClassVar

import numpy as np

from odynn.errors import ModelError


class Status(IntEnum):
    """How the work on one start ended."""

    NOT_FITTED = 0
    CONVERGED = 1
    ITERATION_LIMIT = 2
    AT_BOUND = 3
    STOPPED_EARLY = 4
    DIVERGED = 5


class Cause(IntEnum):
    """Why a start diverged or stopped early."""

    NONE = 0
    START_NOT_FINITE = 1
    TRACE_NOT_FINITE = 2
    SENSITIVITY_NOT_FINITE = 3
    NO_DESCENT = 4
    OUTPACED = 5
    HOPELESS = 6


class Verdict(IntEnum):
    """What the data say of a parameter at a fitted point."""

    NOT_ASSESSED = 0
    DETERMINED = 1
    WEAKLY_DETERMINED = 2
    NOT_DETERMINED = 3
    AT_BOUND = 4


@dataclass(frozen=True)
class Parameter:
    """One row of a model's parameter table.

    Attributes:
        name: key in ``default_params``.
        default: value used where nothing else is said.
        unit: unit of every number in the row ("1" for a pure number).
        bounds: the physical or constraint box, (lower, upper), that no fit leaves.
        start: the range that random starts are drawn from, inside the bounds.
        scale: "linear" or "log"; how starts are drawn and how a fit measures steps.
        meaning: one line that says what it is, with its source.
        free: whether a fit may change it.
        follows: name of the parameter whose value it takes, its leader in a shared group; such a row
            is not free. Empty for all others.
    """

    name: str
    default: float
    unit: str
    bounds: tuple[float, float]
    start: tuple[float, float] | None = None
    scale: str = "linear"
    meaning: str = ""
    free: bool = True
    follows: str = ""

    def __post_init__(self):
        lower, upper = self.bounds
        if not lower < upper:
            raise ModelError(
                f"Parameter '{self.name}': bounds must be [lower, upper] with lower < upper. "
                f"Received: [{lower:g}, {upper:g}] {self.unit}. Swap or widen them."
            )
        if self.scale not in ("linear", "log"):
            raise ModelError(
                f"Parameter '{self.name}': scale must be 'linear' or 'log'. Received: {self.scale!r}."
            )
        if self.scale == "log" and lower <= 0:
            raise ModelError(
                f"Parameter '{self.name}': a log scale needs a positive lower bound. "
                f"Received: [{lower:g}, {upper:g}] {self.unit}."
            )
        if self.start is None:
            object.__setattr__(self, "start", (lower, upper))
        first, last = self.start
        if not lower <= first <= last <= upper:
            raise ModelError(
                f"Parameter '{self.name}': the range of random starts must lie inside the bounds "
                f"[{lower:g}, {upper:g}] {self.unit}. Received: [{first:g}, {last:g}]."
            )

    def changed(self, **values) -> "Parameter":
        """Return a copy of the row with some entries replaced, checked again."""
        return replace(self, **values)


@dataclass(frozen=True, eq=False)
class Recording:
    """What a recording file holds, in the units that its file declares.

    Attributes:
        time: [time] in ms, starting anywhere, uniform.
        stimulus: [time, sweep] in ``units["stimulus"]``: a current that is injected, or in voltage clamp
            the voltage that is prescribed.
        responses: "V", "Ca" (calcium or fluorescence) and "I" (a recorded current) to [time, sweep]; at
            least one entry. NaN where there is no sample.
        units: unit of "stimulus" and of each response.
        sweeps: [sweep] the numbers that the file gives its sweeps.
        source: provenance: file name, sha256 of its bytes, reader and its version, changes made.
        labels: [sweep] what the file calls each sweep; empty if it has no names.
        metadata: what the file says of the cell and the experiment.
    """

    time: np.ndarray
    stimulus: np.ndarray
    responses: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    sweeps: np.ndarray
    source: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def interval(self) -> float:
        """Time between samples, in ms."""
        return float(self.time[-1] - self.time[0]) / (self.time.size - 1)

    @property
    def rate(self) -> float:
        """Samples a second."""
        return float(f"{1000 / self.interval:.12g}")

    @property
    def clamp(self) -> str:
        """What the amplifier controls: "voltage" where a current is the only response, else "current"."""
        return "voltage" if set(self.responses) == {"I"} else "current"


def split_sweeps(
    sweeps: Sequence[int], train: Sequence[int] | None, test: Sequence[int] | None
) -> tuple[list[int], list[int]]:
    """Return the training and the held-out sweeps among those there are.

    Args:
        sweeps: numbers of the sweeps, in order.
        train: those to train on; None: all but ``test``, or, without that, every other one.
        test: those to hold out; None: all others.

    >>> split_sweeps([0, 1, 2, 3, 4], None, None)
    ([0, 2, 4], [1, 3])
    >>> split_sweeps([0, 1, 2, 3, 4], None, [4])
    ([0, 1, 2, 3], [4])
    """
    if train is None:
        train = sweeps[::2] if test is None else [number for number in sweeps if number not in test]
    if test is None:
        test = [number for number in sweeps if number not in train]
    return list(train), list(test)


@dataclass(frozen=True, eq=False)
class Target:
    """What a fit is asked to reproduce, on the model's own time grid.

    Attributes:
        time: [time] in ms, the time at the end of each step of length dt.
        stimulus: [time, sweep] constant over each step: a current in µA/cm², or in voltage clamp the
            command in mV.
        observed: state name to [time, sweep], in the state's unit; "I", a current, in voltage clamp.
        units: unit of each observed state, of each parameter in ``truth``, and of "stimulus" where that
            is not µA/cm².
        sweeps: [sweep] numbers of the sweeps in their source.
        train: [sweep] true for training sweeps; the others are held out.
        initial: [sweep] the voltage (mV) that every simulation starts from, gates at their steady
            state for it; None: the model's own initial state.
        truth: parameters of a synthetic target, else None.
        noise: state name to the standard deviation of the noise added, synthetic targets only.
        source: provenance, and every change made to the recording.
        weights: [time, sweep] how much each sample counts in what a fit minimises, in proportion to the
            others; 0: not at all. Those of held-out sweeps are 1. None: all count alike.
    """

    time: np.ndarray
    stimulus: np.ndarray
    observed: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    sweeps: np.ndarray
    train: np.ndarray
    initial: np.ndarray | None = None
    truth: Mapping[str, float] | None = None
    noise: Mapping[str, float] | None = None
    source: Mapping[str, str] = field(default_factory=dict)
    weights: np.ndarray | None = None

    @property
    def dt(self) -> float:
        """Time step in ms."""
        return float(self.time[1] - self.time[0])

    @property
    def clamp(self) -> str:
        """What is prescribed: "voltage" where the stimulus is in mV, else "current"."""
        return "voltage" if self.units.get("stimulus") == "mV" else "current"

    def select(self, mask: np.ndarray) -> "Target":
        """Return the target with only the sweeps where ``mask`` [sweep] is true."""
        return replace(
            self,
            stimulus=self.stimulus[:, mask],
            observed={state: trace[:, mask] for state, trace in self.observed.items()},
            sweeps=self.sweeps[mask],
            train=self.train[mask],
            initial=None if self.initial is None else self.initial[mask],
            weights=None if self.weights is None else self.weights[:, mask],
        )


@dataclass(frozen=True, eq=False)
class Starts:
    """Random starts of a fit.

    Attributes:
        ids: [start] consecutive numbers; a start keeps its number through every stage.
        values: parameter name to [start].
        parameters: the rows as the fit uses them: bounds, scale, free or fixed.
    """

    ids: np.ndarray
    values: Mapping[str, np.ndarray]
    parameters: Mapping[str, Parameter]

    def select(self, ids: np.ndarray) -> "Starts":
        """Return the starts with these ids, in this order."""
        position = {int(start): place for place, start in enumerate(self.ids)}
        places = np.array([position[int(start)] for start in ids], dtype=int)
        values = {name: column[places] for name, column in self.values.items()}
        return replace(self, ids=self.ids[places], values=values)


@dataclass(frozen=True, eq=False)
class Simulated:
    """The forward pass of every start of a shard on the training sweeps.

    Attributes:
        ids: [start].
        loss: [start] the experiment's loss; not finite where the trace is not.
        rmse: state name to [start], in the state's unit.
        status: [start] NOT_FITTED or DIVERGED.
    """

    ids: np.ndarray
    loss: np.ndarray
    rmse: Mapping[str, np.ndarray]
    status: np.ndarray
    units: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Fit:
    """Fitted starts, of one shard or of a whole experiment.

    Losses and errors are those of the free run (no nudging). In a merged fit the start axis is
    sorted by rank: the best start comes first.

    Attributes:
        ids: [start].
        parameters: rows of the parameter table as fitted.
        start_values: parameter name to [start], before the fit.
        values: parameter name to [start], the best that the fit found.
        start_loss: [start] loss before the fit.
        loss: [start] loss on the training sweeps.
        rmse_train: state name to [start], root mean squared error on the training sweeps.
        rmse_test: the same on the held-out sweeps; empty if none are held out.
        status: [start] Status.
        cause: [start] Cause.
        iterations: [start] iterations done.
        history: [iteration, start] loss that each stage minimised, after each iteration; NaN once
            a start has stopped.
        stage: [iteration] number of the stage that an iteration belongs to.
        units: unit of each state in ``rmse_train`` and of the loss.
        loss_parts: name of each term of the loss to [start], what it adds to ``loss``.
    """

    ids: np.ndarray
    parameters: Mapping[str, Parameter]
    start_values: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    start_loss: np.ndarray
    loss: np.ndarray
    rmse_train: Mapping[str, np.ndarray]
    rmse_test: Mapping[str, np.ndarray]
    status: np.ndarray
    cause: np.ndarray
    iterations: np.ndarray
    history: np.ndarray
    stage: np.ndarray
    units: Mapping[str, str]
    loss_parts: Mapping[str, np.ndarray] = field(default_factory=dict)

    _PER_START: ClassVar = ("ids", "start_loss", "loss", "status", "cause", "iterations")
    _PER_START_MAPS: ClassVar = ("start_values", "values", "rmse_train", "rmse_test", "loss_parts")

    def take(self, places: np.ndarray) -> "Fit":
        """Return the fit with the starts at these places of the start axis, in this order."""
        changed = {name: getattr(self, name)[places] for name in self._PER_START}
        for name in self._PER_START_MAPS:
            changed[name] = {key: column[places] for key, column in getattr(self, name).items()}
        return replace(self, history=self.history[:, places], **changed)


@dataclass(frozen=True, eq=False)
class Best:
    """Free runs of the best starts on every sweep, beside the target.

    Attributes:
        ids: [start] best first.
        time: [time] ms.
        states: state name to [time, sweep, start].
        currents: current name to [time, sweep, start]; empty for a model that does not declare its
            currents.
        scores: score name ("rmse_V", "r2_V", "gamma", …) to [sweep, start].
        units: unit of each state, current and score.
        sweeps: [sweep].
        train: [sweep].
    """

    ids: np.ndarray
    time: np.ndarray
    states: Mapping[str, np.ndarray]
    currents: Mapping[str, np.ndarray]
    scores: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    sweeps: np.ndarray
    train: np.ndarray


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """How well the training sweeps determine the free parameters, at each of the best starts.

    The number of starts may be 0, if all diverged. An axis "parameter" or "direction" is as long as
    there are free parameters; directions are those of the spectrum of the Fisher information, the
    best determined first. A parameter at a bound is left out of all but its verdict, and is NaN.

    Attributes:
        ids: [start] best first.
        parameters: rows of the free parameters.
        values: parameter name to [start], where the data were linearised.
        loss: [start] loss there, in float64.
        samples: [start] number of residuals, N.
        effective_samples: [start] how many independent residuals those are worth, from their
            autocorrelation.
        rank: [start] number of directions that the data determine at all.
        noise: [start] standard deviation of the residuals, with N - rank degrees of freedom.
        decrement: [start] by how much the sum of squares would fall, in units of the variance of the
            noise, at the minimum of the quadratic model: well above 1, the fit had not converged.
        scaled_errors: parameter name to [start], standard error in the unbounded coordinate of the
            fit, residuals taken as independent; infinite where the data say nothing.
        naive_errors: the same in the unit of the parameter.
        corrected_errors: naive_errors times the root of samples / effective_samples.
        verdicts: parameter name to [start] Verdict, by the corrected error or by equal_spreads,
            whichever is larger.
        eigenvalues: [direction, start] of the Fisher information in the coordinates of the fit; 0
            where the data say nothing.
        directions: parameter name to [direction, start], its component of each unit vector.
        correlations: parameter name to [parameter, start], with every other free parameter.
        equal_loss: largest loss that the data do not tell from that of the best start (likelihood
            ratio, 95 %).
        equal_starts: number of starts of the fit up to that loss.
        equal_spreads: parameter name to the standard deviation among those starts, in the unit of the
            parameter, to be compared with its error; NaN for fewer than two.
        points: [point] numbers of the points of a profile, 0 at the best start, refitted to
            convergence; empty without profiles.
        profile_values: parameter name to [point], for each parameter that was profiled.
        profile_losses: the lowest loss there, all others refitted; NaN where the grid met a bound.
        profile_lower: lower end of the 95 % interval by the likelihood ratio, for each of them;
            infinite where the data set no limit up to the bound, NaN where the grid ended first.
        profile_upper: the upper end.
        profile_loss: the loss at the ends of these intervals; NaN without profiles.
        units: of "loss" and "noise".
        truth_distances: parameter name to [start], (value - truth) / corrected error on the
            parameter's scale; None where the truth is not known.
    """

    ids: np.ndarray
    parameters: Mapping[str, Parameter]
    values: Mapping[str, np.ndarray]
    loss: np.ndarray
    samples: np.ndarray
    effective_samples: np.ndarray
    rank: np.ndarray
    noise: np.ndarray
    decrement: np.ndarray
    scaled_errors: Mapping[str, np.ndarray]
    naive_errors: Mapping[str, np.ndarray]
    corrected_errors: Mapping[str, np.ndarray]
    verdicts: Mapping[str, np.ndarray]
    eigenvalues: np.ndarray
    directions: Mapping[str, np.ndarray]
    correlations: Mapping[str, np.ndarray]
    equal_loss: float
    equal_starts: float
    equal_spreads: Mapping[str, float]
    points: np.ndarray
    profile_values: Mapping[str, np.ndarray]
    profile_losses: Mapping[str, np.ndarray]
    profile_lower: Mapping[str, float]
    profile_upper: Mapping[str, float]
    profile_loss: float
    units: Mapping[str, str]
    truth_distances: Mapping[str, np.ndarray] | None = None
