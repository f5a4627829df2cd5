"""What a model object holds: parameters, initial state, names, ions, whatever it was made from."""

import random

import numpy as np
import pytest

from odynn.errors import ModelError
from odynn.fitting.starts import draw_starts
from odynn.models import cfg_model
from odynn.models.model import BioNeuron, Neuron


def size(model):
    return len(model.default_init_state)


def check_consistent(neuron, model, shape):
    """Check that the attributes agree with each other and with parameters of this shape."""
    assert neuron._init_state.shape == (size(model), *shape)
    assert neuron.init_state is neuron._init_state
    assert list(neuron._init_p) == list(neuron._param)
    assert all(neuron._init_p[name] is neuron._param[name] for name in neuron._init_p)
    assert neuron._init_p == neuron._param  # as users compare them: equal arrays would not do
    assert {np.shape(value) for value in neuron._param.values()} == {shape}
    assert neuron.parameter_names == list(model.default_params)


def test_made_from_the_defaults(model):
    # Models written for the original library ask for the parameters; None stands for the defaults.
    neuron = model(None)
    assert isinstance(neuron, Neuron)
    assert isinstance(neuron, BioNeuron)
    assert neuron._param == dict(model.default_params)
    assert neuron.num == 1
    assert neuron.dt == 0.1
    check_consistent(neuron, model, ())
    np.testing.assert_array_equal(neuron.init_state, model.default_init_state)


def test_made_from_a_dict(model):
    given = {name: value * 1.25 for name, value in model.default_params.items()}
    before = dict(given)
    neuron = model(given, dt=0.025)
    assert neuron.num == 1
    assert neuron.dt == 0.025
    assert neuron._init_p == given
    check_consistent(neuron, model, ())
    neuron._param["new"] = 0.0
    assert given == before
    assert "new" not in neuron._init_p


def test_made_from_a_list_of_dicts(model, neurons):
    neuron = model(init_p=neurons)
    assert neuron.num == 5
    assert isinstance(neuron._init_p, dict)
    check_consistent(neuron, model, (5,))
    for name in model.default_params:
        np.testing.assert_array_equal(neuron._param[name], [one[name] for one in neurons])
    for place in range(5):
        np.testing.assert_array_equal(neuron.init_state[:, place], model.default_init_state)


def test_made_from_a_list_of_one(model, neurons):
    neuron = model(init_p=neurons[:1])
    assert neuron.num == 1
    assert neuron._param == neurons[0]
    check_consistent(neuron, model, ())


@pytest.mark.parametrize("sequence", [list, tuple, np.array])
def test_made_from_a_dict_of_values_a_neuron(model, neurons, sequence):
    given = {name: sequence([one[name] for one in neurons]) for name in model.default_params}
    neuron = model(init_p=given)
    assert neuron.num == 5
    check_consistent(neuron, model, (5,))
    assert all(isinstance(value, np.ndarray) for value in neuron._param.values())


def test_made_at_random(model):
    random.seed(1)
    neuron = model("random")
    assert neuron._param.keys() == model.default_params.keys()
    assert neuron._param != dict(model.default_params)
    check_consistent(neuron, model, ())


def test_an_empty_list_is_refused(model):
    with pytest.raises(ModelError, match=r"at least one dict.*Received: \[\]"):
        model([])


def test_parallelize_one_neuron(model):
    neuron = model(dict(model.default_params))
    neuron.parallelize(10)
    check_consistent(neuron, model, (10,))
    for name, value in model.default_params.items():
        np.testing.assert_array_equal(neuron._param[name], np.full(10, value))
    np.testing.assert_array_equal(neuron.init_state[:, 9], model.default_init_state)


def test_parallelize_several_neurons(model, neurons):
    neuron = model(neurons)
    neuron.parallelize(3)
    check_consistent(neuron, model, (5, 3))
    for name in model.default_params:
        np.testing.assert_array_equal(neuron._param[name][:, 0], [one[name] for one in neurons])
        np.testing.assert_array_equal(neuron._param[name][:, 2], neuron._param[name][:, 0])


def test_parallelized_neurons_simulate(model, neurons):
    neuron, apart = model(neurons), model(neurons)
    neuron.parallelize(3)
    stimulus = np.linspace(0.0, 1.0, 6)
    found, wanted = neuron.calculate(stimulus), apart.calculate(stimulus)
    assert found.shape == (6, size(model), 5, 3)
    for copy in range(3):
        np.testing.assert_array_equal(found[..., copy], wanted)


def test_random_parameters(model):
    random.seed(3)
    drawn = [model.get_random() for _ in range(20)]
    for one in drawn:
        assert one.keys() == model.default_params.keys()
        assert all(isinstance(value, float) and np.isfinite(value) for value in one.values())
    for name in model.default_params:
        row = model.table()[name]
        if row.free or row.start[0] < row.start[1]:
            assert len({one[name] for one in drawn}) == 20, name
    check_consistent(model(init_p=drawn), model, (20,))


def test_random_starts_repeat_by_their_seed(model):
    def drawn(seed, ids=(0, 1, 2)):
        return draw_starts(model, model.table(), ids, seed).values

    kept = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first, again, other = drawn(5), drawn(5), drawn(6)
    later = drawn(5, ids=(2, 30))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == kept  # noqa: NPY002
    assert list(first) == list(model.default_params)
    for name, row in model.table().items():
        np.testing.assert_array_equal(first[name], again[name])
        assert first[name][2] == later[name][0]
        if row.start[0] < row.start[1]:
            assert len({*first[name], *other[name], later[name][1]}) == 7, name


