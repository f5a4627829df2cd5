"""Recordings: readers of tables and HDF5, every refusal, and the change to a model's time grid."""

import logging
import os
import re

import h5py
import numpy as np
import pytest

from odynn import recordings
from odynn.data import Recording
from odynn.errors import RecordingError
from odynn.recordings.channels import parse_header

HEADER = "time_ms,stimulus_pA_0,voltage_mV_0,stimulus_pA_1,voltage_mV_1"
TABLE = f"""{HEADER}
0.0,0,-65,0,-64
0.5,0,-65.5,0,-64.5
1.0,10,-60,20,-50
1.5,10,-55,20,-40
2.0,10,-54,20,-39
"""


def write(folder, text, name="cell.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return path


def write_hdf5(path, units=True, **datasets):
    """Write an HDF5 recording: name to (values, unit)."""
    with h5py.File(path, "w") as file:
        for name, (values, unit) in datasets.items():
            file[name] = values
            if unit is not None:
                file[name].attrs["units"] = unit
    return path


def usual(samples=5, sweeps=2):
    """Return the datasets of a sound HDF5 recording."""
    ramp = np.arange(samples)[:, None] + 10.0 * np.arange(sweeps)
    return {
        "time": (np.arange(samples) * 0.5, "ms"),
        "stimulus": (ramp, "pA"),
        "voltage": (ramp - 65, "mV"),
    }


def make(stimulus, V, interval, unit="uA/cm^2", start=0.0):
    """Return a recording made in memory, of traces [time] or [time, sweep]."""
    stimulus, V = (np.asarray(trace, dtype=float).reshape(len(trace), -1) for trace in (stimulus, V))
    return Recording(
        time=start + interval * np.arange(len(V)),
        stimulus=stimulus,
        responses={"V": V},
        units={"stimulus": unit, "V": "mV"},
        sweeps=np.arange(V.shape[1]),
        source={"file": "memory"},
    )


def refused(call, *patterns):
    """Check that a call ends with one message of one line, whose parts come in this order."""
    with pytest.raises(RecordingError) as refusal:
        call()
    message = str(refusal.value)
    assert "\n" not in message
    assert re.search(r"[Ee]xpected|must", message), message
    assert "Received: " in message, message
    assert message.endswith("."), message
    # The traceback of a library would be shown with its own, unless suppressed.
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__
    assert re.search(".*".join(patterns), message), message
    return message


# Tables that are read


def test_table(tmp_path):
    found = recordings.read(write(tmp_path, TABLE))
    assert found.time.tolist() == [0, 0.5, 1, 1.5, 2]
    assert found.stimulus.tolist() == [[0, 0], [0, 0], [10, 20], [10, 20], [10, 20]]
    assert list(found.responses) == ["V"]
    assert found.responses["V"][:, 1].tolist() == [-64, -64.5, -50, -40, -39]
    assert found.units == {"stimulus": "pA", "V": "mV"}
    assert found.sweeps.tolist() == [0, 1]


def test_source_names_the_file_and_not_its_folder(tmp_path):
    source = recordings.read(write(tmp_path, "time_ms,I_pA,V_mV\n0,0,-65\n1,0,-65\n")).source
    assert source == {
        "file": "cell.csv",
        # sha256sum of the file's bytes
        "sha256": "fd43407b4e734679fd77c53c14e73ed9cd26f12673da89927a1d41c38be71e77",
        "reader": "csv",
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace(",", " , "),
        lambda text: "\ufeff" + text,
        lambda text: "# Cell 3\n# 24 °C, see the notebook\n" + text,
        lambda text: text.replace("voltage_mV_0", '"voltage_mV_0"').replace("-65,", '"-65",'),
        lambda text: text.replace("\n", ",\n"),
        lambda text: text.replace("-65.5", "-6.55e+01"),
        lambda text: text.replace("voltage_mV", "Vm (mV)").replace("stimulus_pA", "I [pA]"),
        lambda text: text.replace("time_ms", "t").replace("voltage_mV", "V").replace("stimulus_pA", "i_inj"),
        lambda text: text.replace("voltage_mV", "membrane_potential_mV").replace("stimulus", "command"),
        lambda text: text.replace("stimulus_pA_0", "x").replace("stimulus_pA_1", "stimulus_pA"),
    ],
)
def test_tables_of_other_dress(tmp_path, change):
    path = write(tmp_path, change(TABLE), "cell.txt")
    found = recordings.read(path, units={"time": "ms", "stimulus": "pA", "V": "mV"})
    assert found.time.tolist() == [0, 0.5, 1, 1.5, 2]
    assert found.stimulus[:, 1].tolist() == [0, 0, 20, 20, 20]
    assert found.responses["V"].T.tolist() == [[-65, -65.5, -60, -55, -54], [-64, -64.5, -50, -40, -39]]


def test_table_of_one_sweep_with_calcium_alone(tmp_path):
    found = recordings.read(write(tmp_path, "t_s;current_nA;dF_F\n0;0;0.1\n0.5;1;0.2\n1;1;0.4\n"))
    assert found.time.tolist() == [0, 500, 1000]
    assert found.responses["Ca"].tolist() == [[0.1], [0.2], [0.4]]
    assert found.units == {"stimulus": "nA", "Ca": "1"}
    assert found.source["time"] == "s converted to ms"


