"""Stimuli built from pieces: steps, ramps and pulses that add up."""

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

    A piece is ``{step: amplitude, from: t, to: t}``, ``{ramp: [first, last], from: t, to: t}`` or
    ``{pulses: amplitude, change: c, number: n, width: w, every: p, from: t}``; amplitudes in
    µA/cm², times in ms. A step of dt belongs to a piece if its middle lies inside it.

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
    middle = time_grid(duration, dt) - dt / 2
    total = np.zeros(len(middle))
    for piece in pieces:
        total += _piece(piece, middle)
    return total


def _piece(piece: Mapping, time: np.ndarray) -> np.ndarray:
    def during(start, stop):
        return (time >= start) & (time < stop)

    if "step" in piece:
        return piece["step"] * during(piece["from"], piece["to"])
    if "ramp" in piece:
        first, last = piece["ramp"]
        share = (time - piece["from"]) / (piece["to"] - piece["from"])
        return (first + (last - first) * share) * during(piece["from"], piece["to"])
    if "pulses" in piece:
        values = np.zeros(len(time))
        for number in range(piece["number"]):
            start = piece["from"] + number * piece["every"]
            amplitude = piece["pulses"] + number * piece.get("change", 0.0)
            values += amplitude * during(start, start + piece["width"])
        return values
    raise ConfigError(f"stimulus: a piece must have one of step, ramp or pulses. Received: {dict(piece)}.")
