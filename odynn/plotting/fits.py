"""Figures of how all starts fared: their final losses, and the way there."""

from collections.abc import Mapping

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odynn.data import Fit, Status, Target
from odynn.plotting import measures
from odynn.plotting.appearance import BEST, INK, MUTED, SHADE, STATUS, blank, colour_map, log_axis, style
from odynn.plotting.spelling import measure, with_unit


def waterfall(
    fit: Fit,
    target: Target,
    *,
    weights: Mapping[str, float] | None = None,
    best_color: str = BEST,
) -> Figure:
    """Draw the final loss of every start, sorted, on a logarithmic axis.

    Starts that diverged stand at the right margin. Losses before the fit are drawn faintly above.

    Args:
        fit: all starts of an experiment.
        target: tells the noise floor where the noise is known.
        weights: weight of each state in the loss; None: as the losses of the fit tell.
        best_color: colour of the best start.

    Returns:
        The figure.
    """
    order = measures.ranking(fit)
    good = measures.usable(fit)[order]
    count, lost = int(good.sum()), int((~good).sum())
    loss, before = fit.loss[order].astype(float), fit.start_loss[order].astype(float)
    status = np.asarray(fit.status)[order]
    gap = max(1.0, 0.03 * len(order))
    ranks = np.arange(1, len(order) + 1, dtype=float)
    ranks[~good] += gap
    floor = measures.noise_floor(fit, target, weights)
    unit = fit.units.get("loss", "1")
    low, high = _log_limits(loss[good], before[np.isfinite(before)], floor)
    size = float(np.clip(2200 / max(len(order), 1), 7, 34))

    with style():
        figure = blank(9.0, 4.3, layout="constrained")
        axes = figure.add_subplot()
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.set_xlim(1 - gap, len(order) + gap + (gap if lost else 0))
        log_axis(axes.yaxis)
        ticks = MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]).tick_values(1, max(len(order), 2))
        axes.set_xticks([tick for tick in (1, *ticks) if 1 <= tick <= max(count, 1)])
        axes.set_xlabel("start, ranked by its final loss")
        axes.set_ylabel(with_unit("training loss", unit))

        inside = np.isfinite(before)
        if inside.any():
            axes.scatter(
                ranks[inside],
                np.clip(before[inside], low, high),
                s=size * 0.5,
                color="#b9bec4",
                linewidths=0,
                label="before the fit",
                clip_on=False,
            )
        for code, (name, shade, marker) in STATUS.items():
            here = good & (status == code)
            if here.any():
                axes.scatter(
                    ranks[here],
                    np.clip(loss[here], low, high),
                    s=size,
                    color=shade,
                    marker=marker,
                    linewidths=0.8 if marker == "x" else 0,
                    label=f"{name} ({int(here.sum())})",
                    zorder=3,
                )
        if lost:
            _margin(axes, ranks[~good], loss[~good], (low, high), count + gap / 2 + 0.5, size, lost)
        if count:
            axes.scatter(
                ranks[:1],
                np.clip(loss[:1], low, high),
                s=80,
                marker="o",
                facecolors="none",
                edgecolors=best_color,
                linewidths=1.8,
                label=f"best: start {fit.ids[order[0]]}, {measure(loss[0], unit)}",
                zorder=4,
                clip_on=False,
            )
        else:
            axes.set_title(f"all {len(order)} starts diverged")
        if floor is not None:
            axes.axhline(
                floor, color=INK, lw=1, ls=(0, (4, 3)), zorder=1, label=f"noise floor, {measure(floor, unit)}"
            )
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, handletextpad=0.3)
    return figure


def _margin(axes, ranks, loss, edges, left, size, lost) -> None:
    """Show the starts that diverged in a band of their own: at their loss if there is one, else on top."""
    low, high = edges
    name, shade, marker = STATUS[Status.DIVERGED]
    axes.axvspan(left, axes.get_xlim()[1], color=SHADE, lw=0, zorder=0)
    at = np.clip(np.where(np.isfinite(loss), loss, high), low, high * 0.85)
    label = f"{name} ({lost})"
    axes.scatter(ranks, at, s=size, color=shade, marker=marker, linewidths=0.9, label=label, zorder=3)


def _log_limits(loss: np.ndarray, before: np.ndarray, floor: float | None) -> tuple[float, float]:
    """Return limits that show every final loss; losses before the fit beyond them lie on the edge."""
    positive = loss[loss > 0]
    shown = [positive, [floor] if floor else []]
    usual = before[before > 0]
    if usual.size:
        high = np.percentile(usual, 98)
        shown.append([min(high, positive.max() * 1e5) if positive.size else high])
    shown = np.concatenate([np.asarray(part, dtype=float) for part in shown])
    if not shown.size:
        return 0.1, 10.0
    low, high = shown.min(), shown.max()
    pad = max((high / low) ** 0.07, 1.6)
    return low / pad, high * pad


