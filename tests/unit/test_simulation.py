"""Stimuli, synthetic targets, blocks of starts, and what the simulator refuses."""

import threading

import numpy as np
import pytest
import tensorflow as tf

from odynn.errors import ConfigError, ModelError
from odynn.models import load_model
from odynn.simulation import blocks
from odynn.simulation.dynamics import Dynamics, experiment_dynamics
from odynn.simulation.simulator import Simulator
from odynn.simulation.synthetic import synthetic_target
from odynn.stimuli import stimulus, time_grid


class TestStimuli:
    def test_the_time_grid_has_the_ends_of_steps(self):
        np.testing.assert_allclose(time_grid(1200, 0.1)[[0, 1, -1]], [0.1, 0.2, 1200.0])
        assert len(time_grid(1200, 0.1)) == 12000
        assert len(time_grid(10.04, 0.1)) == 100

    def test_a_step(self):
        found = stimulus([{"step": 2.5, "from": 10, "to": 12}], 20, 0.5)
        time = time_grid(20, 0.5)
        # The steps of time that end after 10 and no later than 12.
        np.testing.assert_array_equal(found, 2.5 * ((time > 10) & (time <= 12)))
        assert found.sum() * 0.5 == 2.5 * 2

    @pytest.mark.parametrize("dt", [0.01, 0.1, 0.3, 1.0, 7.0])
    def test_the_charge_of_a_step_does_not_depend_on_dt(self, dt):
        found = stimulus([{"step": 1.0, "from": 21.0, "to": 42.0}], 84.0, dt)
        assert found.sum() * dt == pytest.approx(21.0, rel=1e-9 if 21 / dt == round(21 / dt) else 0.01)

    def test_pieces_add_up(self):
        one, other = {"step": 1.0, "from": 0, "to": 5}, {"step": -3.0, "from": 2, "to": 4}
        together = stimulus([one, other], 6, 1)
        np.testing.assert_array_equal(together, stimulus([one], 6, 1) + stimulus([other], 6, 1))
        np.testing.assert_array_equal(together, [1, 1, -2, -2, 1, 0])
        np.testing.assert_array_equal(stimulus([], 3, 1), np.zeros(3))

    def test_a_ramp_is_the_mean_over_each_step(self):
        found = stimulus([{"ramp": [0, 30], "from": 100, "to": 200}], 300, 1.0)
        np.testing.assert_allclose(found[100:200], (np.arange(100) + 0.5) * 0.3)
        assert not found[:100].any()
        assert not found[200:].any()
        down = stimulus([{"ramp": [30, 0], "from": 100, "to": 200}], 300, 1.0)
        np.testing.assert_allclose(down[100:200], found[100:200][::-1])

    def test_pulses(self):
        piece = {"pulses": 30, "change": -4, "number": 8, "width": 50, "every": 100, "from": 100}
        found = stimulus([piece], 1000, 1.0)
        for number in range(8):
            np.testing.assert_array_equal(found[100 + 100 * number : 150 + 100 * number], 30 - 4 * number)
        assert np.count_nonzero(found) == 8 * 50
        same = stimulus([{**piece, "change": 0}], 1000, 1.0)
        del piece["change"]
        np.testing.assert_array_equal(stimulus([piece], 1000, 1.0), same)

    def test_an_unknown_piece(self):
        with pytest.raises(ConfigError, match=r"step, ramp, pulses, sine or noise\. Received: .*saw"):
            stimulus([{"saw": 3.0, "from": 0, "to": 1}], 10, 1)

    def test_a_sine_wave(self):
        """Over two turns, 4 Hz for 500 ms, the mean is 0 and the mean square half the amplitude's."""
        found = stimulus([{"sine": 3.0, "frequency": 4.0, "phase": 90.0, "from": 100, "to": 600}], 700, 0.5)
        assert not found[:200].any() and not found[1200:].any()
        inside = found[200:1200]
        assert inside.mean() == pytest.approx(0, abs=1e-12)
        assert (inside**2).mean() == pytest.approx(4.5)
        assert inside[0] == pytest.approx(3 * np.cos(2 * np.pi * 4 * 0.25e-3))

    def test_noise_by_seed(self):
        piece = {"noise": 2.0, "seed": 7, "from": 0, "to": 20000}
        white = stimulus([piece], 20000, 1.0)
        np.testing.assert_array_equal(white, stimulus([piece], 20000, 1.0))
        assert (white != stimulus([piece | {"seed": 8}], 20000, 1.0)).all()
        # The standard error of a standard deviation of n normal numbers is σ/√(2n).
        assert white.std() == pytest.approx(2.0, abs=4 * 2 / np.sqrt(40000))
        slow = stimulus([piece | {"time_constant": 10.0}], 20000, 1.0)
        assert slow.std() == pytest.approx(2.0, abs=0.3)
        for lag in (1, 5, 10):
            kept = (slow[lag:] * slow[:-lag]).mean() / (slow**2).mean()
            assert kept == pytest.approx(np.exp(-lag / 10), abs=0.05)


