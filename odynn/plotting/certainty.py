"""What the report says of how well the data determine the parameters."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from odynn.data import Uncertainty, Verdict
from odynn.plotting.cells import Cell, Table
from odynn.plotting.intervals import spelt_interval, words
from odynn.plotting.spelling import measure, resolved, score, short

_LISTED = 12
# Correlations that are named, and how many at most.
_STRONG, _PAIRS = 0.95, 4
_MARKS = {"determined": "good", "not_determined": "bad", "not_assessed": "quiet", "at_bound": "quiet"}


def certainty(known: Uncertainty) -> list[str]:
    """Return what the errors at the best start mean, a sentence or two each.

    Args:
        known: what is known of the parameters.
    """
    if not len(known.ids):
        return ["Every start diverged: there is no fit whose parameters could be judged."]
    return [
        *_judged(known),
        *_residuals(known),
        *_convergence(known),
        *_directions(known),
        *_pairs(known),
        *_truth(known),
    ]


def _names(known: Uncertainty, verdict: Verdict) -> list[str]:
    return [name for name, verdicts in known.verdicts.items() if verdicts[0] == verdict]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _judged(known: Uncertainty) -> list[str]:
    count = len(known.parameters)
    if not count:
        return ["Every parameter was held fixed."]
    sure, weak = _names(known, Verdict.DETERMINED), _names(known, Verdict.WEAKLY_DETERMINED)
    no, edge = _names(known, Verdict.NOT_DETERMINED), _names(known, Verdict.AT_BOUND)
    lost = _names(known, Verdict.NOT_ASSESSED)
    if len(lost) == count:
        return [
            "Nothing can be said of the parameters: the loss has no residuals, or their derivatives at "
            "the best fit are not finite."
        ]
    parts = [f"The data determine {len(sure)} of {count} parameters{f' ({_some(sure)})' if sure else ''}"]
    parts.append(f"{len(weak)} weakly{f' ({_some(weak)})' if weak else ''}")
    said = [f"{parts[0]}, {parts[1]}, and {len(no)} not."]
    if edge:
        said.append(
            f"At a bound, and therefore left out of every error: {_some(edge)}. What is said of the others "
            "holds with these where they are."
        )
    if known.equal_starts > 1:
        said.append(
            f"{known.equal_starts:.0f} starts fit equally well: the noise does not tell their losses, up to "
            f"{measure(known.equal_loss, known.units['loss'])}, from the best. A parameter is only called "
            "determined if these agree on it, too."
        )
    return said


def _residuals(known: Uncertainty) -> list[str]:
    samples, worth = int(known.samples[0]), float(known.effective_samples[0])
    noise = measure(known.noise[0], known.units["noise"])
    if not np.isfinite(known.noise[0]):
        return ["There are fewer samples than parameters, so that no error can be told."]
    if worth > 0.8 * samples:
        return [f"The residuals look like white noise with a standard deviation of {noise}."]
    return [
        f"The residuals (standard deviation {noise}) are correlated in time: {samples} of them are worth "
        f"about {worth:.0f} independent ones, and the errors are {(samples / worth) ** 0.5:.1f} times those "
        "that white noise would give. Where the model misses something of the cell, no standard error "
        "covers it."
    ]


def _convergence(known: Uncertainty) -> list[str]:
    distance = (known.decrement[0] * known.effective_samples[0] / known.samples[0]) ** 0.5
    if not distance > 1:
        return []
    return [
        f"The fit had not quite arrived: the minimum is about {short(distance, 2)} standard "
        "errors away in the loosely determined directions. A smaller tolerance and more iterations would "
        "get there."
    ]


def _directions(known: Uncertainty) -> list[str]:
    spectrum = known.eigenvalues[:, 0]
    seen = spectrum[spectrum > 0]
    if len(seen) < 2 or not np.isfinite(seen).all():
        return []
    total = int(np.isfinite(spectrum).sum())
    decades = np.log10(seen[0] / seen[-1])
    unseen = f"; {total - len(seen)} not seen at all" if len(seen) < total else ""
    return [
        f"Of {total} directions in the space of parameters, {int((seen > 1).sum())} are determined more "
        f"sharply than by the bounds{unseen}. The information in them spans {decades:.0f} powers of ten."
    ]


def _pairs(known: Uncertainty) -> list[str]:
    names = list(known.parameters)
    matrix = np.array([known.correlations[name][:, 0] for name in names])
    found = [
        (-abs(matrix[one, two]), one, two)
        for one in range(len(names))
        for two in range(one)
        if abs(matrix[one, two]) > _STRONG
    ]
    if not found:
        return []
    pairs = [
        f"{names[two]} and {names[one]} ({_correlation(matrix[one, two])})"
        for _, one, two in sorted(found)[:_PAIRS]
    ]
    more = f", and {len(found) - _PAIRS} more pairs" if len(found) > _PAIRS else ""
    return [
        f"These can make up for each other (correlation of their estimates): {', '.join(pairs)}{more}. "
        "Hold one of a pair fixed if it is known from elsewhere, or add sweeps that tell them apart."
    ]


def _correlation(value: float) -> str:
    return f"{'−' if value < 0 else ''}{score(abs(value))}"


def _truth(known: Uncertainty) -> list[str]:
    if known.truth_distances is None:
        return []
    distances = np.array(
        [
            known.truth_distances[name][0]
            for name in known.parameters
            if np.isfinite(known.corrected_errors[name][0])
        ]
    )
    if not len(distances):
        return []
    near = int((np.abs(distances) <= 1.96).sum())
    return [
        f"The truth is known: it lies in the 95 % interval by the standard error for {near} of the "
        f"{len(distances)} parameters that have a finite one."
    ]


def uncertainty_rows(table: pd.DataFrame) -> Table:
    """Return the table of errors as it is read; columns without a value go."""
    columns = [
        ("best", "best"),
        ("naive", "standard error, naive"),
        ("corrected", "standard error, corrected"),
    ]
    columns += [("interval", "95 % interval, share of bounds")]
    if table["equal_spread"].notna().any():
        columns.append(("equal_spread", "spread of equally good starts"))
    if table["profile_lower"].notna().any() or table["profile_upper"].notna().any():
        columns.append(("profile", "95 % interval by profile"))
    if table["truth"].notna().any():
        columns += [("truth", "truth"), ("truth_distance", "distance from the truth, errors")]
    headers = [Cell("parameter", "head"), Cell("unit", "text"), Cell("verdict", "text")]
    headers += [Cell(label, "number") for _, label in columns]
    rows = []
    for row in table.to_dict("records"):
        verdict = str(row["verdict"])
        cells = [Cell(str(row["name"]), "head")]
        cells.append(Cell("" if str(row["unit"]) in ("1", "nan") else str(row["unit"]), "text"))
        cells.append(Cell(words(Verdict[verdict.upper()]), "text", mark=_MARKS.get(verdict, "")))
        rows.append(cells + [_cell(key, row) for key, _ in columns])
    return Table(headers, rows, [])


def _cell(key: str, row: Mapping) -> Cell:
    if key == "interval":
        share = row["interval"]
        text = "> 100 %" if share > 1 else f"{100 * share:.1f} %" if share == share else "–"
        return Cell(text)
    if key == "profile":
        ends = (row["profile_lower"], row["profile_upper"])
        if all(np.isnan(end) for end in ends):
            return Cell("–")
        return Cell(spelt_interval(*ends))
    value = float(row[{"naive": "naive_error", "corrected": "corrected_error"}.get(key, key)])
    if key == "truth_distance":
        finite = np.isfinite(value) and np.isfinite(row["corrected_error"])
        return Cell(f"{value:+.1f}".replace("-0.0", "+0.0").replace("-", "−") if finite else "–")
    if key == "best":
        return Cell(resolved(value, row["corrected_error"]), mark="strong")
    return Cell("∞" if np.isinf(value) else short(value))
