"""Tables of fitted parameters and of scores."""

import numpy as np
import pandas as pd

from odynn.data import Best, Fit, Target, Uncertainty, Verdict
from odynn.plotting import measures


def parameter_table(fit: Fit, target: Target, number: int = 5) -> pd.DataFrame:
    """Return one row a parameter, in the order of the model's table.

    Args:
        fit: all starts of an experiment.
        target: tells the truth where the target is synthetic.
        number: how many of the best starts the median is taken over.

    Returns:
        ``name``, ``unit``, ``scale``, ``lower`` and ``upper`` bound, ``start_lower`` and
        ``start_upper`` (the range random starts were drawn from), ``free``; ``best`` (the value of
        the best start, or the held value), ``median_best``; ``equal_lower`` and ``equal_upper``
        (the range that 90 % of the starts within 10 % of the best loss fill), ``spread`` (the width of
        that range as a share of the bounds, on the parameter's scale), ``verdict`` (see
        ``measures.verdict``; "fixed" for one that was held, "as" and a name for one that shares the value
        of another); ``truth`` and ``relative_error`` of the best value. What is not known is not a number.
    """
    order = measures.ranking(fit)
    order = order[measures.usable(fit)[order]]
    near = measures.equally_good(fit)
    found = measures.verdicts(fit)
    held = measures.fixed_values(fit)
    truth = dict(target.truth or {})
    rows = []
    for name, row in fit.parameters.items():
        values = np.asarray(fit.values.get(name, ()), dtype=float)
        fitted = bool(row.free or row.follows) and values.size > 0 and order.size > 0
        best = float(values[order[0]]) if fitted else held.get(name, np.nan)
        width, verdict = found.get(name, (np.nan, f"as {row.follows}" if row.follows else "fixed"))
        lower, upper = measures.middle(values[near]) if fitted else (np.nan, np.nan)
        true = float(truth.get(name, np.nan))
        rows.append(
            {
                "name": name,
                "unit": row.unit,
                "scale": row.scale,
                "lower": row.bounds[0],
                "upper": row.bounds[1],
                "start_lower": row.start[0],
                "start_upper": row.start[1],
                "free": bool(row.free),
                "best": best,
                "median_best": float(np.median(values[order[: max(number, 1)]])) if fitted else np.nan,
                "equal_lower": lower,
                "equal_upper": upper,
                "spread": width,
                "verdict": verdict,
                "truth": true,
                "relative_error": (best - true) / abs(true) if true else np.nan,
            }
        )
    return pd.DataFrame(rows)


def score_table(best: Best) -> pd.DataFrame:
    """Return one row a sweep and start: every score of every one of the best starts.

    Args:
        best: simulations of the best starts.

    Returns:
        ``sweep`` (its number), ``set`` ("training" or "held-out"), ``rank`` (1 for the best start),
        ``start`` (its number), and a column a score, in the units of ``best.units``.
    """
    sweeps, starts = len(best.sweeps), len(best.ids)
    sets = np.where(np.asarray(best.train, dtype=bool), "training", "held-out")
    columns = {
        "sweep": np.repeat(np.asarray(best.sweeps), starts),
        "set": np.repeat(sets, starts),
        "rank": np.tile(np.arange(1, starts + 1), sweeps),
        "start": np.tile(np.asarray(best.ids), sweeps),
    }
    for name, values in best.scores.items():
        columns[name] = np.asarray(values, dtype=float).reshape(-1)
    return pd.DataFrame(columns)


def uncertainty_table(known: Uncertainty, target: Target) -> pd.DataFrame:
    """Return one row a free parameter, in the order of the model's table.

    Args:
        known: what is known of the parameters.
        target: tells the truth where the target is synthetic.

    Returns:
        ``name``, ``unit``, ``scale``, ``lower`` and ``upper`` bound, ``best``; ``naive_error`` and
        ``corrected_error`` (standard errors; the second allows for correlated residuals), ``interval``
        (width of the 95 % interval by the second as a share of the bounds, on the parameter's scale),
        ``verdict``; ``equal_spread`` (standard deviation among the starts that fit equally well);
        ``profile_lower`` and ``profile_upper`` (95 % interval by the likelihood ratio); ``truth`` and
        ``truth_distance`` of the best value in corrected standard errors. What is not known is not a
        number. No row if every start diverged.
    """
    truth = dict(target.truth or {})
    rows = []
    for name, row in known.parameters.items() if len(known.ids) else ():
        value, error = float(known.values[name][0]), float(known.corrected_errors[name][0])
        distances = known.truth_distances or {}
        rows.append(
            {
                "name": name,
                "unit": row.unit,
                "scale": row.scale,
                "lower": row.bounds[0],
                "upper": row.bounds[1],
                "best": value,
                "naive_error": float(known.naive_errors[name][0]),
                "corrected_error": error,
                "interval": 3.92 * measures.position_error(row, value, error),
                "verdict": Verdict(known.verdicts[name][0]).name.lower(),
                "equal_spread": known.equal_spreads[name],
                "profile_lower": known.profile_lower.get(name, np.nan),
                "profile_upper": known.profile_upper.get(name, np.nan),
                "truth": truth.get(name, np.nan),
                "truth_distance": float(distances[name][0]) if name in distances else np.nan,
            }
        )
    return pd.DataFrame(rows, columns=_UNCERTAINTY)


_UNCERTAINTY = (
    "name",
    "unit",
    "scale",
    "lower",
    "upper",
    "best",
    "naive_error",
    "corrected_error",
    "interval",
    "verdict",
    "equal_spread",
    "profile_lower",
    "profile_upper",
    "truth",
    "truth_distance",
)
