"""What spikes look like, by eFEL: latency, height, width, after-hyperpolarisation, adaptation."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from types import MappingProxyType

import numpy as np

from odynn.errors import OdynnError
from odynn.spikes.detection import PROMINENCE, THRESHOLD

MOST = 10.0
"""An error counts up to this many standard deviations; so does a feature that a simulation lacks."""

_BRIDGED = 5.0  # ms; artefacts of a measured current do not end a step
_SMOOTHED = 20.0  # ms
_LATENT = 0.01  # share of the sweep, at its beginning, that shows the stimulus before the step


@dataclass(frozen=True)
class Feature:
    """A feature of a sweep: eFEL's of the same name, the median of its values where it has several.

    Attributes:
        unit: its unit.
        floor: in that unit, the least standard deviation over sweeps by which errors are divided.
        meaning: what it is.
    """

    unit: str
    floor: float
    meaning: str


FEATURES = MappingProxyType(
    {
        "time_to_first_spike": Feature("ms", 2.0, "time from the beginning of the step to the first peak"),
        "AP_amplitude": Feature("mV", 1.0, "height of spikes above their onset"),
        "AP_duration_half_width": Feature("ms", 0.1, "width of spikes at half of that height"),
        "AHP_depth": Feature("mV", 1.0, "lowest voltage between spikes, above that before the step"),
        "adaptation_index2": Feature("1", 0.02, "mean relative lengthening of intervals, from 4 spikes on"),
        "spike_count": Feature("1", 1.0, "number of spikes during the step"),
        "steady_state_voltage_stimend": Feature("mV", 1.0, "mean over the last tenth of the step"),
    }
)
"""The features that are known, by eFEL's names. Floors are about what two recordings of a cell differ by."""


def have_efel() -> bool:
    """Return whether eFEL is installed."""
    return find_spec("efel") is not None


def require_efel() -> None:
    """Raise an OdynnError that names the extra, where eFEL is not installed."""
    if not have_efel():
        raise OdynnError(
            "Features of spikes need eFEL, of the extra 'features'. Expected: the package efel. "
            "Received: an environment without it. Install it: pip install 'odynn[features]'."
        )


