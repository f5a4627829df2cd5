"""plot_output and plot_results as users call them: shown, saved, for one neuron or several."""

import inspect

import numpy as np
import pytest
from matplotlib.figure import Figure

TIMES = 30


@pytest.fixture
def ts():
    return np.arange(TIMES) * 0.1


def axes_with(figure, words):
    return [axes for axes in figure.axes if words in axes.get_ylabel()]


def lines(axes):
    """Return the drawn curves, [time] each."""
    return [
        np.asarray(line.get_ydata(), dtype=float) for line in axes.lines if len(line.get_xdata()) == TIMES
    ]


def drawn(axes, trace):
    return any(np.allclose(line, trace) for line in lines(axes))


def states_of(model, *shape):
    """Return states that differ in every entry: one drawn in the place of another would show."""
    count = len(model.default_init_state)
    return np.random.default_rng(0).uniform(0.1, 0.9, (TIMES, count, *shape))


def test_signature_of_plot_output(model):
    found = inspect.signature(model.plot_output).parameters
    assert list(found)[:10] == "ts i_inj states y_states suffix show save l lt targstyle".split()
    defaults = {name: one.default for name, one in found.items() if one.default is not one.empty}
    wanted = dict(y_states=None, suffix="", show=True, save=False, l=1, lt=1, targstyle="-")
    assert wanted.items() <= defaults.items()


@pytest.mark.parametrize("shape", [(), (4,), (3, 2)], ids=str)
def test_plot_output_draws_voltage_and_ions(model, ts, figure_calls, shape):
    states = states_of(model, *shape)
    figure = model.plot_output(ts, np.ones((TIMES, *shape)), states, show=False)
    assert isinstance(figure, Figure)
    assert figure_calls == []
    assert len(figure.axes) == 2 + len(model.ions)
    voltage = axes_with(figure, "mV")[0]
    traces = states[:, model.V_pos].reshape(TIMES, -1).T
    assert len(traces) == max(1, int(np.prod(shape)))
    assert all(drawn(voltage, trace) for trace in traces)
    for ion, place in model.ions.items():
        assert drawn(axes_with(figure, ion)[0], states[:, place].reshape(TIMES, -1)[:, -1])


def test_plot_output_is_of_the_class(model, ts, figure_calls):
    states = states_of(model)
    on_class = model.plot_output(ts, np.ones(TIMES), states, None, "x", False)
    on_object = model(None).plot_output(ts, np.ones(TIMES), states, None, "x", False)
    assert len(on_class.axes) == len(on_object.axes)


def test_plot_output_against_a_target(model, ts, figure_calls):
    count = len(model.default_init_state)
    target = np.random.default_rng(1).uniform(1.0, 2.0, (count, TIMES, 1))
    y_states = [None] * count
    y_states[model.V_pos] = target[model.V_pos]
    observed = [model.V_pos % count]
    for place in model.ions.values():
        y_states[place] = target[place]
        observed.append(place % count)
    figure = model.plot_output(
        ts, np.ones(TIMES), states_of(model, 2), y_states, show=False, l=3, lt=2, targstyle="--"
    )
    assert drawn(axes_with(figure, "mV")[0], target[model.V_pos][:, 0])
    for ion, place in model.ions.items():
        assert drawn(axes_with(figure, ion)[0], target[place][:, 0])
    curves = [line for line in axes_with(figure, "mV")[0].lines if len(line.get_xdata()) == TIMES]
    assert sorted(line.get_linewidth() for line in curves) == [2, 3, 3]
    assert [line.get_linestyle() for line in curves if line.get_linewidth() == 2] == ["--"]


def test_plot_output_without_a_target_of_the_voltage(model, ts, figure_calls):
    y_states = [None] * len(model.default_init_state)
    figure = model.plot_output(ts, np.ones(TIMES), states_of(model), y_states, show=False)
    assert len(lines(axes_with(figure, "mV")[0])) == 1


@pytest.mark.parametrize("method", ["plot_output", "plot_results"])
def test_show_opens_one_window(model, ts, figure_calls, method):
    getattr(model(None), method)(ts, np.ones(TIMES), states_of(model))
    assert len(figure_calls) == 1


@pytest.mark.parametrize("method", ["plot_output", "plot_results"])
def test_save_in_the_current_folder(model, ts, figure_calls, tmp_path, monkeypatch, method):
    monkeypatch.chdir(tmp_path)
    draw = getattr(model(None), method)
    draw(ts, np.ones(TIMES), states_of(model), suffix="one", show=False, save=True)
    assert [path.name for path in tmp_path.iterdir()] == [f"{method.removeprefix('plot_')}_one.png"]
    assert next(tmp_path.iterdir()).read_bytes().startswith(b"\x89PNG")
    assert figure_calls == []


@pytest.mark.parametrize("method", ["plot_output", "plot_results"])
def test_save_in_a_folder_given(model, ts, figure_calls, tmp_path, method):
    folder = tmp_path / "new folder"
    draw = getattr(model(None), method)
    draw(ts, np.ones(TIMES), states_of(model), suffix="two", show=False, save=str(folder))
    assert [path.name for path in folder.iterdir()] == [f"{method.removeprefix('plot_')}_two.png"]


@pytest.mark.parametrize("shape", [(), (12,), (3, 2)], ids=str)
def test_plot_results_draws_everything(model, ts, figure_calls, shape):
    neuron = model([dict(model.default_params)] * shape[-1]) if shape else model(None)
    states = states_of(model, *shape)
    figure = neuron.plot_results(ts, np.ones((TIMES, *shape)), states, show=False)
    assert isinstance(figure, Figure)
    curves = [curve for axes in figure.axes for curve in lines(axes)]
    for place, name in enumerate(model.states):
        trace = states[:, place].reshape(TIMES, -1)[:, -1]
        assert any(np.allclose(curve, trace) for curve in curves), name
    for name, current in neuron.currents(states).items():
        trace = current.reshape(TIMES, -1)[:, -1]
        assert any(np.allclose(curve, trace) for curve in curves), name


def test_plot_results_of_a_simulation_of_a_batch(model, ts, figure_calls):
    neuron, stimulus = model(None), np.ones((TIMES, 3))
    figure = neuron.plot_results(ts, stimulus, neuron.calculate(stimulus), show=False)
    assert len(lines(axes_with(figure, "mV")[0])) == 3


def test_plot_results_against_measured_calcium(model, ts, figure_calls):
    measured = np.linspace(3.0, 4.0, TIMES)
    figure = model(None).plot_results(ts, np.ones(TIMES), states_of(model), ca_true=measured, show=False)
    found = [drawn(axes, measured) for axes in figure.axes]
    assert any(found) == bool(model.ions)
