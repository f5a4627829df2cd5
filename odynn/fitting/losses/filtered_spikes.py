"""A distance between spike trains that has a gradient."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from odynn.data import Target
from odynn.fitting.losses.masks import Interval, sample_weights
from odynn.fitting.losses.terms import ElementwiseTerm
from odynn.models.kinetics import sigmoid


@dataclass(frozen=True, kw_only=True)
class FilteredSpikes(ElementwiseTerm):
    """Mean squared difference between filtered spike trains, in the manner of van Rossum.

    A trace counts as a spike where it is above a threshold, softly: s = σ((V - threshold) / width).
    A causal exponential filter remembers it, f ← a f + (1 - a) s with a = exp(-dt / time_constant),
    so that f is the share of the recent time spent above the threshold. M. C. W. van Rossum, A novel
    spike distance, Neural Computation 13 (2001) 751-763, doi:10.1162/089976601300014321, filters
    spike times instead, which have no derivative. A short time constant counts coincidences, a long
    one the rate.

    Attributes:
        threshold: mV.
        width: mV over which the sigmoid rises.
        time_constant: of the filter, ms.
        windows: [from, to] in ms; only samples inside count. Empty: all.
        except_: [from, to] in ms; samples inside do not count.
    """

    threshold: float = -20.0
    width: float = 3.0
    time_constant: float = 20.0
    windows: Sequence[Interval] = ()
    except_: Sequence[Interval] = ()

    def channels(self, target: Target) -> dict[str, np.ndarray]:
        """Return the filtered observed spikes, and what the filter does at each sample."""
        V = target.observed["V"]
        decay = math.exp(-target.dt / self.time_constant)
        # Where a sample is missing both filters take no spike.
        gain = np.where(np.isnan(V), 0.0, 1.0 - decay)
        filtered = np.empty(V.shape)
        last = np.zeros(V.shape[1])
        spikes = gain * np.where(np.isnan(V), 0.0, self._spikes(V))
        for t, added in enumerate(spikes):
            last = filtered[t] = decay * last + added
        found = {"filtered": filtered, "decay": np.full(V.shape, decay), "gain": gain}
        weight = sample_weights(target, ("V",), self.windows, self.except_)
        return found if weight is None else {**found, "weight": weight}

    def memory(self, simulated):
        """Return the filter before any spike."""
        return (simulated["V"] * 0.0,)

    def residuals(self, simulated, memory, channels):
        """Return the difference between the filtered trains."""
        filtered = channels["decay"] * memory[0] + channels["gain"] * self._spikes(simulated["V"])
        return (filtered,), [filtered - channels["filtered"]]

    def _spikes(self, V):
        return sigmoid((V - self.threshold) / self.width)
