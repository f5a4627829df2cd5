"""What each kind of file holds: one table, from which the writer and the reader both follow.

Change the table and raise ``SCHEMA_VERSION`` together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from odynn.data import Best, Cause, Fit, Parameter, Simulated, Starts, Status, Target, Uncertainty, Verdict

SCHEMA_VERSION = 1

AXES = ("time", "sweep", "start", "iteration", "direction", "parameter", "point")
"""The dimension scales, in the order of the axes of every array."""

JSON_ATTRIBUTES = ("inputs", "versions", "own_code", "fitted_by")
"""Root attributes that are mappings in memory."""


class Sees(IntEnum):
    """Whether a fit sees a sweep: how a boolean is stored, since HDF5 has none."""

    HELD_OUT = 0
    TRAINING = 1


@dataclass(frozen=True)
class Item:
    """One field of a container, and the dataset or group of datasets that stores it.

    Attributes:
        field: name in the container; empty for a dimension that is only counted, from 1.
        axes: names of the dimension scales.
        dtype: numpy type of the numbers in memory; booleans are stored as flags.
        long_name: says what it is; "{}" stands for the dataset's name.
        units: the unit where nothing says otherwise; empty: something must.
        key: the entry of the container's ``units`` that says otherwise; "{}" is the dataset's name.
        path: the dataset or group, if not called as the field.
        mapping: a group with one dataset for each entry of a mapping.
        table: "units" if names and units are those of the parameter table, "rows" if the datasets
            also carry its rows as attributes, "some" if only some parameters have an entry.
        flags: what the integers mean.
        optional: the field has a default, such as None, and a file may lack the dataset.
        counts: the field whose entries a dimension without a field counts.
    """

    field: str
    axes: tuple[str, ...]
    dtype: str
    long_name: str
    units: str = ""
    key: str = ""
    path: str = ""
    mapping: bool = False
    table: str = ""
    flags: type[IntEnum] | None = None
    optional: bool = False
    counts: str = ""

    def __post_init__(self):
        object.__setattr__(self, "path", self.path or self.field)

    @property
    def stored(self) -> str:
        """Numpy type of the stored numbers."""
        return "i1" if self.dtype == "?" else self.dtype


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: value of the root attribute ``kind``.
        container: the class that it stores.
        stage: the rule that writes it.
        items: its datasets and groups, the scales of their axes first.
        texts: fields that map text to text, each stored as JSON.
    """

    name: str
    container: type
    stage: str
    items: tuple[Item, ...]
    texts: tuple[str, ...] = ()


_TIME = Item("time", ("time",), "f8", "time at the end of each step", "ms")
_SWEEPS = Item("sweeps", ("sweep",), "i8", "number of the sweep in its source", "1", path="sweep")
_TRAIN = Item("train", ("sweep",), "?", "whether a fit sees the sweep", "1", flags=Sees)
_IDS = Item("ids", ("start",), "i8", "number of the start, the same in every stage", "1", path="start")
_ITERATION = Item(
    "",
    ("iteration",),
    "i8",
    "number of the iteration, over all stages",
    "1",
    path="iteration",
    counts="stage",
)
_DIRECTION = Item(
    "",
    ("direction",),
    "i8",
    "number of the direction, the best determined first",
    "1",
    path="direction",
    counts="eigenvalues",
)
_PARAMETER = Item(
    "",
    ("parameter",),
    "i8",
    "number of the free parameter, in the order of parameters",
    "1",
    path="parameter",
    counts="parameters",
)
_VALUES = Item("values", ("start",), "f8", "{}", path="parameters", mapping=True, table="rows")
_START_VALUES = Item(
    "start_values",
    ("start",),
    "f8",
    "{} before the fit",
    path="start_parameters",
    mapping=True,
    table="units",
)
_CAUSE = Item("cause", ("start",), "i1", "why the start diverged or stopped early", "1", flags=Cause)
_RMSE = "root mean squared error of {} on the "
_STATUS = Item("status", ("start",), "i1", "how the work on the start ended", "1", flags=Status)


def _loss(field: str, long_name: str, *axes: str, **options) -> Item:
    return Item(field, axes, "f8", long_name, key="loss", **options)


def _of_parameters(field: str, axes: tuple[str, ...], long_name: str, **options) -> Item:
    return Item(field, axes, "f8", long_name, mapping=True, **options)


def _states(field: str, axes: tuple[str, ...], dtype: str, long_name: str, **options) -> Item:
    return Item(field, axes, dtype, long_name, key="{}", mapping=True, **options)


