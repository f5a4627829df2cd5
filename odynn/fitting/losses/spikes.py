"""Terms that compare spikes, each a number a sweep: their times, their number, what they look like.

None has a derivative. So that a search has something to follow from a model that does not spike, a
silent sweep costs the more the further its highest voltage is from the threshold.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from odynn.data import Target
from odynn.errors import FitError, did_you_mean, listed
from odynn.fitting.losses.terms import SweepTerm
from odynn.spikes import spike_counts, spike_times, train_distance
from odynn.spikes.detection import THRESHOLD
from odynn.spikes.features import FEATURES, feature_errors, features, require_efel
from odynn.spikes.trains import TIME_CONSTANT

_DISTANT = 50.0
"""A silent sweep whose highest voltage is this far (mV) from the threshold costs 1 more."""


@dataclass(frozen=True, kw_only=True)
class _SpikeTerm(SweepTerm):
    """What the terms of this module share: which peaks are spikes, and the target.

    Attributes:
        threshold: mV that the peak of a spike reaches at least; see ``odynn.spikes.spike_times``.
    """

    threshold: float = THRESHOLD
    _target: Target | None = field(default=None, init=False, repr=False, compare=False)
    _recorded: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)

    def prepare(self, target: Target) -> "_SpikeTerm":
        """Return a copy that holds the target and its spikes."""
        found = copy.copy(self)
        object.__setattr__(found, "_target", target)
        object.__setattr__(found, "_recorded", self._spikes(target.observed["V"], target))
        return found

    def _spikes(self, voltage: np.ndarray, target: Target) -> np.ndarray:
        return spike_times(voltage, target.time, threshold=self.threshold)

    def _silence(self, voltage: np.ndarray, simulated: np.ndarray) -> np.ndarray:
        """Return [sweep, start] what a sweep without the spikes that it should have costs more."""
        silent = (spike_counts(self._recorded) > 0)[:, None] & (spike_counts(simulated) == 0)
        away = np.abs(voltage.max(axis=0).astype(float) - self.threshold)
        return np.where(silent, np.minimum(away / _DISTANT, 1.0), 0.0)


@dataclass(frozen=True, kw_only=True)
class SpikeTimes(_SpikeTerm):
    """Distance of the two trains of a sweep, as a share of the recorded spikes.

    The cost of turning one train into the other (``odynn.spikes.train_distance``) over the number of
    recorded spikes, or over 1: 0 for equal trains; ½ for a train late by the time constant; 1 if
    every spike is missing, to which a silent sweep adds up to 1. A misplaced spike costs less than a
    missing one, and the less the nearer it is. The coincidence factor Γ, by which results are
    judged, does not change while a spike is further off than its window.

    Attributes:
        time_constant: ms by which a spike is off that costs half of a missing one.
    """

    time_constant: float = TIME_CONSTANT

    def values(self, traces):
        """Return the distance."""
        simulated = self._spikes(traces["V"], self._target)
        distance = train_distance(self._recorded, simulated, self.time_constant)
        share = distance / np.maximum(spike_counts(self._recorded), 1)[:, None]
        return share + self._silence(traces["V"], simulated)


@dataclass(frozen=True, kw_only=True)
class SpikeCount(_SpikeTerm):
    """Squared relative error of the number of spikes.

    ((simulated - recorded) / recorded)², or over 1 where none was recorded; 1 for a silent sweep, to
    which its silence adds up to 1.
    """

    def values(self, traces):
        """Return the squared error."""
        simulated, recorded = self._spikes(traces["V"], self._target), spike_counts(self._recorded)[:, None]
        error = (spike_counts(simulated) - recorded) / np.maximum(recorded, 1)
        return error**2 + self._silence(traces["V"], simulated)


@dataclass(frozen=True, kw_only=True)
class SpikeFeatures(_SpikeTerm):
    """Mean squared error of features by eFEL, in standard deviations of the recording's over sweeps.

    An error counts up to 10 standard deviations, and as 10 where the simulation alone lacks the
    feature; a feature that the recording lacks in a sweep does not count there. eFEL takes some
    milliseconds a trace, a hundred times what the other terms do.

    Attributes:
        features: names of features, keys of ``odynn.spikes.features.FEATURES``.
    """

    features: Sequence[str] = tuple(FEATURES)
    _observed: dict | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self):
        require_efel()
        unknown = [name for name in self.features if name not in FEATURES]
        if unknown:
            raise FitError(
                f"loss: spike_features has no feature '{unknown[0]}'.{did_you_mean(unknown[0], FEATURES)} "
                f"It has: {listed(FEATURES)}."
            )

    def prepare(self, target: Target) -> "SpikeFeatures":
        """Return a copy that holds the target and its features."""
        found = super().prepare(target)
        object.__setattr__(found, "_observed", found._features(target.observed["V"]))
        return found

    def _features(self, voltage: np.ndarray) -> dict[str, np.ndarray]:
        target, names = self._target, tuple(self.features)
        return features(voltage, target.time, target.stimulus, names, threshold=self.threshold)

    def values(self, traces):
        """Return the mean over features of the squared error."""
        _, counted = feature_errors(self._observed, self._features(traces["V"]))
        known = np.isfinite(counted)
        return np.sum(np.where(known, counted, 0.0) ** 2, axis=0) / np.maximum(known.sum(axis=0), 1)
