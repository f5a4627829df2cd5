"""Files: what goes in comes out, equal data give equal bytes, and a bad file is refused in words."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

import odynn
from odynn import storage
from odynn.data import Best, Cause, Fit, Parameter, Simulated, Starts, Status, Target, Uncertainty, Verdict
from odynn.errors import StorageError
from odynn.storage.schema import KINDS

ROOT = Path(odynn.__file__).parents[1]
NAMES = ("target", "starts", "simulated", "fit", "best", "uncertainty")
TRACES = ("observed", "states", "currents")
STAMP = {
    "stage": "fit",
    "code_fingerprint": "0123456789abcdef",
    "seed": 7,
    "precision": "float32",
    "versions": {"python": "3.11.7", "numpy": "2.4.6"},
    "inputs": {"target": "ab" * 32},
    "settings": {"model": "leaky", "loss": {"V": 1.0, "Ca": 0.0}, "fit": {"stages": ["µ", None, True, 1e-3]}},
}


def table(rng):
    """A parameter table that is neither in alphabetical order nor free of odd values."""
    return {
        "g_K": Parameter(
            "g_K", rng.uniform(1, 2), "mS/cm²", (0.5, 10.0), (1.0, 5.0), "log", "K: conductance"
        ),
        "C_m": Parameter("C_m", 1, "µF/cm²", (0.1, 20), free=False),
        "E_Ca": Parameter("E_Ca", -0.0, "mV", (-np.inf, np.inf), meaning="E_Ca"),
        "a b.c": Parameter("a b.c", 0.1, "1", (0.0, 1.0)),
    }


def make(name, seed=0, starts=4, times=11, sweeps=3):
    """A random container; odd seeds have the optional fields, even ones have not."""
    rng = np.random.default_rng(seed)
    ids = np.arange(20, 20 + starts)
    clock = dict(
        time=0.1 * np.arange(1, times + 1),
        sweeps=np.array([2, 0, 7, 5, 9])[:sweeps],
        train=rng.random(sweeps) < 0.5,
    )

    def column(*lengths):
        values = np.array(rng.normal(size=lengths))
        values.flat[0::3] *= 1e6
        values.flat[1:2] = np.nan
        values.flat[2:3] = np.inf
        return values

    if name == "target":
        optional = {}
        if seed % 2:
            optional = dict(
                initial=rng.normal(-60, 5, sweeps),
                truth={"g_K": 1.25, "C_m": 1 / 3},
                noise={"V": 0.5} if seed % 4 == 1 else {},
                source={"file": "aiy.csv", "sha256": "00ff", "changes": "cut 1 ms; µ"},
                weights=rng.random((times, sweeps)),
            )
        return Target(
            stimulus=column(times, sweeps),
            observed={"V": column(times, sweeps), "Ca": column(times, sweeps)},
            units={"V": "mV", "Ca": "mmol/m³"},
            **clock,
            **optional,
        )
    parameters = table(rng)
    values = {key: column(starts) for key in parameters}
    status = rng.choice(list(map(int, Status)), starts).astype("i1")
    if name == "starts":
        return Starts(ids, values, parameters)
    if name == "simulated":
        rmse = {"V": column(starts)}
        return Simulated(ids, column(starts), rmse, status, {"V": "mV", "loss": "mV²"})
    if name == "fit":
        stage = np.repeat([0, 1, 2], [3, 0 if seed % 2 else 2, 4])
        return Fit(
            ids=ids[::-1].copy(),
            parameters=parameters,
            start_values={key: column(starts) for key in parameters},
            values=values,
            start_loss=column(starts),
            loss=column(starts),
            rmse_train={"V": column(starts), "Ca": column(starts)},
            rmse_test={"V": column(starts), "Ca": column(starts)} if seed % 2 else {},
            status=status,
            cause=rng.choice(list(map(int, Cause)), starts).astype("i1"),
            iterations=rng.integers(0, 50, starts),
            history=column(len(stage), starts),
            stage=stage,
            units={"V": "mV", "Ca": "mM", "loss": "1"},
            loss_parts={"squared_error_V": column(starts), "filtered_spikes": column(starts)},
        )
    if name == "uncertainty":
        return make_uncertainty(rng, seed, ids, parameters, column)
    shape = (times, sweeps, starts)
    return Best(
        ids=ids,
        states={"V": column(*shape), "m_K": column(*shape)},
        currents={"K": column(*shape), "leak": column(*shape)} if seed % 2 else {},
        scores={"rmse_V": column(sweeps, starts), "r2_V": column(sweeps, starts)},
        units={"V": "mV", "m_K": "1", "K": "µA/cm²", "rmse_V": "mV", "r2_V": "1"},
        **clock,
    )


def make_uncertainty(rng, seed, ids, parameters, column):
    """Odd seeds have a truth and a profile, even ones have not."""
    starts, count = len(ids), len(parameters)

    def each(*lengths):
        return {key: column(*lengths) if lengths else float(rng.normal()) for key in parameters}

    profiled = ["C_m", "a b.c"] if seed % 2 else []
    return Uncertainty(
        ids=ids,
        parameters=parameters,
        values=each(starts),
        loss=column(starts),
        samples=rng.integers(9, 99, starts),
        effective_samples=column(starts),
        rank=rng.integers(0, 4, starts),
        noise=column(starts),
        decrement=column(starts),
        scaled_errors=each(starts),
        naive_errors=each(starts),
        corrected_errors=each(starts),
        verdicts={key: rng.choice(list(map(int, Verdict)), starts).astype("i1") for key in parameters},
        eigenvalues=column(count, starts),
        directions=each(count, starts),
        correlations=each(count, starts),
        truth_distances=each(starts) if seed % 2 else None,
        equal_loss=1.5,
        equal_starts=3.0,
        equal_spreads=each(),
        points=np.arange(-2, 3) if profiled else np.arange(0),
        profile_values={key: column(5) for key in profiled},
        profile_losses={key: column(5) for key in profiled},
        profile_lower={key: -np.inf for key in profiled},
        profile_upper={key: 2.5 for key in profiled},
        profile_loss=1.5 if profiled else np.inf,
        units={"loss": "(mV)²", "noise": "mV"},
    )


def write(name, path, container, stamp=STAMP):
    getattr(storage, f"write_{name}")(path, container, stamp)
    return path


def read(name, path):
    return getattr(storage, f"read_{name}")(path)


def shuffled(container):
    """The same container with each mapping whose order means nothing the other way round."""

    def turned(mapping):
        return dict(reversed(mapping.items())) if mapping else mapping

    found = {key: getattr(container, key, None) for key in ("units", "source", "values", "start_values")}
    return replace(container, **{key: turned(value) for key, value in found.items() if value is not None})


def check_same(found, expected, name=""):
    """Exactly equal, in value and in type of number, traces at the precision of float32."""
    if is_dataclass(expected):
        assert type(found) is type(expected)
        for field in fields(expected):
            check_same(getattr(found, field.name), getattr(expected, field.name), field.name)
    elif isinstance(expected, dict):
        assert list(found) == list(expected) or name in ("units", "source")
        assert found.keys() == expected.keys()
        for key in expected:
            check_same(found[key], expected[key], name)
    elif isinstance(expected, np.ndarray):
        with np.errstate(over="ignore"):
            expected = expected.astype("f4") if name in TRACES else expected
        assert found.dtype == expected.dtype, name
        assert found.shape == expected.shape, name
        assert found.tobytes() == expected.tobytes(), name
    else:
        assert found == expected, name
        assert isinstance(found, type(expected)) or isinstance(found, float)


def datasets(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda key, item: found.update({key: item.shape}) if hasattr(item, "shape") else None)
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_every_field_comes_back(name, seed, tmp_path):
    container = make(name, seed)
    path = write(name, tmp_path / "new" / "folder" / f"{name}.h5", container)
    check_same(read(name, path), container)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [dict(starts=1, times=1, sweeps=1), dict(starts=0, sweeps=0)])
def test_axes_may_be_short_or_empty(name, sizes, tmp_path):
    container = make(name, 1, **sizes)
    check_same(read(name, write(name, tmp_path / "short.h5", container)), container)


def test_a_fit_that_made_no_iteration_comes_back(tmp_path):
    fit = replace(make("fit"), history=np.empty((0, 4)), stage=np.empty(0, dtype=int))
    check_same(read("fit", write("fit", tmp_path / "fit.h5", fit)), fit)


def test_large_traces_come_back_and_are_compressed(tmp_path):
    best = make("best", 1, starts=7, times=3001, sweeps=5)
    smooth = np.sin(best.time / 20)[:, None, None] * np.ones((5, 7))
    best = replace(best, states={"V": smooth, "m_K": best.states["m_K"]})
    path = write("best", tmp_path / "best.h5", best)
    check_same(read("best", path), best)
    with h5py.File(path) as file:
        assert file["states/V"].compression == "gzip"
        assert file["states/V"].shuffle
        assert file["states/V"].id.get_storage_size() < 0.25 * smooth.astype("f4").nbytes


def test_other_layouts_and_types_in_memory_make_the_same_file(tmp_path):
    fit = make("fit", 1)
    other = replace(
        fit,
        ids=fit.ids.astype("i2"),
        status=[Status(int(status)) for status in fit.status],
        history=np.asfortranarray(fit.history),
        loss=np.stack([fit.loss, fit.loss], axis=1)[:, 1],
        iterations=fit.iterations.astype(">i4"),
    )
    paths = [write("fit", tmp_path / f"{n}.h5", item) for n, item in enumerate([fit, other])]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_order_of_the_parameter_table_is_kept(tmp_path):
    starts = make("starts")
    found = read("starts", write("starts", tmp_path / "starts.h5", shuffled(starts)))
    assert list(found.parameters) == list(found.values) == ["g_K", "C_m", "E_Ca", "a b.c"]


def test_who_shares_whose_value_comes_back(tmp_path):
    starts = make("starts")
    follower = starts.parameters["C_m"].changed(free=False, follows="g_K")
    changed = replace(starts, parameters={**starts.parameters, "C_m": follower})
    found = read("starts", write("starts", tmp_path / "starts.h5", changed))
    assert found.parameters == changed.parameters
    assert {row.follows for row in found.parameters.values()} == {"", "g_K"}


def test_the_stamp_comes_back_for_every_kind(tmp_path):
    for name in NAMES:
        found = storage.read_stamp(write(name, tmp_path / f"{name}.h5", make(name)))
        assert found == {**STAMP, "kind": name, "schema_version": 1, "odynn_version": odynn.__version__}


def test_a_file_needs_no_stamp_and_a_stamp_cannot_lie_about_the_kind(tmp_path):
    path = tmp_path / "target.h5"
    storage.write_target(path, make("target"))
    assert storage.read_stamp(path).keys() == {"kind", "schema_version", "odynn_version"}
    storage.write_target(path, make("target"), {"kind": "fit", "seed": None})
    assert storage.read_stamp(path)["kind"] == "target"
    assert "seed" not in storage.read_stamp(path)


def test_the_layout_is_the_one_documented(tmp_path):
    path = write("fit", tmp_path / "fit.h5", make("fit", 1))
    with h5py.File(path) as file:
        row = file["parameters/g_K"]
        assert row.dtype == "f8"
        assert row.dims[0][0].name == "/start"
        assert {**row.attrs}.items() >= {
            "units": "mS/cm²",
            "long_name": "g_K: K: conductance",
            "lower": 0.5,
            "upper": 10.0,
            "start_lower": 1.0,
            "start_upper": 5.0,
            "scale": "log",
            "free": 1,
        }.items()
        assert file["parameters/C_m"].attrs["free"] == 0
        assert file["start_parameters/g_K"].attrs["units"] == "mS/cm²"
        assert [axis[0].name for axis in file["history"].dims] == ["/iteration", "/start"]
        assert file["history"].dtype == file["loss"].dtype == "f8"
        meanings = file["status"].attrs["flag_meanings"].split()
        flags = dict(zip(meanings, file["status"].attrs["flag_values"].tolist(), strict=True))
        assert flags == {
            "not_fitted": 0,
            "converged": 1,
            "iteration_limit": 2,
            "at_bound": 3,
            "stopped_early": 4,
            "diverged": 5,
        }
    path = write("target", tmp_path / "target.h5", make("target", 1))
    with h5py.File(path) as file:
        assert file["observed/V"].dtype == "f4"
        assert file["stimulus"].dtype == file["time"].dtype == "f8"
        assert [axis[0].name for axis in file["observed/Ca"].dims] == ["/time", "/sweep"]
        assert file["truth/g_K"].shape == ()
        assert file["time"].attrs["units"] == "ms"
        assert file["stimulus"].attrs["units"] == "µA/cm²"
    path = write("best", tmp_path / "best.h5", make("best", 1))
    with h5py.File(path) as file:
        assert [axis[0].name for axis in file["states/V"].dims] == ["/time", "/sweep", "/start"]
        assert file["currents/leak"].attrs["units"] == "µA/cm²"
        assert file["scores/rmse_V"].attrs["units"] == "mV"


@pytest.mark.parametrize("name", NAMES)
def test_every_numeric_dataset_has_a_unit_and_a_meaning(name, tmp_path):
    path = write(name, tmp_path / "file.h5", make(name, 1))
    checked = 0
    with h5py.File(path) as file:
        for key in datasets(path):
            attributes = file[key].attrs
            assert attributes["long_name"]
            if file[key].dtype.kind in "iuf":
                assert isinstance(attributes["units"], str) and attributes["units"], key
                checked += 1
    assert checked >= 4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_xarray_opens_every_file_and_every_group(name, seed, tmp_path):
    container = make(name, seed)
    path = write(name, tmp_path / "file.h5", container)
    lengths = {"time": 11, "sweep": 3, "start": 4, "iteration": len(getattr(container, "stage", ()))}
    lengths |= {"direction": 4, "parameter": 4, "point": len(getattr(container, "points", ()))}
    with h5py.File(path) as file:
        groups = [key for key in file if isinstance(file[key], h5py.Group)]
    variables = 0
    for group in (None, *groups):
        # Without names for unknown dimensions, xarray refuses an array with an axis that has no scale.
        with xarray.open_dataset(path, engine="h5netcdf", group=group, phony_dims=None) as opened:
            assert all(lengths[axis] == length for axis, length in opened.sizes.items())
            variables += len(opened.variables)
            opened.load()
            if group == "states":
                assert opened["V"].dims == ("time", "sweep", "start")
                assert opened["V"].attrs["units"] == "mV"
                np.testing.assert_array_equal(opened["V"], container.states["V"].astype("f4"))
            if name in ("target", "best") and group is None:
                np.testing.assert_array_equal(opened["time"], container.time)
                np.testing.assert_array_equal(opened["sweep"], container.sweeps)
    assert variables == len(datasets(path))


WRITER = """
import sys
sys.path[:0] = {paths!r}
import test_storage as tests
for name in tests.NAMES:
    container = tests.make(name, 1, starts=6, times=2000)
    if {turn}:
        container = tests.shuffled(container)
        stamp = dict(reversed(tests.STAMP.items()))
        stamp["settings"] = dict(reversed(stamp["settings"].items()))
    else:
        stamp = tests.STAMP
    tests.write(name, sys.argv[1] + "/" + name + ".h5", container, stamp)
