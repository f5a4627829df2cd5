"""Pools of starts that compete: who goes on, who gives way, and what is left of the others."""

import logging

import numpy as np
import pytest

from odynn import stages, storage
from odynn.data import Cause, Parameter, Starts, Status
from odynn.fitting import staged
from odynn.fitting.pools import Pools
from odynn.fitting.transforms import Transform

FIELDS = ("u", "loss", "status", "cause", "iterations", "history")


class TestPools:
    def test_are_made_of_consecutive_numbers(self):
        pools = Pools([7, 8, 9, 10, 3, 16], 4)
        assert [members.tolist() for members in pools.members] == [[4], [0], [1, 2, 3], [5]]

    def test_the_best_of_each(self):
        loss = np.array([3.0, 1.0, 2.0, 5.0, np.nan, 5.0, np.inf, np.nan])
        pools = Pools(range(8), 4)
        assert pools.best(np.arange(8), loss, 2).tolist() == [1, 2, 4, 5]  # ties and the lost by number
        assert pools.best(np.arange(8), loss, 9).tolist() == list(range(8))
        assert pools.best(np.array([0, 3, 5]), loss, 1).tolist() == [0, 5]

    @pytest.mark.parametrize(
        ("after", "kept", "gave_way", "asked"),
        [
            # Ranks are 0 1 2 3 4, the median is 3, and half of it the limit.
            ({}, [0, 1], [], [[0, 1]]),
            ({1: 1.6}, [0, 2], [1], [[0, 1], [2]]),
            ({1: np.nan}, [0, 2], [1], [[0, 1], [2]]),
            ({0: 9.0, 1: 8.0}, [2, 3], [0, 1], [[0, 1], [2, 3]]),
            ({0: 9.0, 1: 8.0, 2: 7.0}, [3, 4], [0, 1, 2], [[0, 1], [2, 3], [4]]),
            # Nobody is left for the last: the worst has given way to it, the other goes on.
            ({0: 9.0, 1: 8.0, 2: 6.0, 3: 7.0}, [2, 4], [0, 1, 3], [[0, 1], [2, 3], [4]]),
        ],
    )
    def test_the_hopeless_give_way(self, after, kept, gave_way, asked):
        seen = []

        def attempt(places):
            seen.append(places.tolist())
            return np.array([after.get(place, 1.0) for place in places.tolist()])

        loss = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
        found = Pools(range(5), 5).promising(loss, 2, 0.5, attempt)
        assert [places.tolist() for places in found] == [kept, gave_way]
        assert seen == asked

    def test_who_cannot_be_simulated_takes_no_place(self):
        loss = np.array([1.0, np.nan, np.inf, 2.0])
        found = Pools(range(4), 4).promising(loss, 1, 0.1, lambda places: np.full(len(places), 9.0))
        assert [places.tolist() for places in found] == [[3], [0]]

    def test_pools_do_not_meddle_with_each_other(self):
        generator = np.random.default_rng(2)
        loss, after = generator.uniform(1, 2, 40), generator.uniform(0, 2, 40)
        together = Pools(range(40), 8).promising(loss, 3, 0.5, lambda places: after[places])
        assert len(together[1]) > 5
        for first in range(0, 40, 8):
            part = slice(first, first + 8)
            alone = Pools(range(first, first + 8), 8).promising(
                loss[part], 3, 0.5, lambda places, part=part: after[part][places]
            )
            for one, many in zip(alone, together, strict=True):
                assert (one + first).tolist() == [place for place in many if first <= place < first + 8]


class Hills:
    """Residuals x and y of a point; a start of base 1 is told that the way down is nowhere.

    ``nudge`` moves the lowest point to x = nudge. Above x = 50 nothing is finite. It can be told to
    raise at a certain call.
    """

    transform = Transform({name: Parameter(name, 0.0, "1", (-99, 99)) for name in "xy"})

    def __init__(self, last_call=None):
        self.calls, self.last_call, self.work = 0, last_call, []

    def _residuals(self, u, base, nudge):
        self.calls += 1
        if self.calls == self.last_call:
            raise KeyboardInterrupt
        r = u - np.array([[nudge], [0.0]])
        return np.where(u[0] > 50, np.nan, r)

    def losses(self, u, base, nudge=0.0):
        return np.sum(self._residuals(u, base, nudge) ** 2, axis=0)

    def normal_equations(self, u, base, nudge=0.0):
        r = self._residuals(u, base, nudge)
        self.work.append(u.shape[1])
        H = np.tile(np.eye(2)[:, :, None], (1, 1, u.shape[1]))
        return H, np.where(base[0] == 1, 0.0, r), np.sum(r**2, axis=0)

    def gradient(self, u, base, nudge=0.0):
        _, g, loss = self.normal_equations(u, base, nudge)
        return 2 * g, loss


U = np.random.default_rng(5).uniform(-6, 6, (2, 12))
BASE = np.zeros((1, 12))
LM = {"method": "levenberg_marquardt", "iterations": 8, "tolerance": 0.0}


