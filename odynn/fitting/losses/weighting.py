"""Weights of the samples of a target: what they do to the terms of a loss.

A term is a mean over the samples that count for it; with weights w it is the weighted mean
Σ w r² / Σ w, so that equal weights change nothing. A sample of weight 0 is to a loss what a missing
one is. Scores and errors of states know no weights.
"""

from dataclasses import replace

import numpy as np

from odynn.data import Target
from odynn.errors import FitError
from odynn.fitting.losses.terms import ElementwiseTerm


def ignored(target: Target) -> np.ndarray | None:
    """Return [time, sweep] true where the weight of a sample is 0; None where none is."""
    if target.weights is None or (target.weights > 0).all():
        return None
    return target.weights <= 0


def counted(target: Target) -> Target:
    """Return the target with NaN for what is observed where the weight is 0."""
    out = ignored(target)
    if out is None:
        return target
    return replace(
        target, observed={state: np.where(out, np.nan, trace) for state, trace in target.observed.items()}
    )


def weighted_channels(term: ElementwiseTerm, target: Target) -> dict[str, np.ndarray]:
    """Return the channels of a term with the weights of the target in its own, ``weight``.

    With c the squares of the term's own weights, residuals are multiplied with √(c w Σc / Σ(c w)): the
    sum of squares stays the same for residuals that are alike, whatever the weights.

    Args:
        term: the term.
        target: the sweeps to fit.

    Raises:
        FitError: if no sample is left that counts.
    """
    if target.weights is None:
        return term.channels(target)
    channels = dict(term.channels(counted(target)))
    own = np.asarray(channels.get("weight", 1.0), float) * np.ones(target.stimulus.shape)
    total = np.sum(own**2 * target.weights)
    if not total > 0:
        raise FitError(
            "loss: at least one sample that counts must have a weight above 0. Received: weights "
            "(preparation.weights) of 0 wherever a term has its samples. Widen its windows, or weigh less."
        )
    return {**channels, "weight": own * np.sqrt(target.weights * (np.sum(own**2) / total))}


def sweep_weights(target: Target) -> np.ndarray | None:
    """Return the weight of each sweep in terms per sweep, [sweep]; None without weights.

    It is the mean of those of its samples.

    Raises:
        FitError: if all are 0.
    """
    if target.weights is None:
        return None
    found = target.weights.mean(axis=0)
    if not found.any():
        raise FitError("loss: at least one weight of the target must be above 0. Received: none. Raise one.")
    return found


def bridged(trace: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """Return a trace with straight lines in place of the samples that do not count.

    Args:
        trace: [time, sweep, …].
        out: [time, sweep] true for these samples; None: none.

    Returns:
        The same shape and type. At the ends of a sweep the nearest sample is held; a sweep of which
        no sample counts is left as it is.
    """
    if out is None or not out.any():
        return trace
    found = np.array(trace)
    for sweep in np.flatnonzero(out.any(axis=0) & ~out.all(axis=0)):
        there, gone = np.flatnonzero(~out[:, sweep]), np.flatnonzero(out[:, sweep])
        after = np.searchsorted(there, gone)
        left, right = there[np.maximum(after - 1, 0)], there[np.minimum(after, len(there) - 1)]
        share = np.clip((gone - left) / np.maximum(right - left, 1), 0.0, 1.0)
        share = share.reshape(-1, *[1] * (trace.ndim - 2)).astype(found.dtype)
        found[gone, sweep] = found[left, sweep] * (1 - share) + found[right, sweep] * share
    return found
