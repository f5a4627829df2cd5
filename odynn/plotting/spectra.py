"""The figure of which combinations of parameters the data determine."""

import numpy as np
from matplotlib.figure import Figure

from odynn.data import Uncertainty
from odynn.plotting.appearance import INK, LINES, MUTED, RULE, blank, log_axis, style

_MOST = 8  # components of a direction that are drawn
_CELL = 0.21  # inches of the matrix a parameter


def information(known: Uncertainty) -> Figure:
    """Draw the spectrum of the Fisher information, its ends, and the correlations, at the best start.

    Args:
        known: what is known of the parameters.

    Returns:
        The figure.
    """
    with style():
        names = list(known.parameters)
        eigenvalues = known.eigenvalues[:, 0] if len(known.ids) else np.zeros(0)
        eigenvalues = eigenvalues[np.isfinite(eigenvalues)]
        if not len(eigenvalues):
            figure = blank(10.5, 1.2)
            text = "there is no point at which the data could be linearised"
            figure.text(0.5, 0.5, text, ha="center", va="center", color=MUTED)
            return figure
        kept = [k for k, name in enumerate(names) if np.isfinite(known.correlations[name][k, 0])]
        side = max(_CELL * len(kept), 1.2)
        figure = blank(10.5, 3.3 + side + 1.2)
        height = figure.get_figheight()
        top = (side + 1.2 + 0.55) / height
        axes = figure.add_axes((0.075, top, 0.37, 2.35 / height))
        _spectrum(axes, eigenvalues)
        directions = np.array([known.directions[name][: len(eigenvalues), 0] for name in names])
        _direction(
            figure.add_axes((0.575, top, 0.14, 2.35 / height)), names, directions[:, 0], "best determined"
        )
        axes = figure.add_axes((0.845, top, 0.14, 2.35 / height))
        _direction(axes, names, *_least(directions, eigenvalues))
        bottom, width = 0.95 / height, side / 10.5
        axes = figure.add_axes((0.5 - width / 2, bottom, width, side / height))
        matrix = np.array([[known.correlations[names[row]][k, 0] for k in kept] for row in kept])
        _correlations(figure, axes, [names[k] for k in kept], matrix)
    return figure


def _least(directions: np.ndarray, eigenvalues: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the components of the least determined direction, and its title.

    Of several directions that the data say nothing of, only the space that they span has a meaning:
    each parameter has a component in that.
    """
    unseen = np.flatnonzero(eigenvalues == 0)
    if len(unseen) < 2:
        return directions[:, -1], "least determined"
    return np.sqrt((directions[:, unseen] ** 2).sum(axis=1)), f"not seen ({len(unseen)} directions)"


def _spectrum(axes, eigenvalues: np.ndarray) -> None:
    number = np.arange(1, len(eigenvalues) + 1)
    seen = eigenvalues > 0
    axes.set_yscale("log")
    log_axis(axes.yaxis)
    low, high = (eigenvalues[seen].min(), eigenvalues[seen].max()) if seen.any() else (1.0, 1.0)
    low, high = min(low, 1.0) / 10, max(high, 1.0) * 3
    axes.set_ylim(low, high)
    axes.vlines(number[seen], low, eigenvalues[seen], color=RULE, lw=1, zorder=1)
    axes.plot(number[seen], eigenvalues[seen], "o", color=LINES[0], ms=4, zorder=3)
    if not seen.all():
        axes.plot(
            number[~seen], np.full((~seen).sum(), low * 1.6), "v", mfc="white", mec=MUTED, ms=5, zorder=3
        )
        axes.annotate(
            "▽ not seen by the data at all", (1, 1), xycoords="axes fraction", ha="right", va="top",
            fontsize=8, color=MUTED,
        )  # fmt: skip
    axes.axhline(1.0, color=INK, lw=0.9, ls=(0, (4, 3)), zorder=2)
    axes.annotate(
        "below: looser than the bounds", (0, 1.0), xycoords=("axes fraction", "data"), xytext=(3, -3),
        textcoords="offset points", va="top", fontsize=8, color=MUTED,
    )  # fmt: skip
    axes.set_xlim(0.3, len(number) + 0.7)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("direction in parameter space")
    axes.set_ylabel("eigenvalue of the\nFisher information")
    axes.set_title("spectrum")


def _direction(axes, names: list[str], components: np.ndarray, title: str) -> None:
    order = np.argsort(-np.abs(components), kind="stable")[:_MOST]
    order = order[np.abs(components[order]) > 0.01]
    axes.barh(np.arange(len(order)), components[order], height=0.6, color=LINES[0], zorder=2)
    axes.set_yticks(np.arange(len(order)), [names[k] for k in order])
    axes.set_ylim(_MOST - 0.4, -0.6)
    axes.set_xlim(-1.05, 1.05)
    axes.set_xticks([-1, 0, 1], ["−1", "0", "1"])
    axes.axvline(0, color=MUTED, lw=0.7)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("component")
    axes.set_title(title)


def _correlations(figure: Figure, axes, names: list[str], matrix: np.ndarray) -> None:
    shown = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest", aspect="auto")
    axes.set_xticks(np.arange(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(np.arange(len(names)), names, fontsize=7)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title("correlations of the estimates")
    box = axes.get_position()
    bar = figure.add_axes((box.x1 + 0.02, box.y0, 0.014, box.height))
    scale = figure.colorbar(shown, cax=bar, ticks=[-1, -0.5, 0, 0.5, 1])
    scale.ax.set_yticklabels(["−1", "−0.5", "0", "0.5", "1"])
    scale.outline.set_visible(False)
