"""How numbers, units and names are spelt in figures and reports."""

import re

import numpy as np

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def short(value: float, digits: int = 3) -> str:
    """Spell a number for a reader.

    >>> short(0.23), short(1234.5), short(1.2e-05), short(float("nan"))
    ('0.23', '1234', '1.2×10⁻⁵', '–')
    """
    value = float(value)
    if not np.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -4 < power < 5:
        # Digits before the point are never rounded away.
        text = f"{value:.{max(digits - 1 - power, 0)}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    sign = "−" if mantissa.startswith("-") else ""
    mantissa = mantissa.lstrip("-")
    ten = f"10{str(power).translate(_SUPERSCRIPT)}"
    return f"{sign}{ten}" if mantissa == "1" else f"{sign}{mantissa}×{ten}"


def resolved(value: float, error: float) -> str:
    """Spell a number to two digits of its error, at least to three of its own.

    >>> resolved(-59.98765, 0.018), resolved(1234.5, 500), resolved(2.0, float("inf"))
    ('−59.988', '1234', '2')
    """
    if not (np.isfinite(error) and error > 0 and np.isfinite(value) and value):
        return short(value)
    digits = np.floor(np.log10(abs(value))) - np.floor(np.log10(error)) + 2
    return short(value, int(np.clip(digits, 3, 9)))


def power_of_ten(value: float) -> str:
    """Spell a tick of a logarithmic axis; other values than powers of ten get no label.

    >>> power_of_ten(0.01), power_of_ten(100.0), power_of_ten(10000.0), power_of_ten(20.0)
    ('0.01', '100', '10⁴', '')
    """
    power = round(np.log10(value)) if value > 0 else 0
    if not np.isclose(value, 10.0**power, rtol=1e-6, atol=0):
        return ""
    return short(value) if -3 < power < 4 else f"10{str(power).translate(_SUPERSCRIPT)}"


def measure(value: float, unit: str) -> str:
    """Spell a number with its unit.

    >>> measure(2.3, "(mV)²"), measure(0.5, "1")
    ('2.3 mV²', '0.5')
    """
    text = short(value)
    return text if unit in ("", "1") or text == "–" else f"{text} {bare(unit)}"


def bare(unit: str) -> str:
    """Return a unit without brackets around a single name.

    >>> bare("(mV)²"), bare("(a.u.)²"), bare("mV")
    ('mV²', '(a.u.)²', 'mV')
    """
    return re.sub(r"^\((\w+)\)", r"\1", unit)


def score(value: float) -> str:
    """Spell an R², with as many decimals as tell it from 1.

    >>> score(0.9234), score(0.99987), score(-12.3), score(1.0)
    ('0.923', '0.9999', '−12.3', '1')
    """
    value = float(value)
    if not np.isfinite(value) or abs(value) >= 10:
        return short(value)
    for decimals in (3, 4, 5):
        text = f"{value:.{decimals}f}"
        if value >= 1 or float(text) < 1:
            break
    else:
        text = "0.99999" if value < 1 else text
    if value == 1 or float(text) == 0:
        return f"{value:g}" if value == 1 else "0"
    return text.replace("-", "−")


def with_unit(name: str, unit: str | None) -> str:
    """Return the label of an axis.

    >>> with_unit("voltage", "mV"), with_unit("open fraction", "1")
    ('voltage (mV)', 'open fraction')
    """
    if not unit or unit == "1":
        return name
    unit = bare(unit)
    return f"{name}, {unit}" if "(" in unit else f"{name} ({unit})"


def state_label(state: str, unit: str | None) -> str:
    """Return the label of a state's axis."""
    return with_unit(
        {"V": "voltage", "I": "current"}.get(state, state), unit or ("mV" if state == "V" else None)
    )