def test_micro_as_spreadsheets_on_windows_write_it(tmp_path):
    text = "time_ms,stimulus_µA/cm²,voltage_mV\n0,1,-65\n1,1,-65\n"
    found = recordings.read(write(tmp_path, text, encoding="latin-1"))
    assert found.units["stimulus"] == "µA/cm²"
    assert found.source["encoding"] == "latin-1"
    assert recordings.prepare(make([1, 1, 1], [-65] * 3, 1, "µA/cm²"), dt=1).stimulus.tolist() == [[1], [1]]


def test_columns_of_other_names(tmp_path):
    text = "when,out 7,in 7,out 12,in 12\n0,-65,1,-64,2\n1,-65,1,-64,2\n"
    columns = {"time": "when", "V": "out {sweep}", "stimulus": "in {sweep}"}
    units = {"time": "s", "V": "mV", "stimulus": "nA"}
    found = recordings.read(write(tmp_path, text), columns=columns, units=units)
    assert found.sweeps.tolist() == [7, 12]
    assert found.stimulus.tolist() == [[1, 2], [1, 2]]
    assert found.responses["V"][0].tolist() == [-65, -64]
    assert found.source["unit of stimulus"] == "nA (as declared; the file says none)"


def test_columns_that_are_not_named_are_recognised_and_others_are_left_out(tmp_path):
    text = TABLE.replace("stimulus_pA", "junk").replace("0.5,0,", "0.5,text,")
    text = text.replace(HEADER.replace("stimulus_pA", "junk"), "time_ms,note,voltage_mV_0,cmd_1,voltage_mV_1")
    path = write(tmp_path, text)
    found = recordings.read(path, columns={"stimulus": "cmd_1"}, units={"stimulus": "pA"})
    assert found.stimulus.T.tolist() == [[0, 0, 20, 20, 20]] * 2  # one column without {sweep}: all sweeps
    assert found.source["columns left out"] == "note"


def test_sweeps_keep_their_numbers_and_come_in_order(tmp_path):
    text = "time_ms,V_mV_12,V_mV_3,I_pA_3,I_pA_12\n0,-12,-3,3,12\n1,-12,-3,3,12\n"
    found = recordings.read(write(tmp_path, text))
    assert found.sweeps.tolist() == [3, 12]
    assert found.responses["V"][0].tolist() == [-3, -12]
    assert found.stimulus[0].tolist() == [3, 12]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("voltage_mV_3", ("V", "mV", 3)),
        ("V", ("V", None, None)),
        ("v_1", ("V", None, 1)),
        ("V_V_1", ("V", "V", 1)),
        ("Vm (mV) 2", ("V", "mV", 2)),
        ("v_mV", ("V", "mV", None)),
        ("i_inj_pA_10", ("stimulus", "pA", 10)),
        ("stimulus_uA/cm2_0", ("stimulus", "uA/cm2", 0)),
        ("stimulus_uA_per_cm2_0", ("stimulus", "uA/cm2", 0)),
        ("stimulus_uA_cm2_0", ("stimulus", "uA/cm2", 0)),
        ("current_pA_um^2", ("stimulus", "pA/um^2", None)),
        ("Time [s]", ("time", "s", None)),
        ("T", ("time", None, None)),
        ("Ca_uM_4", ("Ca", "uM", 4)),
        ("dF_F_4", ("Ca", "1", 4)),
        ("voltage_mv_0", ("V", "mv", 0)),  # for the message about its unit
        ("time_of_day", None),
        ("temperature", None),
        ("voltage_command", None),
        ("voltage_V_mV", None),
        ("trial", None),
        ("inputCurrent", None),
        ("", None),
    ],
)
def test_headers(text, expected):
    header = parse_header(text)
    assert (header and (header.channel, header.unit, header.sweep)) == expected


