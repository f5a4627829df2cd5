"""Detailed figures of one simulation: voltage, ions, currents, gates and stimulus over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odynn.data import Best, Target
from odynn.errors import OdynnError, listed
from odynn.plotting import measures
from odynn.plotting.appearance import (
    BEST,
    INK,
    LINES,
    MUTED,
    blank,
    colour,
    envelope,
    limits,
    style,
    time_axis,
)
from odynn.plotting.spelling import state_label

_DIMENSIONLESS = ("", "1")
CURRENT = "µA/cm²"


@dataclass
class Line:
    """One line over time.

    Attributes:
        values: [time].
        color: any matplotlib colour.
        label: its name in the legend, if it has one.
        width: in points.
        dashes: matplotlib line style.
        alpha: opacity.
    """

    values: np.ndarray
    color: object
    label: str | None = None
    width: float = 1.2
    dashes: object = "-"
    alpha: float = 1.0


@dataclass
class Panel:
    """One of the axes that stand above each other.

    Attributes:
        label: of its vertical axis, with the unit.
        lines: what is drawn.
        height: in relation to the other panels.
        zero: whether a thin line marks zero.
        fixed: traces that must be seen whole; empty: all lines.
    """

    label: str
    lines: list[Line] = field(default_factory=list)
    height: float = 1.0
    zero: bool = False
    fixed: Sequence[np.ndarray] = ()


def details(
    target: Target,
    best: Best,
    *,
    sweep: int | None = None,
    rank: int = 0,
    target_color: str = "black",
    best_color: str = BEST,
) -> Figure:
    """Draw everything that one of the best starts does on one sweep.

    Args:
        target: the recorded traces.
        best: simulations of the best starts.
        sweep: number of the sweep; None: the first held-out one, else the first.
        rank: which of the best starts, 0 for the best.
        target_color: colour of the recording.
        best_color: colour of the start's voltage and concentrations.

    Returns:
        The figure: recorded states, other concentrations, gates, currents and stimulus over one
        time axis. With no start to show, the recording and the stimulus.

    Raises:
        OdynnError: if the target has no such sweep.
    """
    colour(target_color), colour(best_color)
    place = _chosen(target, sweep)
    number = int(target.sweeps[place])
    there = measures.places_of(target, best)[place]
    found = len(best.ids) > rank
    states = {name: values[:, there, rank] for name, values in best.states.items()} if found else {}
    currents = {name: values[:, there, rank] for name, values in best.currents.items()} if found else {}
    gates = [name for name in states if name not in target.observed and _is_gate(name, best.units)]
    start = f"{'best fit' if rank == 0 else 'fit'}\n(start {best.ids[rank]})" if found else ""

    panels = []
    for name in dict.fromkeys([*(["V"] if "V" in states else []), *target.observed, *states]):
        if name in gates or (name == "V" and target.clamp == "voltage" and "V" not in target.observed):
            continue  # in voltage clamp the voltage is the stimulus
        unit = target.units.get(name) or best.units.get(name)
        if name in currents and unit == best.units.get(name) == CURRENT:
            unit = None  # a current and an ion may share a name; this unit is the current's
        panel = Panel(state_label(name, unit), height=1.5 if name == "V" else 1.0)
        if name in target.observed:
            recorded = target.observed[name][:, place]
            words = "target" if target.truth is not None else "recording"
            panel.lines.append(Line(recorded, target_color, words, 1.1, alpha=0.75))
            panel.fixed = [recorded]
        if name in states:
            panel.lines.append(Line(states[name], best_color, start, 1.2))
        panels.append(panel)
    unit = best.units.get(next(iter(currents)), CURRENT) if currents else CURRENT
    panels += families({name: states[name] for name in gates}, currents, unit=unit)
    panels.append(_stimulus(target.stimulus[:, place], target.units.get("stimulus", CURRENT)))
    kind = "training" if target.train[place] else "held-out"
    return draw(target.time, panels, f"{kind} sweep {number}")


def _chosen(target: Target, sweep: int | None) -> int:
    if sweep is None:
        held_out = np.flatnonzero(~np.asarray(target.train, dtype=bool))
        return int(held_out[0]) if held_out.size else 0
    places = np.flatnonzero(np.asarray(target.sweeps) == sweep)
    if not places.size:
        raise OdynnError(
            f"details: sweep must be one of the target's, {listed(target.sweeps)}. Received: {sweep}. "
            "Leave sweep out for the first held-out one."
        )
    return int(places[0])


def _is_gate(name: str, units: Mapping[str, str]) -> bool:
    return name != "V" and units.get(name, "1") in _DIMENSIONLESS


def families(gates: Mapping, currents: Mapping, width: float = 1.2, unit: str = CURRENT) -> list[Panel]:
    """Return the panel of the gates and that of the currents, where there are any."""
    panels = []
    if gates:
        panels.append(Panel("gates\n(open fraction)", _many(gates, width), fixed=[np.array([0.0, 1.0])]))
    if currents:
        names = {
            name if name.startswith(("I_", "i_")) else f"I_{name}": values
            for name, values in currents.items()
        }
        panels.append(Panel(f"currents\n({unit})", _many(names, width), 1.3, zero=True))
    return panels


def _many(family: Mapping[str, np.ndarray], width: float) -> list[Line]:
    lines = []
    for place, (name, values) in enumerate(family.items()):
        values = np.asarray(values, dtype=float)
        columns = values[:, None] if values.ndim == 1 else values
        dashes = "-" if place < len(LINES) else (0, (4, 2))
        for neuron, trace in enumerate(columns.T):
            shade = LINES[place % len(LINES)]
            opacity = 1.0 if columns.shape[1] == 1 else 0.6
            lines.append(Line(trace, shade, name if neuron == 0 else None, width, dashes, opacity))
    return lines


def _stimulus(values: np.ndarray, unit: str) -> Panel:
    return Panel(f"stimulus\n({unit})", [Line(values, MUTED, None, 1.0)], 0.6)


def draw(time: np.ndarray, panels: list[Panel], title: str) -> Figure:
    """Draw panels above each other over one time axis.

    Args:
        time: ms, [time].
        panels: from top to bottom.
        title: written on top; may be empty.

    Returns:
        The figure.
    """
    shown, label = time_axis(time)
    with style():
        figure = blank(9.5, 0.75 + 1.18 * sum(panel.height for panel in panels), layout="constrained")
        grid = figure.subplots(
            len(panels), sharex=True, squeeze=False, height_ratios=[panel.height for panel in panels]
        )[:, 0]
        for axes, panel in zip(grid, panels, strict=True):
            if panel.zero:
                axes.axhline(0, color=MUTED, lw=0.6, zorder=0)
            for line in panel.lines:
                axes.plot(
                    *envelope(shown, line.values, 2800),
                    color=line.color,
                    lw=line.width,
                    ls=line.dashes,
                    alpha=line.alpha,
                    label=line.label,
                )
            axes.set_ylim(
                *limits(
                    panel.fixed or [line.values for line in panel.lines],
                    [line.values for line in panel.lines],
                )
            )
            axes.set_ylabel(panel.label)
            axes.yaxis.set_major_locator(MaxNLocator(4 if panel.height >= 1 else 2))
            if any(line.label for line in panel.lines):
                axes.legend(loc="upper left", bbox_to_anchor=(1.005, 1.03), borderaxespad=0, handlelength=1.4)
        figure.align_ylabels(grid)
        if len(shown):
            grid[-1].set_xlim(shown[0], shown[-1] if len(shown) > 1 else shown[0] + 1)
        grid[-1].set_xlabel(label)
        if title:
            grid[0].set_title(title, color=INK)
    return figure
