"""Detailed figures of one simulation: voltage, ions, currents, gates and stimulus over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odynn.data import Best, Target
from odynn.errors import OdynnError
from odynn.plotting import measures
from odynn.plotting.appearance import (
    BEST,
    INK,
    LINES,
    MUTED,
    blank,
    colour,
    colour_map,
    envelope,
    limits,
    state_label,
    style,
    time_axis,
    with_unit,
)

_DIMENSIONLESS = ("", "1")
_CURRENT = "µA/cm²"


@dataclass
class _Line:
    values: np.ndarray  # [time]
    color: object
    label: str | None = None
    width: float = 1.2
    dashes: object = "-"
    alpha: float = 1.0


@dataclass
class _Panel:
    label: str
    lines: list[_Line] = field(default_factory=list)
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
        if name in gates:
            continue
        unit = target.units.get(name) or best.units.get(name)
        if name in currents and unit == best.units.get(name) == _CURRENT:
            unit = None  # a current and an ion may share a name; this unit is the current's
        panel = _Panel(state_label(name, unit), height=1.5 if name == "V" else 1.0)
        if name in target.observed:
            recorded = target.observed[name][:, place]
            words = "target" if target.truth is not None else "recording"
            panel.lines.append(_Line(recorded, target_color, words, 1.1, alpha=0.75))
            panel.fixed = [recorded]
        if name in states:
            panel.lines.append(_Line(states[name], best_color, start, 1.2))
        panels.append(panel)
    panels += _families({name: states[name] for name in gates}, currents)
    panels.append(_stimulus(target.stimulus[:, place]))
    kind = "training" if target.train[place] else "held-out"
    return _draw(target.time, panels, f"{kind} sweep {number}")


def _chosen(target: Target, sweep: int | None) -> int:
    if sweep is None:
        held_out = np.flatnonzero(~np.asarray(target.train, dtype=bool))
        return int(held_out[0]) if held_out.size else 0
    places = np.flatnonzero(np.asarray(target.sweeps) == sweep)
    if not places.size:
        raise OdynnError(
            f"details: sweep must be one of the target's, {', '.join(map(str, target.sweeps))}. Received: {sweep}."
        )
    return int(places[0])


def _is_gate(name: str, units: Mapping[str, str]) -> bool:
    return name != "V" and units.get(name, "1") in _DIMENSIONLESS


def neuron_output(
    time: np.ndarray,
    stimulus: np.ndarray,
    voltage: np.ndarray,
    ions: Mapping[str, np.ndarray] | None = None,
    *,
    target_voltage: np.ndarray | None = None,
    target_ions: Mapping[str, np.ndarray] | None = None,
    units: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    linewidth: float = 1.0,
    target_linewidth: float = 1.0,
    target_style: str = "-",
    color_map: str = "viridis",
    target_color: str = "black",
    title: str = "",
) -> Figure:
    """Draw the voltage and ion concentrations of one or more neurons, with a target if there is one.

    Args:
        time: ms, [time].
        stimulus: µA/cm², [time] or [time, neuron].
        voltage: mV, [time] or [time, neuron].
        ions: ion name to concentration, [time] or [time, neuron].
        target_voltage: mV, [time] or [time, neuron].
        target_ions: ion name to the target's concentration.
        units: unit of each ion.
        labels: names of the neurons, for a legend.
        linewidth: width of the neurons' lines, in points.
        target_linewidth: width of the target's lines.
        target_style: line style of the target, such as "-" or "--".
        color_map: matplotlib colour map for several neurons.
        target_color: colour of the target.
        title: written on top.

    Returns:
        The figure.

    Raises:
        OdynnError: if an array is not [time] or [time, neuron].
    """
    time = np.asarray(time)
    painter = _Neurons(time, labels, linewidth, color_map, target_color, target_linewidth, target_style)
    panels = painter.observables(voltage, ions, target_voltage, target_ions, units)
    panels.append(painter.panel("stimulus", f"stimulus\n({_CURRENT})", stimulus, height=0.6, single=MUTED))
    return _draw(time, panels, title)


def neuron_details(
    time: np.ndarray,
    stimulus: np.ndarray,
    voltage: np.ndarray,
    ions: Mapping[str, np.ndarray] | None = None,
    currents: Mapping[str, np.ndarray] | None = None,
    gates: Mapping[str, np.ndarray] | None = None,
    *,
    target_voltage: np.ndarray | None = None,
    target_ions: Mapping[str, np.ndarray] | None = None,
    units: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    linewidth: float = 1.2,
    target_linewidth: float = 1.2,
    target_style: str = "--",
    color_map: str = "viridis",
    target_color: str = "black",
    title: str = "",
) -> Figure:
    """Draw a simulation in detail: voltage, ions, currents, gates and stimulus.

    Args:
        time: ms, [time].
        stimulus: µA/cm², [time] or [time, neuron].
        voltage: mV, [time] or [time, neuron].
        ions: ion name to concentration, [time] or [time, neuron].
        currents: current name to µA/cm², outward positive.
        gates: gate name to open fraction.
        target_voltage: mV, [time] or [time, neuron].
        target_ions: ion name to the target's concentration.
        units: unit of each ion.
        labels: names of the neurons, for a legend.
        linewidth: width of the neurons' lines, in points.
        target_linewidth: width of the target's lines.
        target_style: line style of the target.
        color_map: matplotlib colour map for several neurons.
        target_color: colour of the target.
        title: written on top.

    Returns:
        The figure.

    Raises:
        OdynnError: if an array is not [time] or [time, neuron].
    """
    time = np.asarray(time)
    painter = _Neurons(time, labels, linewidth, color_map, target_color, target_linewidth, target_style)
    panels = painter.observables(voltage, ions, target_voltage, target_ions, units)
    checked = [
        {name: painter.columns(name, values) for name, values in family.items()}
        for family in (gates or {}, currents or {})
    ]
    panels += _families(*checked, width=linewidth)
    panels.append(painter.panel("stimulus", f"stimulus\n({_CURRENT})", stimulus, height=0.6, single=MUTED))
    return _draw(time, panels, title)


class _Neurons:
    """Turns arrays of one or more neurons into panels."""

    def __init__(self, time, labels, width, color_map, target_color, target_width, target_style):
        self.time = time
        self.labels = list(labels) if labels is not None else None
        self.width = width
        self.color_map = colour_map(color_map)
        self.target_color = colour(target_color)
        self.target_width = target_width
        self.target_style = target_style

    def columns(self, name: str, values) -> np.ndarray:
        """Return values as [time, neuron]."""
        values = np.asarray(values, dtype=float)
        if values.ndim not in (1, 2) or values.shape[0] != len(self.time):
            raise OdynnError(
                f"{name}: expected [time] or [time, neuron] with {len(self.time)} times. "
                f"Received: shape {values.shape}. Merge further axes into the last one."
            )
        return values[:, None] if values.ndim == 1 else values

    def observables(self, voltage, ions, target_voltage, target_ions, units) -> list[_Panel]:
        """Return the panels of the voltage and of each ion."""
        target_ions, units = target_ions or {}, units or {}
        panels = [self.panel("voltage", "voltage (mV)", voltage, target_voltage, height=1.5, named=True)]
        for ion, values in (ions or {}).items():
            panels.append(self.panel(ion, with_unit(ion, units.get(ion)), values, target_ions.get(ion)))
        return panels

    def panel(self, name, label, values, target=None, height=1.0, named=False, single=BEST) -> _Panel:
        """Return a panel with a line a neuron; ``single`` is the colour of a neuron alone."""
        values = self.columns(name, values)
        panel = _Panel(label, height=height)
        if target is not None:
            for place, trace in enumerate(self.columns(f"target of {name}", target).T):
                words = "target" if place == 0 else None
                panel.lines.append(_Line(trace, self.target_color, words, self.target_width, self.target_style))
        count = values.shape[1]
        shades = self.color_map(np.linspace(0.05, 0.85, count)) if count > 1 else [single]
        if named and self.labels is not None and len(self.labels) != count:
            raise OdynnError(
                f"labels: expected one name a neuron, {count}. Received: {len(self.labels)}. Leave labels out for none."
            )
        for place in range(count):
            words = self.labels[place] if named and self.labels is not None else None
            if named and words is None and count == 1 and target is not None:
                words = "model"
            panel.lines.append(_Line(values[:, place], shades[place], words, self.width))
        return panel


def _families(gates: Mapping, currents: Mapping, width: float = 1.2) -> list[_Panel]:
    """Return the panel of the gates and that of the currents, where there are any."""
    panels = []
    if gates:
        panels.append(_Panel("gates\n(open fraction)", _many(gates, width), fixed=[np.array([0.0, 1.0])]))
    if currents:
        names = {name if name.startswith(("I_", "i_")) else f"I_{name}": values for name, values in currents.items()}
        panels.append(_Panel(f"currents\n({_CURRENT})", _many(names, width), 1.3, zero=True))
    return panels


def _many(family: Mapping[str, np.ndarray], width: float) -> list[_Line]:
    lines = []
    for place, (name, values) in enumerate(family.items()):
        values = np.asarray(values, dtype=float)
        columns = values[:, None] if values.ndim == 1 else values
        dashes = "-" if place < len(LINES) else (0, (4, 2))
        for neuron, trace in enumerate(columns.T):
            shade = LINES[place % len(LINES)]
            opacity = 1.0 if columns.shape[1] == 1 else 0.6
            lines.append(_Line(trace, shade, name if neuron == 0 else None, width, dashes, opacity))
    return lines


def _stimulus(values: np.ndarray) -> _Panel:
    return _Panel(f"stimulus\n({_CURRENT})", [_Line(values, MUTED, None, 1.0)], 0.6)


def _draw(time: np.ndarray, panels: list[_Panel], title: str) -> Figure:
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
            axes.set_ylim(*limits(panel.fixed or [line.values for line in panel.lines], [line.values for line in panel.lines]))
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