# Tables that are refused


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("", ["cell.csv: expected headers such as time_ms", "an empty file"]),
        ("\n \n# nothing\n", ["cell.csv: expected headers such as time_ms", "an empty file"]),
        (HEADER, ["cell.csv: expected a row a sample", "Received: none"]),
        (HEADER + "\n0,0,-65,0,-64\n", ["cell.csv, time, expected at least two samples", "Received: 1"]),
        ("just some text\n", ["cell.csv, row 1", "comma, semicolon or tab", "'just some text'"]),
        ("0.0,1.0,-65\n0.5,1.0,-65\n", ["cell.csv, row 1", "must name the columns", "Add a row of headers"]),
        (b"time_ms,V_mV\n0,\x00\x01\x02\n", ["cell.csv, row 2", "byte 0x00", "binary or damaged"]),
        (TABLE.encode("utf-16"), ["cell.csv", "UTF-8", "UTF-16"]),
        (TABLE.encode("utf-16-le"), ["cell.csv", "UTF-8", "UTF-16"]),
        (b"\x89HDF\r\n\x1a\n\x00", ["cell.csv", "Received: an HDF5 file", "format: hdf5"]),
        (TABLE.replace("-65.5", "off"), ["row 3, column voltage_mV_0", "a number", "Received: 'off'"]),
        (TABLE.replace("-65.5", "True"), ["row 3, column voltage_mV_0", "Received: 'True'"]),
        ("time_ms,I_pA,V_mV\n0,True,-65\n1,False,-65\n", ["row 2, column I_pA", "Received: 'True'"]),
        (TABLE.replace("-65.5", "-65.5 mV"), ["row 3, column voltage_mV_0", "Received: '-65.5 mV'"]),
        (TABLE.replace("-65.5", "1_0"), ["row 3, column voltage_mV_0", "Received: '1_0'"]),
        ("\n\n# x\n" + TABLE.replace("-65.5", "--"), ["row 6, column voltage_mV_0", "Received: '--'"][:1]),
        (TABLE.replace("0.0,", "ms,pA,mV,pA,mV\n0.0,", 1), ["row 2, column time_ms", "'ms'", "headers"]),
        (TABLE.replace(",", ";").replace(".", ","), ["row 2, column time_ms", "'0,0'", "decimal points"]),
        (TABLE.replace(".", ","), ["row 2: expected 5 cells", "Received: 6", "decimal commas"]),
        (TABLE.replace("-65.5,0,", "-65.5,"), ["row 3: expected 5 cells", "Received: 4", "Correct the row"]),
        (TABLE[:-5], ["row 6: expected 5 cells", "Received: 4", "cut short"]),
        (TABLE.replace("0.5,", "0.6,"), ["row 3 .sample 1.: expected uniform", "0.5 apart", "0.6 apart"]),
        (TABLE.replace("1.5,", "1.0,"), ["row 5 .sample 3.: expected times that incr", "same time again"]),
        (TABLE.replace("1.5,", "0.75,"), ["row 5 .sample 3.", "goes back", "1 then 0.75", "side by side"]),
        (TABLE.replace("1.5,", ","), ["row 5 .sample 3.: expected a time", "NaN or an empty cell"]),
        (TABLE.replace("voltage", "outcome"), ["a channel is missing", "the membrane voltage", "calcium"]),
        (TABLE.replace("stimulus_pA", "bias"), ["missing. Expected the stimulus", "columns: {stimulus"]),
        (TABLE.replace("time_ms", "index"), ["missing. Expected the time", "Received: index, ", "{time"]),
        (TABLE.replace("_mV", ""), ["unit of the membrane voltage is missing", "units: {V: mV}"]),
        (TABLE.replace("_pA", ""), ["unit of the stimulus is missing", "pA or uA/cm", "units: {stimulus"]),
        (TABLE.replace("time_ms", "time"), ["unit of the time is missing", "units: {time: ms}"]),
        (TABLE.replace("_mV", "_mv"), ["unit of the membrane voltage", "Received: 'mv'", "mean 'mV'"]),
        (TABLE.replace("_mV", "_pA"), ["the membrane voltage cannot be in 'pA'", "converts to mV"]),
        (TABLE.replace("_pA", "_ms"), ["the stimulus cannot be in 'ms'", "Received: 'ms'"]),
        (TABLE.replace("_pA", "_mV"), ["must be a current", "a voltage .mV.", "voltage-clamp"]),
        (TABLE.replace("voltage_mV_1", "voltage_V_1"), ["one unit for the membrane voltage", "voltage_V_1"]),
        (TABLE.replace("voltage_mV_1", "voltage_mV_0"), ["every header once", "'voltage_mV_0' 2 times"]),
        (TABLE.replace("voltage_mV_1", "voltage_mV"), ["the membrane voltage once a sweep", "Number the"]),
        (
            TABLE.replace("voltage_mV_0", "V_mV_0").replace("voltage_mV_1", "Vm_mV_1"),
            ["one name for the membrane voltage in every sweep", "V_mV_0, Vm_mV_1", "columns: {V"],
        ),
        (TABLE.replace("stimulus_pA_1", "x"), ["every sweep must have a stimulus", "differ in sweeps 1"]),
        (
            "time_ms_0,I_pA_0,V_mV_0,time_ms_1,I_pA_1,V_mV_1\n0,0,-65,0,0,-65\n1,0,-65,2,0,-65\n",
            ["the same times", "time_ms_0, time_ms_1, which differ"],
        ),
    ],
)
def test_table_that_is_refused(tmp_path, text, patterns):
    refused(lambda: recordings.read(write(tmp_path, text)), *patterns)


@pytest.mark.parametrize(
    ("columns", "patterns"),
    [
        ({"V": "volts_{sweep}"}, ["^columns.V: 'volts_{sweep}' names no column", "time_ms, stimulus_pA_0"]),
        ({"V": "voltage_mV"}, ["^columns.V: ", "Did you mean 'voltage_mV_[01]'"]),
        (
            {"voltage": "voltage_mV_0"},
            ["^columns: expected keys among time, stimulus, V, Ca", "'voltage'", "mean 'V'"],
        ),
        ({"V": "time_ms", "time": "time_ms"}, ["^columns.time: ", "'time_ms', which columns.V takes too"]),
    ],
)
def test_columns_that_are_refused(tmp_path, columns, patterns):
    refused(lambda: recordings.read(write(tmp_path, TABLE), columns=columns), *patterns)


@pytest.mark.parametrize(
    ("units", "patterns"),
    [
        ({"V": "mm"}, ["^units.V: the membrane voltage cannot be in 'mm'", "converts to mV"]),
        ({"V": "milivolt"}, ["^units.V: the unit of the membrane voltage must be a known one", "'milivolt'"]),
        ({"v": "mV"}, ["^units: expected keys among time, stimulus, V, Ca", "Received: 'v'", "mean 'V'"]),
    ],
)
def test_units_that_are_refused(tmp_path, units, patterns):
    refused(lambda: recordings.read(write(tmp_path, TABLE), units=units), *patterns)


