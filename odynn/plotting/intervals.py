"""The figure of how well the data determine each parameter: errors, spread over starts, profiles."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from odynn.data import Parameter, Target, Uncertainty, Verdict
from odynn.plotting import measures
from odynn.plotting.appearance import BEST, INK, MUTED, RULE, blank, colour, log_axis, style
from odynn.plotting.spelling import resolved, short, with_unit

_WIDTH, _ROW = 10.5, 0.285  # inches
_NAMES, _NUMBERS = 2.5, 3.55  # inches left of the rows, and right of them
_TOP, _BOTTOM = 0.8, 0.12
_COLUMNS, _PANEL = 3, 2.3  # profiles side by side, and the height of one in inches
_SPREAD = "#7f5a3c"
COLOURS = {
    Verdict.DETERMINED: "#0072b2",
    Verdict.WEAKLY_DETERMINED: "#56b4e9",
    Verdict.NOT_DETERMINED: "#c3cad0",
    Verdict.AT_BOUND: "#cc79a7",
    Verdict.NOT_ASSESSED: "#8c8c8c",
}


def words(verdict: int) -> str:
    """Spell a verdict.

    >>> words(2)
    'weakly determined'
    """
    return Verdict(verdict).name.lower().replace("_", " ")


def uncertainty(
    known: Uncertainty, target: Target, *, target_color: str = "black", best_color: str = BEST
) -> Figure:
    """Draw the 95 % interval of each free parameter between its bounds, at the best start.

    The bar is ± 1.96 corrected standard errors, the line below it ± 1.96 standard deviations among the
    starts that fit equally well. Profiles of the likelihood, if there are any, are drawn below.

    Args:
        known: what is known of the parameters.
        target: tells the truth where the target is synthetic.
        target_color: colour of the truth.
        best_color: colour of the best start.

    Returns:
        The figure.
    """
    colour(target_color), colour(best_color)
    rows = list(known.parameters.values())
    truth = dict(target.truth or {})
    count = max(len(rows), 1)
    lines = -(-len(known.profile_values) // _COLUMNS)
    height = _TOP + count * _ROW + _BOTTOM + lines * _PANEL
    with style():
        figure = blank(_WIDTH, height)
        width = _WIDTH - _NAMES - _NUMBERS
        axes = figure.add_axes(
            (_NAMES / _WIDTH, (_BOTTOM + lines * _PANEL) / height, width / _WIDTH, count * _ROW / height)
        )
        axes.set_xlim(-0.012, 1.012)
        axes.set_ylim(count - 0.5, -0.5)
        axes.set_axis_off()
        if not len(known.ids) or not rows:
            text = "no free parameters" if len(known.ids) else "every start diverged: nothing can be told"
            axes.text(0.5, 0, text, ha="center", va="center", color=MUTED)
            return figure
        drawing = _Rows(axes, width / 1.024, known, truth, target_color, best_color)
        drawing.headings()
        for place, row in enumerate(rows):
            drawing.row(place, row)
        _legend(figure, known, truth, target_color, best_color)
        for place, name in enumerate(known.profile_values):
            line, column = divmod(place, _COLUMNS)
            left, bottom = 0.075 + column * 0.325, (lines - line - 1) * _PANEL + 0.55
            panel = figure.add_axes((left, bottom / height, 0.235, (_PANEL - 0.95) / height))
            _profile(panel, known, known.parameters[name], truth.get(name), target_color, best_color)
    return figure


class _Rows:
    """Draws one row a parameter."""

    def __init__(self, axes, width, known: Uncertainty, truth, target_color, best_color):
        self.axes, self.width, self.known, self.truth = axes, width, known, truth
        self.target_color, self.best_color = target_color, best_color

    def headings(self) -> None:
        """Name the columns."""
        options = {"fontsize": 8, "color": MUTED, "va": "bottom"}
        self._text(-_NAMES + 0.12, 0, -0.78, "parameter, unit (scale)", **options)
        self._text(-0.1, 0, -0.78, "lower bound", ha="right", **options)
        self._text(0.1, 1, -0.78, "upper bound", **options)
        self._text(1.42, 1, -0.78, "best", ha="right", **options)
        self._text(1.5, 1, -0.78, "± error", **options)
        self._text(2.25, 1, -0.78, "verdict", **options)

    def _text(self, inches: float, base: float, y: float, text: str, **options) -> None:
        self.axes.text(base + inches / self.width, y, text, clip_on=False, **options)

    def row(self, place: int, row: Parameter) -> None:
        """Draw the interval, the spread and the truth of a parameter, and its numbers."""
        axes, known, name = self.axes, self.known, row.name
        value, error = float(known.values[name][0]), float(known.corrected_errors[name][0])
        verdict = Verdict(known.verdicts[name][0])
        at = float(measures.position(row, value))
        axes.plot([0, 1], [place, place], color=RULE, lw=0.8, zorder=1, solid_capstyle="butt")
        axes.plot([0, 1], [place, place], "|", color=MUTED, ms=7, mew=0.8, zorder=1)
        half = 1.96 * measures.position_error(row, value, error)
        if not np.isnan(half):
            low, high = np.clip([at - half, at + half], 0, 1)
            axes.fill_between(
                [low, high], place - 0.17, place + 0.17, color=COLOURS[verdict], lw=0, alpha=0.85, zorder=2
            )
        half = 1.96 * measures.position_error(row, value, known.equal_spreads[name])
        if np.isfinite(half):
            ends = np.clip([at - half, at + half], 0, 1)
            axes.plot(ends, [place + 0.32] * 2, color=_SPREAD, lw=1.3, zorder=3, solid_capstyle="butt")
        if name in self.truth:
            there = float(measures.position(row, self.truth[name]))
            axes.plot([there] * 2, [place - 0.4, place + 0.4], color=self.target_color, lw=2.2, zorder=3)
        axes.scatter(at, place, s=30, color=self.best_color, edgecolors="white", linewidths=0.6, zorder=6)
        options = {"va": "center", "fontsize": 8}
        unit = "" if row.unit in ("", "1") else row.unit
        scale = " (log)" if row.scale == "log" else ""
        self._text(-_NAMES + 0.12, 0, place, name, color=INK, **(options | {"fontsize": 8.5}))
        small = options | {"fontsize": 7}
        self._text(-0.52, 0, place, f"{unit}{scale}".strip(), color=MUTED, ha="right", **small)
        self._text(-0.1, 0, place, short(row.bounds[0]), color=MUTED, ha="right", **options)
        self._text(0.1, 1, place, short(row.bounds[1]), color=MUTED, **options)
        self._text(
            1.42, 1, place, resolved(value, error), color=INK, ha="right", fontweight="bold", **options
        )
        self._text(1.5, 1, place, spelt_error(error), color=INK, **options)
        self._text(2.25, 1, place, words(verdict), color=_shade(verdict), **options)


def spelt_error(error: float) -> str:
    """Spell a standard error.

    >>> spelt_error(0.125), spelt_error(float("inf"))
    ('± 0.12', '± ∞')
    """
    if np.isnan(error):
        return ""
    return "± ∞" if np.isinf(error) else f"± {short(error, 2)}"


def _shade(verdict: Verdict) -> str:
    return {Verdict.DETERMINED: "#00527f", Verdict.NOT_DETERMINED: MUTED}.get(verdict, INK)


def _legend(figure: Figure, known: Uncertainty, truth, target_color, best_color) -> None:
    entries = [
        Line2D(
            [], [], marker="o", ls="", ms=6, color=best_color, label=f"best fit (start {int(known.ids[0])})"
        )
    ]
    found = {int(verdicts[0]) for verdicts in known.verdicts.values()}
    for verdict in (Verdict.DETERMINED, Verdict.WEAKLY_DETERMINED, Verdict.NOT_DETERMINED):
        if verdict in found:
            label = f"95 % interval, {words(verdict)}"
            entries.append(Patch(color=COLOURS[verdict], alpha=0.85, label=label))
    if known.equal_starts > 1:
        label = f"spread of the {known.equal_starts:.0f} starts that fit equally well"
        entries.append(Line2D([], [], color=_SPREAD, lw=1.3, label=label))
    if truth:
        entries.append(Line2D([], [], marker="|", ls="", ms=11, mew=2.2, color=target_color, label="truth"))
    figure.legend(
        handles=entries,
        loc="upper center",
        ncols=3,
        fontsize=8,
        columnspacing=1.4,
        handletextpad=0.5,
        bbox_to_anchor=(0.5, 1.0),
    )


def _profile(axes, known: Uncertainty, row: Parameter, truth, target_color, best_color) -> None:
    values, losses = known.profile_values[row.name], known.profile_losses[row.name]
    seen = np.isfinite(losses)
    lower, upper = known.profile_lower[row.name], known.profile_upper[row.name]
    if row.scale == "log":
        axes.set_xscale("log")
        log_axis(axes.xaxis)
        if values[seen][-1] < 30 * values[seen][0]:
            axes.xaxis.set_major_formatter(
                lambda value, _: resolved(value, (values[seen][-1] - values[seen][0]) / 10)
            )
            axes.set_xticks(np.geomspace(values[seen][0], values[seen][-1], 4)[1:-1])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.plot(values[seen], losses[seen], color=INK, lw=1.2, marker="o", ms=3, zorder=3)
    middle = known.points == 0
    axes.plot(values[middle], losses[middle], "o", color=best_color, ms=5.5, mec="white", mew=0.6, zorder=5)
    ends = axes.get_xlim()
    inside = [ends[place] if not np.isfinite(end) else end for place, end in enumerate((lower, upper))]
    axes.axvspan(*inside, color=COLOURS[Verdict.WEAKLY_DETERMINED], alpha=0.25, lw=0, zorder=0)
    axes.set_xlim(ends)
    axes.axhline(known.profile_loss, color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=1)
    low = np.nanmin(losses)
    axes.set_ylim(low - 0.4 * (known.profile_loss - low), low + 4.5 * (known.profile_loss - low))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.ticklabel_format(axis="y", useOffset=False)
    if truth is not None:
        axes.axvline(truth, color=target_color, lw=1.6, zorder=2)
        axes.set_xlim(ends)
    axes.set_xlabel(with_unit(row.name, row.unit))
    axes.set_ylabel("lowest loss")
    axes.set_title(f"95 %: {spelt_interval(lower, upper)}", fontsize=8, fontweight="normal")


def spelt_interval(lower: float, upper: float) -> str:
    """Spell the 95 % interval of a profile.

    >>> spelt_interval(-59.9871, -59.9522), spelt_interval(float("-inf"), 2.0)
    ('−59.9871 … −59.9522', 'no limit … 2')
    """
    width = (upper - lower) / 4
    ends = (
        "no limit" if np.isinf(end) else "beyond" if np.isnan(end) else resolved(end, width)
        for end in (lower, upper)
    )
    return " … ".join(ends)