class TestSynthetic:
    SETTINGS = {
        "parameters": "default",
        "duration": 60,
        "sweeps": [[{"step": 10, "from": 10, "to": 30}], [{"step": 5, "from": 20, "to": 50}], []],
        "train": [0, 2],
        "test": None,
        "observed": ["V"],
        "noise": {},
        "seed": 0,
    }

    def target(self, name="celegans", steady_state=False, solver="implicit_euler", **changes):
        return synthetic_target(name, {**self.SETTINGS, **changes}, 0.5, solver, steady_state)

    def test_it_is_the_models_own_run(self):
        target, model = self.target(observed=["V", "Ca"]), load_model("celegans")
        found = model(dt=0.5).calculate(target.stimulus)
        np.testing.assert_array_equal(target.observed["V"], found[:, 0])
        np.testing.assert_array_equal(target.observed["Ca"], found[:, 6])
        assert target.truth == dict(model.default_params)
        assert (target.units["V"], target.units["Ca"]) == ("mV", "a.u.")
        assert target.train.tolist() == [True, False, True]
        assert target.dt == 0.5
        assert target.initial is None
        np.testing.assert_array_equal(target.stimulus[:, 0], stimulus(self.SETTINGS["sweeps"][0], 60, 0.5))

    def test_parameters_and_solver_matter(self):
        usual = self.target()
        other = self.target(parameters={"C_m": 10.0})
        assert other.truth == {**usual.truth, "C_m": 10.0}
        assert not np.allclose(other.observed["V"], usual.observed["V"])
        assert not np.allclose(self.target(solver="exponential_euler").observed["V"], usual.observed["V"])

    def test_from_the_steady_state(self):
        target, model = self.target(steady_state=True), load_model("celegans")
        np.testing.assert_array_equal(target.initial, [-60.0, -60.0, -60.0])
        assert not np.allclose(target.observed["V"], self.target().observed["V"])
        neuron = model(dt=0.5)
        neuron._init_state = np.array(model.membrane.steady_state(-60.0, model.default_params))
        np.testing.assert_array_equal(target.observed["V"], neuron.calculate(target.stimulus)[:, 0])

    def test_only_the_sweeps_of_the_split_are_kept(self):
        target = self.target(train=[2], test=[0])
        assert target.sweeps.tolist() == [0, 2]
        assert target.train.tolist() == [False, True]
        assert target.stimulus.shape == (120, 2)

    def test_noise(self):
        clean, noisy = self.target(), self.target(noise={"V": 2.0})
        noise = noisy.observed["V"] - clean.observed["V"]
        assert noise.shape == (120, 3)
        # 360 numbers: the standard deviation is known within 4 percent.
        assert noise.std() == pytest.approx(2.0, rel=0.15)
        assert abs(noise.mean()) < 0.4
        assert abs(np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]) < 0.2
        np.testing.assert_array_equal(self.target(noise={"V": 2.0}).observed["V"], noisy.observed["V"])
        assert not np.allclose(self.target(noise={"V": 2.0}, seed=1).observed["V"], noisy.observed["V"])
        assert noisy.noise == {"V": 2.0}

    def test_noise_of_one_state_does_not_depend_on_that_of_another(self):
        alone = self.target(observed=["V", "Ca"], noise={"V": 2.0})
        both = self.target(observed=["V", "Ca"], noise={"Ca": 0.1, "V": 2.0})
        np.testing.assert_array_equal(both.observed["V"], alone.observed["V"])
        assert not np.allclose(both.observed["Ca"], alone.observed["Ca"])