def fit(stages, part=slice(None), u=U, base=BASE, problem=None, keeper=None, **options):
    problem = Hills() if problem is None else problem
    start = Hills().losses(u, base)
    ids = np.arange(u.shape[1])[part]
    return staged.fit_stages(
        problem, u[:, part], base[:, part], start[part], stages, keeper, ids=ids, **options
    )


def held():
    """Give bases with which the best start of the first pool of four, and three of the second, stay."""
    base = BASE.copy()
    loss = Hills().losses(U, BASE).reshape(3, 4)
    order = np.argsort(loss, axis=1) + 4 * np.arange(3)[:, None]
    base[0, np.concatenate([order[0, :1], order[1, :3]])] = 1
    return base


class TestFits:
    def test_without_keep_a_pool_changes_nothing(self):
        one, other = fit([LM]), fit([LM], pool=4, hopeless=0.1)
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)

    def test_only_the_promising_are_fitted(self):
        problem = Hills()
        found = fit([{**LM, "keep": 1}], pool=4, problem=problem)
        start = Hills().losses(U, BASE)
        kept = np.array([first + start[first : first + 4].argmin() for first in (0, 4, 8)])
        others = np.setdiff1d(np.arange(12), kept)
        assert set(problem.work) == {3}
        assert (found.loss[kept] < 1e-6).all()
        assert (found.status[others] == Status.STOPPED_EARLY).all()
        assert (found.cause[others] == Cause.OUTPACED).all()
        np.testing.assert_array_equal(found.loss[others], start[others])
        np.testing.assert_array_equal(found.u[:, others], U[:, others])
        assert not found.iterations[others].any()
        assert np.isnan(found.history[:, others]).all()
        # They are fitted as they would be among all.
        among_all = fit([LM])
        for name in FIELDS:
            np.testing.assert_array_equal(
                getattr(found, name)[..., kept], getattr(among_all, name)[..., kept], err_msg=name
            )

    def test_a_later_stage_keeps_the_best_free_runs(self):
        # The first stage ends at x = 3, whose free run is worse than most starts; y differs by chance.
        first = {**LM, "nudge": 3.0, "iterations": 1}
        after = fit([first])
        found = fit([first, {**LM, "keep": 2}], pool=6)
        ends = staged.METHODS[LM["method"]](Hills(), U, BASE, nudge=3.0, iterations=1)
        free_run = Hills().losses(ends.u, BASE)
        kept = np.concatenate([first + np.argsort(free_run[first : first + 6])[:2] for first in (0, 6)])
        assert np.flatnonzero(found.cause == Cause.NONE).tolist() == sorted(kept)
        others = np.setdiff1d(np.arange(12), kept)
        assert (found.cause[others] == Cause.OUTPACED).all()
        np.testing.assert_array_equal(found.loss[others], after.loss[others])
        assert (found.iterations[others] == 1).all()
        assert (found.iterations[kept] > 1).all()

    def test_stages_can_keep_fewer_and_fewer(self):
        problem = Hills()
        short = {**LM, "iterations": 1}
        fit([{**short, "keep": 4}, {**short, "keep": 2}, {**short, "keep": 1}], pool=6, problem=problem)
        assert problem.work == [8, 4, 2]

    def test_the_hopeless_give_their_place_to_others(self):
        base = held()
        found = fit([{**LM, "keep": 2}], base=base, pool=4, hopeless=0.05)
        gone = found.cause == Cause.HOPELESS
        # In the second pool nobody is left for the last of three.
        assert gone.reshape(3, 4).sum(axis=1).tolist() == [1, 2, 0]
        assert (base[0, gone] == 1).all()
        assert (found.status[gone] == Status.STOPPED_EARLY).all()
        assert (found.iterations[gone] == 3).all()
        assert np.isfinite(found.history[:3, gone]).all()
        assert np.isnan(found.history[3:, gone]).all()
        fitted = (found.status != Status.STOPPED_EARLY).reshape(3, 4).sum(axis=1)
        assert fitted.tolist() == [2, 2, 2]
        # Those that go on are fitted as if nobody had been tried before.
        going = found.status != Status.STOPPED_EARLY
        plain = fit([LM], base=base)
        for name in FIELDS:
            np.testing.assert_array_equal(
                getattr(found, name)[..., going], getattr(plain, name)[..., going], err_msg=name
            )

    def test_a_lost_start_is_diverged_whoever_is_kept(self):
        u = U.copy()
        u[0, [0, 5, 8, 9, 10]] = 60.0
        found = fit([{**LM, "keep": 2}, LM], u=u, pool=4, hopeless=0.05)
        lost = u[0] > 50
        assert (found.status[lost] == Status.DIVERGED).all()
        assert (found.cause[lost] == Cause.START_NOT_FINITE).all()
        assert not np.isin(found.status[~lost], [Status.DIVERGED, Status.NOT_FITTED]).any()
        assert (found.loss[11] < 1e-6).all()

    @pytest.mark.parametrize("hopeless", [None, 0.05])
    def test_shards_do_not_matter(self, hopeless):
        options = {"base": held(), "pool": 4, "hopeless": hopeless}
        cma = {"method": "cma_es", "iterations": 3}
        plan = [{**LM, "keep": 3, "nudge": 1.0}, {**cma, "keep": 2}, LM]
        together = fit(plan, **options)
        assert len(np.unique(together.cause)) > 1
        for part in (slice(0, 4), slice(4, 12)):
            apart = fit(plan, part, **options)
            for name in FIELDS:
                np.testing.assert_array_equal(
                    getattr(apart, name), getattr(together, name)[..., part], err_msg=name
                )

    def test_a_fit_killed_at_every_call_ends_the_same(self, tmp_path, caplog):
        plan = [{**LM, "keep": 2, "nudge": 0.5, "iterations": 4}, {"method": "cma_es", "iterations": 3}]
        options = {"base": held(), "pool": 4, "hopeless": 0.05}
        problem = Hills()
        whole = fit(plan, problem=problem, **options)
        assert (whole.cause == Cause.HOPELESS).any()
        assert problem.calls > 20
        for last_call in range(1, problem.calls + 1):
            path = tmp_path / f"{last_call}.npz"
            with pytest.raises(KeyboardInterrupt):
                fit(plan, problem=Hills(last_call), keeper=storage.Checkpoint(path, "key"), **options)
            again = Hills()
            found = fit(plan, problem=again, keeper=storage.Checkpoint(path, "key"), **options)
            for name in FIELDS:
                np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), err_msg=name)
        assert again.calls < problem.calls / 2, "it began anew"


