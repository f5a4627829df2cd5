"""The report of an experiment: one HTML page that needs no network and no other file."""

import base64
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import yaml

from odynn.data import Best, Fit, Target, Uncertainty
from odynn.errors import OdynnError
from odynn.plotting import measures
from odynn.plotting.captions import alternative, captions, described, tiles
from odynn.plotting.cells import Table, feature_rows, loss_rows, parameter_rows, plain_rows, score_rows
from odynn.plotting.certainty import certainty, uncertainty_rows
from odynn.plotting.summary import summarise
from odynn.plotting.tables import parameter_table, score_table, uncertainty_table

_KNOWN_FIGURES = ("traces", "spikes", "waterfall", "parameters", "history", "details")
_FIGURES_OF_ERRORS = ("uncertainty", "information")
_KNOWN_TABLES = ("parameters", "scores", "uncertainty")
_VERDICT_WORDS = (
    ("determined", "Determined", f"spread up to {100 * measures.LOOSE:.0f} % of the bounds"),
    ("loosely determined", "Loosely determined", f"spread up to {100 * measures.UNDETERMINED:.0f} %"),
    ("undetermined", "Undetermined", "wider: their values mean little"),
)


@dataclass(frozen=True)
class _Picture:
    data: str
    alt: str
    width: int
    height: int


def report(
    target: Target,
    fit: Fit,
    best: Best,
    figures: Mapping[str, str | Path],
    tables: Mapping[str, pd.DataFrame],
    settings: Mapping,
    stamp: Mapping,
    *,
    uncertainty: Uncertainty | None = None,
    experiment: str = "",
    folder: str | Path | None = None,
) -> str:
    """Write the report of an experiment as one self-contained HTML page.

    Args:
        target: the recorded traces.
        fit: all starts.
        best: simulations of the best starts.
        figures: name ("traces", "spikes", "waterfall", "parameters", "history", "details",
            "uncertainty", "information", or any other) to a PNG file, which is copied into the page; a
            missing name leaves its section out.
        tables: "parameters" and "scores" as ``parameter_table`` and ``score_table`` return them (made
            here where missing), and any other.
        settings: the configuration of the experiment.
        stamp: how the results were made: versions, code fingerprint, hashes of inputs.
        uncertainty: how well the data determine the parameters; None leaves the section out.
        experiment: its name, for the title; "": the name of ``folder``.
        folder: where the results lie, for the lines that read them; None: the folder above that of
            the figures.

    Returns:
        The page. It holds no clock: equal arguments give equal text.

    Raises:
        OdynnError: if a figure cannot be read or is not PNG.
    """
    if folder is None:
        folder = next((Path(path).parent.parent for path in figures.values()), Path("results"))
    folder = Path(folder)
    experiment = experiment or folder.name or "experiment"
    weights = settings.get("loss") if isinstance(settings.get("loss"), Mapping) else None
    summary = summarise(target, fit, best, weights)
    table = tables.get("parameters")
    scores = tables.get("scores")
    number = int((settings.get("best") or {}).get("number", max(len(best.ids), 1)))
    table = parameter_table(fit, target, number) if table is None else table
    scores = score_table(best) if scores is None else scores
    loss_unit = fit.units.get("loss", "1")
    known_figures = _KNOWN_FIGURES + (() if uncertainty is None else _FIGURES_OF_ERRORS)
    page = {
        "experiment": experiment,
        "model": str(settings.get("model", "")),
        "described": described(target),
        "summary": summary,
        "tiles": tiles(summary, target, loss_unit),
        "groups": [
            (title, rule, summary.groups[verdict], verdict)
            for verdict, title, rule in _VERDICT_WORDS
            if summary.groups.get(verdict)
        ],
        "pictures": {
            name: _picture(path, alternative(name, summary, target, fit)) for name, path in figures.items()
        },
        "more_figures": [name for name in figures if name not in known_figures],
        "parameters": parameter_rows(table, fit),
        "scores": score_rows(scores, best, summary),
        "features": feature_rows(scores),
        "loss_parts": loss_rows(fit),
        "more_tables": {name: plain_rows(more) for name, more in tables.items() if name not in _KNOWN_TABLES},
        "certainty": [] if uncertainty is None else certainty(uncertainty),
        "uncertainty": None if uncertainty is None else _errors(uncertainty, target),
        "captions": captions(fit, target, best, summary),
        "settings": yaml.safe_dump(
            _plain(settings), sort_keys=False, allow_unicode=True, width=96, default_flow_style=None
        ),
        "provenance": _provenance(stamp, target),
        "python": _python(folder, fit, target, best),
    }
    template = resources.files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(page)


