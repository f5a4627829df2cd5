"""Units: reading how a file spells them, converting values, and what values can be right.

Models compute in mV, ms and µA/cm². Everything that a file says in other units is converted here,
through pint, which is imported when first needed because that takes a few tenths of a second.
"""

import logging
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from odynn.errors import RecordingError, did_you_mean

logger = logging.getLogger(__name__)

DENSITY = "uA/cm^2"
"""Unit of a stimulus in a model, in a spelling that every part of odynn reads."""

# Spellings that did_you_mean draws from. pint knows far more, and is not asked to guess: to it "pa"
# is a picoyear.
_COMMON = ("s", "ms", "us", "V", "mV", "uV", "A", "uA", "nA", "pA", DENSITY, "nA/cm^2", "A/m^2", "pA/um^2")
_COMMON += ("M", "mM", "uM", "nM", "percent", "1")

# A pure number by another name. To pint dF/F is a tenth (decifarad by farad) and a.u. a mass times a year.
_PURE = ("", "1", "-", "df/f", "df/f0", "δf/f", "δf/f0", "a.u.", "arb.", "arb. unit", "arb. units", "none")

# A word, with an exponent of one digit: cm2, cm^2, cm**2, cm^-2, cm².
_TERM = r"[A-Za-zΩ°%]+(?:(?:\*\*|\^)?-?[1-9]|⁻?[¹²³])?"
_UNIT = re.compile(rf"(?:1 ?/ ?)?{_TERM}(?:(?: ?[*/·] ?| ){_TERM})*")
_EXPONENT = re.compile(r"(?<=[A-Za-zΩ%])(-?\d)")
_SUPERSCRIPTS = str.maketrans("⁻¹²³", "-123")


@dataclass(frozen=True)
class Limit:
    """Values that a channel can have.

    Attributes:
        meaning: what the values are, for messages.
        unit: unit of the numbers below.
        most: no value is larger in size.
        least: the largest value is not smaller in size; None: it may be.
        swap: the unit that values below ``least`` are really in, mistaken for ``unit``.
    """

    meaning: str
    unit: str
    most: float
    least: float | None = None
    swap: str | None = None


LIMITS = {
    # The most extreme voltages across a membrane are about ±150 mV; a recording in V is below 0.2.
    "V": Limit("the membrane voltage", "mV", most=200.0, least=0.3, swap="V"),
    # Lipid bilayers break down at about 300 mV. A command in V is below 0.3.
    "command": Limit("the command voltage", "mV", most=300.0, least=0.3, swap="V"),
    # 10 nA into a small neuron of 100 µm².
    "stimulus": Limit("the stimulus", DENSITY, most=1e4),
}
"""What the values of a recording can be, by channel, after conversion."""


@lru_cache(maxsize=1)
def _registry():
    import pint

    return pint.UnitRegistry()


@lru_cache(maxsize=256)
def _parse(text: str):
    """Return the pint unit that a text means, or None."""
    import pint

    text = " ".join(text.split())
    if text.lower() in _PURE:
        return _registry().Unit("dimensionless")
    text = text.replace("µ", "u").replace("μ", "u")
    # pint evaluates what it is given, powers of powers included: only plain units get that far.
    if len(text) > 40 or not _UNIT.fullmatch(text):
        return None
    text = text.translate(_SUPERSCRIPTS).replace("·", "*").replace("^", "**")
    try:
        return _registry().parse_units(_EXPONENT.sub(r"**\1", text.replace("**", "")))
    except (pint.errors.PintError, AttributeError, ValueError, ZeroDivisionError):
        return None


def suggestion(text: str) -> str:
    """Return ``" Did you mean 'mV'?"`` for a unit spelt wrongly, or an empty string.

    >>> suggestion("mv")
    " Did you mean 'mV'?"
    """
    text = text.strip()
    if text in _COMMON:
        return ""
    for unit in (*_COMMON, text.lower()):
        if unit.lower() == text.lower() and is_known(unit) and unit != text:
            return f" Did you mean '{unit}'?"
    return did_you_mean(text, _COMMON)


def is_known(unit: str) -> bool:
    """Return whether a text is a unit.

    >>> is_known("μA/cm²"), is_known("onset")
    (True, False)
    """
    return _parse(unit) is not None


def is_known_but_for_case(text: str) -> bool:
    """Return whether a text is a unit, or would be one in other letters.

    >>> is_known_but_for_case("mv"), is_known_but_for_case("onset")
    (True, False)
    """
    return is_known(text) or text.lower() in {unit.lower() for unit in _COMMON} or is_known(text.lower())


def is_like(unit: str, other: str) -> bool:
    """Return whether a text is a unit of the same dimension as another.

    >>> is_like("nA", "pA"), is_like("mV", "pA"), is_like("pA/um^2", "uA/cm2")
    (True, False, True)
    """
    first, second = _parse(unit), _parse(other)
    return first is not None and second is not None and first.dimensionality == second.dimensionality


