"""Pools of starts that compete: the promising ones are fitted, the others keep their number and values.

A pool is some consecutive numbers of starts. Everything here is decided within one pool, so that a fit
does not depend on how the starts are divided into shards.
"""

from collections.abc import Callable

import numpy as np


class Pools:
    """The starts of a fit, by their places, in their pools.

    Attributes:
        members: one array of places a pool.
    """

    def __init__(self, ids: np.ndarray, size: int):
        """Divide the starts of these numbers into pools of ``size``; the last may be short.

        >>> [pool.tolist() for pool in Pools([4, 5, 6, 7, 8], 2).members]
        [[0, 1], [2, 3], [4]]
        """
        pool = np.asarray(ids) // size
        self.members = [np.flatnonzero(pool == number) for number in np.unique(pool)]

    def best(self, places: np.ndarray, loss: np.ndarray, keep: int) -> np.ndarray:
        """Return those of ``places`` that are among the ``keep`` lowest losses [start] of their pool.

        >>> Pools(range(4), 2).best(np.arange(4), np.array([2.0, 1.0, np.nan, np.inf]), 1)
        array([1, 2])
        """
        chosen = [_ranked(np.intersect1d(members, places), loss)[:keep] for members in self.members]
        return np.sort(np.concatenate(chosen))

    def promising(
        self, loss: np.ndarray, keep: int, hopeless: float, attempt: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ``keep`` starts of each pool, of which those found hopeless are replaced by the next.

        A start is hopeless if, after the attempt, its loss is not finite or above ``hopeless`` times
        the median of ``loss`` over its pool. It gives its place to the lowest loss of its pool that has
        not been tried; where too few are left, the worst give way first and the others go on.

        Args:
            loss: [start] before any fitting.
            keep: places of a pool.
            hopeless: share of the median.
            attempt: takes places, fits them for a while, and returns their losses.

        Returns:
            The places that go on, and those that gave way.
        """
        orders = [_ranked(members, loss).tolist() for members in self.members]
        chosen = [order[:keep] for order in orders]
        waiting = [[place for place in order[keep:] if np.isfinite(loss[place])] for order in orders]
        limits = [hopeless * _median(loss[members]) for members in self.members]
        gave_way: list[int] = []
        untried = sorted(sum(chosen, []))
        while untried:
            tried = dict(zip(untried, attempt(np.array(untried)).tolist(), strict=True))
            untried = []
            for places, others, limit in zip(chosen, waiting, limits, strict=True):
                poor = [place for place in places if place in tried and not tried[place] <= limit]
                worst_first = sorted(poor, key=lambda place: tried[place], reverse=True)  # noqa: B023
                for place, other in zip(worst_first, others[:], strict=False):
                    places.remove(place)
                    gave_way.append(place)
                    others.remove(other)
                    places.append(other)
                    untried.append(other)
            untried.sort()
        return np.array(sorted(sum(chosen, []))), np.array(sorted(gave_way), dtype=int)


def _ranked(places: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Return places by their loss [start], the lowest first; ties and losses not finite by number."""
    finite = np.where(np.isfinite(loss), loss, np.inf)
    return places[np.argsort(finite[places], kind="stable")]


def _median(loss: np.ndarray) -> float:
    finite = loss[np.isfinite(loss)]
    return float(np.median(finite)) if len(finite) else np.inf
