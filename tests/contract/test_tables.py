"""The parameter tables: values from the publications and the original library, and rules for every row."""

import numpy as np
import pytest

from odynn.models import load_model

# Default, bounds, range of random starts. Values of the original library's models (with its two slips
# mended: n__tau and g_Kf lay outside the range that starts came from).
CELEGANS = {
    "C_m": (20, (0.5, 100), (0.5, 40)),
    "g_Ca": (3, (1e-5, 20), (0.01, 20)),
    "g_Ks": (10, (1e-5, 20), (0.01, 20)),
    "g_Kf": (0.07, (1e-5, 20), (0.01, 20)),
    "g_L": (0.005, (1e-5, 10), (1e-4, 0.5)),
    "E_Ca": (20, (-10, 150), (0, 60)),
    "E_K": (-60, (-120, -30), (-90, -40)),
    "E_L": (-60, (-100, 0), (-80, -40)),
    "decay_ca": (110, (0.1, 2000), (10, 500)),
    "rho_ca": (0.23, (1e-5, 100), (1e-3, 10)),
    "p__mdp": (-8.05, (-100, 100), (-50, 50)),
    "p__scale": (7.43, (1, 200), (1, 50)),
    "p__tau": (100, (1, 2000), (1, 400)),
    "q__mdp": (-15.6, (-100, 100), (-50, 50)),
    "q__scale": (-9.97, (-200, -1), (-50, -1)),
    "q__tau": (150, (1, 2000), (1, 400)),
    "n__mdp": (19.9, (-100, 100), (-50, 50)),
    "n__scale": (15.9, (1, 200), (1, 50)),
    "n__tau": (25, (1, 2000), (10, 1000)),
    "e__mdp": (-3.36, (-100, 100), (-50, 30)),
    "e__scale": (6.75, (1, 200), (1, 50)),
    "e__tau": (10, (1, 2000), (1, 200)),
    "f__mdp": (25.2, (-100, 100), (-50, 50)),
    "f__scale": (-5.03, (-200, -1), (-50, -1)),
    "f__tau": (151, (1, 2000), (1, 400)),
    "h__alpha": (0.282, (0, 1), (0.1, 0.9)),
    "h__mdp": (6.42, (0, 200), (1, 100)),
    "h__scale": (-1, (-200, -0.05), (-20, -0.5)),
}
CELEGANS_LOG = {"g_Ca", "g_Ks", "g_Kf", "g_L", "decay_ca", "rho_ca", "n__tau", "e__tau"}
HODGHUXSIMPLE = {
    "C_m": (1, (0.5, 40), None),
    "g_L": (0.1, (1e-9, 10), None),
    "g_K": (0.5, (1e-9, 10), None),
    "E_L": (-60, None, (-70, -45)),
    "E_K": (30, None, (-40, 30)),
    "a__mdp": (-30, None, (-50, 0)),
    "a__scale": (20, (1, 200), None),
    "a__tau": (500, (1, 1000), None),
    "b__mdp": (-5, None, (-30, 20)),
    "b__scale": (-3, (-200, -1), None),
    "b__tau": (30, (1, 1000), None),
}
LEAKY = {
    "C_m": (1, (0.5, 40), None),
    "g_L": (0.1, (1e-9, 10), (1e-5, 10)),
    "E_L": (-60, None, (-70, -45)),
}
# Defaults alone: the squid axon, and a regular-spiking cell of Pospischil et al. (2008).
HODGKINHUXLEY = {
    "C_m": 1,
    "g_Na": 120,
    "g_K": 36,
    "g_L": 0.3,
    "E_Na": 50,
    "E_K": -77,
    "E_L": -54.387,
    "q10": 1,
}
POSPISCHIL = {
    "C_m": 1, "g_Na": 50, "g_Kd": 5, "g_M": 0.07, "g_L": 0.1, "E_Na": 50, "E_K": -90, "E_L": -70,
    "V_T": -61.5, "tau_max": 1000,
}  # fmt: skip
# Beattie et al. (2018), cell 5, rounded.
HERG = {
    "C_m": 0.1, "g_Kr": 0.152, "E_K": -88.4, "p1": 2.26e-4, "p2": 0.0699, "p3": 3.45e-5, "p4": 0.0546,
    "p5": 0.0873, "p6": 8.91e-3, "p7": 5.15e-3, "p8": 0.0316,
}  # fmt: skip
INITIAL = {
    "leaky": [-60],
    "hodghuxsimple": [-60, 0, 1],
    "celegans": [-60, 0, 0.95, 0, 0, 1, 1e-7],
}
STATES = {
    "leaky": "V",
    "hodghuxsimple": "V a b",
    "celegans": "V p q n e f Ca",
    "hodgkinhuxley": "V m h n",
    "pospischil": "V m h n p",
    "herg": "V a r",
}
# What the unit of a parameter follows from, by how its name begins or ends.
UNITS = {"C_": "µF/cm²", "g_": "mS/cm²", "E_": "mV", "V_": "mV"}
WHOLE_CELL = UNITS | {"C_": "nF", "g_": "µS"}  # with currents in nA