# Files


def test_file_that_is_not_there(tmp_path):
    for name in ("cell.csv", "cell.h5"):
        refused(lambda name=name: recordings.read(tmp_path / name), f"{name}: .*no such file")


def test_folder(tmp_path):
    for name in ("cell.csv", "cell.h5"):
        (tmp_path / name).mkdir()
        refused(lambda name=name: recordings.read(tmp_path / name), f"{name}: .*a folder")


@pytest.mark.parametrize("name", ["cell.csv", "cell.h5"])
def test_file_that_may_not_be_read(tmp_path, name):
    path = write(tmp_path, TABLE, name)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    refused(lambda: recordings.read(path), name, "permission denied")


@pytest.mark.parametrize("name", ["cell.csv", "cell.h5"])
def test_permission_denied_is_one_message(tmp_path, name, monkeypatch):
    # As above, where the tests are run by a user who may read every file.
    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, TABLE, name)
    monkeypatch.setattr("pathlib.Path.open", deny)
    monkeypatch.setattr("pathlib.Path.read_bytes", deny)
    refused(lambda: recordings.read(path), name, "permission denied", "Change its permissions")


def test_suffix_and_format(tmp_path):
    path = write(tmp_path, TABLE, "cell.xyz")
    refused(lambda: recordings.read(path), "cell.xyz: .*suffix", "'.xyz'", "format: csv or hdf5")
    refused(lambda: recordings.read(path, format="cvs"), "^format: ", "'cvs'", "Did you mean 'csv'")
    assert recordings.read(path, format="csv").sweeps.tolist() == [0, 1]


# HDF5


def test_hdf5(tmp_path):
    datasets = usual() | {"calcium": (np.ones((5, 2)), "uM"), "sweep": (np.array([7, 3]), None)}
    found = recordings.read(write_hdf5(tmp_path / "cell.h5", **datasets))
    assert found.time.tolist() == [0, 0.5, 1, 1.5, 2]
    assert found.stimulus.tolist() == datasets["stimulus"][0].tolist()
    assert sorted(found.responses) == ["Ca", "V"]
    assert found.responses["V"][:, 1].tolist() == [-55, -54, -53, -52, -51]
    assert found.units == {"stimulus": "pA", "V": "mV", "Ca": "uM"}
    assert found.sweeps.tolist() == [7, 3]


def test_hdf5_of_one_axis_is_one_sweep(tmp_path):
    datasets = usual()
    for name in ("stimulus", "voltage"):
        datasets[name] = (datasets[name][0][:, 0], datasets[name][1])
    found = recordings.read(write_hdf5(tmp_path / "cell.h5", **datasets))
    assert found.stimulus.shape == found.responses["V"].shape == (5, 1)
    assert found.sweeps.tolist() == [0]


def test_hdf5_stimulus_of_one_axis_is_shared(tmp_path):
    datasets = usual()
    datasets["stimulus"] = (np.arange(5), "pA")
    found = recordings.read(write_hdf5(tmp_path / "cell.h5", **datasets))
    assert found.stimulus.T.tolist() == [[0, 1, 2, 3, 4]] * 2


def test_hdf5_datasets_of_other_names(tmp_path):
    with h5py.File(write_hdf5(tmp_path / "cell.h5", **usual()), "a") as file:
        file["clean/stimulus"] = file["stimulus"][...] * 2
        file["clean/stimulus"].attrs["units"] = np.bytes_("nA")  # as h5py stores bytes
    found = recordings.read(tmp_path / "cell.h5", columns={"stimulus": "clean/stimulus"})
    assert found.units["stimulus"] == "nA"
    assert found.stimulus[1].tolist() == [2, 22]
    assert found.source["datasets left out"] == "stimulus"


def test_hdf5_times_of_half_precision(tmp_path):
    # 20 kHz for 10 s: single precision spaces times near the end by 1/1024 ms, a fiftieth of a sample.
    samples = 200_001
    datasets = usual(samples, 1) | {"time": ((np.arange(samples) * 0.05).astype(np.float32), "ms")}
    datasets["voltage"] = (np.full(samples, -65, np.int16), "mV")
    found = recordings.read(write_hdf5(tmp_path / "cell.h5", **datasets))
    assert found.time.dtype == np.float64
    assert recordings.prepare(found, dt=0.5, area=1e6).time.size == 20_000