_UNCERTAINTY = (
    _IDS,
    _PARAMETER,
    _DIRECTION,
    Item(
        "points", ("point",), "i8", "number of the point of a profile, 0 at the best start", "1", path="point"
    ),
    _VALUES,
    _loss("loss", "loss on the training sweeps, in float64", "start"),
    Item("samples", ("start",), "i8", "number of residuals", "1"),
    Item("effective_samples", ("start",), "f8", "number of independent residuals that they are worth", "1"),
    Item("rank", ("start",), "i8", "number of directions that the data determine at all", "1"),
    Item("noise", ("start",), "f8", "standard deviation of the residuals", key="noise"),
    Item("decrement", ("start",), "f8", "predicted fall of the sum of squares, in noise variances", "1"),
    _of_parameters(
        "scaled_errors", ("start",), "standard error of {} in the coordinate of the fit", units="1"
    ),
    _of_parameters(
        "naive_errors", ("start",), "standard error of {}, residuals taken as independent", table="units"
    ),
    _of_parameters(
        "corrected_errors",
        ("start",),
        "standard error of {}, corrected for the correlation of the residuals",
        table="units",
    ),
    Item("verdicts", ("start",), "i1", "what the data say of {}", "1", mapping=True, flags=Verdict),
    Item("eigenvalues", ("direction", "start"), "f8", "eigenvalue of the Fisher information", "1"),
    _of_parameters("directions", ("direction", "start"), "component of {} in each direction", units="1"),
    _of_parameters(
        "correlations", ("parameter", "start"), "correlation of {} with each parameter", units="1"
    ),
    _of_parameters(
        "truth_distances",
        ("start",),
        "distance of {} from the truth, in corrected standard errors",
        units="1",
        optional=True,
    ),
    _loss("equal_loss", "largest loss that the data do not tell from the best"),
    Item("equal_starts", (), "f8", "number of starts up to that loss", "1"),
    _of_parameters("equal_spreads", (), "standard deviation of {} among those starts", table="units"),
    _of_parameters("profile_values", ("point",), "{} held at", table="some"),
    _of_parameters("profile_losses", ("point",), "lowest loss with {} held", key="loss"),
    _of_parameters("profile_lower", (), "lower end of the 95 % interval of {}", table="some"),
    _of_parameters("profile_upper", (), "upper end of the 95 % interval of {}", table="some"),
    _loss("profile_loss", "loss at the ends of these intervals"),
)

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "target",
            Target,
            "make_target",
            (
                _TIME,
                _SWEEPS,
                Item("stimulus", ("time", "sweep"), "f8", "stimulus", "µA/cm²", key="stimulus"),
                _states("observed", ("time", "sweep"), "f4", "observed {}"),
                _TRAIN,
                Item("initial", ("sweep",), "f8", "voltage that simulations start from", "mV", optional=True),
                # A target knows no parameter table; whoever makes one may add the parameters to `units`.
                _states("truth", (), "f8", "{} of the ground truth", units="unknown", optional=True),
                _states("noise", (), "f8", "standard deviation of the noise added to {}", optional=True),
                Item("weights", ("time", "sweep"), "f8", "weight in the fit", "1", optional=True),
            ),
            ("units", "source"),
        ),
        Kind("starts", Starts, "get_random", (_IDS, _VALUES)),
        Kind(
            "simulated",
            Simulated,
            "simulate_starts",
            (
                _IDS,
                _loss("loss", "loss on the training sweeps", "start"),
                _states("rmse", ("start",), "f8", _RMSE + "training sweeps"),
                _STATUS,
            ),
            ("units",),
        ),
        Kind(
            "fit",
            Fit,
            "fit or merge_fits",
            (
                _IDS,
                _ITERATION,
                _VALUES,
                _START_VALUES,
                _loss("start_loss", "loss on the training sweeps before the fit", "start"),
                _loss("loss", "loss on the training sweeps", "start"),
                _loss("loss_parts", "what {} adds to the loss", "start", mapping=True, optional=True),
                _states("rmse_train", ("start",), "f8", _RMSE + "training sweeps"),
                _states("rmse_test", ("start",), "f8", _RMSE + "held-out sweeps"),
                _STATUS,
                _CAUSE,
                Item("iterations", ("start",), "i8", "iterations done", "1"),
                _loss("history", "loss that the stage minimised", "iteration", "start"),
                Item("stage", ("iteration",), "i8", "number of the stage of the iteration", "1"),
            ),
            ("units",),
        ),
        Kind(
            "best",
            Best,
            "simulate_best",
            (
                _TIME,
                _SWEEPS,
                _IDS,
                _states("states", ("time", "sweep", "start"), "f4", "{} of the free run"),
                _states("currents", ("time", "sweep", "start"), "f4", "current {}", units="µA/cm²"),
                _states("scores", ("sweep", "start"), "f8", "score {}"),
                _TRAIN,
            ),
            ("units",),
        ),
        Kind("uncertainty", Uncertainty, "uncertainty", _UNCERTAINTY, ("units",)),
    )
}


def attributes_of(row: Parameter) -> dict:
    """Return what the dataset of a parameter says of its row, the unit aside."""
    return {
        "long_name": f"{row.name}: {row.meaning}" if row.meaning else row.name,
        "lower": float(row.bounds[0]),
        "upper": float(row.bounds[1]),
        "start_lower": float(row.start[0]),
        "start_upper": float(row.start[1]),
        "scale": row.scale,
        "default": float(row.default),
        "free": np.int8(row.free),
        **({"follows": row.follows} if row.follows else {}),
    }


def row_of(name: str, attributes: Mapping) -> Parameter:
    """Return the row that ``attributes_of`` and the unit were written from."""
    return Parameter(
        name=name,
        default=float(attributes["default"]),
        unit=attributes["units"],
        bounds=(float(attributes["lower"]), float(attributes["upper"])),
        start=(float(attributes["start_lower"]), float(attributes["start_upper"])),
        scale=attributes["scale"],
        meaning=attributes["long_name"].removeprefix(name).removeprefix(": "),
        free=bool(attributes["free"]),
        follows=attributes.get("follows", ""),
    )
