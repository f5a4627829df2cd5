"""Units: conversions against numbers worked out by hand, spellings, and what is refused."""

import logging
import time

import numpy as np
import pytest

from odynn import units
from odynn.errors import RecordingError


@pytest.mark.parametrize(
    ("value", "unit", "area", "expected"),
    [
        (1.0, "pA", 1.0, 100.0),  # 1e-6 µA over 1e-8 cm²
        (35.0, "pA", 65.89, 3500 / 65.89),  # the largest step of the AIY recording
        (0.2, "nA", 1000.0, 20.0),
        (1e-12, "A", 1.0, 100.0),
        (-3.0, "uA", 1e6, -300.0),
        (1.0, "A/m^2", None, 100.0),  # 1e6 µA over 1e4 cm²
        (1.0, "pA/um^2", None, 100.0),
        (2500.0, "nA/cm^2", None, 2.5),
        (7.0, "uA/cm^2", None, 7.0),
    ],
)
def test_current_becomes_density(value, unit, area, expected):
    found = units.current_density(np.array([[value]]), unit, area)
    assert found.shape == (1, 1)
    assert found.dtype == np.float64
    assert found[0, 0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "unit", "wanted", "expected"),
    [
        (-0.0654, "V", "mV", -65.4),
        (1.5, "s", "ms", 1500.0),
        (400.0, "µs", "ms", 0.4),
        (20.0, "%", "1", 0.2),
        (3.0, "mM", "uM", 3000.0),
        (0.8, "dF/F0", "1", 0.8),
        (0.8, "ΔF/F", "1", 0.8),
        (0.8, "dF/F", "1", 0.8),  # and not decifarads by farads, a tenth
    ],
)
def test_conversion(value, unit, wanted, expected):
    assert units.convert(value, unit, wanted, "a trace") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("micro", ["u", "\u00b5", "\u03bc"])
@pytest.mark.parametrize("area", ["cm^2", "cm2", "cm**2", "cm²"])
def test_spellings_of_a_density(micro, area):
    assert units.convert(2.0, f"{micro}A/{area}", "A/m^2", "the stimulus") == pytest.approx(0.02)


@pytest.mark.parametrize("text", ["uA cm-2", "µA·cm⁻²", "uA * cm^-2"])
def test_spellings_by_negative_exponents(text):
    assert units.convert(2.0, text, "A/m^2", "the stimulus") == pytest.approx(0.02)


def test_conversion_leaves_its_argument_alone():
    values = np.array([1.0, 2.0])
    for unit in ("mV", "V"):
        units.convert(values, unit, "mV", "the voltage")[:] = 0
    assert values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("mv", ["Received: 'mv'", "Did you mean 'mV'?"]),
        ("Volts", ["Received: 'Volts'", "Did you mean 'volts'?"]),
        ("pA", ["converts to mV", "Received: 'pA'", "measures something else"]),
        ("a.u. (0..1)", ["Received: 'a.u. (0..1)'"]),
        ("3 mV", ["Received: '3 mV'"]),
    ],
)
def test_wrong_unit_is_refused(unit, words):
    with pytest.raises(RecordingError) as refusal:
        units.convert(1.0, unit, "mV", "the membrane voltage")
    for word in ["the membrane voltage", *words]:
        assert word in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "1/0",
        "((",
        "mV)",
        "pA*",
        "/ms",
        "__import__('os')",
        "10**10**10**10",
        "V**99999999",
        "mV;",
        "x" * 10_000,
    ],
)
def test_text_that_is_no_unit_is_refused_at_once(text):
    began = time.perf_counter()
    assert not units.is_known(text)
    assert time.perf_counter() - began < 1


def test_area_that_is_missing():
    with pytest.raises(RecordingError, match=r"^area: .*a current \(pA\).*µm².*Received: none"):
        units.current_density([1.0], "pA", None)


@pytest.mark.parametrize("area", [0, -1.0, float("nan"), float("inf"), True, "65.89"])
def test_area_that_is_no_area(area):
    with pytest.raises(RecordingError, match=r"^area: expected .*µm².*Received: "):
        units.current_density([1.0], "pA", area)


@pytest.mark.parametrize("unit", ["mV", "ms", "pa", "1"])
def test_stimulus_that_is_no_current(unit):
    with pytest.raises(RecordingError, match=f"must be a current .*Received: '{unit}'"):
        units.current_density([1.0], unit, 10.0)


def test_area_that_is_not_used_is_logged(caplog):
    with caplog.at_level(logging.WARNING, "odynn"):
        units.current_density([1.0], "uA/cm^2", None)
        assert caplog.messages == []
        assert units.current_density([1.0], "uA/cm^2", 65.89).tolist() == [1.0]
    assert ["area: 65.89 µm² is not used" in message for message in caplog.messages] == [True]


def check_implausible(channel, values, unit, *words):
    message = units.find_implausible(channel, np.array(values), unit, np.array([4, 9]), first=10)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_limits_name_the_sweep_and_the_sample():
    within = [[-65.0, -70.0], [-60.0, 200.0]]
    assert units.find_implausible("V", np.array(within), "mV", np.array([4, 9])) == ""
    check_implausible("V", [[-65.0, -70.0], [-60.0, 201.0]], "mV", "±200 mV", "201 mV in sweep 9, sample 11")


def test_numbers_of_mV_declared_as_V():
    check_implausible("V", [[-60e3, -70e3]], "V", "-60000 mV in sweep 4, sample 10", "units: {V: mV}")


def test_numbers_of_V_declared_as_mV():
    check_implausible("V", [[-0.065, 0.04]], "mV", "at most 0.065 mV", "numbers in V", "units: {V: V}")
    assert units.find_implausible("V", np.array([[-0.31, 0.0]]), "mV", np.array([4, 9])) == ""


def test_stimulus_limit():
    assert units.find_implausible("stimulus", np.array([[1e4, 0.0]]), "pA", np.array([4, 9])) == ""
    check_implausible("stimulus", [[0.0, -1.1e4]], "nA", "sweep 9, sample 10", "file in nA", "membrane area")
