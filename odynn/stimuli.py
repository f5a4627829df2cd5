"""Stimuli built from pieces that add up: steps, ramps, pulses, sine waves and noise."""

from collections.abc import Mapping, Sequence

import numpy as np

from odynn.errors import ConfigError


def time_grid(duration: float, dt: float) -> np.ndarray:
    """Return the times at the end of each step, dt … duration, [time] in ms.

    Args:
        duration: ms, rounded to whole steps.
        dt: time step, ms.

    >>> time_grid(1.0, 0.25)
    array([0.25, 0.5 , 0.75, 1.  ])
    """
    return np.arange(1, round(duration / dt) + 1) * dt


def stimulus(pieces: Sequence[Mapping], duration: float, dt: float) -> np.ndarray:
    """Return one sweep of stimulus, constant over each step.

    A piece is ``{step: amplitude, from: t, to: t}``, ``{ramp: [first, last], from: t, to: t}``,
    ``{pulses: amplitude, change: c, number: n, width: w, every: p, from: t}``, ``{sine: amplitude,
    frequency: f, phase: d, from: t, to: t}`` or ``{noise: sd, time_constant: c, seed: s, from: t, to:
    t}``; amplitudes in µA/cm², times in ms, the frequency in Hz and the phase in degrees. A step of dt
    belongs to a piece if its middle lies inside it.

    Args:
        pieces: the pieces, which add up.
        duration: length of the sweep, ms.
        dt: time step, ms.

    Returns:
        [time] µA/cm².

    Raises:
        ConfigError: for a piece of no known shape.

    >>> stimulus([{"step": 2.0, "from": 1, "to": 3}], 4, 1)
    array([0., 2., 2., 0.])
    """
    return pieces_at(pieces, time_grid(duration, dt) - dt / 2, dt)


def pieces_at(pieces: Sequence[Mapping], time: np.ndarray, dt: float) -> np.ndarray:
    """Return what pieces add up to at uniform times.

    Args:
        pieces: as in `stimulus`, amplitudes in any unit.
        time: [time] ms, the middles of the steps.
        dt: ms between them.

    Returns:
        [time] in the unit of the amplitudes.
    """
    total = np.zeros(len(time))
    for piece in pieces:
        total += _piece(piece, time, dt)
    return total


def _piece(piece: Mapping, time: np.ndarray, dt: float) -> np.ndarray:
    def during(start, stop):
        # Sums such as 0.1 + 0.2 must not move an edge by a step.
        return (time >= start - 1e-6 * dt) & (time < stop - 1e-6 * dt)

    if "step" in piece:
        return piece["step"] * during(piece["from"], piece["to"])
    if "ramp" in piece:
        first, last = piece["ramp"]
        share = (time - piece["from"]) / (piece["to"] - piece["from"])
        return (first + (last - first) * share) * during(piece["from"], piece["to"])
    if "sine" in piece:
        turns = piece["frequency"] * (time - piece["from"]) / 1000 + piece.get("phase", 0.0) / 360
        return piece["sine"] * np.sin(2 * np.pi * turns) * during(piece["from"], piece["to"])
    if "noise" in piece:
        inside = during(piece["from"], piece["to"])
        values = np.zeros(len(time))
        values[inside] = piece["noise"] * _noise(piece, int(inside.sum()), dt)
        return values
    if "pulses" in piece:
        values = np.zeros(len(time))
        for number in range(piece["number"]):
            start = piece["from"] + number * piece["every"]
            amplitude = piece["pulses"] + number * piece.get("change", 0.0)
            values += amplitude * during(start, start + piece["width"])
        return values
    raise ConfigError(
        f"stimulus: a piece must have one of step, ramp, pulses, sine or noise. Received: {dict(piece)}."
    )


def _noise(piece: Mapping, samples: int, dt: float) -> np.ndarray:
    """Return normal noise of variance 1: white from step to step, or an Ornstein–Uhlenbeck process.

    The process has the exact autocorrelation exp(−|t|/τ) at the steps (doi:10.1103/PhysRevE.54.2084).
    """
    draws = np.random.default_rng(np.random.SeedSequence(piece["seed"])).standard_normal(samples)
    constant = piece.get("time_constant", 0.0)
    if not constant or not samples:
        return draws
    from scipy.signal import lfilter

    keep = np.exp(-dt / constant)
    draws[1:] *= np.sqrt(1 - keep**2)
    return lfilter([1.0], [1.0, -keep], draws)