SETTINGS = {
    "model": "leaky",
    "solver": "implicit_euler",
    "dt": 1.0,
    "precision": "float32",
    "initial_state": "auto",
    "loss": {"V": 1.0},
    "parameters": {"fixed": {}, "free": "all", "bounds": {}, "ranges": {}, "scales": {}},
    "starts": {"seed": 1, "design": "random", "regression": False, "pool": 4},
    "fit": {"stages": [{"method": "cma_es", "keep": 2, "iterations": 4}], "hopeless": None},
    "target": {
        "synthetic": {
            "parameters": {"C_m": 2.0},
            "duration": 40,
            "sweeps": [[{"step": 3, "from": 10, "to": 30}]],
            "train": [0],
            "test": None,
            "observed": ["V"],
            "noise": {"V": 0.5},
            "seed": 3,
        }
    },
}


def run(folder, shards):
    """Fit shards in a folder, and return their fits."""
    target = folder / "target.h5"
    if not target.exists():
        stages.make_target(SETTINGS, target)
    found = []
    for shard in shards:
        paths = [folder / kind / f"{shard}.h5" for kind in ("starts", "simulated", "fits")]
        stages.get_random(SETTINGS, shard, paths[0])
        stages.simulate_starts(SETTINGS, target, paths[0], shard, paths[1])
        stages.fit(SETTINGS, target, paths[0], paths[1], shard, paths[2])
        found.append(storage.read_fit(paths[2]))
    return found


def test_finished_starts_are_taken_from_other_shards_by_whole_pools(tmp_path, caplog):
    caplog.set_level(logging.INFO, "odynn")
    (fresh,) = run(tmp_path / "fresh", ["000000-000011"])
    assert "fitted already" not in caplog.text
    # The pool of 4 to 7 is cut at 5 by the number of starts, then whole.
    (short,) = run(tmp_path / "grown", ["000000-000005"])
    (grown,) = run(tmp_path / "grown", ["000000-000011"])
    assert "4 of 12 starts are fitted already" in caplog.text
    assert (short.cause == Cause.OUTPACED).sum() == 2
    assert (fresh.cause == Cause.OUTPACED).sum() == 6
    for name in ("ids", "loss", "status", "cause", "iterations", "history"):
        np.testing.assert_array_equal(getattr(grown, name), getattr(fresh, name), err_msg=name)
    assert (tmp_path / "grown/fits/000000-000011.h5").read_bytes() == (
        tmp_path / "fresh/fits/000000-000011.h5"
    ).read_bytes()


def test_shards_of_other_starts_are_not_opened(tmp_path, caplog):
    fits = tmp_path / "fits"
    fits.mkdir()
    for name in ("000000-000003", "000004-000007", "000007-000009", "000010-000011", "mine"):
        (fits / f"{name}.h5").write_text("not HDF5")
    starts = Starts(np.arange(4, 8), {}, {})
    assert storage.finished_starts(fits / "000004-000007.h5", starts, {"settings": {}}) == []
    opened = [record.message for record in caplog.records]
    assert ["000007-000009" in opened[0], "mine" in opened[1]] == [True, True]
    assert len(opened) == 2
