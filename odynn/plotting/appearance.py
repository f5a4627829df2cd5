"""How every figure looks and how it is written."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, is_color_like
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from odynn.atomic import atomic_path
from odynn.data import Status
from odynn.errors import ConfigError, OdynnError, did_you_mean
from odynn.plotting.spelling import power_of_ten

INK = "#222222"
MUTED = "#6b6b6b"
RULE = "#c9c9c9"
SHADE = "#eceff2"

# Okabe and Ito's palette, told apart with every kind of colour vision. Vermilion is kept for the
# best start, which is drawn in it in every figure.
BEST = "#d55e00"
LINES = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5a3c", "#8c8c8c", "#332288")
STATUS = {
    Status.CONVERGED: ("converged", "#009e73", "o"),
    Status.ITERATION_LIMIT: ("iteration limit", "#0072b2", "^"),
    Status.AT_BOUND: ("at bound", "#cc79a7", "s"),
    Status.STOPPED_EARLY: ("stopped early", "#56b4e9", "D"),
    Status.NOT_FITTED: ("not fitted", "#8c8c8c", "v"),
    Status.DIVERGED: ("diverged", "#333333", "x"),
}

_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same figure on every machine
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,  # a "$" in a name is a dollar sign, not mathematics
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
}


@contextmanager
def style() -> Iterator[None]:
    """Give figures made and drawn inside the look of odynn, whatever the user's matplotlib settings.

    Settings outside are left as they were.
    """
    with matplotlib.style.context(["default", _RC]), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; that must not fail a run.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def blank(width: float, height: float, layout: str | None = None) -> Figure:
    """Return an empty figure of this size in inches that no pyplot window knows of."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, dpi: float = 150) -> bytes:
    """Draw a figure as PNG, with no date or program name in it: equal figures give equal bytes.

    Args:
        figure: any matplotlib figure.
        dpi: dots per inch.

    Returns:
        The bytes of the file.
    """
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def save(figure: Figure, path: str | Path, dpi: float = 150) -> Path:
    """Write a figure as PNG, whole or not at all; missing folders are made.

    Args:
        figure: any matplotlib figure.
        path: the file to write.
        dpi: dots per inch.

    Returns:
        The path written.

    Raises:
        StorageError: if the file cannot be written.
    """
    path = Path(path)
    drawn = png(figure, dpi)
    with atomic_path(path) as temporary:
        temporary.write_bytes(drawn)
    return path


def show_or_save(figure: Figure, show: bool, save: bool | str | Path, name: str) -> Path | None:
    """Open a figure in a window, write it to a file, both or neither.

    Args:
        figure: any matplotlib figure.
        show: whether to open a window; the only case in which pyplot is imported.
        save: False to write nothing; True for ``{name}.png`` in the current folder; a path that ends
            in ``.png`` for that file; any other path for ``{name}.png`` in that folder.
        name: name of the file, without its ending.

    Returns:
        The path written, or None.

    Raises:
        OdynnError: if the path ends like another kind of picture.
    """
    written = None
    # An empty path is the current folder, not "do not save".
    if save is not False and save is not None:
        path = Path(f"{name}.png") if save is True else Path(save)
        if path.suffix.lower() in (".pdf", ".svg", ".jpg", ".jpeg", ".eps", ".tif", ".tiff"):
            raise OdynnError(
                "save: expected True, a folder, or a file name ending in .png. "
                f"Received: {str(save)!r}. For another format use the returned figure's savefig."
            )
        if save is not True and path.suffix.lower() != ".png":
            path = path / f"{name}.png"
        written = _save(figure, path)
    if show:
        from matplotlib import pyplot

        try:
            pyplot.figure(figure)
        except ValueError:
            # Before matplotlib 3.11, pyplot takes just figures of its own making: lend it ours.
            canvas = pyplot.figure(figsize=figure.get_size_inches()).canvas
            canvas.figure = figure
            figure.set_canvas(canvas)
        pyplot.show()
    return written


_save = save


