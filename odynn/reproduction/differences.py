"""Whether two results hold the same numbers, and where they do not."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace

import numpy as np

from odynn.data import Best, Fit, Target
from odynn.storage.schema import KINDS, Item

TOLERANCE = 1e-5
"""Relative difference up to which two fits of one start are the same: what the sums in another order,
of other shards, another processor or another library, leave of it."""

# How a fit got where it is: no result, and one iteration more or less changes it.
_COURSE = frozenset({"history", "iterations"})
_PLACES = frozenset({"ids", "stage", ""})


@dataclass(frozen=True)
class Difference:
    """One quantity whose numbers are not all the same.

    Attributes:
        name: its path in the file, such as "parameters/g_K".
        differing: how many of its numbers differ.
        largest: the largest relative difference; of a trace, relative to its largest value; of a score,
            absolute where that is smaller; infinite where there is nothing to divide.
        where: the start, or the sweep, in which that is.
        then: the number there.
        now: the number there in the other result.
        course: whether it tells how the fit went, and not what came of it.
    """

    name: str
    differing: int
    largest: float
    where: str
    then: str
    now: str
    course: bool = False

    @property
    def tolerable(self) -> bool:
        """Whether it is within the tolerance."""
        return self.largest <= TOLERANCE


@dataclass(frozen=True)
class Comparison:
    """What came of comparing two results.

    Attributes:
        compared: how many numbers.
        differences: the largest first, those of the course of the fit last.
    """

    compared: int = 0
    differences: tuple[Difference, ...] = field(default=())

    @property
    def verdict(self) -> str:
        """Return "identical", "within tolerance" or "different"."""
        if not self.differences:
            return "identical"
        results = [one for one in self.differences if not one.course]
        return "within tolerance" if all(one.tolerable for one in results) else "different"

    def of(self, file: str) -> "Comparison":
        """Return the comparison with the name of a file before each quantity."""
        named = (replace(one, name=f"{file}: {one.name}") for one in self.differences)
        return replace(self, differences=tuple(named))

    def __add__(self, other: "Comparison") -> "Comparison":
        """Return both together."""
        found = sorted(self.differences + other.differences, key=lambda one: (one.course, -one.largest))
        return Comparison(self.compared + other.compared, tuple(found))


def compare(then: Fit | Best | Target, now: Fit | Best | Target) -> Comparison:
    """Compare all numbers of two containers of one kind, start by start.

    Args:
        then: the result.
        now: the one to hold against it; it may have fewer starts, in any order.

    Returns:
        The differences. NaN is equal to NaN.
    """
    kind = next(kind for kind in KINDS.values() if isinstance(then, kind.container))
    if isinstance(then, Fit):
        then, now = _lined_up(then, now)
    both = [start for start in now.ids.tolist() if start in set(then.ids.tolist())] if _starts(then) else []
    total = Comparison()
    for item in kind.items:
        if item.field not in _PLACES:
            total += _compare_item(item, then, now, both)
    if isinstance(then, Fit):
        total += _compare_tables(then, now)
    return total


def _starts(container: object) -> bool:
    return "ids" in {one.name for one in fields(container)}


def _lined_up(*fits: Fit) -> list[Fit]:
    """Return fits whose histories have the same rows: that of fewer starts may have ended earlier."""
    stages = sorted({number for fit in fits for number in fit.stage.tolist()})
    longest = {stage: max(int(np.sum(fit.stage == stage)) for fit in fits) for stage in stages}
    found = []
    for fit in fits:
        parts = []
        for stage in stages:
            rows = fit.history[fit.stage == stage]
            parts.append(np.pad(rows, ((0, longest[stage] - len(rows)), (0, 0)), constant_values=np.nan))
        history = np.concatenate(parts) if parts else fit.history
        found.append(replace(fit, history=history, stage=np.repeat(stages, [*longest.values()])))
    return found


def _compare_item(item: Item, then: object, now: object, ids: list[int]) -> Comparison:
    total = Comparison()
    for name, one, other in _pairs(item, getattr(then, item.field), getattr(now, item.field)):
        total += _compare_arrays(
            item, name, _taken(one, then, item, ids), _taken(other, now, item, ids), then, ids
        )
    return total


def _pairs(item: Item, then: object, now: object) -> Iterator[tuple[str, object, object]]:
    """Give the path and the two values of each dataset of an item; None where a result lacks it."""
    if not item.mapping:
        yield item.path, then, now
        return
    then, now = then or {}, now or {}
    for name in {**then, **now}:
        yield f"{item.path}/{name}", then.get(name), now.get(name)


def _taken(array: object, container: object, item: Item, ids: list[int]) -> np.ndarray | None:
    """Return an array with these starts alone, in this order."""
    if array is None:
        return None
    array = np.asarray(array)
    if "start" not in item.axes:
        return array
    places = {start: place for place, start in enumerate(container.ids.tolist())}
    return np.take(array, [places[start] for start in ids], axis=item.axes.index("start"))


def _compare_arrays(
    item: Item, name: str, one: np.ndarray | None, other: np.ndarray | None, container: object, ids: list[int]
) -> Comparison:
    course = item.field in _COURSE
    if one is None and other is None:
        return Comparison()
    if one is None or other is None or one.shape != other.shape:
        said = ["not there" if array is None else _shape(item, array) for array in (one, other)]
        size = max(0 if array is None else array.size for array in (one, other))
        return Comparison(size, (Difference(name, size, np.inf, "", *said, course),))
    differs = ~((one == other) | (np.isnan(one) & np.isnan(other)))
    if not differs.any():
        return Comparison(one.size)
    relative = np.where(differs, _relative(item, one, other), 0.0)
    place = np.unravel_index(np.argmax(relative), relative.shape)
    said = _spelt(item, one[place], other[place])
    where = _where(item, place, container, ids)
    found = Difference(name, int(differs.sum()), float(relative[place]), where, *said, course)
    return Comparison(one.size, (found,))


def _relative(item: Item, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return differences divided by what they are to be held against."""
    if item.flags or item.dtype[0] == "i":
        return np.full(one.shape, np.inf)
    one, other = one.astype(float), other.astype(float)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        size = np.fmax(np.abs(one), np.abs(other))
        if "time" in item.axes:
            # A trace crosses zero: there a difference means no more than elsewhere in it.
            size = np.fmax.reduce(size, axis=item.axes.index("time"), keepdims=True)
        if item.field == "scores":
            size = np.fmax(size, 1.0)  # so does a score such as R²
        found = np.abs(one - other) / size
    return np.where(np.isfinite(found), found, np.inf)


