"""Spikes: where they are, and how two trains compare."""

from functools import cache

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks

from odynn import spikes
from odynn.spikes.detection import AFTER, BEFORE

DT = 0.1


def train(*times, spikes_at_most=None):
    """Return a train [spike, 1]."""
    found = np.full((spikes_at_most or len(times), 1), np.nan)
    found[: len(times), 0] = times
    return found


def trace(peaks, duration=200.0, rest=-70.0, height=100.0, sd=0.5):
    """Return time and a trace with spikes of 1 ms at these times."""
    time = DT * np.arange(1, round(duration / DT) + 1)
    return time, rest + height * sum(np.exp(-0.5 * ((time - peak) / sd) ** 2) for peak in peaks)


def test_every_spike_is_found_at_its_peak():
    time, voltage = trace([20.0, 25.0, 60.0, 150.3])
    assert spikes.spike_times(voltage, time) == pytest.approx([20.0, 25.0, 60.0, 150.3])


def test_peaks_agree_with_scipy():
    rng = np.random.default_rng(3)
    voltage = np.cumsum(rng.normal(0, 6, (4000, 12)), axis=0)
    voltage = -30 + 40 * np.sin(voltage / 40) + rng.normal(0, 3, voltage.shape)
    time = DT * np.arange(4000)
    found = spikes.spike_times(voltage, time, threshold=-15, prominence=25, width=1e4, separation=0)
    total = 0
    for column, times in zip(voltage.T, found.T, strict=True):
        expected = time[find_peaks(column, height=-15, prominence=25)[0]]
        # scipy takes the voltage to begin and end above everything; a spike has to rise and to fall.
        expected = [
            at
            for at in expected
            if (column[time <= at].min() <= column[time == at] - 25)
            and (column[time >= at].min() <= column[time == at] - 25)
        ]
        assert times[np.isfinite(times)].tolist() == list(expected)
        total += len(expected)
    assert total > 50


def test_noise_on_a_plateau_is_no_spike():
    rng = np.random.default_rng(0)
    time = DT * np.arange(1, 10_001)
    plateau = np.where((time > 100) & (time < 900), -8.0, -60.0)[:, None] + rng.normal(0, 2, (10_000, 20))
    assert spikes.spike_counts(spikes.spike_times(plateau, time)).tolist() == [0] * 20
    assert np.sum((plateau[1:] >= -10) & (plateau[:-1] < -10)) > 1000  # what crossings would have counted


def test_spikes_that_stay_above_the_threshold_between_are_told_apart():
    time, voltage = trace([50.0, 60.0, 70.0], rest=-5.0, height=40.0)
    voltage[(time < 40) | (time > 80)] = -60.0
    assert spikes.spike_counts(spikes.spike_times(voltage, time)) == 3


def test_the_shoulder_of_a_spike_is_no_spike():
    time, voltage = trace([50.0])
    slow = np.where(time >= 50, -70 + 100 * np.exp(-(time - 50) / 4), voltage)  # of the repolarisation
    bump = 12 * np.exp(-0.5 * ((time - 52) / 0.3) ** 2)
    assert len(find_peaks(slow + bump)[0]) == 2
    assert spikes.spike_times(slow + bump, time) == pytest.approx([50.0], abs=0.11)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"threshold": 31.0}, 0),
        ({"threshold": 29.0}, 2),
        ({"prominence": 101.0}, 0),
        ({"prominence": 97.0}, 2),
        ({"width": 0.2}, 0),
        ({"separation": 3.0}, 2),
        ({"separation": 3.2}, 1),
    ],
)
def test_options_mean_what_they_say(options, count):
    time, voltage = trace([50.0, 53.1])
    assert spikes.spike_counts(spikes.spike_times(voltage, time, **options)) == count


def test_a_spike_cut_off_does_not_count():
    for duration in (50.0, 50.2):
        time, voltage = trace([50.0], duration=duration)
        assert spikes.spike_times(voltage, time).shape == (0,)
    time, voltage = trace([0.0, 100.0])
    assert spikes.spike_times(voltage, time) == pytest.approx([100.0])