def test_random_parameters_of_a_table_are_in_its_ranges(declared):
    generator = np.random.default_rng(0)
    drawn = [declared.get_random(generator) for _ in range(200)]
    assert len(declared.table()) >= 3
    for name, row in declared.table().items():
        values = np.array([one[name] for one in drawn])
        first, last = row.start
        # An end of the range is hit but for rounding.
        assert values.min() >= first - 1e-12 * abs(first), name
        assert values.max() <= last + 1e-12 * abs(last), name
        # Half of them on each side of the middle, on the row's own scale: 5 standard deviations.
        middle = np.sqrt(first * last) if row.scale == "log" else (first + last) / 2
        if first < last:
            assert 64 < (values > middle).sum() < 136, name


def test_get_random_without_a_generator_differs_each_time(declared):
    assert declared.get_random() != declared.get_random()


def test_names_are_those_of_the_class(model):
    assert model.parameter_names == list(model.default_params)
    assert len(model.states) == size(model)
    assert len(set(model.states)) == size(model)
    assert model.states[model.V_pos] == "V"
    assert all(isinstance(model.state_unit(state), str) for state in model.states)
    assert model.state_unit("V") == "mV"


def test_ions_are_readable_on_class_and_instance(model):
    assert model.ions == model(None).ions
    for ion, place in model.ions.items():
        assert model.states[place] == ion


@pytest.mark.parametrize(("name", "ions"), [("CElegansNeuron", {"Ca": 6}), ("HodgkinHuxley", {})])
def test_ions_of_the_library(name, ions):
    model = {one.__name__: one for one in cfg_model.models}[name]
    assert dict(model.ions) == ions
    assert dict(model(None).ions) == ions


def test_the_registry_of_the_original_library():
    # The models of that library come first, new ones after them.
    assert [model.__name__ for model in cfg_model.models[:6]] == [
        "CElegansNeuron",
        "LeakyIntegrate",
        "HodgHuxSimple",
        "HodgkinHuxley",
        "Pospischil",
        "CorticalNeuron",
    ]
    names = ["celegans", "leaky", "hodghuxsimple", "hodgkinhuxley", "pospischil", "cortical"]
    assert cfg_model.models_name[:6] == names
    assert len(cfg_model.models) == len(cfg_model.models_name)
    assert cfg_model.NEURON_MODEL is cfg_model.models[0]
    for model in cfg_model.models:
        assert model().num == 1  # no argument at all


class TestNeuron:
    """The base class takes a subclass as it is."""

    def make(self):
        class Minimal(Neuron):
            def step(self, X, i):
                return X

            def calculate(self, i):
                return i

        return Minimal

    def test_abstract_methods_are_needed(self):
        with pytest.raises(TypeError, match="abstract"):
            Neuron()
        assert Neuron.__abstractmethods__ == {"step", "calculate"}

    def test_defaults(self):
        neuron = self.make()()
        assert neuron.V_pos == 0
        assert neuron.dt == 0.1
        assert neuron.num == 1
        assert neuron.init_state is None
        assert dict(neuron.ions) == dict(self.make().ions) == {}

    def test_num_and_state_are_what_was_set(self):
        neuron = self.make()(dt=0.5)
        neuron._num, neuron._init_state = 5, 54
        assert (neuron.num, neuron.init_state, neuron.dt) == (5, 54, 0.5)

    @pytest.mark.parametrize("state", ["fg", 3, [1, 2], np.array([4])])
    def test_the_initial_state_is_not_coerced(self, state):
        cls = self.make()
        cls.default_init_state = state
        assert cls().init_state is state


class TestLenience:
    """The base class checks neither the keys of parameters nor what a step returns."""

    def make(self):
        class Echo(BioNeuron):
            def step(self, X, i):
                return i

        Echo.default_params = {"a": 20, "c": 10}
        Echo.default_init_state = np.array([4])
        return Echo

    def test_other_keys_are_kept(self):
        cls, given = self.make(), {"a": 20, "b": 0.1}
        one, ten = cls(given), cls([given for _ in range(10)])
        assert one._init_p == one._param == given
        assert ten._init_p == ten._param
        assert ten._init_p.keys() == given.keys()
        assert ten._init_p["b"].shape == (10,)
        assert ten._init_state.shape == (1, 10)
        assert ten.parameter_names == one.parameter_names == ["a", "c"]

    def test_what_a_step_returns_is_what_calculate_gives(self):
        stimulus = np.array([1, 2, 3, 9, 5, 6])
        np.testing.assert_array_equal(self.make()().calculate(stimulus), stimulus)
        np.testing.assert_array_equal(self.make()().calculate(list(stimulus)), stimulus)

    def test_names_follow_parameters_assigned_later(self):
        cls = self.make()
        assert cls.parameter_names == ["a", "c"]
        cls.default_params = {"x": 1.0}
        assert cls.parameter_names == cls().parameter_names == ["x"]
        assert cls()._param == {"x": 1.0}

    def test_neither_membrane_nor_step(self):
        class Nothing(BioNeuron):
            default_params = {"a": 1.0}
            default_init_state = np.array([0.0])

        with pytest.raises(ModelError, match="no step of its own"):
            Nothing().step(np.array([0.0]), 0.0)

    def test_ions_of_a_subclass_are_its_own(self):
        class Ion(self.make()):
            _ions = {"Ca": 1}
            default_init_state = np.array([0.0, 1.0])

        assert dict(Ion.ions) == dict(Ion().ions) == {"Ca": 1}
        assert Ion.states == ("V", "Ca")
        assert dict(self.make().ions) == {}
