"""A distance between spike trains that has a gradient."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from odynn.data import Target
from odynn.fitting.losses.masks import Interval, sample_weights
from odynn.fitting.losses.terms import ElementwiseTerm
from odynn.models.kinetics import positive, sigmoid


@dataclass(frozen=True, kw_only=True)
class FilteredSpikes(ElementwiseTerm):
    """Mean squared difference between filtered spike trains, in the manner of van Rossum.

    Every upstroke through the threshold adds 1, whatever the width of the spike, by the rise of
    s = σ((V - threshold) / width) from one sample to the next; an exponential filter forgets it,
    f ← a f + max(0, s - s_before) with a = exp(-dt / time_constant). f is a number of spikes: those of
    about the last ``time_constant``. M. C. W. van Rossum, A novel spike distance, Neural Computation 13
    (2001) 751-763, doi:10.1162/089976601300014321, filters spike times instead, which have no
    derivative.

    With a short time constant a misplaced spike costs twice what a missing one does, and a fit may
    fall silent. With one that is long against the interval between spikes, f counts, and a spike costs
    in proportion to how far it is misplaced: this leads to the right number first, then to the times.

    Attributes:
        threshold: mV.
        width: mV over which the sigmoid rises.
        time_constant: of the filter, ms.
        windows: [from, to] in ms; only samples inside count. Empty: all.
        except_: [from, to] in ms; samples inside do not count.
    """

    threshold: float = -20.0
    width: float = 4.0
    time_constant: float = 200.0
    windows: Sequence[Interval] = ()
    except_: Sequence[Interval] = ()

    def channels(self, target: Target) -> dict[str, np.ndarray]:
        """Return the filtered observed spikes, and what the filter does at each sample."""
        V = target.observed["V"]
        decay = math.exp(-target.dt / self.time_constant)
        s = np.where(np.isnan(V), 0.0, self._above(V))
        # Where this sample or the one before is missing, both filters take no spike.
        known = ~np.isnan(V) & ~np.isnan(np.concatenate([V[:1], V[:-1]]))
        added = np.where(known, np.maximum(np.diff(s, axis=0, prepend=s[:1]), 0.0), 0.0)
        filtered = lfilter([1.0], [1.0, -decay], added, axis=0)
        found = {"filtered": filtered, "decay": np.full(V.shape, decay), "known": known.astype(float)}
        weight = sample_weights(target, ("V",), self.windows, self.except_)
        return found if weight is None else {**found, "weight": weight}

    def memory(self, simulated):
        """Return the filter before any spike, and where the voltage is."""
        return simulated["V"] * 0.0, self._above(simulated["V"])

    def residuals(self, simulated, memory, channels):
        """Return the difference between the filtered trains."""
        s = self._above(simulated["V"])
        filtered = channels["decay"] * memory[0] + channels["known"] * positive(s - memory[1])
        return (filtered, s), [filtered - channels["filtered"]]

    def _above(self, V):
        return sigmoid((V - self.threshold) / self.width)