def history(
    fit: Fit,
    *,
    color_map: str = "viridis",
    best_color: str = BEST,
) -> Figure:
    """Draw the loss of every start over the iterations, with the stages marked.

    Each stage minimises a loss of its own (a nudged stage follows the recording by force), so the
    lines break where a stage ends.

    Args:
        fit: all starts of an experiment.
        color_map: matplotlib colour map for the final ranks of the starts.
        best_color: colour of the best start.

    Returns:
        The figure.
    """
    order = measures.ranking(fit)
    losses = np.asarray(fit.history, dtype=float)
    losses = np.where(np.isfinite(losses) & (losses > 0), losses, np.nan)
    stages = np.asarray(fit.stage)
    edges = np.flatnonzero(np.diff(stages)) + 1
    bounds = [0, *edges, len(stages)]
    steps = np.arange(1, len(stages) + 1, dtype=float)
    colours = colour_map(color_map)
    normal = Normalize(0, max(len(order) - 1, 1))
    anything = np.isfinite(losses).any()

    with style():
        figure = blank(9.0, 4.0, layout="constrained")
        axes = figure.add_subplot()
        axes.set_yscale("log")
        log_axis(axes.yaxis)
        axes.set_xlim(0.5, max(len(stages), 1) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10]))
        axes.set_xlabel("iteration")
        axes.set_ylabel(with_unit("loss that the stage minimises", fit.units.get("loss")))
        if not anything:
            axes.set_ylim(0.1, 10)
            axes.set_title("no iteration with a finite loss")
            return figure

        segments, shades = [], []
        for rank in reversed(range(len(order))):
            for first, last in zip(bounds[:-1], bounds[1:], strict=True):
                part = losses[first:last, order[rank]]
                segments.append(np.column_stack([steps[first:last], part])[np.isfinite(part)])
                shades.append(colours(0.08 + 0.74 * normal(rank)))
        opacity = float(np.clip(12 / max(len(order), 1), 0.12, 0.7))
        axes.add_collection(LineCollection(segments, colors=shades, linewidths=0.8, alpha=opacity))
        if len(stages) == 1 or any(
            last - first == 1 for first, last in zip(bounds, bounds[1:], strict=False)
        ):
            # A stage of one iteration has no line to see.
            for first, last in zip(bounds[:-1], bounds[1:], strict=True):
                if last - first == 1:
                    axes.plot(
                        np.full(len(order), steps[first]), losses[first], ".", color=MUTED, ms=3, alpha=0.5
                    )
        if measures.usable(fit).any():
            for first, last in zip(bounds[:-1], bounds[1:], strict=True):
                axes.plot(
                    steps[first:last],
                    losses[first:last, order[0]],
                    color=best_color,
                    lw=1.8,
                    marker="o" if last - first == 1 else None,
                    ms=4,
                    label=f"best: start {fit.ids[order[0]]}" if first == 0 else None,
                )
            axes.legend(loc="upper right", bbox_to_anchor=(1, 1.12), borderaxespad=0)
        finite = losses[np.isfinite(losses)]
        axes.set_ylim(*_log_limits(finite, np.array([]), None))
        ends = np.concatenate([[0.5], edges + 0.5, [len(stages) + 0.5]])
        for first, last, place in zip(ends[:-1], ends[1:], bounds, strict=False):
            if first > 0.5:
                axes.axvline(first, color=MUTED, lw=0.8, ls=(0, (2, 2)))
            axes.annotate(
                f"stage {stages[place]}",
                ((first + last) / 2, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=MUTED,
            )
        if len(order) > 2:
            scale = figure.colorbar(
                _mappable(normal, color_map), ax=axes, pad=0.015, fraction=0.03, ticks=[0, len(order) - 1]
            )
            scale.ax.set_yticklabels(["1", str(len(order))])
            scale.set_label("final rank")
            scale.ax.invert_yaxis()
            scale.outline.set_visible(False)
    return figure


def _mappable(normal: Normalize, color_map: str) -> ScalarMappable:
    """Return what a colour bar needs to show the colours of lines: the map without its pale ends."""
    return ScalarMappable(normal, ListedColormap(colour_map(color_map)(np.linspace(0.08, 0.82, 256))))