class TestBlocks:
    @pytest.mark.parametrize("threads", [1, 2, 5])
    @pytest.mark.parametrize("sweeps", [1, 2, 3, 5, 8, 40])
    @pytest.mark.parametrize("starts", [1, 15, 16, 17, 64, 100, 1000])
    def test_widths_fit_vectors_caches_and_cores(self, sweeps, starts, threads):
        width = blocks.Blocks.of(sweeps, starts, threads, lanes=256).width
        assert width % 16 == 0
        if not tf.config.list_physical_devices("GPU"):
            assert width >= 48
            assert sweeps * (width - 15) <= 256 or width == 48
            # No thread has more blocks to compute than it would with as many lanes as are asked for.
            turns = -(-starts // (threads * max(1, 256 // sweeps)))
            assert -(-starts // width) <= threads * turns

    @pytest.mark.parametrize("threads", [1, 3])
    @pytest.mark.parametrize("number", [1, 15, 16, 17, 50])
    def test_blocks_are_joined_without_their_padding(self, number, threads):
        seen = []

        def compute(column, matrix):
            seen.append(column.shape)
            assert matrix.shape == (2, 16)
            return column * 2, matrix + column[None], tf.reduce_sum(matrix, axis=0)

        column, matrix = np.arange(float(number)), np.arange(2.0 * number).reshape(2, number)
        doubled, added, total = blocks.Blocks(16, threads).run(compute, [column, matrix])
        np.testing.assert_array_equal(doubled, column * 2)
        np.testing.assert_array_equal(added, matrix + column)
        np.testing.assert_array_equal(total, matrix.sum(axis=0))
        assert len(seen) == -(-number // 16)
        assert set(seen) == {(16,)}

    def test_blocks_run_side_by_side(self):
        together = threading.Barrier(2, timeout=60)

        def compute(column):
            together.wait()  # for the other one
            return (column,)

        blocks.Blocks(16, threads=2).run(compute, [np.arange(32.0)])

    def test_padding_copies_the_last_start(self):
        given = []

        def compute(column):
            given.append(column.numpy())
            return (column,)

        blocks.Blocks(16).run(compute, [np.arange(18.0)])
        np.testing.assert_array_equal(given[1], [16.0, *[17.0] * 15])

    def test_an_error_in_a_thread_is_not_lost(self):
        def compute(column):
            if column[0] > 20:
                raise ValueError("in a block")
            return (column,)

        with pytest.raises(ValueError, match="in a block"):
            blocks.Blocks(16, threads=2).run(compute, [np.arange(64.0)])


class TestSimulator:
    def test_missing_parameters(self):
        simulator = Simulator(Dynamics(load_model("leaky"), 0.1))
        with pytest.raises(
            ModelError, match=r"^values: must hold every parameter of LeakyIntegrate\. .*g_L, E_L"
        ):
            simulator.traces({"C_m": np.ones(2)}, np.zeros((5, 1)))

    def test_some_states_alone(self):
        simulator = Simulator(Dynamics(load_model("hodgkinhuxley"), 0.02))
        values = {name: np.full(3, row.default) for name, row in load_model("hodgkinhuxley").table().items()}
        stimulus = np.full((50, 2), 10.0)
        everything = simulator.traces(values, stimulus)
        some = simulator.traces(values, stimulus, states=["n", "V"])
        assert list(some) == ["n", "V"]
        for state, trace in some.items():
            np.testing.assert_array_equal(trace, everything[state])
        for wrong in (["V", "Q"], []):
            with pytest.raises(ModelError, match=r"^states: expected some of V, m, h, n\. Received: "):
                simulator.traces(values, stimulus, states=wrong)

    def test_parameters_may_come_in_any_order_and_with_others(self):
        simulator = Simulator(Dynamics(load_model("leaky"), 0.1, precision="float64"))
        given = {"E_L": np.array([-60.0, -50.0]), "g_L": np.array([0.1, 0.2]), "C_m": np.array([1.0, 2.0])}
        found = simulator.traces({**given, "more": np.zeros(2)}, np.ones((5, 1)))
        for place in range(2):
            one = load_model("leaky")({name: value[place] for name, value in given.items()})
            np.testing.assert_allclose(found["V"][:, 0, place], one.calculate(np.ones(5))[:, 0], rtol=1e-13)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((0.1, "heun"), r"implicit_euler.*exponential_euler.*Received: solver='heun'"),
            ((0.1, "implict_euler"), "Did you mean 'implicit_euler'"),
            (
                (0.1, "implicit_euler", "float16"),
                r"^precision: expected float32 or float64\. Received: .*'float16'",
            ),
            ((0.0,), r"^dt: expected a number > 0, in ms\. Received: dt=0\.0"),
            ((np.nan,), r"^dt: expected a number > 0"),
        ],
    )
    def test_dynamics_that_there_are_not(self, arguments, message):
        with pytest.raises(ModelError, match=message):
            Dynamics(load_model("leaky"), *arguments)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"g_L": 0.1}, r"^values\['g_L'\]: expected an array of numbers \[start\].*shape \[\]"),
            ({"g_L": np.ones((2, 1))}, r"^values\['g_L'\]: .*shape \[2, 1\]"),
            (
                {"g_L": np.ones(3)},
                r"values\['g_L'\]: expected as many .* values\['C_m'\] has, 2\. Received: 3",
            ),
            ({"g_L": ["a", "b"]}, r"values\['g_L'\]: .*list that is no array of numbers"),
            ({name: np.ones(0) for name in ("C_m", "g_L", "E_L")}, r"values\['C_m'\]: .*not empty.*\[0\]"),
            (
                {"stimulus": np.ones(5)},
                r"^stimulus: expected an array of numbers \[time, sweep\].*shape \[5\]",
            ),
            ({"stimulus": np.ones((5, 2, 1))}, r"^stimulus: .*shape \[5, 2, 1\]"),
            ({"stimulus": [[1.0], [1.0, 2.0]]}, r"^stimulus: .*list that is no array"),
            ({"initial": np.float64(-60)}, r"^initial: expected an array of numbers \[sweep\].*shape \[\]"),
            (
                {"initial": np.full(2, -60.0)},
                r"^initial: expected as many .*\[sweep\] as stimulus has, 3\. .*: 2",
            ),
        ],
    )
    def test_arrays_of_other_shapes(self, change, message):
        simulator = Simulator(Dynamics(load_model("leaky"), 0.1))
        values = {"E_L": np.array([-60.0, -50.0]), "g_L": np.array([0.1, 0.2]), "C_m": np.ones(2)}
        others = {"stimulus": np.ones((5, 3)), "initial": None}
        for name, value in change.items():
            (others if name in others else values)[name] = value
        with pytest.raises(ModelError, match=message):
            simulator.traces(values, **others)

    def test_plain_lists_are_arrays_too(self):
        simulator = Simulator(Dynamics(load_model("leaky"), 0.1))
        values = {"E_L": [-60], "g_L": [0.1], "C_m": [1]}
        assert simulator.traces(values, [[0], [0]], [-50])["V"].shape == (2, 1, 1)

    def test_the_dynamics_of_an_experiment(self):
        settings = {"model": "leaky", "dt": 0.25, "solver": "exponential_euler", "precision": "float64"}
        dynamics = experiment_dynamics(settings)
        assert (dynamics.model, dynamics.dt) == (load_model("leaky"), 0.25)
        assert (dynamics.solver, dynamics.dtype) == ("exponential_euler", tf.float64)
        assert dynamics.declared
        assert dynamics.states == ("V",)
