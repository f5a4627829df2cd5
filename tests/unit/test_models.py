"""Finding a model, changing its table by a config, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

import odynn.models
from odynn.data import Parameter
from odynn.errors import ModelError
from odynn.models import MODEL_PATHS, check_experiment, experiment_parameters, load_model
from odynn.models.equations import Concentration, Current, Gate, Membrane
from odynn.models.kinetics import boltzmann
from odynn.models.model import BioNeuron

GOOD = """
import numpy as np
from odynn.models.model import BioNeuron

class Mine(BioNeuron):
    default_params = {"g_L": 0.1}
    default_init_state = np.array([-60.0])

    def step(self, X, i):
        return X
"""


@pytest.fixture
def write(tmp_path):
    """Write a model file; return its path."""

    def write(text, name="mine.py", folder="."):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return write


class TestLoading:
    @pytest.mark.parametrize("name", MODEL_PATHS)
    def test_a_model_of_the_library(self, name):
        model = load_model(name)
        assert issubclass(model, BioNeuron)
        assert model is load_model(name)
        assert MODEL_PATHS[name].endswith(f":{model.__name__}")
        assert model.__doc__

    @pytest.mark.parametrize("name", ["MorrisLecar", "ResonantMembrane"])
    def test_the_template_by_a_relative_path(self, name, request, monkeypatch):
        monkeypatch.chdir(request.config.rootpath)
        model = load_model(f"odynn/models/template.py:{name}")
        states = model().calculate(np.full(200, 5.0))
        assert np.isfinite(states).all()
        assert abs(states[-1, 0] - model.default_init_state[0]) > 0.5

    def test_a_file_of_ones_own(self, write):
        path = write(GOOD)
        model = load_model(f"{path}:Mine")
        assert model.__name__ == "Mine"
        assert model.default_params == {"g_L": 0.1}
        assert load_model(f"{path}:Mine") is model

    def test_an_edited_file_is_another_class(self, write):
        first = load_model(f"{write(GOOD)}:Mine")
        second = load_model(f"{write(GOOD.replace('0.1', '0.2'))}:Mine")
        assert (first.default_params["g_L"], second.default_params["g_L"]) == (0.1, 0.2)

    def test_files_of_one_name_in_two_folders(self, write):
        one, other = write(GOOD, folder="a"), write(GOOD.replace("0.1", "0.2"), folder="b")
        assert load_model(f"{one}:Mine").default_params != load_model(f"{other}:Mine").default_params

    def test_a_folder_with_spaces_and_colons(self, write):
        assert load_model(f"{write(GOOD, folder='my models: new')}:Mine").__name__ == "Mine"

    @pytest.mark.parametrize("name", ["celegan", "CElegansNeuron", "", "mine.py", "folder/mine:Mine"])
    def test_an_unknown_name(self, name):
        with pytest.raises(ModelError, match=r"^model: no model .*Known: celegans, leaky.*path/to/file"):
            load_model(name)

    def test_a_near_miss_is_named(self):
        with pytest.raises(ModelError, match="Did you mean 'celegans'"):
            load_model("celegan")

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ModelError, match=r"there is no file .*none\.py.*relative to the config"):
            load_model(f"{tmp_path / 'none.py'}:Mine")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("x = 1\ny = 1 / 0\n", r"mine\.py, line 2, raised ZeroDivisionError: division by zero"),
            ("import no_such_library\n", r"line 1, raised ModuleNotFoundError.*no_such_library"),
            ("class Mine(:\n", r"line 1, raised SyntaxError"),
            ("def f():\n    raise KeyError('k')\nf()\n", r"line 2, raised KeyError"),
        ],
        ids=["division", "import", "syntax", "function"],
    )
    def test_a_file_that_raises(self, write, text, message):
        path = write(text)
        with pytest.raises(ModelError, match=message):
            load_model(f"{path}:Mine")
        # And once more: the half-made module must not have been kept.
        with pytest.raises(ModelError, match=message):
            load_model(f"{path}:Mine")

    def test_a_class_that_is_not_there(self, write):
        with pytest.raises(
            ModelError, match=r"defines no class 'Mien'\. Did you mean 'Mine'\? It defines: Mine"
        ):
            load_model(f"{write(GOOD)}:Mien")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (GOOD + "\nMine = 3\n", "must be a class derived from"),
            (GOOD + "\nclass Mine: pass\n", "must be a class derived from"),
            (GOOD.replace("default_params", "params"), "lacks `default_params`"),
            (GOOD.replace("default_init_state", "state"), "lacks `default_init_state`"),
            (GOOD.replace("def step", "def advance"), "needs `membrane = .*or a method `step"),
        ],
        ids=["number", "other class", "no parameters", "no state", "no step"],
    )
    def test_a_class_that_is_no_model(self, write, text, message):
        with pytest.raises(ModelError, match=message):
            load_model(f"{write(text)}:Mine")


class TestParameter:
    def make(self, **changes):
        return Parameter(**{"name": "g", "default": 1.0, "unit": "mS/cm²", "bounds": (0.1, 10.0), **changes})

    def test_starts_come_from_the_bounds_if_nothing_is_said(self):
        assert self.make().start == (0.1, 10.0)
        assert self.make().free
        assert self.make().scale == "linear"

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"bounds": (10.0, 0.1)}, r"'g'.*lower < upper.*\[10, 0\.1\] mS/cm².*Swap"),
            ({"bounds": (1.0, 1.0)}, "lower < upper"),
            ({"scale": "logarithmic"}, "must be 'linear' or 'log'.*'logarithmic'"),
            ({"scale": "log", "bounds": (0.0, 1.0)}, "log scale needs a positive lower bound"),
            ({"start": (0.01, 1.0)}, r"inside the bounds \[0\.1, 10\].*\[0\.01, 1\]"),
            ({"start": (1.0, 11.0)}, "inside the bounds"),
            ({"start": (2.0, 1.0)}, "inside the bounds"),
        ],
    )
    def test_refusals(self, changes, message):
        with pytest.raises(ModelError, match=message):
            self.make(**changes)

    def test_a_change_is_checked_again(self):
        row = self.make(start=(0.5, 2.0))
        assert row.changed(free=False).start == (0.5, 2.0)
        with pytest.raises(ModelError, match="inside the bounds"):
            row.changed(bounds=(1.0, 2.0))


class TestTableOfAnExperiment:
    @pytest.fixture
    def model(self):
        return load_model("celegans")

    def test_nothing_changed(self, model):
        assert experiment_parameters(model, {}) == model.table()

    def test_fixed_at_a_value(self, model):
        rows = experiment_parameters(model, {"fixed": {"E_K": -80, "C_m": 10}})
        assert list(rows) == list(model.table())
        for name, value in (("E_K", -80.0), ("C_m", 10.0)):
            assert (rows[name].default, rows[name].start, rows[name].free) == (value, (value, value), False)
        assert sum(row.free for row in rows.values()) == 26

    def test_only_some_are_free(self, model):
        rows = experiment_parameters(model, {"free": ["g_Ca", "E_K"], "fixed": {"E_K": -70}})
        assert [name for name, row in rows.items() if row.free] == ["g_Ca"]
        assert rows["E_K"].default == -70.0
        assert rows["g_Ks"].start == (10.0, 10.0)

    def test_a_parameter_fixed_by_the_model_can_be_freed(self):
        model = load_model("hodgkinhuxley")
        assert not experiment_parameters(model, {})["q10"].free
        rows = experiment_parameters(model, {"free": ["q10"], "ranges": {"q10": [1, 4]}})
        assert rows["q10"].free
        assert rows["q10"].start == (1.0, 4.0)

    def test_bounds_narrow_the_range(self, model):
        rows = experiment_parameters(model, {"bounds": {"C_m": [1, 10], "E_K": [-40, -35]}})
        assert rows["C_m"].bounds == (1.0, 10.0)
        assert rows["C_m"].start == (1.0, 10.0)
        assert rows["E_K"].start == (-40.0, -40.0)

    def test_bounds_where_no_start_was_drawn(self, model):
        rows = experiment_parameters(model, {"bounds": {"C_m": [50, 90]}})
        assert rows["C_m"].start == rows["C_m"].bounds == (50.0, 90.0)

    def test_ranges(self, model):
        rows = experiment_parameters(
            model, {"bounds": {"C_m": [1, 10]}, "ranges": {"C_m": [2, 3], "g_L": [1, 2]}}
        )
        assert rows["C_m"].start == (2.0, 3.0)
        assert rows["g_L"].start == (1.0, 2.0)

    @pytest.mark.parametrize("key", ["fixed", "free", "bounds", "ranges"])
    def test_an_unknown_name(self, model, key):
        changes = {key: ["g_Kff"] if key == "free" else {"g_Kff": [1, 2]}}
        with pytest.raises(
            ModelError, match=rf"^parameters\.{key}\.g_Kff: CElegansNeuron.*'g_Kf'.*It has: C_m"
        ):
            experiment_parameters(model, changes)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"bounds": {"C_m": [10, 1]}}, r"'C_m'.*lower < upper"),
            ({"ranges": {"C_m": [0.1, 1]}}, r"'C_m'.*inside the bounds"),
            ({"fixed": {"C_m": 1000}}, r"parameters\.fixed\.C_m.*\[0\.5, 100\] µF/cm².*1000.*widen"),
            ({"bounds": {"g_L": [0, 1]}}, "log scale needs a positive"),
            ({"free": []}, "nothing is left to fit"),
        ],
    )
    def test_refusals(self, model, changes, message):
        with pytest.raises(ModelError, match=message):
            experiment_parameters(model, changes)

    def test_a_group_takes_the_row_of_its_first(self, model):
        changes = {"shared": {"slow": ["p__tau", "q__tau"]}, "bounds": {"p__tau": [5, 50]}}
        rows = experiment_parameters(model, changes)
        leader, follower = rows["p__tau"], rows["q__tau"]
        assert leader.free and not leader.follows
        assert not follower.free and follower.follows == "p__tau"
        assert (follower.bounds, follower.start, follower.scale) == (
            leader.bounds,
            leader.start,
            leader.scale,
        )
        assert follower.name == "q__tau" and "q" in follower.meaning
        assert sum(row.free for row in rows.values()) == 27

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"shared": {"a": ["p__tau", "q__taau"]}},
                r"^parameters\.shared\.a: .*no parameter 'q__taau'.*Did",
            ),
            ({"shared": {"a": ["g_L", "p__tau"]}}, r"shared\.a: .*one unit.*'g_L' in mS/cm².*'p__tau' in ms"),
            (
                {"shared": {"a": ["g_L", "g_Ca"]}, "fixed": {"g_L": 0.1}},
                r"shared\.a: the first.*held at 0\.1",
            ),
            ({"shared": {"a": ["g_L", "g_Ca"]}, "free": ["C_m"]}, r"shared\.a: the first.*'g_L'"),
            (
                {"shared": {"a": ["p__scale", "q__scale"]}},
                r"shared\.a: .*bounds that overlap.*\[1, 200\].*\[-200, -1\] mV",
            ),
        ],
    )
    def test_groups_that_cannot_be(self, model, changes, message):
        with pytest.raises(ModelError, match=message):
            experiment_parameters(model, changes)

    def test_initial_values_are_rows_of_their_own(self, model):
        rows = experiment_parameters(model, {"bounds": {"p__initial": [0.0, 0.5]}}, "fitted")
        assert list(rows)[28:] == [f"{state}__initial" for state in "pqnef"] + ["Ca__initial"]
        assert rows["q__initial"].bounds == (0.0, 1.0)
        assert rows["q__initial"].default == 0.95
        assert rows["p__initial"].bounds == (0.0, 0.5)
        assert rows["Ca__initial"].unit == rows["h__mdp"].unit
        # Ten times the calcium that the default neuron has at its best voltage, found here on a grid.
        V = np.linspace(-80, 40, 121)
        defaults = {name: np.float64(value) for name, value in model.default_params.items()}
        highest = model.membrane.steady_state(V, defaults)[-1].max()
        assert rows["Ca__initial"].bounds == (0.0, pytest.approx(10 * highest))
        assert all(row.free for row in rows.values())
        assert list(experiment_parameters(model, {}, "steady_state")) == model.parameter_names

    def test_a_state_that_nobody_declares_needs_bounds(self):
        own = load_model(f"{Path(odynn.models.__file__).with_name('template.py')}:ResonantMembrane")
        with pytest.raises(ModelError, match=r"state 'x1'.*parameters\.bounds\.x1__initial: \[lower"):
            experiment_parameters(own, {}, "fitted")
        rows = experiment_parameters(own, {"bounds": {"x1__initial": [-30, 30]}}, "fitted")
        assert rows["x1__initial"].bounds == (-30.0, 30.0)

    def test_a_value_outside_old_bounds_inside_new_ones(self, model):
        rows = experiment_parameters(model, {"fixed": {"C_m": 1000}, "bounds": {"C_m": [1, 2000]}})
        assert rows["C_m"].default == 1000.0


class TestCheckOfAnExperiment:
    def settings(self, **changes):
        synthetic = {"parameters": "default", "observed": ["V"], "noise": {}}
        return {
            "model": "celegans",
            "dt": 1.0,
            "initial_state": "auto",
            "parameters": {},
            "starts": {"regression": False},
            "uncertainty": {"profiles": []},
            "target": {"synthetic": {**synthetic, **changes.pop("synthetic", {})}},
            **changes,
        }

    def test_all_is_well(self):
        assert check_experiment(self.settings()) == []
        assert check_experiment(self.settings(target={"file": "x.csv"})) == []

    @pytest.mark.parametrize(
        ("changes", "beginning"),
        [
            ({"model": "nothing"}, "model: "),
            ({"parameters": {"fixed": {"g_Q": 1}}}, "parameters.fixed.g_Q: "),
            ({"synthetic": {"parameters": {"g_Q": 1}}}, "target.synthetic.parameters.g_Q: "),
            ({"synthetic": {"observed": ["V", "W"]}}, "target.synthetic.observed.W: "),
            ({"synthetic": {"noise": {"Vm": 1.0}}}, "target.synthetic.noise.Vm: "),
            ({"synthetic": {"noise": {"Ca": 1.0}}}, "target.synthetic.noise.Ca: the synthetic target"),
            (
                {"uncertainty": {"profiles": ["g_Q"]}},
                "uncertainty.profiles.g_Q: CElegansNeuron has no parameter",
            ),
            (
                {"uncertainty": {"profiles": ["E_K"]}, "parameters": {"fixed": {"E_K": -80}}},
                "uncertainty.profiles.E_K: only a free parameter has a profile. Received: 'E_K', which",
            ),
        ],
    )
    def test_one_problem(self, changes, beginning):
        found = check_experiment(self.settings(**changes))
        assert len(found) == 1
        assert found[0].startswith(beginning)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model": "resonant"}, "starts.regression: needs a model that declares its currents"),
            ({"parameters": {"free": ["C_m"]}}, "starts.regression: finds conductances, and none is fitted"),
            (
                {"synthetic": {"observed": ["Ca"]}},
                "starts.regression: needs the voltage, and the synthetic target records Ca",
            ),
        ],
    )
    def test_what_a_regression_needs(self, changes, message):
        if changes.get("model"):
            template = Path(odynn.models.__file__).with_name("template.py")
            changes = {"model": f"{template}:ResonantMembrane"}
        assert check_experiment(self.settings(**changes)) == []
        (found,) = check_experiment(self.settings(**changes, starts={"regression": True}))
        assert found.startswith(message)

    def test_several_problems_at_once(self):
        found = check_experiment(self.settings(dt=1e4, synthetic={"noise": {"W": 1.0}}))
        assert [message.partition(":")[0] for message in found] == ["target.synthetic.noise.W", "dt"]

    @pytest.mark.parametrize(
        ("model", "fine", "coarse"),
        [("celegans", 40.0, 60.0), ("hodgkinhuxley", 0.1, 2.0), ("leaky", 1e6, None)],
    )
    def test_a_step_that_no_gate_can_bear(self, model, fine, coarse):
        # The fastest gate of the C. elegans neuron has 10 ms; the m gate of the squid axon some 0.1 ms.
        changes = {"model": model}
        assert check_experiment(self.settings(dt=fine, **changes)) == []
        if coarse is not None:
            found = check_experiment(self.settings(dt=coarse, **changes))
            assert len(found) == 1
            assert f"Received: {coarse:g} ms" in found[0]
            assert f"gate '{'e' if model == 'celegans' else 'm'}'" in found[0]

    def test_the_step_is_checked_with_fixed_values(self):
        settings = self.settings(dt=60.0, parameters={"fixed": {"e__tau": 100, "n__tau": 100}})
        assert check_experiment(settings) == []


class TestDeclaring:
    """What follows from a declaration."""

    def make(self, **changes):
        rows = tuple(
            Parameter(name, value, "1", (min(value, 0.0) - 100, 1000.0))
            for name, value in {
                "C_m": 2.0, "g_L": 0.5, "E_L": -60.0, "g_Ca": 0.1, "E_Ca": 50.0, "rate": 0.01, "decay": 20.0,
                "m__mdp": -30.0, "m__scale": 5.0, "m__tau": 2.0,
                "k__mdp": 1.0, "k__scale": 0.5, "k__tau": 9.0,
            }.items()
        )  # fmt: skip
        membrane = Membrane(
            currents={"L": Current("g_L", "E_L"), "Ca": Current("g_Ca", "E_Ca", {"m": 2, "k": 1})},
            gates={"m": Gate(boltzmann("m")), "k": Gate(boltzmann("k"), driver="Ca")},
            concentrations={"Ca": Concentration("Ca", rate="rate", decay="decay", unit="µM")},
        )
        return type("Made", (BioNeuron,), {"parameters": rows, "membrane": membrane, **changes})

    def test_names_units_ions_and_rest(self):
        model = self.make(initial_voltage=-50.0)
        assert model.states == ("V", "m", "k", "Ca")
        assert dict(model.ions) == {"Ca": 3}
        assert [model.state_unit(state) for state in model.states] == ["mV", "1", "1", "µM"]
        assert model.default_init_state.shape == (4,)
        assert model.default_init_state[0] == -50.0
        assert model.default_init_state[1] == pytest.approx(1 / (1 + np.exp(4.0)))

    def test_a_gate_can_follow_a_concentration(self):
        model = self.make(default_init_state=np.array([-50.0, 0.2, 0.3, 3.0]))
        found = model(dt=0.5).step(model.default_init_state, 0.0)
        # Backward Euler towards the steady state for the old concentration.
        steady = 1 / (1 + np.exp(-(3.0 - 1.0) / 0.5))
        assert found[2] == pytest.approx((9.0 * 0.3 + 0.5 * steady) / 9.5)

    def test_an_initial_state_of_ones_own_is_kept(self):
        state = np.array([-50.0, 0.0, 0.0, 1.0])
        assert self.make(initial_voltage=-50.0, default_init_state=state).default_init_state is state

    def test_time_constants_by_voltage_alone(self):
        model = self.make(default_init_state=np.zeros(4))
        assert model.membrane.time_constants(model.default_params, np.linspace(-80, 40, 5)) == {"m": 2.0}
