"""The figure of the recorded traces with the best fits on top."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

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
    envelope,
    limits,
    shades,
    style,
    time_axis,
)
from odynn.plotting.panels import CURRENT
from odynn.plotting.spelling import measure, score, state_label

_WIDTH = 10.5
_LEFT, _RIGHT = 0.92, 0.28  # inches beside the panels
_HEADING, _TITLE, _SCORE = 0.34, 0.19, 0.17
_STIMULUS, _GAP, _CELL_GAP, _TICKS = 0.42, 0.07, 0.15, 0.36
_COLUMN_GAP = 0.22
_UNWEIGHED = {"color": MUTED, "alpha": 0.2, "lw": 0}


@dataclass(frozen=True)
class Group:
    """Sweeps that are drawn together.

    Attributes:
        heading: above them.
        name: "training" or "held-out".
        places: on the sweep axis of the target.
        held_out: whether they are.
    """

    heading: str
    name: str
    places: np.ndarray
    held_out: bool


def traces(
    target: Target,
    best: Best,
    *,
    color_map: str = "viridis",
    target_color: str = "black",
    best_color: str = BEST,
    most: int = 30,
) -> Figure:
    """Draw each sweep's recording, the best fits on top, and the stimulus below.

    Training and held-out sweeps stand in two groups, each panel with the RMSE and R² of the best
    start. All panels share their axes. Times of weight 0, which the fit passes over, are shaded.

    Args:
        target: the recorded traces, [time, sweep] per observed state.
        best: simulations of the best starts on the same sweeps; may hold no start.
        color_map: matplotlib colour map for the starts after the best.
        target_color: colour of the recording.
        best_color: colour of the best start.
        most: draw at most this many sweeps, chosen evenly from each group, and say so.

    Returns:
        The figure.
    """
    colour(target_color), colour(best_color)
    groups, left_out = sweep_groups(target, most)
    columns = _columns([len(group.places) for group in groups])
    states = list(target.observed)
    rows = [-(-len(group.places) // columns) for group in groups]
    panel = 1.55 if sum(rows) <= 3 else 1.15 if sum(rows) <= 6 else 0.95
    cell = _TITLE + len(states) * (_SCORE + panel + _GAP) + _STIMULUS + _CELL_GAP
    legend = 0.34
    height = legend + sum(_HEADING + row * cell + _TICKS for row in rows) + (0.25 if left_out else 0.05)

    with style():
        figure = blank(_WIDTH, height)
        artist = _Panels(figure, target, best, color_map, target_color, best_color, columns)
        artist.legend(legend)
        top = height - legend
        for group, row_count in zip(groups, rows, strict=True):
            artist.heading(group, top)
            top -= _HEADING
            for index, place in enumerate(group.places):
                row, column = divmod(index, columns)
                lowest = index + columns >= len(group.places)
                artist.cell(group, place, column, top - row * cell, panel, lowest)
            top -= row_count * cell + _TICKS
        if left_out:
            total = len(target.sweeps)
            figure.text(
                _LEFT / _WIDTH,
                0.09 / height,
                f"{total - left_out} of {total} sweeps drawn, chosen evenly; the tables hold them all.",
                color=MUTED,
                fontsize=8,
            )
    return figure


def sweep_groups(target: Target, most: int) -> tuple[list[Group], int]:
    """Return the training and the held-out sweeps, and how many were left out.

    Args:
        target: what is drawn.
        most: keep about this many sweeps, chosen evenly from each group.
    """
    train = np.asarray(target.train, dtype=bool)
    total = len(train)
    groups = []
    for held_out, name in ((False, "training"), (True, "held-out")):
        places = np.flatnonzero(train != held_out)
        if not places.size:
            continue
        count = len(places)
        if total > most:
            count = max(1, round(len(places) * most / total))
        chosen = places[np.unique(np.linspace(0, len(places) - 1, count).round().astype(int))]
        what = "fitted" if not held_out else "never seen by the fit"
        groups.append(Group(f"{name.capitalize()} sweeps, {what}", name, chosen, held_out))
    return groups, total - sum(len(group.places) for group in groups)


def _columns(sizes: list[int]) -> int:
    """Return how many panels stand side by side: as many as leave the fewest places empty."""
    largest = max(sizes, default=1)
    if largest < 3:
        return largest
    empty = {columns: sum(-size % columns for size in sizes) for columns in (3, 4, 5) if columns <= largest}
    least = min(empty.values())
    fitting = [columns for columns, places in empty.items() if places == least]
    return fitting[0] if sum(sizes) < 10 else fitting[-1]


def _spike_words(best: Best, place: int) -> list[str]:
    """Return the scores of the best start's spikes on one sweep in words; none without spikes."""
    counts = [best.scores.get(name) for name in ("spike_count", "spike_count_observed", "gamma")]
    if any(values is None for values in counts):
        return []
    simulated, recorded, factor = (values[place, 0] for values in counts)
    if not np.isfinite(simulated) or simulated + recorded == 0:
        return []
    words = [f"{simulated:.0f} for {recorded:.0f} spike{'s' if recorded != 1 else ''}"]
    return words + ([f"Γ {factor:.2f}".replace("-", "−")] if np.isfinite(factor) else [])


