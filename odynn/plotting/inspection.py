"""The figure of a look at a recording: every sweep, and what its membrane measures were taken from."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odynn.findings import Inspection
from odynn.plotting.appearance import (
    BEST,
    INK,
    LINES,
    MUTED,
    SHADE,
    blank,
    envelope,
    limits,
    shades,
    style,
    time_axis,
)
from odynn.plotting.spelling import short, state_label, with_unit

_MOST_SWEEPS = 60
"""More sweeps than this hide each other; as many, chosen evenly, are drawn."""


def inspection(found: Inspection, *, color_map: str = "viridis") -> Figure:
    """Draw what was found in a recording.

    On the left all sweeps over each other, the stimulus below the response, in a colour for each
    level of the main step, whose time is shaded. On the right, where the recording has them: the
    steady voltages and the line whose slope is the input resistance; the step that the membrane's
    time constant was fitted to; the rate of spikes.

    Args:
        found: as ``odynn.recordings.inspect`` returns it.
        color_map: matplotlib colour map for the levels.

    Returns:
        The figure.
    """
    small = [
        draw
        for draw, there in (
            (_draw_slope, found.slope is not None),
            (_draw_relaxation, found.relaxation is not None),
            (_draw_rates, found.spiking and found.window is not None),
        )
        if there
    ]
    with style():
        figure = blank(10.5 if small else 7.5, 6.6 if len(small) > 2 else 5.4, layout="constrained")
        sides = figure.subfigures(1, 2, width_ratios=(1.75, 1), wspace=0.03) if small else [figure]
        _draw_sweeps(sides[0], found, color_map)
        if small:
            for axes, draw in zip(np.atleast_1d(sides[1].subplots(len(small), 1)), small, strict=True):
                draw(axes, found)
    return figure


def _stimulus_unit(found: Inspection) -> str:
    unit = found.recording.units["stimulus"]
    return {"uA/cm^2": "µA/cm²"}.get(unit, unit)


def _draw_sweeps(figure, found: Inspection, color_map: str) -> None:
    recording = found.recording
    time, label = time_axis(recording.time)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    count = len(found.sweeps)
    places = np.unique(np.linspace(0, count - 1, min(count, _MOST_SWEEPS)).round().astype(int))
    levels = np.array([sweep.level for sweep in found.sweeps])
    by_level = np.isfinite(levels).any() and np.nanmax(levels) > np.nanmin(levels)
    values = levels if by_level else np.array([sweep.number for sweep in found.sweeps], dtype=float)
    scale = Normalize(np.nanmin(values), np.nanmax(values))
    colours = ListedColormap(shades(color_map, 256))
    width = 0.9 if len(places) <= 12 else 0.6
    for place in places:
        colour = colours(scale(values[place])) if np.isfinite(values[place]) else MUTED
        if count == 1:
            colour = LINES[0]
        for axes, trace in ((upper, recording.responses[found.response]), (lower, recording.stimulus)):
            axes.plot(*envelope(time, trace[:, place], 2500), color=colour, lw=width, alpha=0.85)
    factor = time[-1] / recording.time[-1] if recording.time[-1] else 1.0
    if found.window and (count > 1 or found.slope):
        for axes in (upper, lower):
            axes.axvspan(found.window[0] * factor, found.window[1] * factor, color=SHADE, lw=0, zorder=0)
    upper.set_ylabel(state_label(found.response, recording.units[found.response]))
    upper.set_ylim(*limits([recording.responses[found.response]]))
    lower.set_ylabel(with_unit("stimulus", _stimulus_unit(found)))
    lower.set_ylim(*limits([recording.stimulus]))
    lower.set_xlabel(label)
    lower.set_xlim(time[0], time[-1])
    sweeps = f"{count} sweeps" if count > 1 else "1 sweep"
    if len(places) < count:
        sweeps = f"{len(places)} of {count} sweeps"
    upper.set_title(f"{recording.source.get('file', 'recording')}: {sweeps}")
    for axes in (upper, lower):
        axes.yaxis.set_major_locator(MaxNLocator(6 if axes is upper else 3))
    if count > 1:
        name = with_unit("stimulus in the shaded step", _stimulus_unit(found)) if by_level else "sweep"
        bar = figure.colorbar(
            ScalarMappable(scale, colours), ax=[upper, lower], aspect=45, pad=0.01, label=name
        )
        bar.outline.set_visible(False)


def _draw_slope(axes: Axes, found: Inspection) -> None:
    slope = found.slope
    dense = found.recording.units["stimulus"] != "pA"
    spiking = [s for s in found.sweeps if s.spikes_within and np.isfinite(s.level)]
    if spiking:
        axes.scatter(
            [sweep.level for sweep in spiking],
            [sweep.plateau for sweep in spiking],
            s=14,
            marker="x",
            color=MUTED,
            linewidths=0.8,
            label="with spikes (median)",
        )
    for used, marker, name in ((True, "o", "fitted"), (False, "^", "not fitted")):
        there = slope.used == used
        if there.any():
            axes.scatter(
                slope.levels[there],
                slope.voltages[there],
                s=20,
                marker=marker,
                color=INK if used else "white",
                edgecolors=INK,
                linewidths=0.8,
                label=name,
                zorder=3,
            )
    ends = np.array([slope.levels[slope.used].min(), slope.levels[slope.used].max()])
    text = f"{short(slope.value)} kΩ·cm²" if dense else f"{short(1000 * slope.value)} MΩ"
    axes.plot(ends, slope.intercept + slope.value * ends, color=BEST, lw=1.6, label=text, zorder=4)
    axes.set_xlabel(with_unit("stimulus", _stimulus_unit(found)))
    axes.set_ylabel("steady voltage (mV)")
    axes.set_title("I–V and input resistance")
    axes.legend(loc="best", handletextpad=0.4, labelspacing=0.3)


def _draw_relaxation(axes: Axes, found: Inspection) -> None:
    fit = found.relaxation
    fitted = np.flatnonzero(np.isfinite(fit.fitted))
    last = min(fit.time.size, 2 * int(fitted[-1]) + 1)
    axes.axhline(fit.rest, color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=0)
    axes.plot(
        *envelope(fit.time[:last], fit.trace[:last], 1500), color=INK, lw=0.8, alpha=0.75, label="recording"
    )
    axes.plot(
        fit.time[fitted],
        fit.fitted[fitted],
        color=BEST,
        lw=1.6,
        label=f"τ = {short(fit.tau)} ± {short(fit.error, 2)} ms",
    )
    axes.set_xlabel("time since the onset (ms)")
    axes.set_ylabel("voltage (mV)")
    mean = f", mean of {len(fit.sweeps)}" if len(fit.sweeps) > 1 else ""
    axes.set_title(f"Step to {short(fit.level)} {_stimulus_unit(found)}{mean}")
    axes.legend(loc="best", handletextpad=0.4, labelspacing=0.3)


def _draw_rates(axes: Axes, found: Inspection) -> None:
    seconds = (found.window[1] - found.window[0]) / 1000
    there = [sweep for sweep in found.sweeps if np.isfinite(sweep.level)]
    levels = np.array([sweep.level for sweep in there])
    rates = np.array([sweep.spikes_within for sweep in there]) / seconds
    order = np.argsort(levels, kind="stable")
    axes.plot(levels[order], rates[order], "o-", color=LINES[0], ms=3.5, lw=1, clip_on=False)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(with_unit("stimulus", _stimulus_unit(found)))
    axes.set_ylabel("spikes per second")
    axes.set_title("F–I in the shaded step")