@pytest.mark.parametrize(
    ("name", "rows"), [("celegans", CELEGANS), ("hodghuxsimple", HODGHUXSIMPLE), ("leaky", LEAKY)]
)
def test_tables_of_the_original_library(name, rows):
    model = load_model(name)
    assert model.default_params == {key: row[0] for key, row in rows.items()}
    assert set(model.table()) == set(rows)
    for key, (_, bounds, start) in rows.items():
        row = model.table()[key]
        assert bounds is None or row.bounds == bounds, key
        assert start is None or row.start == start, key


@pytest.mark.parametrize(
    ("name", "defaults"), [("hodgkinhuxley", HODGKINHUXLEY), ("pospischil", POSPISCHIL), ("herg", HERG)]
)
def test_published_defaults(name, defaults):
    assert load_model(name).default_params == defaults


def test_conductances_and_rates_are_measured_by_their_logarithm():
    scales = {key: row.scale for key, row in load_model("celegans").table().items()}
    assert {key for key in CELEGANS_LOG if scales[key] != "log"} == set()
    linear = {key for key in scales if key.startswith("E_") or key.endswith(("__mdp", "__scale", "__alpha"))}
    assert len(linear) == 16
    assert {key for key in linear if scales[key] != "linear"} == set()


@pytest.mark.parametrize("name", INITIAL)
def test_initial_states(name):
    np.testing.assert_array_equal(load_model(name).default_init_state, INITIAL[name])


@pytest.mark.parametrize("name", STATES)
def test_names_of_the_states(name):
    assert load_model(name).states == tuple(STATES[name].split())


def test_temperature_is_fixed_unless_freed():
    free = {key for key, row in load_model("hodgkinhuxley").table().items() if row.free}
    assert free == set(HODGKINHUXLEY) - {"q10"}


@pytest.mark.parametrize("spiking", [True, False])
def test_which_models_spike(spiking):
    found = {name for name in STATES if load_model(name).spiking is spiking}
    assert found == (
        {"hodgkinhuxley", "pospischil"} if spiking else {"leaky", "hodghuxsimple", "celegans", "herg"}
    )


def test_every_row_contains_its_default(model):
    rows = model.table()
    assert list(rows) == list(model.default_params)
    for name, row in rows.items():
        assert row.name == name
        assert row.default == model.default_params[name]
        assert row.bounds[0] <= row.start[0] <= row.default <= row.start[1] <= row.bounds[1], name
        assert np.isfinite(row.bounds).all()
        assert row.scale == "linear" or row.bounds[0] > 0


def test_every_row_says_what_it_is(declared):
    meanings = [row.meaning for row in declared.table().values()]
    assert len(set(meanings)) == len(meanings)
    for name, row in declared.table().items():
        assert len(row.meaning) > 8, name
        if name.endswith("__tau"):
            assert row.unit == "ms"
        elif name[:2] in UNITS:
            units = WHOLE_CELL if declared.current_unit == "nA" else UNITS
            assert row.unit == units[name[:2]], name
        else:
            assert row.unit
        assert row.bounds[0] > 0 or not name.startswith(("C_", "tau")), name


def test_states_of_a_declared_model_have_units(declared):
    assert {declared.state_unit(gate) for gate in declared.membrane.gates} <= {"1"}
    assert all(declared.state_unit(ion) not in ("", "mV") for ion in declared.membrane.concentrations)


def test_a_model_without_a_table_gets_rows_around_its_defaults(own):
    limits = own._constraints_dic or {}
    assert own.parameters == ()
    for name, row in own.table().items():
        lower, upper = limits.get(name, (None, None))
        assert lower is None or row.bounds[0] == lower
        assert upper is None or not np.isfinite(upper) or row.bounds[1] == upper
        if name not in limits and name.startswith("E_"):
            assert row.bounds == (row.default - 50, row.default + 50)
        elif name not in limits and not name.endswith("__mdp"):
            np.testing.assert_allclose(sorted(row.bounds), sorted([row.default / 10, row.default * 10]))