def shades(color_map: str, count: int) -> np.ndarray:
    """Return ``count`` colours of a map, [count, 4], leaving out its ends that vanish on white."""
    return colour_map(color_map)(np.linspace(0.08, 0.82, max(count, 1)))[:count]


def colour_map(name: str) -> Colormap:
    """Return a matplotlib colour map by name.

    Raises:
        ConfigError: if matplotlib has none of that name.
    """
    if name not in matplotlib.colormaps:
        raise ConfigError(
            f"plot.color_map must be a colour map of matplotlib. Received: {name!r}."
            f"{did_you_mean(name, list(matplotlib.colormaps))} Use viridis if in doubt."
        )
    return matplotlib.colormaps[name]


def colour(value: str) -> str:
    """Return a colour unchanged.

    Raises:
        ConfigError: if matplotlib does not know it.
    """
    if not is_color_like(value):
        raise ConfigError(
            f"plot.target_color must be a colour: a name such as black or a code such as '#1f77b4'. "
            f"Received: {value!r}. Put a code in quotes: in YAML, an unquoted # begins a comment."
        )
    return value


def time_axis(time: np.ndarray) -> tuple[np.ndarray, str]:
    """Return times (ms) as they are drawn, and the label of their axis: in s from 10 s upwards."""
    time = np.asarray(time, dtype=float)
    if time.size and time[-1] - time[0] >= 10_000:
        return time / 1000, "time (s)"
    return time, "time (ms)"


def log_axis(axis) -> None:
    """Label the powers of ten of a logarithmic axis in plain text."""
    # matplotlib's own labels are mathematics, which the style switches off.
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axis.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def envelope(time: np.ndarray, values: np.ndarray, most: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Thin a long trace to the smallest and the largest sample of each of many equal spans.

    What is drawn looks like the whole trace: a spike of one sample stays.

    Args:
        time: [time].
        values: [time]; samples that are not finite become gaps.
        most: thin traces that are longer than this.

    Returns:
        Times and values of the samples kept, in order of time; every kept sample is one of the trace.
    """
    time, values = np.asarray(time), np.asarray(values, dtype=float)
    values = np.where(np.isfinite(values), values, np.nan)
    if len(values) <= most:
        return time, values
    width = -(-len(values) // max(most // 2, 1))
    spans = -(-len(values) // width)
    padded = np.full(spans * width, np.nan)
    padded[: len(values)] = values
    padded = padded.reshape(spans, width)
    first = np.arange(spans) * width
    lowest = first + np.where(np.isnan(padded), np.inf, padded).argmin(axis=1)
    highest = first + np.where(np.isnan(padded), -np.inf, padded).argmax(axis=1)
    keep = np.unique(np.concatenate([[0], lowest, highest, [len(values) - 1]]))
    return time[keep], values[keep]


def limits(traces: Sequence[np.ndarray], others: Sequence[np.ndarray] = ()) -> tuple[float, float]:
    """Return the limits of an axis that shows some traces whole.

    Args:
        traces: what must be seen whole.
        others: what may widen the axis, but at most threefold, so that a trace that runs away does
            not flatten the rest.

    Returns:
        Lower and upper limit, with a margin.
    """
    low, high = _extremes(traces)
    if not np.isfinite(low):
        low, high = _extremes(others)
        others = ()
    if not np.isfinite(low):
        return 0.0, 1.0
    span = (high - low) or max(abs(high), 1.0) * 0.1
    other_low, other_high = _extremes(others)
    if np.isfinite(other_low):
        low, high = max(min(low, other_low), low - span), min(max(high, other_high), high + span)
    margin = 0.06 * ((high - low) or span)
    return low - margin, high + margin


def _extremes(traces: Sequence[np.ndarray]) -> tuple[float, float]:
    finite = [part[np.isfinite(part)] for part in map(np.asarray, traces)]
    finite = [part for part in finite if part.size]
    if not finite:
        return np.nan, np.nan
    return float(min(part.min() for part in finite)), float(max(part.max() for part in finite))
