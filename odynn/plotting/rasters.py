"""The figure of the spikes: when the recording has them, and when the best fits do."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from odynn import spikes
from odynn.data import Best, Target
from odynn.plotting import measures
from odynn.plotting.appearance import (
    BEST,
    INK,
    MUTED,
    RULE,
    SHADE,
    blank,
    colour,
    shades,
    style,
    time_axis,
)
from odynn.plotting.sweeps import Group, sweep_groups

_WIDTH = 10.5
_LEFT, _RIGHT = 0.92, 1.75  # inches beside the axes
_LEGEND, _HEADING, _TICKS, _GAP = 0.34, 0.34, 0.42, 0.1
_ROW, _NOTE = 0.34, 0.2
_NUMBERS = (0.45, 1.15)  # inches right of the axes, of the two columns
# Within a row of height 1: the recording, the best fit, the next best ones.
_RECORDED, _BEST, _NEXT = (0.06, 0.4), (0.44, 0.74), (0.77, 0.94)


def raster(
    target: Target,
    best: Best,
    *,
    color_map: str = "viridis",
    target_color: str = "black",
    best_color: str = BEST,
    most: int = 60,
) -> Figure | None:
    """Draw the times of the recorded spikes and of those of the best fits, one row a sweep.

    Args:
        target: the recorded traces.
        best: simulations of the best starts on the same sweeps, with their scores; may hold no start.
        color_map: matplotlib colour map for the starts after the best.
        target_color: colour of the recording.
        best_color: colour of the best start.
        most: draw at most this many sweeps, chosen evenly from each group, and say so.

    Returns:
        The figure; None where no recorded voltage has a spike.
    """
    colour(target_color), colour(best_color)
    if "V" not in target.observed:
        return None
    recorded = spikes.spike_times(target.observed["V"], target.time)
    if not len(recorded):
        return None
    simulated = np.empty((0, len(best.sweeps), 0))
    if "V" in best.states and len(best.ids):
        simulated = spikes.spike_times(best.states["V"], target.time)
    groups, left_out = sweep_groups(target, most)
    rows = sum(len(group.places) for group in groups)
    foot = _TICKS + (_NOTE if left_out else 0.0)
    height = _LEGEND + len(groups) * (_HEADING + _GAP) + rows * _ROW + foot
    with style():
        figure = blank(_WIDTH, height)
        artist = _Rows(figure, target, best, recorded, simulated, color_map, target_color, best_color)
        artist.legend()
        top = height - _LEGEND
        for group in groups:
            artist.heading(group.heading, top)
            top -= _HEADING
            artist.group(group, top, lowest=group is groups[-1])
            top -= len(group.places) * _ROW + _GAP
        if left_out:
            total = len(target.sweeps)
            words = f"{total - left_out} of {total} sweeps drawn, chosen evenly; the tables hold them all."
            figure.text(_LEFT / _WIDTH, 0.09 / height, words, color=MUTED, fontsize=8)
    return figure


class _Rows:
    """Places rows by inches, so that one sweep and thirty are equally legible."""

    def __init__(self, figure, target, best, recorded, simulated, color_map, target_color, best_color):
        self.figure = figure
        self.target = target
        self.best = best
        self.recorded, self.simulated = recorded, simulated
        self.target_color, self.best_color = target_color, best_color
        self.starts = simulated.shape[2]
        self.shades = shades(color_map, max(self.starts - 1, 0))
        self.places = measures.places_of(target, best) if self.starts else np.arange(len(target.sweeps))
        time, self.time_label = time_axis(target.time)
        self.scale = (time[-1] - time[0]) / (target.time[-1] - target.time[0])
        self.ends = (2 * time[0] - time[1], time[-1])

    def legend(self) -> None:
        name = "recording" if self.target.truth is None else "target"
        handles = [_tick(self.target_color, name)]
        if self.starts:
            handles.append(_tick(self.best_color, f"best fit (start {self.best.ids[0]})"))
        if self.starts > 1:
            middle = self.shades[len(self.shades) // 2]
            handles.append(_tick(middle, f"next best {self.starts - 1}"))
        height = self.figure.get_figheight()
        self.figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(_LEFT / _WIDTH - 0.012, 1 - 0.03 / height),
            ncols=len(handles),
            borderpad=0.2,
            handlelength=0.8,
        )

    def heading(self, words: str, top: float) -> None:
        height = self.figure.get_figheight()
        y = (top - _HEADING + 0.1) / height
        self.figure.add_artist(Line2D([_LEFT / _WIDTH, 0.99], [top / height] * 2, color=RULE, lw=0.8))
        self.figure.text(_LEFT / _WIDTH, y, words, fontsize=9.5, fontweight="bold", color=INK)
        right = _WIDTH - _RIGHT
        if self.starts:
            for offset, label in zip(_NUMBERS, ("spikes", "Γ"), strict=True):
                x = (right + offset) / _WIDTH
                self.figure.text(x, y, label, fontsize=8, color=MUTED, ha="center")

    def group(self, group: Group, top: float, lowest: bool) -> None:
        places = group.places
        whole, rows = self.figure.get_figheight(), len(places)
        axes = self.figure.add_axes(
            (
                _LEFT / _WIDTH,
                (top - rows * _ROW) / whole,
                (_WIDTH - _LEFT - _RIGHT) / _WIDTH,
                rows * _ROW / whole,
            )
        )
        axes.set_xlim(*self.ends)
        axes.set_ylim(rows, 0)
        axes.xaxis.set_major_locator(MaxNLocator(8))
        axes.set_yticks(np.arange(rows) + 0.5, [str(self.target.sweeps[place]) for place in places])
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelbottom=lowest, length=3 if lowest else 0)
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(lowest)
        axes.set_ylabel("sweep")
        if lowest:
            axes.set_xlabel(self.time_label)
        for row, place in enumerate(places):
            if group.held_out:
                axes.axhspan(row + 0.03, row + 0.97, color=SHADE, lw=0, zorder=0)
            elif row:
                axes.axhline(row, color=RULE, lw=0.5, zorder=0)
            self._row(axes, row, place)

    def _row(self, axes: Axes, row: int, place: int) -> None:
        self._ticks(axes, self.recorded[:, place], row, _RECORDED, color=self.target_color, lw=1.2)
        for rank in reversed(range(self.starts)):
            times = self.simulated[:, self.places[place], rank]
            if rank:
                self._ticks(axes, times, row, _NEXT, color=self.shades[rank - 1], lw=0.8, alpha=0.7)
            else:
                self._ticks(axes, times, row, _BEST, color=self.best_color, lw=1.4)
        if self.starts:
            self._numbers(axes, row, self.places[place])

    def _ticks(self, axes: Axes, times: np.ndarray, row: int, extent: tuple[float, float], **look) -> None:
        times = times[np.isfinite(times)] * self.scale
        axes.vlines(times, row + extent[0], row + extent[1], **look)

    def _numbers(self, axes: Axes, row: int, place: int) -> None:
        counts = [self.best.scores.get(name) for name in ("spike_count", "spike_count_observed", "gamma")]
        if any(values is None for values in counts):
            return
        simulated, recorded, factor = (values[place, 0] for values in counts)
        words = "not finite" if not np.isfinite(simulated) else f"{simulated:.0f} for {recorded:.0f}"
        right = f"{factor:.2f}".replace("-", "−") if np.isfinite(factor) else "–"
        width = _WIDTH - _LEFT - _RIGHT
        off = np.isfinite(simulated) and abs(simulated - recorded) > 1
        for offset, text, strong in zip(_NUMBERS, (words, right), (off, False), strict=True):
            axes.text(
                1 + offset / width,
                row + 0.5,
                text,
                transform=axes.get_yaxis_transform(),
                ha="center",
                va="center",
                fontsize=8.5,
                color=self.best_color if strong else INK,
            )


def _tick(color, label: str) -> Line2D:
    return Line2D([], [], color=color, marker="|", ls="none", ms=9, mew=1.6, label=label)