def step_spans(stimulus: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Return when the step of each sweep begins and ends.

    The step is the longest stretch on one side of the level that the sweep begins with, the first of
    several as long. Noise of a measured current is told from it by its size in the first hundredth
    of the sweep; a current with much of it is smoothed over 20 ms first, which is known to move the
    ends of the step by a few ms, for the recording and a simulation alike. Interruptions of up to
    5 ms are bridged. Where the stimulus never leaves its level, the whole sweep is taken.

    Args:
        stimulus: [time, sweep].
        time: [time] ms, at the end of each step of the simulation.

    Returns:
        [2, sweep] ms.
    """
    time = np.asarray(time, dtype=float)
    dt = time[1] - time[0]
    spans = np.empty((2, stimulus.shape[1]))
    for sweep, trace in enumerate(np.asarray(stimulus, dtype=float).T):
        begin, end = _longest(_side(trace, max(int(_SMOOTHED / dt), 1)), int(_BRIDGED / dt))
        spans[:, sweep] = time[begin] - dt, time[end]
    return spans


def _side(trace: np.ndarray, samples: int) -> np.ndarray:
    """Return [time] -1, 0 or 1: below, at or above the level that a stimulus begins with."""
    first = trace[: max(int(_LATENT * len(trace)), 2)]
    level = np.median(first)
    noise = 1.4826 * np.median(np.abs(first - level))
    departure = trace - level
    least = max(6 * noise, 0.02 * np.abs(departure).max())
    if least > 0.1 * np.quantile(np.abs(departure), 0.95) and 0 < noise and samples < len(trace):
        departure = trace - trace[:samples].mean()
        departure = np.convolve(departure, np.full(samples, 1 / samples), mode="same")
        least = 0.5 * np.quantile(np.abs(departure), 0.95)
    return np.where(np.abs(departure) > least, np.sign(departure), 0.0)


def _longest(side: np.ndarray, bridged: int) -> tuple[int, int]:
    """Return the first and the last sample of the longest stretch of one sign other than 0."""
    runs = []
    edges = np.flatnonzero(np.diff(side)) + 1
    for begin, end in zip([0, *edges], [*edges, len(side)], strict=True):
        if side[begin] == 0:
            continue
        if runs and runs[-1][2] == side[begin] and begin - runs[-1][1] <= bridged:
            runs[-1][1] = end
        else:
            runs.append([begin, end, side[begin]])
    if not runs:
        return 0, len(side) - 1
    longest = max(end - begin for begin, end, _ in runs)
    # Resampling may make one of two equal steps a sample longer.
    begin, end, _ = next(run for run in runs if run[1] - run[0] >= 0.98 * longest)
    return int(begin), int(end) - 1


def features(
    voltage: np.ndarray,
    time: np.ndarray,
    stimulus: np.ndarray,
    names: Sequence[str] = tuple(FEATURES),
    *,
    threshold: float = THRESHOLD,
) -> dict[str, np.ndarray]:
    """Return features of every trace.

    eFEL's settings are its defaults but for the threshold of spikes, that only spikes during the
    step count, and a time step that is not longer than the trace's own; a user's settings of eFEL
    are as before afterwards.

    Args:
        voltage: [time, sweep] or [time, sweep, start], mV.
        time: [time] ms.
        stimulus: [time, sweep]; says when the step of each sweep begins and ends.
        names: keys of ``FEATURES``.
        threshold: mV, of spikes.

    Returns:
        name to [sweep] or [sweep, start]; NaN where a trace does not have the feature (a latency
        without a spike, an adaptation of three) or is not finite.

    Raises:
        OdynnError: if eFEL is not installed.
    """
    require_efel()
    import efel

    time = np.asarray(time, dtype=float)
    dt = time[1] - time[0]
    clock = time - time[0] + dt
    spans = step_spans(stimulus, clock)
    finite = np.isfinite(voltage).all(axis=0)
    found = {name: np.full(finite.shape, np.nan) for name in names}
    places = np.argwhere(finite)
    traces = [
        {
            "T": clock,
            "V": np.asarray(voltage[(slice(None), *place)], dtype=float),
            "stim_start": [spans[0, place[0]]],
            "stim_end": [spans[1, place[0]]],
        }
        for place in places
    ]
    with _settings(threshold, min(dt, 0.1)):
        results = efel.get_feature_values(traces, list(names), raise_warnings=False) if names else []
    for place, values in zip(places, results, strict=bool(names)):
        for name in names:
            if values[name] is not None and len(values[name]):
                found[name][tuple(place)] = np.median(values[name])
    return found


@contextmanager
def _settings(threshold: float, step: float) -> Iterator[None]:
    """Give eFEL settings of our own inside; its settings belong to the whole process."""
    import efel

    kept = asdict(efel.get_settings())
    own = {"Threshold": threshold, "min_spike_height": PROMINENCE, "interp_step": step}
    efel.reset()
    try:
        for name, value in {**own, "strict_stiminterval": True}.items():
            efel.set_setting(name, value)
        yield
    finally:
        efel.reset()
        for name, value in kept.items():
            efel.set_setting(name, value)


def feature_errors(
    observed: Mapping[str, np.ndarray], simulated: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return how far features are from those of a recording, in standard deviations.

    A feature is divided by its standard deviation over the sweeps of the recording that have it, or
    by its floor in ``FEATURES`` if that is larger.

    Args:
        observed: name to [sweep].
        simulated: name to [sweep, start].

    Returns:
        Name to [sweep, start] ≥ 0, NaN where the recording or the simulation lacks the feature; and
        the errors [feature, sweep, start] that count, at most ``MOST``, which a feature that the
        simulation alone lacks gets too; NaN where the recording lacks it.
    """
    errors, counted = {}, []
    for name, recorded in observed.items():
        seen = recorded[np.isfinite(recorded)]
        deviation = np.std(seen, ddof=1) if len(seen) > 1 else 0.0
        scale = max(deviation, FEATURES[name].floor)
        error = np.abs(simulated[name] - recorded[:, None]) / scale
        errors[name] = error
        capped = np.where(np.isfinite(error), np.minimum(error, MOST), MOST)
        counted.append(np.where(np.isfinite(recorded)[:, None], capped, np.nan))
    return errors, np.array(counted)