def _shape(item: Item, array: np.ndarray) -> str:
    return f"[{', '.join(item.axes)}] = {array.shape}" if item.axes else "a number"


def _spelt(item: Item, *values: np.generic) -> list[str]:
    """Spell numbers with as few digits as tell them apart, but six."""
    if item.flags:
        return [item.flags(int(value)).name.lower() for value in values]
    if item.dtype[0] == "i":
        return [str(int(value)) for value in values]
    for digits in range(6, 18):
        said = [f"{float(value):.{digits}g}" for value in values]
        if said[0] != said[1]:
            break
    return said


def _where(item: Item, place: tuple, container: object, ids: list[int]) -> str:
    found = []
    for axis, number in zip(item.axes, place, strict=True):
        if axis == "start":
            found.insert(0, f"start {ids[number]}")
        elif axis == "sweep":
            found.append(f"sweep {container.sweeps[number]}")
        elif axis == "time":
            found.append(f"{container.time[number]:g} ms")
        elif axis == "iteration":
            found.append(f"iteration {number + 1}")
    return ", ".join(found)


def _compare_tables(then: Fit, now: Fit) -> Comparison:
    """Compare the rows of the parameter tables: bounds, scales, what is free."""
    found = []
    for name in {**then.parameters, **now.parameters}:
        one, other = then.parameters.get(name), now.parameters.get(name)
        if one == other or one is None or other is None:
            continue  # a parameter that is not there shows in its values
        for about in fields(one):
            was, is_now = getattr(one, about.name), getattr(other, about.name)
            if was != is_now and about.name not in ("meaning", "unit"):
                found.append(Difference(f"{about.name} of {name}", 1, np.inf, "", _said(was), _said(is_now)))
    return Comparison(0, tuple(found))


def _said(value: object) -> str:
    return f"{value[0]:g} … {value[1]:g}" if isinstance(value, tuple) else str(value)


def spelt_relative(value: float) -> str:
    """Return a relative difference as a table has it, "any" where there is nothing to divide.

    >>> spelt_relative(0.000123), spelt_relative(np.inf)
    ('1.2e-04', 'any')
    """
    return f"{value:.1e}" if np.isfinite(value) else "any"
