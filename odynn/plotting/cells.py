"""The tables of the report, as cells of text."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from odynn.data import Best, Fit
from odynn.plotting import measures
from odynn.plotting.spelling import score, short, with_unit
from odynn.plotting.summary import Summary

_SPIKE_SCORES = {
    "spike_count": "spikes",
    "gamma": "Γ",
    "rmse_subthreshold": "RMSE between spikes",
    "error_features": "features off by",
}


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what it says.
        kind: "number", "text", or "head" for the name of a row or column.
        note: small print below.
        mark: how it looks: "strong", "quiet", "good", "bad", "held" or nothing.
    """

    text: str
    kind: str = "number"
    note: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        headers: one cell a column.
        rows: cells of each row.
        footer: rows that sum the others up.
    """

    headers: list[Cell]
    rows: list[list[Cell]]
    footer: list[list[Cell]]


def parameter_rows(table: pd.DataFrame, fit: Fit) -> Table:
    """Return the parameter table as it is read: fixed rows say so, and columns without a value go."""
    truth = "truth" in table and table["truth"].notna().any()
    columns = [("best", "best")]
    columns += [("truth", "truth"), ("relative_error", "error")] if truth else []
    columns += [("equal", "equally good starts"), ("spread", "spread"), ("bounds", "bounds")]
    columns += [("start", "starts drawn from")]
    headers = [Cell("parameter", "head"), Cell("unit", "text")]
    headers += [Cell(label, "number") for _, label in columns]
    rows = []
    for row in table.to_dict("records"):
        known = fit.parameters.get(row["name"])
        cells = [Cell(str(row["name"]), "head", note=known.meaning if known else "")]
        cells.append(Cell("" if str(row["unit"]) in ("1", "nan") else str(row["unit"]), "text"))
        cells += [_parameter_cell(key, row) for key, _ in columns]
        rows.append(cells)
    return Table(headers, rows, [])


def _parameter_cell(key: str, row: Mapping) -> Cell:
    if not row["free"] and key not in ("best", "truth"):
        held = "held fixed" if row["verdict"] == "fixed" else str(row["verdict"])
        return Cell(held if key == "equal" else "", mark="quiet")
    if key == "relative_error":
        value = row[key]
        if not np.isfinite(value):
            return Cell("–")
        if abs(value) >= 9.95:
            return Cell(f"×\u00a0{1 + value:.0f}".replace("-", "−"))
        return Cell(f"{100 * value:+.0f} %".replace("-", "−") if abs(value) >= 0.005 else "<1 %")
    if key == "spread":
        value = row[key]
        if row["verdict"] == "not judged" or not np.isfinite(value):
            return Cell("–", note=str(row["verdict"]), mark="quiet")
        mark = {"undetermined": "bad", "determined": "good"}.get(row["verdict"], "")
        percent = "<1 %" if value < 0.01 else f"{100 * value:.0f} %"
        return Cell(percent, note=str(row["verdict"]), mark=mark)
    if key in ("equal", "start", "bounds"):
        first, last = {
            "equal": ("equal_lower", "equal_upper"),
            "start": ("start_lower", "start_upper"),
            "bounds": ("lower", "upper"),
        }[key]
        if not np.isfinite(row[first]):
            return Cell("–")
        note = "log scale" if key == "bounds" and row["scale"] == "log" else ""
        ends = dict.fromkeys((short(row[first]), short(row[last])))
        return Cell(" … ".join(ends), note=note, mark="quiet")
    return Cell(short(row[key]), mark="strong" if key == "best" else "")


def loss_rows(fit: Fit) -> Table | None:
    """Return what each term adds to the loss of the best start; None where there is but one term."""
    if len(fit.loss_parts) < 2 or not measures.usable(fit).any():
        return None
    best = measures.ranking(fit)[0]
    unit, total = fit.units.get("loss", "1"), float(fit.loss[best])
    headers = [Cell("term", "head"), Cell(with_unit("loss", unit)), Cell("share")]
    rows = [
        [
            Cell(name, "head"),
            Cell(short(float(column[best]))),
            Cell(f"{100 * column[best] / total:.0f} %" if total > 0 else ""),
        ]
        for name, column in fit.loss_parts.items()
    ]
    return Table(headers, rows, [[Cell("loss", "head"), Cell(short(total)), Cell("")]])


def score_rows(scores: pd.DataFrame, best: Best, summary: Summary) -> Table:
    """Return one row a sweep: the scores of the best start, and the range of RMSE of the others."""
    # Errors of single features have a table of their own, and both counts of spikes share a column.
    names = [name for name in _names(scores) if name == "error_features" or not name.startswith("error_")]
    names = [name for name in names if name != "spike_count_observed"]
    many = [name for name in names if name.startswith("rmse") and name != "rmse_subthreshold"]
    many = many if len(best.ids) > 1 else []
    headers = [Cell("sweep", "head"), Cell("set", "text")]
    for name in names:
        headers.append(Cell(with_unit(_score_name(name), best.units.get(name))))
        if name in many:
            headers.append(Cell(f"{_score_name(name)}, next {len(best.ids) - 1}"))
    rows = []
    for sweep, part in scores.groupby("sweep", sort=False):
        part = part.sort_values("rank")
        kind = str(part["set"].iloc[0])
        cells = [Cell(str(sweep), "head"), Cell(kind, "text", mark="held" if kind == "held-out" else "")]
        for name in names:
            values = part[name].to_numpy(dtype=float)
            note = ""
            if name == "spike_count" and "spike_count_observed" in part:
                note = f"for {short(part['spike_count_observed'].iloc[0])}"
            cells.append(Cell(_score_text(name, values[0]), note=note, mark="strong"))
            if name in many:
                rest = values[1:][np.isfinite(values[1:])]
                text = f"{short(rest.min())} … {short(rest.max())}" if rest.size else "–"
                cells.append(Cell(text, mark="quiet"))
        rows.append(cells)
    first = scores[scores["rank"] == 1]
    footer = []
    for kind, found in (("training", summary.training), ("held-out", summary.held_out)):
        if not found:
            continue
        cells = [Cell("all", "head"), Cell(kind, "text", mark="held" if kind == "held-out" else "")]
        for name in names:
            cells.append(_score_of_all(name, first[first["set"] == kind], kind, summary, found))
            if name in many:
                cells.append(Cell(""))
        footer.append(cells)
    return Table(headers, rows, footer)


def _score_of_all(name: str, part: pd.DataFrame, kind: str, summary: Summary, found: Mapping) -> Cell:
    """Return a score of the best start over all sweeps of a kind."""
    measure, _, state = name.partition("_")
    if name == "spike_count" and kind in summary.spikes:
        seen = summary.spikes[kind]
        return Cell(f"{seen.within_one} of {seen.sweeps}", note="within ±1", mark="strong")
    if state in found:
        return Cell(_score_text(name, getattr(found[state], measure, np.nan)), mark="strong")
    values = part[name].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    return Cell(_score_text(name, values.mean() if values.size else np.nan), mark="strong")


def feature_rows(scores: pd.DataFrame) -> Table | None:
    """Return one row a sweep: how far each feature of the best start's spikes is from the recording's.

    None where no feature was scored.
    """
    names = [name for name in _names(scores) if name.startswith("error_") and name != "error_features"]
    if not names:
        return None
    headers = [Cell("sweep", "head"), Cell("set", "text")]
    headers += [Cell(name.removeprefix("error_").replace("_", " ")) for name in names]
    rows = []
    for row in scores[scores["rank"] == 1].to_dict("records"):
        kind = str(row["set"])
        cells = [
            Cell(str(row["sweep"]), "head"),
            Cell(kind, "text", mark="held" if kind == "held-out" else ""),
        ]
        rows.append(cells + [Cell(short(row[name])) for name in names])
    return Table(headers, rows, [])


def _names(scores: pd.DataFrame) -> list[str]:
    """Return the columns that are scores."""
    return [name for name in scores.columns if name not in ("sweep", "set", "rank", "start")]


def _score_name(name: str) -> str:
    if name in _SPIKE_SCORES:
        return _SPIKE_SCORES[name]
    measure, _, state = name.partition("_")
    return f"{ {'rmse': 'RMSE', 'r2': 'R²'}.get(measure, measure) } of {state}" if state else name


def _score_text(name: str, value: float) -> str:
    if name == "gamma" and np.isfinite(value):
        return f"{value:.2f}".replace("-", "−")
    return score(value) if name.startswith("r2") else short(value)


def plain_rows(table: pd.DataFrame) -> Table:
    """Return any table as it is."""
    rows = [
        [
            Cell(short(value), "number") if isinstance(value, float) else Cell(str(value), "text")
            for value in row
        ]
        for row in table.itertuples(index=False)
    ]
    return Table([Cell(str(name), "text") for name in table.columns], rows, [])
