"""What the normal equations at a fitted point say of the parameters: errors, spectrum, correlations.

Everything here is linear theory: near the fitted point the residuals are taken as linear in the
coordinates u of the fit (``odynn.fitting.transforms``), their noise as Gaussian. J is the derivative
of all residuals by u. W. H. Press et al., Numerical Recipes (3rd ed.), Cambridge 2007, section 15.4;
for spectra of models with many parameters R. N. Gutenkunst et al., PLoS Comput. Biol. 3 (2007) e189,
doi:10.1371/journal.pcbi.0030189.
"""

from dataclasses import dataclass

import numpy as np

# Of confidence, of every interval.
LEVEL = 0.95
# Eigenvalues of JᵀJ below this share of the largest are within its rounding: the data say nothing
# along their directions.
CUT_OFF = 1e-12
# A parameter that has a component above this along such directions has no finite error.
_COMPONENT = 1e-2


@dataclass(frozen=True)
class Information:
    """Linear theory at one fitted point; every axis is a free parameter or a direction.

    Attributes:
        variance: of the noise, estimated from the residuals.
        rank: number of directions that the data determine at all.
        errors: [parameter] standard errors in u, residuals taken as independent; infinite where
            the data say nothing, NaN for a parameter that was left out.
        correlations: [parameter, parameter]; directions that the data say nothing of count as if
            their eigenvalues were just at the cut-off.
        eigenvalues: [direction] of the Fisher information JᵀJ/variance, the largest first; one over
            the square root is the standard deviation along the direction. NaN after the last.
        directions: [parameter, direction] unit vectors, their largest component positive.
        decrement: by how much the sum of squares would fall, in units of the noise variance, if the
            point were moved to the minimum of the quadratic model.
    """

    variance: float
    rank: int
    errors: np.ndarray
    correlations: np.ndarray
    eigenvalues: np.ndarray
    directions: np.ndarray
    decrement: float


def information(
    H: np.ndarray, g: np.ndarray, squares: float, residuals: int, included: np.ndarray
) -> Information:
    """Return what linear theory says at a point.

    Args:
        H: [parameter, parameter] JᵀJ.
        g: [parameter] Jᵀr.
        squares: rᵀr.
        residuals: how many residuals there are, N.
        included: [parameter] true for those that the data may move; false at a bound.

    Returns:
        Errors by the pseudo-inverse of JᵀJ, with the noise variance rᵀr/(N - rank).
    """
    number = len(H)
    places = np.flatnonzero(included)
    errors, correlations = np.full(number, np.nan), np.full((number, number), np.nan)
    eigenvalues, directions = np.full(number, np.nan), np.full((number, number), np.nan)
    kept, decrement, variance = 0, 0.0, np.nan
    if len(places):
        spectrum, basis = np.linalg.eigh(H[np.ix_(places, places)])
        spectrum, basis = np.maximum(spectrum[::-1], 0.0), basis[:, ::-1]
        basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(len(places))])
        floor = CUT_OFF * spectrum[0]
        seen = spectrum > floor
        kept = int(seen.sum())
        variance = squares / (residuals - kept) if residuals > kept else np.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = np.where(seen, 1.0 / spectrum, 0.0)
            own = np.sqrt(variance * (basis**2 @ inverse))
            own[np.sqrt((basis[:, ~seen] ** 2).sum(axis=1)) > _COMPONENT] = np.inf
            eigenvalues[: len(places)] = np.where(seen, spectrum / variance, 0.0)
            decrement = float(((basis.T @ g[places]) ** 2 @ inverse) / variance)
        errors[places] = own
        directions[:, : len(places)] = 0.0
        directions[places, : len(places)] = basis
        correlations[np.ix_(places, places)] = _correlations(spectrum, basis, floor)
    return Information(variance, kept, errors, correlations, eigenvalues, directions, decrement)


def _correlations(spectrum: np.ndarray, basis: np.ndarray, floor: float) -> np.ndarray:
    if not floor > 0:
        return np.eye(len(spectrum))
    # Relative to the largest eigenvalue, or the numbers could leave the range of float64.
    covariance = (basis * (floor / np.maximum(spectrum, floor))) @ basis.T
    deviations = np.sqrt(np.diagonal(covariance))
    correlations = np.clip(covariance / np.outer(deviations, deviations), -1.0, 1.0)
    np.fill_diagonal(correlations, 1.0)
    return correlations


def correlation_time(residuals: list[np.ndarray]) -> float:
    """Return how many samples in a row count as one independent sample, at least 1.

    It is 1 + 2 Σ ρ(k), with the autocorrelation ρ of all series together (its mean is not
    subtracted: an error of one sign in a sweep is a correlation too), summed over pairs of lags until
    a pair is no longer positive: C. J. Geyer, Statist. Sci. 7 (1992) 473–483, doi:10.1214/ss/1177011137.
    White noise has 1. The variance of an estimate grows by this factor if the sensitivity of the trace
    to the parameter changes more slowly than the residuals; where it changes faster, the factor is too
    large, and an error corrected by it on the safe side.

    Args:
        residuals: series, each [time, …]; every column is a series of its own.

    >>> steps = np.repeat(np.random.default_rng(1).normal(size=2000), 5)
    >>> 4 < correlation_time([steps]) < 6
    True
    """
    length = max((len(series) for series in residuals), default=0)
    total = np.zeros(length)
    for series in residuals:
        columns = np.asarray(series, dtype=float).reshape(len(series), -1)
        power = np.abs(np.fft.rfft(columns, 2 * len(columns), axis=0)) ** 2
        total[: len(columns)] += np.fft.irfft(power, 2 * len(columns), axis=0)[: len(columns)].sum(axis=1)
    if length < 2 or not total[0] > 0:
        return 1.0
    pairs = (total[: length // 2 * 2] / total[0]).reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    return float(max(1.0, 2.0 * pairs[: negative[0] if len(negative) else None].sum() - 1.0))