def test_traces_do_not_depend_on_their_neighbours():
    rng = np.random.default_rng(1)
    time = DT * np.arange(1, 3001)
    places = [np.sort(rng.choice(np.arange(10, 290, 6), rng.integers(0, 12), False)) for _ in range(35)]
    voltage = np.stack(
        [trace(place, 300.0)[1] if len(place) else np.full(3000, -70.0) for place in places], 1
    )
    voltage = (voltage + rng.normal(0, 1, voltage.shape)).astype(np.float32).reshape(3000, 5, 7)
    together = spikes.spike_times(voltage, time)
    assert together.shape == (max(map(len, places)), 5, 7)
    assert spikes.spike_counts(together).reshape(-1).tolist() == [len(place) for place in places]
    for sweep, start in np.ndindex(5, 7):
        alone = spikes.spike_times(voltage[:, sweep, start], time)
        assert np.array_equal(alone, together[: len(alone), sweep, start])
        assert np.isnan(together[len(alone) :, sweep, start]).all()


def test_traces_without_anything_to_find():
    time, voltage = trace([50.0])
    lost = voltage.copy()
    lost[1500:] = np.nan
    assert spikes.spike_times(lost, time) == pytest.approx([50.0])
    assert spikes.spike_times(np.full(2000, np.nan), time).shape == (0,)
    assert spikes.spike_times(np.full((2000, 3, 4), -70.0), time).shape == (0, 3, 4)
    assert spikes.spike_times(np.full((2000, 3, 0), -70.0), time).shape == (0, 3, 0)
    assert spikes.spike_counts(np.empty((0, 3))).tolist() == [0, 0, 0]


def test_coincidences_are_the_largest_matching():
    rng = np.random.default_rng(2)
    for _ in range(60):
        first, second = (np.sort(rng.uniform(0, 100, rng.integers(1, 25))) for _ in range(2))
        near = np.abs(first[:, None] - second) <= 4.0
        rows, columns = linear_sum_assignment(-near.astype(float))
        assert spikes.coincidences(train(*first), train(*second)) == near[rows, columns].sum()
    assert spikes.coincidences(train(10.0), train(9.0, 11.0)) == 1


def test_gamma_by_hand():
    observed, simulated = train(10.0, 50.0, 90.0), train(12.0, 70.0, 93.0, 97.0)
    # 2 coincidences; by chance 2 · 0.02/ms · 4 ms · 3 = 0.48; (2 - 0.48) / 3.5 / (1 - 0.16)
    assert spikes.gamma(observed, simulated, 200.0) == pytest.approx([1.52 / 3.5 / 0.84])
    # The window itself still counts; less than it does not: 1 coincidence, 0.36 by chance.
    assert spikes.gamma(observed, simulated, 200.0, window=3.0) == pytest.approx([1.64 / 3.5 / 0.88])
    assert spikes.gamma(observed, simulated, 200.0, window=2.9) == pytest.approx([0.652 / 3.5 / 0.884])


def test_gamma_of_equal_trains_is_one_and_of_far_ones_below_zero():
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 1000, (20, 5)), axis=0)
    times[15:, 2] = np.nan
    assert spikes.gamma(times, times, 1000.0) == pytest.approx(1.0)
    regular = train(*np.arange(50.0, 1000, 100))
    assert spikes.gamma(regular, regular + 4.0, 1000.0) == pytest.approx(1.0)
    assert spikes.gamma(regular, regular + 4.2, 1000.0) == pytest.approx(-0.08 / 0.92)


def test_gamma_of_random_trains_is_zero_on_average():
    rng = np.random.default_rng(5)
    length, rate, sweeps = 4000.0, 0.005, 3000
    counts = rng.poisson(rate * length, (2, sweeps))
    trains = np.full((2, counts.max(), sweeps), np.nan)
    for which, sweep in np.ndindex(2, sweeps):
        trains[which, : counts[which, sweep], sweep] = np.sort(rng.uniform(0, length, counts[which, sweep]))
    found = spikes.gamma(*trains, length)
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(sweeps) + 0.001
    assert found.std() > 0.03


