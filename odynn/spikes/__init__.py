"""Spikes in traces of voltage: where they are, how two trains compare, what they look like.

Numpy arrays in, numpy arrays out; recordings and simulations go through the same functions. Times
are in ms, voltages in mV. A set of trains is an array [spike, sweep(, start)] of times in order,
filled up with NaN.
"""

from odynn.spikes.detection import around_spikes, spike_counts, spike_times, subthreshold_rmse
from odynn.spikes.onsets import onset_voltages
from odynn.spikes.trains import coincidences, gamma, train_distance

__all__ = [
    "around_spikes",
    "coincidences",
    "gamma",
    "onset_voltages",
    "spike_counts",
    "spike_times",
    "subthreshold_rmse",
    "train_distance",
]
