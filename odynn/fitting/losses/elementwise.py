"""The elementwise terms of the library that compare traces sample by sample.

The squared error and the error of the derivative together, each with its weight, are the distance
between the two courses in the phase plane (V, dV/dt) at equal times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from odynn.data import Target
from odynn.fitting.losses.masks import Interval, away_from_spikes, filled, sample_weights
from odynn.fitting.losses.terms import ElementwiseTerm
from odynn.models.kinetics import Values, softplus
from odynn.spikes import onset_voltages, spike_times
from odynn.spikes.detection import THRESHOLD

# Share of the recording's spikes that begin below the level called onset: later spikes of a train begin
# higher, and what lies between must not count as depolarised in vain.
_EARLY = 0.1


@dataclass(frozen=True, kw_only=True)
class _TraceTerm(ElementwiseTerm):
    """What the terms of this module share: a state, its noise, and the samples that count.

    Attributes:
        state: name of the state.
        noise: standard deviation of the noise of what is compared, in its unit, by which residuals
            are divided: half the number of samples that count times the value is then minus the
            logarithm of the Gaussian likelihood, but for a constant. None: residuals keep their unit.
        windows: [from, to] in ms; only samples inside count. Empty: all.
        except_: [from, to] in ms, such as artefacts; samples inside do not count.
        around_spikes: [before, after] in ms: samples this near to the peak of a spike of the recording
            do not count. None: they do.
        threshold: mV that such a peak reaches at least, see ``odynn.spikes.spike_times``.
    """

    state: str = "V"
    noise: float | None = None
    windows: Sequence[Interval] = ()
    except_: Sequence[Interval] = ()
    around_spikes: Interval | None = None
    threshold: float = THRESHOLD

    @property
    def states(self) -> tuple[str, ...]:
        """The state, and the voltage where its spikes are to be excluded."""
        return (self.state,) if self.around_spikes is None else tuple(dict.fromkeys((self.state, "V")))

    def _weights(self, target: Target, counts: np.ndarray | None = None) -> np.ndarray | None:
        """Return the weights of the samples, [time, sweep]; None where all count alike."""
        if self.around_spikes is not None:
            away = away_from_spikes(target, *self.around_spikes, self.threshold)
            counts = away if counts is None else away & counts
        return sample_weights(target, (self.state,), self.windows, self.except_, counts)

    def _scaled(self, residual: Values) -> Values:
        return residual if self.noise is None else residual / self.noise


@dataclass(frozen=True, kw_only=True)
class SquaredError(_TraceTerm):
    """Mean squared difference of a state, the original library's loss.

    Attributes:
        below: level in the state's unit below which both traces are compared: each is clipped to it,
            softly, so that a spike differs from another one by its length at most. "onset": where
            the early ones among the recording's spikes begin, or no clipping if it has none. None: no
            clipping.
        softness: width of the bend at ``below``, in the state's unit.
    """

    below: float | str | None = None
    softness: float = 2.0

    def unit(self, units: Mapping[str, str]) -> str:
        """Return the square of the state's unit; "1" for a likelihood."""
        return f"({units[self.state]})²" if self.noise is None else "1"

    def channels(self, target: Target) -> dict[str, np.ndarray]:
        """Return the observed trace, clipped as the simulated one will be."""
        trace = target.observed[self.state]
        weight, level = self._weights(target), self._level(target)
        trace = trace if weight is None else filled(trace)
        found = {"observed": trace}
        if level is not None:
            found = {"observed": self._clipped(trace, level), "level": np.full(trace.shape, level)}
        return found if weight is None else {**found, "weight": weight}

    def residuals(self, simulated, memory, channels):
        """Return the difference."""
        trace = simulated[self.state]
        if "level" in channels:
            trace = self._clipped(trace, channels["level"])
        return (), [self._scaled(trace - channels["observed"])]

    def _level(self, target: Target) -> float | None:
        if self.below != "onset":
            return self.below
        V = target.observed["V"]
        onsets = onset_voltages(V, target.time, spike_times(V, target.time))
        return None if np.isnan(onsets).all() else float(np.nanquantile(onsets, _EARLY))

    def _clipped(self, trace: Values, level: Values) -> Values:
        return level - softplus((level - trace) / self.softness) * self.softness


@dataclass(frozen=True, kw_only=True)
class Derivative(_TraceTerm):
    """Mean squared difference of the change of a state from sample to sample, divided by dt.

    An error of the level does not count, one of the shape does: of a spike's upstroke, of an onset.
    The first sample has no change that was observed and does not count. White noise of standard
    deviation s has a difference quotient of standard deviation √2 s / dt.
    """

    def unit(self, units: Mapping[str, str]) -> str:
        """Return the square of the state's unit per ms; "1" for a likelihood."""
        return f"({units[self.state]}/ms)²" if self.noise is None else "1"

    def channels(self, target: Target) -> dict[str, np.ndarray]:
        """Return the observed change, and weights with 1 / dt in them."""
        change = np.diff(target.observed[self.state], axis=0, prepend=np.nan)
        # The sample before must not be missing either.
        weight = self._weights(target, ~np.isnan(change))
        return {"change": filled(change), "weight": weight / target.dt}

    def memory(self, simulated):
        """Return the initial state: the sample before."""
        return (simulated[self.state],)

    def residuals(self, simulated, memory, channels):
        """Return the difference between the changes."""
        now = simulated[self.state]
        return (now,), [self._scaled(now - memory[0] - channels["change"])]
