"""Weights that a preparation gives to sweeps and to times of the samples that are fitted."""

from collections.abc import Mapping, Sequence

import numpy as np

from odynn.errors import listed
from odynn.recordings.preparation import within

_SHOWN = 40  # sweeps in a list


def make_weights(
    entries: Sequence[Mapping], time: np.ndarray, sweeps: np.ndarray, train: np.ndarray
) -> tuple[np.ndarray | None, dict[str, str]]:
    """Return the weight of each sample in the fit, and the note about it for the source.

    Args:
        entries: ``weights`` of a preparation: a weight each, its sweeps (None: all that are fitted) and
            its times (none: all). Where several apply, they multiply.
        time: [time] of the samples of the target, in ms of the recording's own time.
        sweeps: [sweep] numbers.
        train: [sweep] which of them are fitted.

    Returns:
        [time, sweep], 1 for held-out sweeps; None without entries.
    """
    if not entries:
        return None, {}
    weights = np.ones((time.size, sweeps.size))
    said = []
    for entry in entries:
        numbers, times = entry.get("sweeps"), entry.get("times") or []
        where = train if numbers is None else train & np.isin(sweeps, numbers)
        when = within(time, times) if times else np.ones(time.size, dtype=bool)
        weights[np.ix_(when, where)] *= entry["weight"]
        words = [] if numbers is None else [f"sweeps {listed(numbers, most=_SHOWN)}"]
        words += [", ".join(f"{first:g} to {last:g}" for first, last in times) + " ms"] if times else []
        said.append(f"{entry['weight']:g} for {', '.join(words) or 'all samples'}")
    return weights, {"weights": "; ".join(said)}


def find_weight_problems(
    entries: Sequence[Mapping], time: np.ndarray, sweeps: np.ndarray, train: np.ndarray
) -> list[str]:
    """Return why weights cannot be those of a target; arguments as for ``make_weights``."""
    fitted, problems = sweeps[train].tolist(), []
    for place, entry in enumerate(entries or ()):
        path, weight = f"preparation.weights[{place}]", entry.get("weight")
        if not isinstance(weight, int | float) or not 0 <= weight < np.inf:
            problems.append(f"{path}.weight: expected a number ≥ 0. Received: {weight!r}. Correct it.")
        others = [number for number in entry.get("sweeps") or () if number not in fitted]
        if others:
            problems.append(
                f"{path}.sweeps: expected sweeps that are fitted, which are {listed(fitted, most=_SHOWN)}; "
                f"weights bear on nothing else. Received: {listed(others)}. Take it out, or train on it."
            )
        for first, last in entry.get("times") or ():
            if not within(time, [(first, last)]).any():
                problems.append(
                    f"{path}.times: expected times within the part of the recording that is used, "
                    f"{time[0]:.10g} to {time[-1]:.10g} ms. Received: [{first:g}, {last:g}], without a "
                    "sample. Correct it."
                )
    if problems or not entries:
        return problems
    weights, _ = make_weights(entries, time, sweeps, train)
    empty = sweeps[train & (weights == 0).all(axis=0)]
    if empty.size:
        problems.append(
            "preparation.weights: expected a sample with a weight above 0 in every sweep that is fitted. "
            f"Received: none in sweep {empty[0]}. Leave the sweep out of train, or give it a weight."
        )
    return problems