def convert(values: np.ndarray, from_unit: str, to_unit: str, what: str) -> np.ndarray:
    """Return values in another unit of the same dimension.

    Args:
        values: numbers of any shape in ``from_unit``.
        from_unit: their unit; µ may be spelt u, µ or μ.
        to_unit: the unit asked for.
        what: what the values are, for the message.

    Returns:
        float64 of the shape of ``values``, in ``to_unit``.

    Raises:
        RecordingError: a unit is unknown, or the two do not measure the same thing.

    >>> convert([0.5, 2], "nA", "pA", "the stimulus").tolist()
    [500.0, 2000.0]
    """
    for unit in (from_unit, to_unit):
        if not is_known(unit):
            raise RecordingError(
                f"The unit of {what} must be one that odynn knows, such as {to_unit}. "
                f"Received: '{unit}'.{suggestion(unit)} Correct its spelling."
            )
    if not is_like(from_unit, to_unit):
        raise RecordingError(
            f"The unit of {what} must be one that converts to {to_unit}. "
            f"Received: '{from_unit}', which measures something else. Correct the unit."
        )
    values = np.asarray(values, dtype=np.float64)
    source, wanted = _parse(from_unit), _parse(to_unit)
    if source == wanted:
        return values.copy()
    zero, one = (_registry().convert(value, source, wanted) for value in (0.0, 1.0))
    # pint's factors come out as 1000.0000000000001 at times.
    return values * float(f"{one - zero:.15g}") + zero


def current_density(
    values: np.ndarray, unit: str, area: float | None, what: str = "the stimulus"
) -> np.ndarray:
    """Return a current as a density in µA/cm².

    Args:
        values: numbers of any shape in ``unit``, a current (A, nA, pA) or already a density.
        unit: their unit.
        area: membrane area in µm²; needed for a current, and not used for a density (a warning is
            logged).
        what: what the values are, for the message.

    Returns:
        float64 of the shape of ``values``, in µA/cm².

    Raises:
        RecordingError: the unit is neither, or the area is missing or not a positive number.

    >>> current_density([1.0], "pA", 1.0).round(9).tolist()
    [100.0]
    """
    if is_like(unit, DENSITY):
        if area is not None:
            logger.warning(
                "area: %g µm² is not used, because %s is a density already (%s).", area, what, unit
            )
        return convert(values, unit, DENSITY, what)
    check_area(unit, area, what)
    return convert(values, unit, "pA", what) * (100.0 / area)  # 1 pA is 1e-6 µA, and 1 µm² is 1e-8 cm²


def membrane_area(capacitance: float) -> float:
    """Return the membrane area (µm²) of a capacitance (pF), at the 1 µF/cm² of biological membranes.

    The value is that of squid axons (doi:10.1085/jgp.22.5.649) and near that of central neurons
    (doi:10.1016/S0006-3495(00)76293-X). A current I over a capacitance C is so I/C · 1 µF/cm².

    >>> membrane_area(20.0)
    2000.0
    """
    return capacitance * 100.0  # 1 pF is 1e-6 µF, and 1e-6 cm² are 100 µm²


def check_area(unit: str, area: float | None, what: str = "the stimulus") -> None:
    """Check that a stimulus in this unit can be made a density with this area (µm²).

    Raises:
        RecordingError: the unit is neither a current nor a density, or the area is missing or not
            a positive number.
    """
    if is_like(unit, DENSITY):
        return
    if not is_like(unit, "pA"):
        raise RecordingError(
            f"The unit of {what} must be a current (A, nA, pA) or a density (µA/cm²). "
            f"Received: '{unit}'.{suggestion(unit)} Correct the unit."
        )
    if area is None:
        raise RecordingError(
            f"area: {what} is a current ({unit}), and the model takes a density (µA/cm²). Expected the "
            "membrane area in µm². Received: none. Give the area (a sphere of diameter d has π·d²), "
            "the capacitance in pF, or a stimulus in µA/cm²."
        )
    if isinstance(area, bool) or not isinstance(area, int | float | np.number) or not 0 < area < np.inf:
        raise RecordingError(
            f"area: expected the membrane area, a positive number in µm². Received: {area!r}. Correct it."
        )


def find_implausible(
    channel: str, values: np.ndarray, declared: str, sweeps: np.ndarray, first: int = 0
) -> str:
    """Say what values cannot be right, as most often follows from a wrong unit.

    Args:
        channel: a key of ``LIMITS``.
        values: [time, sweep], finite, in the unit of ``LIMITS``.
        declared: the unit that they had in the file.
        sweeps: [sweep] numbers of the sweeps.
        first: number of the first sample in its file.

    Returns:
        One message, or an empty string where the values are within the limits.
    """
    limit, named = LIMITS[channel], "stimulus" if channel == "command" else channel
    size = np.abs(values)
    if size.max() > limit.most:
        sample, sweep = np.argwhere(size > limit.most)[0]
        if channel == "stimulus":
            remedy = "Check its unit (units: {stimulus: …}) and the membrane area, which is in µm²."
        elif declared == limit.unit:
            remedy = f"Check its unit (units: {{{named}: …}}), or leave the sweep or the time out."
        else:
            remedy = f"If the file's numbers are in {limit.unit}, write units: {{{named}: {limit.unit}}}."
        return (
            f"{limit.meaning} must lie within ±{limit.most:g} {limit.unit}. Received: "
            f"{values[sample, sweep]:g} {limit.unit} in sweep {sweeps[sweep]}, sample {first + sample}, "
            f"from a file in {declared}. {remedy}"
        )
    if limit.least is not None and size.max() < limit.least:
        return (
            f"{limit.meaning} must reach {limit.least:g} {limit.unit} in size somewhere. Received: at most "
            f"{size.max():g} {limit.unit} in every sweep, from a file in {declared}: these look like numbers "
            f"in {limit.swap}. If they are, write units: {{{named}: {limit.swap}}}."
        )
    return ""
