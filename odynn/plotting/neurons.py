"""Figures of simulated neurons given as plain arrays, as the model classes draw themselves."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from odynn.errors import OdynnError
from odynn.plotting.appearance import BEST, MUTED, colour, colour_map
from odynn.plotting.panels import CURRENT, Line, Panel, draw, families
from odynn.plotting.spelling import with_unit


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
    panels.append(painter.panel("stimulus", f"stimulus\n({CURRENT})", stimulus, height=0.6, single=MUTED))
    return draw(time, panels, title)


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
    panels += families(*checked, width=linewidth)
    panels.append(painter.panel("stimulus", f"stimulus\n({CURRENT})", stimulus, height=0.6, single=MUTED))
    return draw(time, panels, title)


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

    def observables(self, voltage, ions, target_voltage, target_ions, units) -> list[Panel]:
        """Return the panels of the voltage and of each ion."""
        target_ions, units = target_ions or {}, units or {}
        panels = [self.panel("voltage", "voltage (mV)", voltage, target_voltage, height=1.5, named=True)]
        for ion, values in (ions or {}).items():
            panels.append(self.panel(ion, with_unit(ion, units.get(ion)), values, target_ions.get(ion)))
        return panels

    def panel(self, name, label, values, target=None, height=1.0, named=False, single=BEST) -> Panel:
        """Return a panel with a line a neuron; ``single`` is the colour of a neuron alone."""
        values = self.columns(name, values)
        panel = Panel(label, height=height)
        if target is not None:
            for place, trace in enumerate(self.columns(f"target of {name}", target).T):
                words = "target" if place == 0 else None
                panel.lines.append(
                    Line(trace, self.target_color, words, self.target_width, self.target_style)
                )
        count = values.shape[1]
        shades = self.color_map(np.linspace(0.05, 0.85, count)) if count > 1 else [single]
        if named and self.labels is not None and len(self.labels) != count:
            raise OdynnError(
                f"labels: expected one name a neuron, {count}. Received: {len(self.labels)}. "
                "Leave labels out for none."
            )
        for place in range(count):
            words = self.labels[place] if named and self.labels is not None else None
            if named and words is None and count == 1 and target is not None:
                words = "model"
            panel.lines.append(Line(values[:, place], shades[place], words, self.width))
        return panel
