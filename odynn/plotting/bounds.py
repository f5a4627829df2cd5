"""The figure of where the fitted parameters lie within their bounds."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from odynn.data import Fit, Parameter, Target
from odynn.plotting import measures
from odynn.plotting.appearance import BEST, INK, MUTED, RULE, blank, colour, colour_map, style
from odynn.plotting.spelling import short

_WIDTH = 10.5
_ROW = 0.285  # inches
_NAMES, _TRUTH, _VALUES = 2.5, 0.55, 2.75  # inches left of the axes, and right of them
_TOP, _BOTTOM = 0.78, 0.14
_RANGE = "#dfe5ea"
_WORDS = {"undetermined": "undetermined", "loosely determined": "loose", "determined": "determined"}


def parameters(
    fit: Fit,
    target: Target,
    number: int = 5,
    *,
    color_map: str = "viridis",
    target_color: str = "black",
    best_color: str = BEST,
) -> Figure:
    """Draw each free parameter on an axis of its own from its lower to its upper bound.

    All starts are drawn, the better the stronger; a bracket holds 90 % of the starts that fit about
    equally well (loss within 10 % of the best). Fixed parameters are listed below, and those that share
    the value of another.

    Args:
        fit: all starts of an experiment.
        target: tells the truth where the target is synthetic.
        number: how many of the best starts are drawn strongly.
        color_map: matplotlib colour map for loss over best loss.
        target_color: colour of the truth.
        best_color: colour of the best start.

    Returns:
        The figure.
    """
    colour(target_color), colour(best_color)
    rows = measures.free_parameters(fit)
    truth = dict(target.truth or {})
    held = measures.fixed_values(fit)
    note = _fixed_note(fit, held)
    height = _TOP + max(len(rows), 1) * _ROW + _BOTTOM + 0.16 * len(note)

    with style():
        figure = blank(_WIDTH, height)
        width = _WIDTH - _NAMES - _VALUES - (_TRUTH if truth else 0)
        axes = figure.add_axes(
            (
                _NAMES / _WIDTH,
                (_BOTTOM + 0.16 * len(note)) / height,
                width / _WIDTH,
                max(len(rows), 1) * _ROW / height,
            )
        )
        axes.set_xlim(-0.012, 1.012)
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        axes.set_axis_off()
        drawing = _Rows(axes, width, fit, number, color_map, target_color, best_color)
        drawing.headings(bool(truth))
        found = measures.verdicts(fit)
        for place, row in enumerate(rows):
            drawing.row(place, row, truth.get(row.name), *found[row.name])
        if not rows:
            axes.text(0.5, 0, "no free parameters", ha="center", va="center", color=MUTED)
        drawing.legend(figure, bool(truth))
        for line, words in enumerate(note):
            figure.text(0.02, (0.08 + 0.16 * (len(note) - 1 - line)) / height, words, fontsize=8, color=MUTED)
    return figure


def _fixed_note(fit: Fit, held: dict[str, float]) -> list[str]:
    entries = []
    for name, value in held.items():
        unit = fit.parameters[name].unit
        entries.append(f"{name} = {short(value)}{'' if unit in ('', '1') else ' ' + unit}")
    shared = [f"{row.name} = {row.follows}" for row in fit.parameters.values() if row.follows]
    lines = []
    for title, listed in (("Held fixed", entries), ("Shared", shared)):
        if listed:
            text = f"{title}: " + ", ".join(entry.replace(" ", "\u00a0") for entry in listed)
            lines += textwrap.wrap(text, 150, break_on_hyphens=False)
    return lines


class _Rows:
    """Draws one row a parameter."""

    def __init__(self, axes: Axes, width, fit: Fit, number: int, color_map, target_color, best_color):
        self.axes = axes
        self.width = width / 1.024  # inches from bound to bound
        self.fit = fit
        self.target_color = target_color
        self.best_color = best_color
        order = measures.ranking(fit)
        self.good = measures.usable(fit)[order]
        self.order = order
        self.strong = order[self.good][: max(number, 1)]
        self.near = measures.equally_good(fit)
        self.colours = colour_map(color_map)
        self.spread_column = 1.45
        # Starts of one rank stand at one height in every row; the golden ratio spreads any number.
        self.offsets = 0.56 * ((np.arange(len(order)) * 0.6180339887) % 1.0 - 0.5)
        self.ratio = self._ratio()

    def _best_id(self) -> int:
        return int(self.fit.ids[self.strong[0]])

    def _ratio(self) -> np.ndarray:
        """Return [rank] how far a start is from the best, 0 (as good) to 1 (a hundred times the loss)."""
        far = np.ones(len(self.order))
        loss = self.fit.loss[self.order[self.good]].astype(float)
        if loss.size:
            best = max(loss[0], np.finfo(float).tiny)
            far[self.good] = np.clip(np.log10(np.maximum(loss, best) / best) / 2, 0, 1)
        return far

    def headings(self, truth: bool) -> None:
        """Name the columns."""
        y = -0.78
        style = {"fontsize": 8, "color": MUTED, "va": "bottom"}
        self._text(-_NAMES + 0.12, y, "parameter, unit (scale)", **style)
        self._text(-0.1, y, "lower bound", ha="right", **style)
        self._right(0.1, y, "upper bound", **style)
        self._right(1.32, y, "best", ha="right", **style)
        if truth:
            self.spread_column = 2.0
            self._right(1.88, y, "truth", ha="right", **style)
        self._right(self.spread_column, y, "spread", **style)

    def _text(self, inches: float, y: float, text: str, **options) -> None:
        self.axes.text(self._x(inches, 0.0), y, text, clip_on=False, **options)

    def _right(self, inches: float, y: float, text: str, **options) -> None:
        self.axes.text(self._x(inches, 1.0), y, text, clip_on=False, **options)

    def _x(self, inches: float, base: float) -> float:
        return base + inches / self.width

    def row(self, place: int, row: Parameter, truth: float | None, width: float, verdict: str) -> None:
        """Draw a parameter: its range, its starts, the best ones, the truth, and the numbers."""
        axes = self.axes
        values = np.asarray(self.fit.values[row.name], dtype=float)
        where = measures.position(row, values)
        lower, upper = measures.position(row, row.start)
        axes.fill_between([lower, upper], place - 0.34, place + 0.34, color=_RANGE, lw=0, zorder=0)
        axes.plot([0, 1], [place, place], color=RULE, lw=0.8, zorder=1, solid_capstyle="butt")
        axes.plot([0, 1], [place, place], "|", color=MUTED, ms=7, mew=0.8, zorder=1)
        reach = self.order[::-1]
        far = self.ratio[::-1]
        shades = self.colours(0.08 + 0.74 * far)
        shades[:, 3] = np.where(self.good[::-1], 0.75 - 0.55 * far, 0.12)
        size = float(np.clip(500 / max(len(reach), 1), 4, 11))
        axes.scatter(where[reach], place + self.offsets[::-1], s=size, c=shades, linewidths=0, zorder=2)
        if len(self.near) >= measures.ENOUGH:
            low, high = measures.middle(where[self.near])
            axes.plot(
                [low, low, high, high], place + np.array([0.3, 0.4, 0.4, 0.3]), color=INK, lw=0.9, zorder=5
            )
        if truth is not None:
            at = float(measures.position(row, truth))
            axes.plot([at, at], [place - 0.42, place + 0.42], color=self.target_color, lw=2.2, zorder=3)
        if len(self.strong) > 1:
            axes.scatter(
                where[self.strong[1:]],
                np.full(len(self.strong) - 1, place),
                s=26,
                facecolors="white",
                edgecolors=self.best_color,
                linewidths=1.1,
                zorder=5,
            )
        if len(self.strong):
            axes.scatter(
                where[self.strong[0]],
                place,
                s=36,
                color=self.best_color,
                edgecolors="white",
                linewidths=0.6,
                zorder=6,
            )
        self._numbers(place, row, truth, width, verdict)

    def _numbers(self, place: int, row: Parameter, truth: float | None, width: float, verdict: str) -> None:
        style = {"va": "center", "fontsize": 8}
        unit = "" if row.unit in ("", "1") else row.unit
        self._text(-_NAMES + 0.12, place, row.name, color=INK, **(style | {"fontsize": 8.5}))
        scale = " (log)" if row.scale == "log" else ""
        self._text(
            -0.52, place, f"{unit}{scale}".strip(), color=MUTED, ha="right", **(style | {"fontsize": 7})
        )
        self._text(-0.1, place, short(row.bounds[0]), color=MUTED, ha="right", **style)
        self._right(0.1, place, short(row.bounds[1]), color=MUTED, **style)
        if len(self.strong):
            value = float(self.fit.values[row.name][self.strong[0]])
            self._right(1.32, place, short(value), color=INK, ha="right", fontweight="bold", **style)
        if truth is not None:
            self._right(1.88, place, short(truth), color=INK, ha="right", **style)
        if verdict == "not judged":
            self._right(self.spread_column, place, "–", color=MUTED, **style)
        else:
            colours = {"undetermined": self.best_color, "determined": MUTED}
            percent = "<1 %" if width < 0.01 else f"{100 * width:.0f} %"
            text = f"{percent} {_WORDS[verdict]}"
            self._right(
                self.spread_column, place, text, color=colours.get(verdict, INK), **(style | {"fontsize": 7})
            )

    def legend(self, figure: Figure, truth: bool) -> None:
        """Explain the marks, on top."""
        entries = [
            Line2D(
                [],
                [],
                marker="o",
                ls="",
                ms=6,
                color=self.best_color,
                label=f"best fit (start {self._best_id()})" if len(self.strong) else "best fit",
            ),
        ]
        if len(self.strong) > 1:
            entries.append(
                Line2D(
                    [],
                    [],
                    marker="o",
                    ls="",
                    ms=5,
                    mfc="white",
                    mec=self.best_color,
                    label=f"next {len(self.strong) - 1} best",
                )
            )
        if truth:
            entries.append(
                Line2D([], [], marker="|", ls="", ms=11, mew=2.2, color=self.target_color, label="truth")
            )
        entries.append(Patch(color=_RANGE, label="starts drawn from here"))
        for far, label in ((0.0, "as good as the best"), (0.5, "10 × its loss"), (1.0, "≥ 100 ×")):
            shade = self.colours(0.08 + 0.74 * far)
            entries.append(
                Line2D([], [], marker="o", ls="", ms=3.5, color=shade, alpha=0.75 - 0.4 * far, label=label)
            )
        if len(self.near) >= measures.ENOUGH:
            entries.append(
                Line2D([], [], color=INK, lw=0.9, label=f"90 % of the {len(self.near)} about equally good")
            )
        figure.legend(
            handles=entries,
            loc="upper center",
            ncols=4,
            fontsize=8,
            columnspacing=1.4,
            handletextpad=0.4,
            bbox_to_anchor=(0.5, 1.0),
        )