class _Panels:
    """Places panels by inches, so that one sweep and thirty are equally legible."""

    def __init__(self, figure, target, best, color_map, target_color, best_color, columns):
        self.figure = figure
        self.target = target
        self.best = best
        self.target_color = target_color
        self.best_color = best_color
        self.columns = columns
        self.starts = len(best.ids)
        self.shades = shades(color_map, max(self.starts - 1, 0))
        self.width = (_WIDTH - _LEFT - _RIGHT - (columns - 1) * _COLUMN_GAP) / columns
        self.places = measures.places_of(target, best)
        self.time, self.time_label = time_axis(target.time)
        self.most = int(2 * 150 * self.width)
        best_only = {name: states[..., :1] for name, states in best.states.items()}
        self.limits = {
            state: limits([trace], [best_only[state]] if state in best_only else [])
            for state, trace in target.observed.items()
        }
        self.stimulus_limits = limits([target.stimulus])

    def legend(self, height: float) -> None:
        handles = [Line2D([], [], color=self.target_color, lw=1.6, label="recording")]
        if self.target.truth is not None:
            handles[0].set_label("target")
        if self.starts:
            handles.append(
                Line2D([], [], color=self.best_color, lw=1.6, label=f"best fit (start {self.best.ids[0]})")
            )
        if self.starts > 1:
            middle = self.shades[len(self.shades) // 2]
            handles.append(
                Line2D([], [], color=middle, lw=1, alpha=0.6, label=f"next best {self.starts - 1}")
            )
        handles.append(Line2D([], [], color=MUTED, lw=1, label="stimulus"))
        if self.target.weights is not None and (self.target.weights == 0).any():
            handles.append(Patch(**_UNWEIGHED, label="not fitted (weight 0)"))
        self.figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(_LEFT / _WIDTH - 0.012, 1 - 0.03 / self.figure.get_figheight()),
            ncols=len(handles),
            borderpad=0.2,
        )

    def heading(self, group: Group, top: float) -> None:
        height = self.figure.get_figheight()
        y = (top - _HEADING + 0.1) / height
        self.figure.add_artist(
            Line2D([_LEFT / _WIDTH, 1 - _RIGHT / _WIDTH], [top / height] * 2, color=RULE, lw=0.8)
        )
        self.figure.text(_LEFT / _WIDTH, y, group.heading, fontsize=9.5, fontweight="bold", color=INK)

    def _axes(self, column: int, top: float, height: float) -> Axes:
        whole = self.figure.get_figheight()
        left = _LEFT + column * (self.width + _COLUMN_GAP)
        axes = self.figure.add_axes(
            (left / _WIDTH, (top - height) / whole, self.width / _WIDTH, height / whole)
        )
        # Times are those at the end of each step, so the first step begins one step earlier.
        axes.set_xlim(2 * self.time[0] - self.time[1], self.time[-1])
        axes.yaxis.set_major_locator(MaxNLocator(4 if height > 0.6 else 2))
        # Beside a neighbour, a label at the right end would run into its first one.
        prune = "upper" if self.columns > 3 else None
        axes.xaxis.set_major_locator(MaxNLocator(5 if self.columns < 4 else 3, prune=prune))
        return axes

    def cell(self, group: Group, place: int, column: int, top: float, panel: float, lowest: bool) -> None:
        y = top - _TITLE
        left = (_LEFT + column * (self.width + _COLUMN_GAP)) / _WIDTH
        whole = self.figure.get_figheight()
        title = f"{group.name} sweep {self.target.sweeps[place]}"
        self.figure.text(left, (y + 0.03) / whole, title, fontsize=8.5, fontweight="bold", color=INK)
        for state in self.target.observed:
            y -= _SCORE
            self.figure.text(left, (y + 0.04) / whole, self._score(state, place), fontsize=7.5, color=MUTED)
            axes = self._axes(column, y, panel)
            self._draw(axes, state, place, group.held_out)
            axes.set_ylim(*self.limits[state])
            self._bare(axes, column, state_label(state, self.target.units.get(state)))
            axes.tick_params(labelbottom=False, length=2)
            y -= panel + _GAP
        axes = self._axes(column, y, _STIMULUS)
        axes.plot(*envelope(self.time, self.target.stimulus[:, place], self.most), color=MUTED, lw=0.9)
        axes.set_ylim(*self.stimulus_limits)
        self._bare(axes, column, f"stimulus\n({self.target.units.get('stimulus', CURRENT)})", fontsize=7.5)
        axes.tick_params(labelbottom=lowest, length=2)
        if lowest:
            axes.set_xlabel(self.time_label)

    def _bare(self, axes: Axes, column: int, label: str, **options) -> None:
        if column == 0:
            axes.set_ylabel(label, va="center", **options)
            axes.yaxis.set_label_coords(-0.66 / self.width, 0.5)
        else:
            axes.tick_params(labelleft=False)

    def _draw(self, axes: Axes, state: str, place: int, held_out: bool) -> None:
        if held_out:
            axes.set_facecolor(SHADE)
        for first, last in self._unweighed(place):
            axes.axvspan(first, last, **_UNWEIGHED, zorder=0)
        recorded = self.target.observed[state][:, place]
        axes.plot(*envelope(self.time, recorded, self.most), color=self.target_color, lw=1.1, alpha=0.75)
        simulated = self.best.states.get(state)
        if simulated is None:
            return
        for rank in reversed(range(self.starts)):
            trace = envelope(self.time, simulated[:, self.places[place], rank], self.most)
            if rank:
                axes.plot(*trace, color=self.shades[rank - 1], lw=0.8, alpha=0.55)
            else:
                axes.plot(*trace, color=self.best_color, lw=1.2)

    def _unweighed(self, place: int) -> list[tuple[float, float]]:
        """Return when the samples of a sweep have the weight 0: beginnings and ends, as drawn."""
        if self.target.weights is None:
            return []
        out = np.concatenate([[False], self.target.weights[:, place] == 0, [False]])
        edges = np.flatnonzero(np.diff(out))
        begins = np.concatenate([[2 * self.time[0] - self.time[1]], self.time])
        return [(begins[first], self.time[last - 1]) for first, last in edges.reshape(-1, 2)]

    def _beyond(self, state: str, place: int) -> bool:
        if state not in self.best.states:
            return False
        trace = self.best.states[state][:, self.places[place], 0]
        low, high = self.limits[state]
        return not np.any((trace >= low) & (trace <= high))

    def _score(self, state: str, place: int) -> str:
        where = self.places[place]
        words = []
        spiking = _spike_words(self.best, where) if state == "V" and self.starts else []
        words += spiking
        for name, label in (("rmse", "RMSE"), ("r2", "R²")):
            values = self.best.scores.get(f"{name}_{state}")
            if values is None or not self.starts or not np.isfinite(values[where, 0]):
                continue
            if spiking and (name == "r2" or self.columns > 3):
                continue  # beside spikes it says less, and there is no room
            value = values[where, 0]
            unit = self.target.units.get(state, "1")
            spelt = score(value) if name == "r2" else measure(value, unit)
            words.append(f"{label} {spelt}")
        if words and self._beyond(state, place):
            words.append("beyond the axis")
        if words:
            return " · ".join(words)
        simulated = self.best.states.get(state)
        if not self.starts or simulated is None:
            return "no simulation"
        return "" if np.isfinite(simulated[:, where, 0]).all() else "best start is not finite here"