@pytest.mark.parametrize(
    ("change", "patterns"),
    [
        ({"time": None}, ["a channel is missing. Expected the time", "Received: stimulus, voltage"]),
        ({"stimulus": None}, ["a channel is missing. Expected the stimulus"]),
        ({"voltage": None}, ["a channel is missing. Expected the membrane voltage .* or the calcium"]),
        ({"voltage": (np.ones((4, 2)), "mV")}, [r"V \[4, 2\]", "Cut them to the same samples"]),
        ({"voltage": (np.ones((2, 5)), "mV"), "stimulus": (np.ones((2, 5)), "pA")}, ["transposed"]),
        ({"voltage": (np.ones((5, 3)), "mV")}, ["the same sweeps", r"stimulus \[5, 2\], V \[5, 3\]"]),
        ({"voltage": (np.ones((5, 2)), None)}, ["unit of the membrane voltage is missing", "{V: mV}"]),
        ({"voltage": (np.ones((5, 2)), "furlong per")}, ["must be a known one", "'furlong per'"]),
        ({"voltage": (np.ones((5, 2)), "nA")}, ["the membrane voltage cannot be in 'nA'"]),
        ({"voltage": (np.ones((5, 2, 2)), "mV")}, ["dataset voltage: ", r"float64 of shape \[5, 2, 2\]"]),
        ({"voltage": (["a"] * 5, "mV")}, ["dataset voltage: expected numbers"]),
        ({"voltage": (np.ones((0, 2)), "mV")}, ["dataset voltage: expected numbers", r"\[0, 2\]"]),
        ({"time": (np.array([0, 0.5, 1, 1.6, 2]), "ms")}, ["time, sample 3: expected uniform"]),
        ({"time": (np.ones((5, 2)), "ms")}, [r"time \[5, 2\]"]),
        ({"time": (np.array([0, 0.5, np.inf, 1, 2]), "ms")}, ["time, sample 2: expected a time", "inf"]),
        ({"sweep": (np.array([1, 1]), None)}, ["one number of its own", "Received: 1, 1"]),
        ({"sweep": (np.array([0.5, 1]), None)}, ["dataset sweep: ", "whole numbers"]),
    ],
)
def test_hdf5_that_is_refused(tmp_path, change, patterns):
    datasets = {name: entry for name, entry in (usual() | change).items() if entry is not None}
    path = write_hdf5(tmp_path / "cell.h5", **datasets)
    refused(lambda: recordings.read(path), "cell.h5", *patterns)


def test_hdf5_column_that_is_not_there(tmp_path):
    path = write_hdf5(tmp_path / "cell.h5", **usual())
    refused(lambda: recordings.read(path, columns={"V": "voltages"}), "^columns.V: ", "mean 'voltage'")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_hdf5_cut_short(tmp_path, share):
    path = write_hdf5(tmp_path / "cell.h5", **usual(samples=2000))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refused(lambda: recordings.read(path), "cell.h5: expected a whole HDF5 file", "cut short", "again")


def test_hdf5_that_is_none(tmp_path):
    refused(
        lambda: recordings.read(write(tmp_path, "", "cell.h5")),
        "cell.h5: expected an HDF5 file",
        "empty file",
    )
    refused(
        lambda: recordings.read(write(tmp_path, TABLE, "cell.h5")), "expected an HDF5 file", "format: csv"
    )


# Uniform times


def read_times(folder, times):
    rows = [f"{time},0,-65" for time in times]
    return recordings.read(write(folder, "\n".join(["time_ms,I_pA,V_mV", *rows])))


@pytest.mark.parametrize(
    ("interval", "decimals"), [(1 / 30, 3), (0.05, 2), (0.4, 1), (344.2779725852711, 9), (1 / 3, 2), (7, 0)]
)
def test_times_that_are_rounded_are_uniform(tmp_path, interval, decimals):
    found = read_times(tmp_path, [f"{12 + k * interval:.{decimals}f}" for k in range(500)])
    target = recordings.prepare(found, dt=10 * interval, area=1.0)
    # Averages of ten samples each, and not of 10.002.
    assert target.source["resample"].count("means of 10 samples") == 1
    assert target.time.size == 49


def test_times_with_a_little_jitter_are_uniform(tmp_path):
    jitter = np.random.default_rng(3).uniform(-0.002, 0.002, 100)  # half a per cent of the interval
    assert read_times(tmp_path, 0.4 * np.arange(100) + jitter).time.size == 100
    refused(lambda: read_times(tmp_path, 0.4 * np.arange(100) + 5 * jitter), "expected uniform times")


@pytest.mark.parametrize(
    ("times", "row"),
    [
        ([0, 0.4, 0.8, 1.2, 2.0, 2.4], 6),
        ([0, 0.1, 0.2, 0.4], 5),
        ([0, 1, 2, 4], 5),
        ([0, 1, 3, 4], 4),
        ([0, 0.3, 0.7, 1.0], 4),  # thirds, rounded too far to tell
        ([k * 0.4 for k in range(1000)] + [400.4 + k * 0.4 for k in range(1000)], 1002),
    ],
)
def test_times_that_are_not_uniform(tmp_path, times, row):
    refused(lambda: read_times(tmp_path, times), f"row {row} ", "expected uniform times")


def test_times_that_drift(tmp_path):
    # No step is far from the usual one until the drift has added up.
    times = [k + 4e-6 * k**2 for k in range(1000)]
    refused(lambda: read_times(tmp_path, times), "expected uniform times")


# The time grid of a model


