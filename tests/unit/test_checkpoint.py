"""A fit that is killed and run again ends with the same bits as one that is left alone."""

from dataclasses import fields

import numpy as np
import pytest

from odynn.data import Parameter
from odynn.fitting.staged import StagedResult, fit_stages
from odynn.fitting.transforms import Transform
from odynn.storage import Checkpoint

STAGES = [
    {"method": "levenberg_marquardt", "nudge": 1.0, "iterations": 4, "tolerance": 0.0},
    {
        "method": "adam",
        "nudge": 0.0,
        "iterations": 7,
        "rate": 0.1,
        "decay": 0.9,
        "decay_every": 2,
        "clip_norm": 5.0,
    },
    {"method": "levenberg_marquardt", "nudge": 0.0, "iterations": 5, "tolerance": 0.0},
]
U = np.array([[-1.2, 0.5, 2.0], [1.0, -0.3, 3.0]])
BASE = np.zeros((2, 3))


class Killed(Exception):
    """What a signal to stop raises."""


class Banana:
    """Rosenbrock's valley as a problem of two parameters; it can be told to raise at a certain call."""

    transform = Transform({name: Parameter(name, 0.0, "1", (-50.0, 50.0)) for name in "xy"})

    def __init__(self, last_call=None):
        self.calls, self.last_call = 0, last_call

    def _residuals(self, u):
        self.calls += 1
        if self.calls == self.last_call:
            raise Killed
        return np.array([1 - u[0], 10 * (u[1] - u[0] ** 2)])

    def losses(self, u, base, nudge=0.0):
        return np.sum(self._residuals(u) ** 2, axis=0) * (1 + nudge)

    def gradient(self, u, base, nudge=0.0):
        r = self._residuals(u)
        return 2 * np.einsum("ran,rn->an", self._jacobian(u), r), np.sum(r**2, axis=0)

    def normal_equations(self, u, base, nudge=0.0):
        r, J = self._residuals(u), self._jacobian(u)
        return np.einsum("ran,rbn->abn", J, J), np.einsum("ran,rn->an", J, r), np.sum(r**2, axis=0)

    @staticmethod
    def _jacobian(u):
        one = np.ones(u.shape[1])
        return np.array([[-one, 0 * one], [-20 * u[0], 10 * one]])


def fit(problem, checkpoint=None):
    start_loss = Banana().losses(U, BASE)
    return fit_stages(problem, U, BASE, start_loss, STAGES, checkpoint)


@pytest.fixture(scope="module")
def undisturbed():
    problem = Banana()
    return fit(problem), problem.calls


def equal(one, other):
    for field in fields(StagedResult):
        np.testing.assert_array_equal(
            getattr(one, field.name), getattr(other, field.name), err_msg=field.name
        )


@pytest.mark.parametrize("every", [0.0, 1e9], ids=["each iteration saved", "only the last moment saved"])
def test_a_fit_killed_at_every_call_ends_the_same(tmp_path, undisturbed, every):
    wanted, calls = undisturbed
    assert calls > 20
    kills = 0
    for last_call in range(1, calls + 1):
        path = tmp_path / f"{last_call}.npz"
        with pytest.raises(Killed):
            fit(Banana(last_call), Checkpoint(path, "key", every))
        kills += 1
        again = Banana()
        equal(fit(again, Checkpoint(path, "key", every)), wanted)
        if last_call > calls - 3:
            assert again.calls < calls / 2, "it began anew"
    assert kills == calls


def test_a_fit_killed_many_times_ends_the_same(tmp_path, undisturbed):
    path, kills = tmp_path / "often.npz", 0
    while True:
        try:
            # Each attempt gets a few calls: enough for one iteration after the first evaluation.
            found = fit(Banana(last_call=6), Checkpoint(path, "key", 0.0))
            break
        except Killed:
            kills += 1
            assert kills < 50
    assert kills > 3
    equal(found, undisturbed[0])


def test_another_key_begins_anew_and_says_so(tmp_path, caplog):
    path = tmp_path / "c.npz"
    Checkpoint(path, "one").save({"a": np.arange(3)}, now=True)
    assert list(Checkpoint(path, "one").load()) == ["a"]
    assert Checkpoint(path, "two").load() == {}
    assert "other settings, data or code" in caplog.text


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_cut_file_begins_anew_and_says_so(tmp_path, caplog, keep):
    path = tmp_path / "c.npz"
    Checkpoint(path, "one").save({"a": np.arange(300)}, now=True)
    path.write_bytes(path.read_bytes()[:keep])
    assert Checkpoint(path, "one").load() == {}
    assert "cannot be read" in caplog.text


def test_it_is_removed_with_its_folder(tmp_path):
    first, second = (Checkpoint(tmp_path / "checkpoints" / f"{name}.npz", "key") for name in "ab")
    for checkpoint in (first, second):
        checkpoint.save({"a": np.zeros(1)}, now=True)
    first.remove()
    assert second.path.exists()
    second.remove()
    assert not second.path.parent.exists()
    second.remove()  # nothing there: nothing to do