"""


def run(code, *arguments, **options):
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=environment, **options)


def test_equal_data_give_equal_bytes_in_any_process_at_any_time(tmp_path):
    for turn, folder in enumerate(("first", "second")):
        code = WRITER.format(paths=[str(ROOT), str(Path(__file__).parent)], turn=turn)
        run(code, tmp_path / folder, env={"PYTHONHASHSEED": str(turn)}, check=True, cwd=tmp_path)
        time.sleep(1.1)  # HDF5 can note times to the second
    compared = 0
    for name in NAMES:
        here = write(name, tmp_path / "third" / f"{name}.h5", make(name, 1, starts=6, times=2000))
        for folder in ("first", "second"):
            assert (tmp_path / folder / f"{name}.h5").read_bytes() == here.read_bytes(), name
            compared += 1
    assert compared == 12


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_number_changes_the_bytes(name, tmp_path):
    one, other = (write(name, tmp_path / f"{n}.h5", make(name, 2 * n)).read_bytes() for n in range(2))
    assert one != other


@pytest.mark.parametrize("name", NAMES)
def test_a_file_says_nothing_of_the_machine(name, tmp_path):
    content = write(name, tmp_path / "a_folder_of_mine" / "file.h5", make(name, 1)).read_bytes()
    for secret in ("a_folder_of_mine", str(tmp_path), str(Path.home()), socket.gethostname()):
        assert len(secret) < 5 or secret.encode() not in content


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_refused(name, tmp_path):
    with pytest.raises(StorageError, match=rf"nothing\.h5' must be a {name} file.*no such file.*the stage"):
        read(name, tmp_path / "nothing.h5")
    with pytest.raises(StorageError, match="Received: a folder"):
        read(name, tmp_path)
    with pytest.raises(StorageError, match="must be a file of odynn.*no such file"):
        storage.read_stamp(tmp_path / "nothing.h5")


@pytest.mark.parametrize("content", [b"", b"start,loss\n0,1.5\n", b"\x89HD"])
def test_a_file_that_is_not_hdf5_is_refused(content, tmp_path):
    path = tmp_path / "fit.h5"
    path.write_bytes(content)
    for reader in (storage.read_fit, storage.read_stamp):
        with pytest.raises(StorageError, match=f"not HDF5 of {len(content)} bytes.*make it again"):
            reader(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_file_is_refused(name, tmp_path):
    whole = write(name, tmp_path / "whole.h5", make(name, 1)).read_bytes()
    path = tmp_path / "cut.h5"
    for length in np.linspace(8, len(whole) - 1, 12).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match=rf"cut\.h5.*truncated file of {length} bytes.*make it again"):
            read(name, path)


def test_a_file_with_damaged_contents_is_refused(tmp_path):
    path = write("starts", tmp_path / "starts.h5", make("starts"))
    with h5py.File(path, "r+") as file:
        del file["parameters/g_K"].attrs["lower"]
    with pytest.raises(StorageError, match=r"damaged.*lower.*make it again with the stage get_random"):
        storage.read_starts(path)
    with h5py.File(path, "r+") as file:
        file["parameters/g_K"].attrs["lower"] = 1e9
    with pytest.raises(StorageError, match="damaged.*bounds must be"):
        storage.read_starts(path)


@pytest.mark.parametrize("given", NAMES)
def test_another_kind_is_refused_and_named(given, tmp_path):
    path = write(given, tmp_path / "file.h5", make(given))
    stage = {
        "target": "make_target",
        "starts": "get_random",
        "simulated": "simulate_starts",
        "fit": "merge_fits",
        "best": "simulate_best",
        "uncertainty": "uncertainty",
    }[given]
    others = [name for name in NAMES if name != given]
    assert len(others) == 5
    for name in others:
        with pytest.raises(
            StorageError, match=f"must be a {name} file.*a {given} file.*{stage}.*read_{given}"
        ):
            read(name, path)


def test_hdf5_that_is_not_ours_is_refused(tmp_path):
    path = tmp_path / "recording.nwb"
    with h5py.File(path, "w") as file:
        file["voltage"] = np.zeros(3)
    for reader in (storage.read_target, storage.read_stamp):
        with pytest.raises(StorageError, match="root attribute 'kind'.*Received: kind None.*recordings"):
            reader(path)


@pytest.mark.parametrize("version", [2, 99, 0])
def test_another_schema_version_is_refused(version, tmp_path):
    path = write("best", tmp_path / "best.h5", make("best"))
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = version
        file.attrs["odynn_version"] = "9.8.7"
    for reader in (storage.read_best, storage.read_stamp):
        with pytest.raises(
            StorageError, match=f"from 1 to 1.*version {version}, written by odynn 9.8.7.*Install"
        ):
            reader(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_dataset_is_refused_and_named(name, tmp_path):
    path = write(name, tmp_path / "file.h5", make(name, 1))
    whole = path.read_bytes()
    checked = 0
    for key in datasets(path):
        if key in ("iteration", "settings", "initial", "weights"):
            continue
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            del file[key]
        with pytest.raises(StorageError, match=f"file.h5'.*must hold a dataset {key} .*make it again"):
            read(name, path)
        checked += 1
    assert checked >= 5


def test_a_dataset_of_another_length_is_refused(tmp_path):
    path = write("simulated", tmp_path / "file.h5", make("simulated"))
    with h5py.File(path, "r+") as file:
        del file["loss"]
        file["loss"] = np.zeros(3)
    with pytest.raises(StorageError, match=r"loss of shape \[start\] = \(4,\)\. Received: shape \(3,\)"):
        storage.read_simulated(path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "target",
            dict(stimulus=np.zeros((3, 11))),
            r"stimulus must have the shape \[time, sweep\] = \(11, 3\)",
        ),
        (
            "target",
            dict(time=np.zeros((11, 1))),
            r"time must have the shape \[time\].*Received: shape \(11, 1\)",
        ),
        ("target", dict(train=np.array([0, 1, 2])), "train must hold true or false.*2"),
        ("target", dict(sweeps=np.array([0, 1.5, 2])), r"sweep must hold whole numbers.*1\.5"),
        ("target", dict(units={"V": "mV"}), "observed/Ca must have a unit.*'Ca'"),
        ("target", dict(source={"when": object()}), "plain text.*JSON"),
        ("target", dict(observed={"a/b": np.zeros((11, 3))}), "without '/'.*'a/b'"),
        ("target", dict(observed={"time": np.zeros((11, 3))}), "not one of time.*'time'"),
        ("simulated", dict(loss=np.zeros(5)), r"loss must have the shape \[start\] = \(4,\).*\(5,\)"),
        ("simulated", dict(loss=None), "loss must hold numbers.*None"),
        ("simulated", dict(rmse={"V": ["a", "b", "c", "d"]}), "rmse/V must hold numbers"),
        ("simulated", dict(status=np.full(4, 300)), "status must hold whole numbers.*300"),
        ("simulated", dict(ids=np.array([0, 1, np.nan, 3])), "start must hold whole numbers.*nan"),
        ("simulated", dict(units={"V": "mV"}), "loss must have a unit"),
        ("starts", dict(values={"g_K": np.zeros(4)}), "values must have one entry for each row.*C_m.*g_K"),
        ("fit", dict(start_values={}), "start_values must have one entry for each row.*none"),
        ("fit", dict(stage=np.zeros(3, int)), r"history must have the shape \[iteration, start\] = \(3, 4\)"),
        (
            "best",
            dict(states={"V": np.zeros((11, 4, 3))}),
            r"states/V must .*\[time, sweep, start\] = \(11, 3, 4\)",
        ),
        ("best", dict(states={"w": np.zeros((11, 3, 4))}), "states/w must have a unit"),
    ],
)
def test_a_container_that_does_not_fit_the_schema_is_refused(name, changes, message, tmp_path):
    path = tmp_path / "file.h5"
    with pytest.raises(StorageError, match=f"file.h5': .*{message}"):
        write(name, path, replace(make(name), **changes))
    assert list(tmp_path.iterdir()) == []


def test_a_row_under_another_name_is_refused(tmp_path):
    starts = make("starts")
    parameters = {**starts.parameters, "g_K": starts.parameters["C_m"]}
    with pytest.raises(StorageError, match="under its own name.*C_m as g_K"):
        write("starts", tmp_path / "file.h5", replace(starts, parameters=parameters))


def test_another_container_is_refused(tmp_path):
    with pytest.raises(StorageError, match="a fit file holds a Fit. Received: Starts. Use write_starts"):
        storage.write_fit(tmp_path / "fit.h5", make("starts"))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "results").write_text("a file in the way")
    with pytest.raises(StorageError, match="must be writable.*Received: .*results"):
        write("fit", tmp_path / "results" / "fit.h5", make("fit"))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write("fit", tmp_path / "fit.h5", make("fit"))
    before = path.read_bytes()
    with pytest.raises(StorageError):
        write("fit", path, replace(make("fit"), stage=np.zeros(1, int)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be replaced")
def test_who_reads_the_old_file_is_not_disturbed_by_a_new_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with path.open() as reader:
        storage.atomic_text(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_an_error_in_the_middle_leaves_the_old_file_and_no_other(error, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(error), storage.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_file_lies_beside_its_end_keeps_the_suffix_and_is_nobody_elses(tmp_path):
    path = tmp_path / "new" / "traces.png"
    with storage.atomic_path(path) as one, storage.atomic_path(path) as other:
        assert one != other
        for temporary in (one, other):
            assert temporary.parent == path.parent
            assert temporary.suffix == ".png"
            assert str(os.getpid()) in temporary.name
            temporary.write_text(temporary.name)
        assert not path.exists()
    assert path.read_text() == one.name
    assert list(path.parent.iterdir()) == [path]


def test_text_is_the_same_on_every_system_and_readable_by_the_group(tmp_path):
    path = tmp_path / "table.csv"
    mask = os.umask(0o022)
    try:
        storage.atomic_text(path, "µA/cm²\nÅ\n")
    finally:
        os.umask(mask)
    assert path.read_bytes() == "µA/cm²\nÅ\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644


KILLED = """
import sys
sys.path[:0] = {paths!r}
import itertools
import test_storage as tests
fits = [tests.make("fit", seed, starts=400) for seed in (0, 2)]
for turn in itertools.count():
    tests.write("fit", sys.argv[1], fits[turn % 2])
    print(turn, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize("delay", [0.0, 0.003, 0.011])
def test_a_writer_killed_at_any_moment_leaves_a_whole_file(delay, tmp_path):
    path = tmp_path / "fit.h5"
    code = KILLED.format(paths=[str(ROOT), str(Path(__file__).parent)])
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
        for _ in range(3):
            assert writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    left = [file.name for file in tmp_path.iterdir() if file != path]
    assert all(name.startswith(".fit.") for name in left)
    found = storage.read_fit(path)
    wanted = [make("fit", seed, starts=400) for seed in (0, 2)]
    assert found.loss.tobytes() in [fit.loss.tobytes() for fit in wanted]
    write("fit", path, wanted[0])
    check_same(storage.read_fit(path), wanted[0])


DISTURBED = """
import sys
sys.path[:0] = {paths!r}
import signal
import time
from pathlib import Path
import numpy as np
import test_storage as tests

class Ended(BaseException):
    pass

def end(_number, _frame):
    raise Ended

path, fit, random = Path(sys.argv[1]), tests.make("fit", starts=4000), np.random.default_rng(0)
begun = time.monotonic()
tests.write("fit", path, fit)
takes, before, ended = time.monotonic() - begun, path.read_bytes(), 0
signal.signal(signal.SIGALRM, end)
for _ in range(100):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0, takes) + 1e-6)
        tests.write("fit", path, fit)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Ended:
        ended += 1
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
print(ended)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer that sends signals")
def test_a_signal_at_any_moment_of_a_write_ends_it_as_an_exception_does(tmp_path):
    code = DISTURBED.format(paths=[str(ROOT), str(Path(__file__).parent)])
    command = [sys.executable, "-c", code, str(tmp_path / "fit.h5")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
    assert "h5py" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_writer_killed_halfway_leaves_the_old_file(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    code = (
        "import sys, time; from odynn.storage import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half'); print('ready', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as writer:
        assert writer.stdout.readline() == b"ready\n"
        writer.kill()
    assert path.read_text() == "old"


def split(fit, *groups):
    return [fit.take(np.array(places, dtype=int)) for places in groups]


@pytest.mark.parametrize("seed", range(4))
def test_joined_shards_are_the_whole(seed):
    whole = make("fit", seed, starts=7)
    joined = storage.concatenate_fits(split(whole, [0, 1, 2], [3], [], [4, 5, 6]))
    check_same(joined, whole)
    assert not np.shares_memory(joined.loss, whole.loss)


def test_a_shard_that_stopped_early_is_lined_up():
    fit = replace(
        make("fit", starts=3), history=np.arange(18.0).reshape(6, 3), stage=np.array([0, 0, 0, 1, 1, 2])
    )
    long, short, none = split(fit, [0], [1], [2])
    short = replace(short, history=short.history[[0, 3, 4]], stage=np.array([0, 1, 1]))
    none = replace(none, history=none.history[:0], stage=none.stage[:0])
    for order in ([0, 1, 2], [2, 1, 0]):
        joined = storage.concatenate_fits([[long, short, none][place] for place in order])
        assert joined.stage.tolist() == [0, 0, 0, 1, 1, 2]
        expected = np.array(
            [[0, 3, 6, 9, 12, 15], [1, np.nan, np.nan, 10, 13, np.nan], [np.nan] * 6],
        ).T
        np.testing.assert_array_equal(joined.history, expected[:, order])


def test_joining_copies():
    fit = make("fit")
    joined = storage.concatenate_fits([fit])
    joined.loss[:] = 0
    joined.values["g_K"][:] = 0
    joined.history[:] = 0
    check_same(fit, make("fit"))


def test_shards_that_share_starts_are_refused():
    fit = make("fit", starts=4)  # ids 23, 22, 21, 20
    with pytest.raises(StorageError, match="once.*21, 20 in both a.h5 and c.h5"):
        storage.concatenate_fits(
            [*split(fit, [2, 3], [0]), fit.take(np.array([1, 2, 3]))], ["a.h5", "b.h5", "c.h5"]
        )
    with pytest.raises(StorageError, match="22 in both fit 0 and fit 0"):
        storage.concatenate_fits(split(fit, [1, 1]))


def test_shards_of_different_experiments_are_refused():
    one, other = split(make("fit", 1), [0, 1], [2, 3])
    narrower = {**other.parameters, "g_K": other.parameters["g_K"].changed(bounds=(0.5, 9.0))}
    cases = {
        "parameters must be the same.*a.h5 and b.h5 differ in g_K": dict(parameters=narrower),
        "units must be the same.*loss": dict(units={**other.units, "loss": "mV²"}),
        "rmse_test must be the same.*V, Ca": dict(rmse_test={}),
        r"stage must name the same.*\[1, 3\] in b.h5": dict(stage=other.stage + 1),
        r"stage must name the same.*one after the other": dict(stage=other.stage[::-1]),
    }
    for message, changes in cases.items():
        with pytest.raises(StorageError, match=message):
            storage.concatenate_fits([one, replace(other, **changes)], ["a.h5", "b.h5"])
    with pytest.raises(StorageError, match="at least one"):
        storage.concatenate_fits([])


def test_every_container_field_is_in_the_schema():
    """A field added to a container without a place in its file would be lost without a word."""
    assert tuple(KINDS) == NAMES
    for kind in KINDS.values():
        stored = {item.field for item in kind.items} | set(kind.texts) - {""}
        stored |= {"parameters"} if any(item.table == "rows" for item in kind.items) else set()
        assert stored - {""} == {field.name for field in fields(kind.container)}


def test_importing_storage_imports_nothing_heavy():
    code = (
        "import sys, odynn.storage, odynn.provenance; "
        "sys.exit(bool({'tensorflow', 'matplotlib', 'pint', 'scipy', 'xarray'} & set(sys.modules)))"
    )
    assert run(code, cwd=ROOT).returncode == 0