def test_a_step_of_one_sample_changes_nothing():
    V, stimulus = np.array([-65.0, -64, -62, -61]), np.array([1.0, 2, 3, 4])
    target = recordings.prepare(make(stimulus, V, 0.5, start=100.0), dt=0.5, initial=True)
    assert target.time.tolist() == [0.5, 1.0, 1.5]
    # The stimulus that holds from sample k on leads to sample k + 1.
    assert target.stimulus.ravel().tolist() == [1, 2, 3]
    assert target.observed["V"].ravel().tolist() == [-64, -62, -61]
    assert target.initial.tolist() == [-65]
    assert target.units == {"V": "mV"}
    assert target.dt == 0.5
    assert target.source["resample"] == "none"


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 20, 250])
def test_mean_of_a_ramp(factor):
    interval, slope, samples = 0.1, 0.02, 1001
    k = np.arange(samples)
    recording = make(3 + slope * k, -70 + slope * k, interval)
    target = recordings.prepare(recording, dt=factor * interval)
    steps = (samples - 1) // factor
    assert target.time.size == steps
    # A response is that of the time it is given for: the ramp itself, without a delay.
    end = factor * np.arange(1, steps + 1)
    np.testing.assert_allclose(target.observed["V"][:, 0], -70 + slope * end, rtol=1e-12)
    # A stimulus is the mean of the samples jm, jm + 1, … jm + m - 1 that hold during step j.
    mean = 3 + slope * (end - factor + (factor - 1) / 2)
    np.testing.assert_allclose(target.stimulus[:, 0], mean, rtol=1e-12)
    assert f"means of {factor} samples" in target.source["resample"]


def test_mean_of_a_ramp_where_steps_are_not_whole_samples():
    interval, dt, slope = 0.4, 0.5, 0.02
    time = interval * np.arange(1001)
    target = recordings.prepare(make(0 * time, -70 + slope * time, interval), dt=dt)
    assert target.time.size == 800
    # A staircase lies within an eighth of a sample's square below or above its ramp, at either end.
    bound = slope * 2 * interval**2 / 8 / dt
    error = np.abs(target.observed["V"][:, 0] - (-70 + slope * target.time))
    assert 0 < error.max() <= bound * (1 + 1e-9)


@pytest.mark.parametrize("dt", [0.07, 0.1, 0.13, 0.25, 0.5, 1.7])
def test_charge_is_kept(dt):
    rng = np.random.default_rng(5)
    interval, samples = 0.1, 400
    stimulus = rng.normal(size=(samples, 3))
    target = recordings.prepare(make(stimulus, np.full((samples, 3), -65.0), interval), dt=dt)
    edges = interval * np.arange(samples + 1)
    for sweep in range(3):
        charge = np.concatenate([[0], np.cumsum(stimulus[:, sweep]) * interval])
        expected = np.interp(target.time, edges, charge)
        np.testing.assert_allclose(np.cumsum(target.stimulus[:, sweep]) * dt, expected, atol=1e-11)


def test_mean_keeps_aliases_out_and_sample_does_not():
    k = np.arange(401)
    recording = make(0 * k, -65 + (-1.0) ** k, 0.1)
    mean = recordings.prepare(recording, dt=0.4).observed["V"][:-1]
    sample = recordings.prepare(recording, dt=0.4, resample="sample").observed["V"]
    np.testing.assert_allclose(mean, -65, rtol=0, atol=1e-12)
    np.testing.assert_allclose(sample, -64, rtol=0, atol=1e-12)


def test_sample_takes_the_nearest():
    k = np.arange(101.0)
    target = recordings.prepare(make(k, k - 200, 0.1), dt=0.4, resample="sample")
    assert target.stimulus[:3, 0].tolist() == [0, 4, 8]
    assert target.observed["V"][:3, 0].tolist() == [4 - 200, 8 - 200, 12 - 200]
    target = recordings.prepare(make(k, k - 200, 0.1), dt=0.26, resample="sample")
    assert target.stimulus[:4, 0].tolist() == [0, 3, 5, 8]  # nearest to 0, 2.6, 5.2, 7.8
    assert target.observed["V"][:3, 0].tolist() == [3 - 200, 5 - 200, 8 - 200]


@pytest.mark.parametrize("resample", ["mean", "sample"])
def test_shorter_steps_interpolate_the_response_and_hold_the_stimulus(resample):
    recording = make([1.0, 5, 9], [-60.0, -50, -70], 1.0)
    target = recordings.prepare(recording, dt=0.25, resample=resample)
    expected = [-57.5, -55, -52.5, -50, -55, -60, -65, -70]
    np.testing.assert_allclose(target.observed["V"][:, 0], expected, rtol=1e-12)
    if resample == "mean":
        assert target.stimulus[:, 0].tolist() == [1, 1, 1, 1, 5, 5, 5, 5]
    assert "interpolated linearly" in target.source["resample"]


def test_units_and_changes_are_recorded():
    recording = make([[1.0]] * 101, [[-65.0]] * 101, 0.1, unit="nA")
    target = recordings.prepare(recording, dt=0.5, area=200.0, window=[2, 8])
    assert target.stimulus[0, 0] == pytest.approx(500.0)  # 1e-3 µA over 2e-6 cm²
    assert target.source["stimulus"] == "nA over 200 µm² converted to µA/cm²"
    assert target.source["window"] == "samples 20 to 80, 2 to 8 ms"
    assert target.source["file"] == "memory"
    assert all(isinstance(text, str) and len(text) < 200 for text in target.source.values())


