"""Comparing trains of spikes."""

import numpy as np

WINDOW = 4.0
"""Two spikes coincide if they are at most this far apart (ms)."""
TIME_CONSTANT = 10.0
"""A spike this far (ms) from its counterpart costs half as much as a missing one."""


def coincidences(observed: np.ndarray, simulated: np.ndarray, window: float = WINDOW) -> np.ndarray:
    """Return the largest number of pairs of an observed and a simulated spike that coincide.

    A spike belongs to one pair at most.

    Args:
        observed: [spike, sweep] ms, in order, filled up with NaN.
        simulated: [spike, sweep] or [spike, sweep, start] likewise.
        window: largest distance in a pair, ms; the distance itself still counts.

    Returns:
        [sweep] or [sweep, start].
    """
    first, second = _alike(observed, simulated)
    pairs = np.zeros(first.shape[1:], dtype=int)
    place = [np.zeros((1, *first.shape[1:]), dtype=int) for _ in range(2)]
    reach = window + 1e-6  # times are multiples of dt but for rounding
    while True:
        a = np.take_along_axis(first, place[0], axis=0)
        b = np.take_along_axis(second, place[1], axis=0)
        left = np.isfinite(a) & np.isfinite(b)
        if not left.any():
            return pairs
        with np.errstate(invalid="ignore"):
            later = b - a
        # The earlier of two spikes that do not coincide has no partner further on. Pairing the
        # earliest that do is never worse than keeping one of them for later.
        meet = left & (np.abs(later) <= reach)
        pairs += meet[0]
        place[0] += meet | (left & (later > reach))
        place[1] += meet | (left & (later < -reach))


def gamma(observed: np.ndarray, simulated: np.ndarray, duration: float, window: float = WINDOW) -> np.ndarray:
    """Return the coincidence factor Γ.

    Γ = (N - ⟨N⟩) / (½ (N_observed + N_simulated)) / (1 - 2 ν Δ): N spikes coincide within ±Δ,
    ⟨N⟩ = 2 ν Δ N_observed would do so by chance if the simulated spikes came at random with their
    mean rate ν. Γ is 1 for equal trains, 0 on average for a random train, and below 0 where spikes
    avoid each other. (W. M. Kistler, W. Gerstner and J. L. van Hemmen, Neural Computation 9, 1997,
    doi:10.1162/neco.1997.9.5.1015; R. Jolivet et al., Biological Cybernetics 99, 2008,
    doi:10.1007/s00422-008-0261-x.)

    Args:
        observed: [spike, sweep] ms, in order, filled up with NaN.
        simulated: [spike, sweep] or [spike, sweep, start] likewise.
        duration: length of the sweep, ms.
        window: Δ, ms.

    Returns:
        [sweep] or [sweep, start]. 0 where one train is empty, NaN where both are: there is nothing
        to agree on. If spikes are so many (2 ν Δ ≥ 1) that every one would have a counterpart by
        chance: NaN where those of the recording are, which calls for a smaller window; 0 where just
        those of the simulation are.
    """
    first, second = _alike(observed, simulated)
    n_observed = np.isfinite(first).sum(axis=0)
    n_simulated = np.isfinite(second).sum(axis=0)
    covered = 2.0 * n_simulated / duration * window
    chance = covered * n_observed
    with np.errstate(invalid="ignore", divide="ignore"):
        found = coincidences(observed, simulated, window) - chance
        found = found / (0.5 * (n_observed + n_simulated)) / (1.0 - covered)
    found = np.where((covered < 1) & (n_observed * n_simulated > 0), found, 0.0)
    defined = (n_observed + n_simulated > 0) & (2.0 * n_observed / duration * window < 1)
    return np.where(defined, found, np.nan)


def train_distance(
    observed: np.ndarray, simulated: np.ndarray, time_constant: float = TIME_CONSTANT
) -> np.ndarray:
    """Return the least cost of turning the simulated train into the observed one.

    Adding or deleting a spike costs 1; moving one by d costs d / (d + τ). It is the edit distance of
    Victor and Purpura (Journal of Neurophysiology 76, 1996, doi:10.1152/jn.1996.76.2.1310) with a
    cost of moving that never exceeds that of a missing spike: there, a spike moved by more than 1/q
    costs more than none, so that a silent model can win; here, a misplaced spike is always better
    than a missing one, and bringing it nearer always helps.

    Args:
        observed: [spike, sweep] ms, in order, filled up with NaN.
        simulated: [spike, sweep] or [spike, sweep, start] likewise.
        time_constant: τ, ms; moving by τ costs ½.

    Returns:
        [sweep] or [sweep, start], ≥ 0.
    """
    first, second = _alike(observed, simulated)
    n_observed = np.isfinite(first).sum(axis=0)
    n_simulated = np.isfinite(second).sum(axis=0)
    number = np.arange(len(second)).reshape(-1, *[1] * (second.ndim - 1)).astype(float)
    # costs[j]: of making the first i observed spikes out of the first j simulated ones.
    costs = np.broadcast_to(number, second.shape).copy()
    result = np.take_along_axis(costs, n_simulated[None], axis=0)[0]
    for i in range(len(first) - 1):
        distance = np.abs(second[:-1] - first[i])
        moved = costs[:-1] + np.where(np.isfinite(distance), distance / (distance + time_constant), 2.0)
        following = costs + 1.0
        following[1:] = np.minimum(following[1:], moved)
        # Deleting simulated spikes: the smallest over k ≤ j of costs[k] + (j - k).
        costs = np.minimum.accumulate(following - number, axis=0) + number
        reached = np.take_along_axis(costs, n_simulated[None], axis=0)[0]
        result = np.where(n_observed == i + 1, reached, result)
    return result


def _alike(observed: np.ndarray, simulated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both trains with equal axes after the first, and one NaN more at the end."""
    if simulated.ndim > observed.ndim:
        observed = observed[..., None]
    shape = np.broadcast_shapes(observed.shape[1:], simulated.shape[1:])

    def padded(times):
        wide = np.broadcast_to(times, (len(times), *shape))
        return np.concatenate([wide, np.full((1, *shape), np.nan)])

    return padded(observed), padded(simulated)
