"""Joining the fits of several shards into one."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from odynn.data import Fit
from odynn.errors import StorageError, listed

_AGREE = ("parameters", "units", *Fit._PER_START_MAPS)


def concatenate_fits(fits: Sequence[Fit], names: Sequence[str] | None = None) -> Fit:
    """Join fits along the axis of starts, in the order given; every number is copied.

    A shard whose starts all stopped early has a shorter history. Its stages are lined up with those
    of the others, and the iterations that it lacks are NaN, as for any start that has stopped.

    Args:
        fits: at least one; of the same experiment, with different starts.
        names: what an error calls them, such as the names of their files.

    Returns:
        One fit with the starts of all, not ranked.

    Raises:
        StorageError: if a start is in two fits, or if parameters, units, states or stages differ.
    """
    if not fits:
        raise StorageError("fits must hold at least one fit to join. Received: none. Give the fits of a run.")
    names = [f"fit {number}" for number in range(len(fits))] if names is None else list(map(str, names))
    first = fits[0]
    for name, fit in zip(names, fits, strict=True):
        for what, ours, theirs in zip(_AGREE, _agreement(first), _agreement(fit), strict=True):
            if ours != theirs:
                keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
                raise StorageError(
                    f"{what} must be the same in all fits. Received: {names[0]} and {name} differ in "
                    f"{listed(keys)}. Join fits of one experiment only, or make them again."
                )
    _check_ids(fits, names)
    stage, rows = _line_up(fits, names)
    history = np.full((len(stage), sum(len(fit.ids) for fit in fits)), np.nan)
    column = 0
    for fit, places in zip(fits, rows, strict=True):
        history[places, column : column + len(fit.ids)] = fit.history
        column += len(fit.ids)
    joined = {name: np.concatenate([getattr(fit, name) for fit in fits]) for name in Fit._PER_START}
    for name in Fit._PER_START_MAPS:
        columns = [getattr(fit, name) for fit in fits]
        joined[name] = {key: np.concatenate([column[key] for column in columns]) for key in columns[0]}
    return replace(first, history=history, stage=stage, **joined)


def _agreement(fit: Fit) -> list[dict]:
    """Return, for each field of ``_AGREE``, what must be equal: rows and units, or just the keys."""
    return [
        dict(fit.parameters),
        dict(fit.units),
        *({key: True for key in getattr(fit, name)} for name in Fit._PER_START_MAPS),
    ]


def _check_ids(fits: Sequence[Fit], names: Sequence[str]) -> None:
    if len(np.unique(np.concatenate([fit.ids for fit in fits]))) == sum(len(fit.ids) for fit in fits):
        return
    owner, twice = {}, {}
    for name, fit in zip(names, fits, strict=True):
        for start in fit.ids.tolist():
            if start in owner:
                twice.setdefault((owner[start], name), []).append(start)
            owner[start] = name
    if twice:
        found = [f"{listed(starts)} in both {one} and {other}" for (one, other), starts in twice.items()]
        raise StorageError(
            "A start must be in one fit, once. Received: the starts "
            f"{listed(found, most=3)}. Leave one of the fits out, or make them again."
        )


def _line_up(fits: Sequence[Fit], names: Sequence[str]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the stage of each joined iteration [iteration], and the iterations that each fit fills."""
    orders = [list(dict.fromkeys(fit.stage.tolist())) for fit in fits]
    order = max(orders, key=len)
    for name, fit, own in zip(names, fits, orders, strict=True):
        if own != order[: len(own)] or np.any(np.diff(fit.stage) < 0):
            raise StorageError(
                f"stage must name the same stages in all fits, one after the other. Expected: {order}. "
                f"Received: {own} in {name}. Join fits of one experiment only, or make them again."
            )
    counts = np.array([[np.sum(fit.stage == number) for number in order] for fit in fits], dtype=int)
    lengths = counts.max(axis=0)
    begins = np.cumsum(lengths) - lengths
    rows = [
        np.concatenate([np.arange(begin, begin + count) for begin, count in zip(begins, own, strict=True)])
        if order
        else np.arange(0)
        for own in counts
    ]
    return np.repeat(np.array(order, dtype=fits[0].stage.dtype), lengths), rows