def test_voltage_in_volts_becomes_mV(tmp_path):
    rows = ["t_ms,I_pA_0,V_V_0,I_pA_1,V_V_1", "0,0,-0.065,0,-0.064", "0.5,0,-0.06,0,-0.05", "1,0,-0.06,0,0"]
    path = write(tmp_path, "\n".join(rows))
    target = recordings.load_target({"file": str(path), "area": 1e4}, 0.5, steady_state=True)
    np.testing.assert_allclose(target.initial, [-65, -64], rtol=1e-12)
    np.testing.assert_allclose(target.observed["V"], [[-60, -50], [-60, 0]], rtol=1e-12)
    assert target.source["V"] == "V converted to mV"


def test_window():
    k = np.arange(1001.0)
    recording = make(k, k / 10 - 100, 0.1, start=50.0)
    target = recordings.prepare(recording, dt=0.1, window=[60, 70], initial=True)
    assert target.time[0] == pytest.approx(0.1)
    assert target.stimulus[:, 0].tolist() == list(range(100, 200))
    assert target.initial[0] == pytest.approx(-90)
    assert target.observed["V"][-1, 0] == pytest.approx(-80)


def test_window_may_end_one_interval_after_the_last_sample():
    recording = make([0.0] * 30_000, [-65.0] * 30_000, 0.1)  # 3 s of samples, the last at 2999.9 ms
    assert recordings.prepare(recording, dt=0.1, window=[0, 3000]).time.size == 29_999
    refused(lambda: recordings.prepare(recording, dt=0.1, window=[0, 3000.2]), "^window", "0 to 2999.9 ms")


def test_no_initial_voltage_unless_asked_for(caplog):
    recording = make([0.0] * 5, [-65.0] * 5, 0.1)
    assert recordings.prepare(recording, dt=0.1).initial is None
    calcium = Recording(
        time=recording.time,
        stimulus=recording.stimulus,
        responses={"Ca": recording.stimulus + 1},
        units={"stimulus": "uA/cm^2", "Ca": "uM"},
        sweeps=recording.sweeps,
    )
    with caplog.at_level(logging.WARNING, "odynn"):
        target = recordings.prepare(calcium, dt=0.1, initial=True)
    assert target.initial is None
    assert target.units == {"Ca": "uM"}
    assert "no voltage" in target.source["initial state"]
    assert ["no voltage" in message for message in caplog.messages] == [True]


# Sweeps


def eight():
    traces = np.tile(np.arange(8.0), (5, 1))
    return make(traces, traces - 65, 0.1)


@pytest.mark.parametrize(
    ("asked", "train", "test"),
    [
        ({}, [0, 2, 4, 6], [1, 3, 5, 7]),
        ({"sweeps": [7, 2, 5]}, [2, 7], [5]),
        ({"sweeps": [3]}, [3], []),
        ({"train": [1, 5]}, [1, 5], [0, 2, 3, 4, 6, 7]),
        ({"test": [1, 5]}, [0, 2, 3, 4, 6, 7], [1, 5]),
        ({"test": []}, list(range(8)), []),
        ({"train": [6, 2], "test": [3]}, [2, 6], [3]),
        ({"sweeps": [0, 1, 2], "train": [0]}, [0], [1, 2]),
    ],
)
def test_sweeps_that_are_asked_for(asked, train, test):
    target = recordings.prepare(eight(), dt=0.1, initial=True, **asked)
    assert target.sweeps[target.train].tolist() == train
    assert target.sweeps[~target.train].tolist() == test
    assert target.sweeps.tolist() == sorted(train + test)
    for traces in (target.stimulus[0], target.observed["V"][0] + 65, target.initial + 65):
        assert traces.tolist() == target.sweeps.tolist()


@pytest.mark.parametrize(
    ("asked", "patterns"),
    [
        ({"sweeps": [0, 8, 11]}, ["^sweeps: ", "of memory, which are 0, 1, 2, ", "Received: 8, 11"]),
        ({"train": [0, 8]}, ["^train: ", "0, 1, 2", "Received: 8"]),
        ({"sweeps": [0, 1], "test": [2]}, ["^test: ", "that 'sweeps' lists, which are 0, 1", "Received: 2"]),
        ({"train": [0, 1, 2], "test": [2, 1]}, ["^test: ", "Received: 1, 2 in both train and test"]),
        ({"test": list(range(8))}, ["^train: expected at least one sweep", "Received: none"]),
        ({"train": []}, ["^train: expected at least one sweep", "Received: none"]),
        ({"train": [1, 1]}, ["^train: ", "twice", r"Received: \[1, 1\]"]),
        ({"train": "even"}, ["^train: ", "Received: 'even'"]),
        ({"train": [0.5]}, ["^train: ", r"Received: \[0.5\]"]),
        ({"dt": 0.3}, ["^dt: expected a step that fits at least twice into the 0.4 ms of memory", "0.3 ms"]),
        ({"dt": -1}, ["^dt: ", "positive", "Received: -1"]),
        ({"dt": float("nan")}, ["^dt: ", "Received: nan"]),
        ({"window": [0.3, 0.1]}, ["^window: ", "from before to", r"\[0.3, 0.1\]"]),
        ({"window": [-1, 0.3]}, ["^window: ", "within memory, 0 to 0.4 ms", r"\[-1, 0.3\]"]),
        ({"window": [0, 5]}, ["^window: ", "0 to 0.4 ms", r"\[0, 5\]"]),
        ({"window": [0.11, 0.19]}, ["^window: expected at least two samples", "0.1 ms apart"]),
        ({"window": [0.1]}, ["^window: ", r"Received: \[0.1\]"]),
        ({"resample": "median"}, ["^resample: expected mean or sample", "mean 'mean'"]),
        ({"area": -3}, ["^area: ", "Received: -3"]),
    ],
)
def test_requests_that_are_refused(asked, patterns):
    refused(lambda: recordings.prepare(eight(), **({"dt": 0.1} | asked)), *patterns)