def test_gamma_where_a_train_is_empty():
    none, some = np.full((2, 1), np.nan), train(5.0, 10.0)
    assert np.isnan(spikes.gamma(none, none, 100.0)).all()
    assert np.isnan(spikes.gamma(np.empty((0, 1)), np.empty((0, 1)), 100.0)).all()
    assert spikes.gamma(some, none, 100.0) == spikes.gamma(none, some, 100.0) == [0.0]
    assert spikes.gamma(some, np.empty((0, 1)), 100.0) == [0.0]


def test_gamma_of_a_train_that_covers_the_sweep_is_zero():
    observed, restless = train(20.0, 70.0), train(*np.arange(5.0, 100, 5))
    assert spikes.gamma(observed, restless, 100.0) == [0.0]
    assert np.isnan(spikes.gamma(restless, observed, 100.0))
    assert spikes.gamma(restless, restless, 100.0, window=2.0) == pytest.approx([1.0])


def test_trains_of_many_starts():
    observed = np.stack([train(10.0, 50.0)[:, 0], train(30.0, spikes_at_most=2)[:, 0]], axis=1)
    simulated = np.full((3, 2, 4), np.nan)
    simulated[:2, :, 0] = observed
    simulated[:3, 0, 1] = 11.0, 30.0, 51.0
    simulated[:1, 1, 2] = 33.0
    for measure in (lambda a, b: spikes.gamma(a, b, 100.0), spikes.coincidences, spikes.train_distance):
        together = measure(observed, simulated)
        assert together.shape == (2, 4)
        for sweep, start in np.ndindex(2, 4):
            alone = measure(observed[:, [sweep]], simulated[:, [sweep], start])
            assert np.array_equal(alone, together[[sweep], start], equal_nan=True)


def edit_distance(first, second, constant):
    """Return the least cost of the edits, by trying them all."""

    @cache
    def cost(i, j):
        if i == 0 or j == 0:
            return float(i + j)
        apart = abs(first[i - 1] - second[j - 1])
        return min(
            cost(i - 1, j) + 1,
            cost(i, j - 1) + 1,
            cost(i - 1, j - 1) + apart / (apart + constant),
        )

    return cost(len(first), len(second))


def test_train_distance_is_the_least_cost_of_edits():
    rng = np.random.default_rng(4)
    for _ in range(40):
        first, second = (np.sort(rng.uniform(0, 200, rng.integers(0, 12))) for _ in range(2))
        found = spikes.train_distance(
            train(*first, spikes_at_most=13), train(*second, spikes_at_most=12), 8.0
        )
        assert found == pytest.approx([edit_distance(first, second, 8.0)])
        back = spikes.train_distance(train(*second, spikes_at_most=12), train(*first, spikes_at_most=13), 8.0)
        assert found == pytest.approx(back)


def test_moving_a_spike_nearer_always_helps_and_silence_is_worst():
    observed = train(100.0, 200.0, 300.0)
    distances = [spikes.train_distance(observed, observed + shift)[0] for shift in (0, 1, 5, 20, 45, 300)]
    assert distances[0] == 0
    assert np.all(np.diff(distances) > 0)
    assert distances[-1] < spikes.train_distance(observed, np.empty((0, 1)))[0] == 3


def test_what_lies_around_spikes():
    time = np.arange(1.0, 101.0)
    times = np.array([[20.0, np.nan], [60.0, np.nan]])
    inside = spikes.around_spikes(times, time)
    assert inside.shape == (100, 2)
    expected = np.zeros(100, dtype=bool)
    for peak in (20, 60):
        expected |= (time >= peak - BEFORE) & (time <= peak + AFTER)
    assert np.array_equal(inside[:, 0], expected)
    assert not inside[:, 1].any()


def test_subthreshold_error_leaves_spikes_out():
    time, observed = trace([50.0])
    _, later = trace([120.0])
    simulated = np.stack([observed + 2, later + 2, np.full_like(observed, -70.0)], axis=1)[:, None, :]
    recorded, found = (spikes.spike_times(voltage, time) for voltage in (observed[:, None], simulated))
    errors = spikes.subthreshold_rmse(observed[:, None], simulated, time, recorded, found)
    assert errors == pytest.approx(np.array([[2.0, 2.0, 0.0]]), abs=1e-6)
    everywhere = spikes.subthreshold_rmse(
        observed[:, None], simulated, time, recorded, found, before=500, after=500
    )
    assert np.isnan(everywhere).all()
