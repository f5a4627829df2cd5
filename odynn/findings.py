"""What a look at a recording finds: the containers that its computation fills and its figure draws.

Times are in ms of the recording's own time. Voltages are in mV; stimuli in pA, or in µA/cm² where the
recording has a density. NaN and None stand for what the recording does not tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from odynn.data import Recording

ERROR, WARNING, NOTE = "error", "warning", "note"
"""How much a remark weighs: no fit is possible; something looks wrong; something to know."""


@dataclass(frozen=True)
class Remark:
    """One remark about a recording: what was expected, what was found, what to do.

    Attributes:
        weight: ERROR, WARNING or NOTE.
        text: one line.
    """

    weight: str
    text: str


@dataclass(frozen=True)
class Step:
    """A part of a stimulus at a constant level that is not the baseline.

    Attributes:
        start: time of its first sample.
        end: time of the first sample after it.
        level: the stimulus.
        amplitude: the level minus the baseline.
        before: the level just before it.
    """

    start: float
    end: float
    level: float
    amplitude: float
    before: float


@dataclass(frozen=True, eq=False)
class SweepFindings:
    """What was found in one sweep.

    Attributes:
        number: as the file numbers it.
        finite: whether every sample is a number; if not, nothing below was measured.
        baseline: the stimulus outside the steps.
        steps: in order of time.
        constant: share of the time at which the stimulus is at a constant level, 0 to 1.
        rest: median of the response before the first step.
        spikes: [spike] their times; empty for a response that is no voltage.
        noise: standard deviation of the fast fluctuations of the response, in its unit.
        level: the stimulus in the main window.
        plateau: median of the response late in the main window.
        spikes_within: how many spikes are in the main window.
    """

    number: int
    finite: bool
    baseline: float = np.nan
    steps: tuple[Step, ...] = ()
    constant: float = np.nan
    rest: float = np.nan
    spikes: np.ndarray = field(default_factory=lambda: np.empty(0))
    noise: float = np.nan
    level: float = np.nan
    plateau: float = np.nan
    spikes_within: int = 0


@dataclass(frozen=True, eq=False)
class Slope:
    """The straight line through the steady voltages below threshold.

    Attributes:
        value: mV per unit of the stimulus: GΩ, or kΩ·cm² for a density.
        error: its standard error, NaN for a line through two levels.
        intercept: mV at no stimulus.
        levels: [point] stimulus of each point.
        voltages: [point] mV.
        used: [point] whether the line goes by the point.
        r2: share of the variance of the used points that the line explains.
    """

    value: float
    error: float
    intercept: float
    levels: np.ndarray
    voltages: np.ndarray
    used: np.ndarray
    r2: float


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The exponential that the voltage follows after a small step.

    Attributes:
        tau: ms.
        error: its standard error.
        level: the stimulus of the step.
        rest: mV before the step.
        jump: mV by which the exponential, drawn back to the onset, misses the voltage before the
            step: what a resistance in series with the cell adds.
        time: [time] ms since the onset.
        trace: [time] mV, mean of the sweeps.
        fitted: [time] mV; NaN outside the part that was fitted.
        sweeps: numbers of the sweeps.
    """

    tau: float
    error: float
    level: float
    rest: float
    jump: float
    time: np.ndarray
    trace: np.ndarray
    fitted: np.ndarray
    sweeps: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Inspection:
    """Everything that a look at a recording finds.

    Attributes:
        recording: what was looked at, in mV and pA (or µA/cm²).
        interval: sampling interval in ms.
        response: the response that was looked at, "V" where there is one.
        ranges: channel to its least value, median and largest value.
        sweeps: what each sweep shows.
        window: [from, to) of the steps that differ most between sweeps; None: there are none.
        slope: from which the input resistance follows.
        relaxation: from which the membrane time constant follows.
        capacitance: pF, or µF/cm² for a density: the time constant over the resistance.
        area: µm², of that capacitance at 1 µF/cm²; None for a density.
        rheobase: (largest level without a spike below it, smallest level with one); either may be NaN.
        holding: stimulus outside the steps, median of the sweeps.
        drift: mV by which the voltage at rest changes from the first to the last sweep, on a straight line.
        sag: share of the largest hyperpolarisation that is gone at the end of the step.
        remarks: errors first, notes last.
    """

    recording: Recording
    interval: float
    response: str
    ranges: Mapping[str, tuple[float, float, float]]
    sweeps: tuple[SweepFindings, ...]
    window: tuple[float, float] | None = None
    slope: Slope | None = None
    relaxation: Relaxation | None = None
    capacitance: float | None = None
    area: float | None = None
    rheobase: tuple[float, float] | None = None
    holding: float = np.nan
    drift: float = np.nan
    sag: float = np.nan
    remarks: tuple[Remark, ...] = ()

    @property
    def spiking(self) -> bool:
        """Whether any sweep has a spike."""
        return any(sweep.spikes.size for sweep in self.sweeps)

    @property
    def noise(self) -> float:
        """Median over the sweeps of the noise of the response, 0 where none could be told."""
        known = [sweep.noise for sweep in self.sweeps if np.isfinite(sweep.noise)]
        return float(np.median(known)) if known else 0.0