def _errors(uncertainty: Uncertainty, target: Target) -> Table | None:
    return uncertainty_rows(uncertainty_table(uncertainty, target)) if len(uncertainty.ids) else None


def _picture(path: str | Path, alt: str) -> _Picture:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise OdynnError(
            f"report: a figure must be a PNG file that can be read. Received: '{path}' ({error.strerror}). "
            "Make the figures again with the stage plot_results."
        ) from error
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or len(data) < 24:
        raise OdynnError(
            f"report: a figure must be a PNG file. Received: '{path}', which is not one. "
            "Make the figures again with the stage plot_results."
        )
    width, height = struct.unpack(">II", data[16:24])
    return _Picture(base64.b64encode(data).decode("ascii"), alt, width, height)


def _plain(value: object) -> object:
    """Return settings as YAML can write them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return Path(value).as_posix()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _provenance(stamp: Mapping, target: Target) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return (heading, rows of name and value): first single values, then each mapping."""
    stamp = _plain(stamp)
    single = [
        (key.replace("_", " "), str(value))
        for key, value in stamp.items()
        if not isinstance(value, dict | list)
    ]
    titles = {
        "versions": "Versions",
        "inputs": "Inputs (SHA-256 of their content)",
        "own_code": "Models and losses of one's own (hash of their code)",
        "fitted_by": "What the shards were fitted by",
    }
    found = [("Code and seed", single)] if single else []
    for key, value in stamp.items():
        if key != "settings" and isinstance(value, dict) and value:
            rows = [(name, str(entry)) for name, entry in _flat(value)]
            found.append((titles.get(key, key.replace("_", " ")), rows))
    if target.source:
        found.append(("Target", [(str(key), str(value)) for key, value in target.source.items()]))
    return found


def _flat(mapping: Mapping, before: str = "") -> Iterator[tuple[str, object]]:
    """Yield the names and values of a mapping, and of those in it."""
    for name, entry in mapping.items():
        if isinstance(entry, Mapping):
            yield from _flat(entry, f"{before}{name} ".replace("_", " "))
        else:
            yield f"{before}{name}", entry


def _python(folder: Path, fit: Fit, target: Target, best: Best) -> str:
    """Return lines of Python that read these very results."""
    row = next(iter(measures.free_parameters(fit)), None) or next(iter(fit.parameters.values()), None)
    state = next((name for name in target.observed if name in best.states), next(iter(target.observed)))
    path = {name: _quoted((folder / f"{name}.h5").as_posix()) for name in ("target", "fit", "best")}
    lines = [
        "import xarray as xr  # with h5netcdf installed",
        "",
        f'fit = xr.open_datatree({path["fit"]}, engine="h5netcdf")',
        'fit["loss"]              # of every start, the best first',
    ]
    if row is not None:
        entry = f"fit[{_quoted(f'parameters/{row.name}')}]"
        lines.append(f"{entry:<24} # fitted values of every start")
    lines += [
        "",
        f'best = xr.open_datatree({path["best"]}, engine="h5netcdf")',
    ]
    if len(best.ids) and best.states:
        entry = f"best[{_quoted(f'states/{state}')}]"
        lines.append(
            f"{entry}.sel(sweep={int(target.sweeps[0])}, start={int(best.ids[0])})  # its free run over time"
        )
    lines += [
        "",
        f'target = xr.open_datatree({path["target"]}, engine="h5netcdf")',
        f"target[{_quoted(f'observed/{state}')}]  # [time, sweep]",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    # A JSON string is a Python string in double quotes.
    return json.dumps(text, ensure_ascii=False)