# Values


def with_value(value, samples=slice(3, 4), sweep=1):
    recording = eight()
    recording.responses["V"][samples, sweep] = value
    return recording


@pytest.mark.parametrize(("value", "spelt"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_trace_with_a_gap(value, spelt):
    recording = with_value(value)
    patterns = [r"memory, sweep 1, sample 3 \(time 0.3 ms\): the membrane voltage", f"Received: {spelt}"]
    refused(lambda: recordings.prepare(recording, dt=0.1), *patterns)
    # The remedies of the message: without the sweep, and without the time.
    assert recordings.prepare(recording, dt=0.1, sweeps=[0, 2]).sweeps.tolist() == [0, 2]
    assert recordings.prepare(recording, dt=0.1, window=[0, 0.2]).time.size == 2


def test_samples_are_counted_in_the_file():
    refused(
        lambda: recordings.prepare(with_value(np.nan), dt=0.1, window=[0.2, 0.4]),
        r"sweep 1, sample 3 \(time 0.3 ms\)",
    )


def test_stimulus_with_a_gap():
    recording = eight()
    recording.stimulus[2, 6] = np.nan
    refused(lambda: recordings.prepare(recording, dt=0.1), "sweep 6, sample 2 .*: the stimulus must be")


def test_traces_of_unequal_length(tmp_path):
    refused(
        lambda: recordings.prepare(with_value(np.nan, slice(3, None)), dt=0.1),
        "sweep 1, sample 3 .*: the membrane voltage ends here",
        "equal length",
        "2 samples too few",
        "end the window at 0.2 ms",
    )
    path = write(tmp_path, TABLE.replace("20,-40", ",").replace("20,-39", ","))
    with pytest.raises(RecordingError) as refusal:
        recordings.load_target({"file": path, "area": 10.0}, 0.5, False)
    place = "cell.csv, sweep 1, sample 3 (time 1.5 ms): the"
    ends = [line.partition(" ends here")[0] for line in str(refusal.value).splitlines()]
    assert ends == [f"{place} stimulus", f"{place} membrane voltage"]


@pytest.mark.parametrize(
    ("change", "settings", "patterns"),
    [
        ("voltage_V", {"area": 1e4}, ["±200 mV", "-65000 mV in sweep 0, sample 0", "units: {V: mV}"]),
        ("voltage_uV", {"area": 1e4}, ["at most 0.0655 mV", "numbers in V", "units: {V: V}"]),
        ("voltage_mV", {"area": 0.01}, ["±10000 uA/cm", "100000 .* in sweep 0, sample 2", "area"]),
        ("voltage_mV", {}, ["^area: ", "membrane area in µm²", "Received: none"]),
    ],
)
def test_values_that_cannot_be_right(tmp_path, change, settings, patterns):
    path = write(tmp_path, TABLE.replace("voltage_mV", change))
    settings = {"file": str(path)} | settings
    message = refused(lambda: recordings.load_target(settings, 0.5, True), *patterns)
    assert recordings.preflight(settings, 0.5) == [message]


# Preflight


def test_preflight_of_a_sound_recording(tmp_path):
    complete = {
        "file": str(write(tmp_path, TABLE)),
        "format": "auto",
        "columns": None,
        "units": {},
        "area": 65.89,
        "sweeps": None,
        "train": None,
        "test": None,
        "window": None,
        "resample": "mean",
    }
    assert recordings.preflight(complete, 0.5) == []
    target = recordings.load_target(complete, 0.5, steady_state=True)
    assert target.stimulus[-1].tolist() == pytest.approx([1000 / 65.89, 2000 / 65.89])
    assert target.initial.tolist() == [-65, -64]
    assert recordings.preflight({"synthetic": {"duration": 10}}, 0.5) == []


def test_preflight_finds_every_problem(tmp_path):
    settings = {"file": str(tmp_path / "none.csv"), "train": [0], "test": [0], "area": -1}
    found = recordings.preflight(settings, -0.5)
    starts = ["dt: ", "area: ", "test: ", f"{tmp_path}/none.csv: "]
    assert [message.startswith(start) for message, start in zip(found, starts, strict=True)] == [True] * 4

    path = write(tmp_path, TABLE.replace("_pA", "_pa").replace("1.5,", "1.0,").replace("_mV", "_nA"))
    assert len(recordings.preflight({"file": str(path)}, 0.5)) == 3

    path = write(tmp_path, TABLE.replace("-60", "nan"))
    found = recordings.preflight({"file": str(path), "train": [9], "window": [5, 9]}, 0.5)
    assert [message.split(":")[0] for message in found] == ["area", "train", "window"]
    found = recordings.preflight({"file": str(path)}, 3)
    assert [message.split(":")[0] for message in found][:2] == ["area", "dt"]
    assert "sweep 0, sample 2" in found[2]
    assert len(found) == 3
