"""Laboratories' formats, from files made here: what is read, and the one message that a bad file ends in."""

import inspect
import json
import os
import re
import struct
import sys
import warnings
from datetime import UTC, datetime

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from odynn import recordings
from odynn.errors import RecordingError
from odynn.recordings import isolation

SAMPLES = 40
STEP = {"unit": "pA", "pieces": [{"step": 1.0, "from": 5, "to": 10}]}
ON = (np.arange(SAMPLES) >= 10) & (np.arange(SAMPLES) < 20)  # of samples of 0.5 ms


# Files


def abf(path, sweeps=3, units="mV", level=-65.0):
    """Write an ABF 1 file of ramps that begin at a level, without a command."""
    from pyabf.abfWriter import writeABF1

    writeABF1(level + np.arange(sweeps)[:, None] + np.linspace(0, 5, 2000), str(path), 20000, units)
    return path


def ibw(path, values, unit="V", interval=0.0005, time_unit="s"):
    """Write an Igor binary wave of version 2, as technical note 003 of WaveMetrics lays it out."""
    values = np.asarray(values, dtype="<f4")
    header = struct.pack(
        "<hl20shhl4s4slhddhhhddccllL2sLl",
        *(2, 0, path.stem.encode()[:18], 0, 0, 0, unit.encode(), time_unit.encode(), len(values), 0),
        *(interval, 0.0, 0, 0, 0, 0.0, 0.0, b"\0", b"\0", 0, 0, 0, b"", 0, 0),
    )
    start = struct.pack("<hlll", 2, len(header) + values.nbytes + 16, 0, 0)
    checksum = -sum(struct.unpack(f"<{(len(start) + len(header)) // 2}h", start + header)) & 0xFFFF
    path.write_bytes(start + struct.pack("<H", checksum) + header + values.tobytes() + bytes(16))
    return path


def nwb(path, **changes):
    """Write an NWB file of sweeps 2, 10 and 1, in that order; ``changes`` say what is different."""
    import pynwb
    from pynwb import icephys

    options = {
        "numbers": (2, 10, 1),
        "rates": {},
        "lengths": {},
        "kind": "current",
        "stimuli": True,
    } | changes
    began = datetime(2020, 1, 1, tzinfo=UTC)
    file = pynwb.NWBFile("a session", "1", began)
    device = file.create_device("rig")
    names = options.get("electrodes", ("one",))
    electrodes = [file.create_icephys_electrode(name=name, description="-", device=device) for name in names]
    series, commands = {
        "current": (icephys.CurrentClampSeries, icephys.CurrentClampStimulusSeries),
        "voltage": (icephys.VoltageClampSeries, icephys.VoltageClampStimulusSeries),
    }[options["kind"]]
    for place, number in enumerate(options["numbers"]):
        rate = options["rates"].get(number, 2000.0)
        length = options["lengths"].get(number, SAMPLES)
        shared = {"electrode": electrodes[place % len(electrodes)], "gain": 1.0, "rate": rate}
        if not options.get("table"):
            shared["sweep_number"] = options.get("said", {}).get(number, number)
        data = (-70 + number + np.zeros(length)) * options.get("scale", 1e-3)
        response = series(name=f"response_{number}", data=data, **shared)
        given = number * 1e-12 * (np.arange(options.get("given", length)) % SAMPLES >= 10)
        stimulus = commands(name=f"command_{number}", data=given, **shared)
        file.add_acquisition(response)
        if options["stimuli"] is True or number in (options["stimuli"] or ()):
            file.add_stimulus(stimulus)
        if options.get("table"):
            file.add_intracellular_recording(
                electrode=shared["electrode"], response=response, stimulus=stimulus, id=number
            )
    with pynwb.NWBHDF5IO(str(path), "w") as target:
        target.write(file)
    return path


def mat(path, **variables):
    savemat(path, variables)
    return path


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Libraries warn of what is on purpose here; and a process for each of so many files takes its time."""
    monkeypatch.setattr(
        "odynn.recordings.nwb.run_isolated", lambda function, *arguments: function(*arguments)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# What is read


def test_abf_1(tmp_path):
    found = recordings.read(abf(tmp_path / "cell.abf"), protocol=STEP | {"amplitudes": [1, 2, 3]})
    assert found.responses["V"].shape == (2000, 3)
    np.testing.assert_allclose(found.responses["V"][0], [-65, -64, -63], atol=0.01)
    assert found.rate == 20000
    assert found.stimulus[:, 2].tolist() == (3.0 * ((found.time >= 5) & (found.time < 10))).tolist()


@pytest.mark.parametrize("table", [False, True])
def test_nwb_sweeps_are_in_order_of_number(tmp_path, table):
    found = recordings.read(nwb(tmp_path / "cell.nwb", table=table))
    assert found.sweeps.tolist() == [1, 2, 10]  # as text, 10 would come before 2
    np.testing.assert_allclose(found.responses["V"][0], [-0.069, -0.068, -0.060])
    np.testing.assert_allclose(found.stimulus[-1], [1e-12, 2e-12, 10e-12])
    assert found.units == {"stimulus": "A", "V": "V"}
    assert found.rate == 2000


def test_nwb_of_voltage_clamp(tmp_path):
    found = recordings.read(nwb(tmp_path / "cell.nwb", kind="voltage"))
    assert found.clamp == "voltage"
    assert found.units == {"stimulus": "V", "I": "A"}


def test_nwb_sweeps_of_other_lengths_and_rates(tmp_path):
    path = nwb(tmp_path / "cell.nwb", lengths={2: 30})
    found = recordings.read(path)
    assert np.isnan(found.responses["V"][30:, 1]).all() and np.isfinite(found.responses["V"][:, [0, 2]]).all()
    with pytest.raises(RecordingError, match="sweep 2, sample 30 .*ends here.*Leave the sweep out"):
        recordings.prepare(found, dt=0.5, area=100.0)
    path = nwb(tmp_path / "other.nwb", rates={10: 1000.0})
    with pytest.raises(RecordingError, match="one sampling rate.*2000 Hz in sweep 1 and 1000 Hz in sweep 10"):
        recordings.read(path)
    assert recordings.read(path, sweeps=[1, 2]).sweeps.tolist() == [1, 2]
    settings = {"file": str(path), "area": 100.0, "sweeps": [2], "preparation": {"repeats": [[1, 2]]}}
    assert recordings.preflight(settings | {"sweeps": [1]}, 0.5) == []


def test_nwb_series_by_name(tmp_path):
    path = nwb(tmp_path / "cell.nwb", electrodes=("one", "two"))
    with pytest.raises(
        RecordingError, match="expected one cell. Received: series of the electrodes one, two"
    ):
        recordings.read(path)
    found = recordings.read(path, columns={"V": "response_10", "stimulus": "command_10"})
    assert found.sweeps.tolist() == [10]


def test_igor_pairs_by_unit_and_by_name(tmp_path):
    for number in (9, 10):
        ibw(tmp_path / f"cell_ad0_{number}.ibw", ON * number * 1e-12, "A")
        ibw(tmp_path / f"cell_ad1_{number}.ibw", np.full(SAMPLES, -0.065))
    found = recordings.read(tmp_path / "cell_ad{channel}_{sweep}.ibw")
    assert found.sweeps.tolist() == [9, 10]
    np.testing.assert_allclose(found.stimulus[12], [9e-12, 10e-12], rtol=1e-6)
    assert found.rate == 2000
    named = recordings.read(tmp_path / "cell_ad{channel}_{sweep}.ibw", columns={"stimulus": "0", "V": "1"})
    np.testing.assert_array_equal(named.stimulus, found.stimulus)
    clamp = recordings.read(tmp_path / "cell_ad{channel}_{sweep}.ibw", columns={"stimulus": "1", "I": "0"})
    assert clamp.clamp == "voltage"


@pytest.mark.parametrize("turned", [False, True])
def test_matlab_matrices_and_structures(tmp_path, turned):
    V = np.full((SAMPLES, 2), [-65.0, -64.0])
    V = V.T if turned else V
    data = {"time_ms": np.arange(SAMPLES) * 0.5, "voltage_mV": V, "note": "text"}
    path = mat(tmp_path / "cell.mat", data=data, cmd=ON * 10.0)
    found = recordings.read(path, columns={"stimulus": "cmd"}, units={"stimulus": "pA"})
    assert found.responses["V"][3].tolist() == [-65, -64]
    assert found.stimulus[12].tolist() == [10, 10]
    assert ("rows of V" in found.source) == turned


def test_matlab_7_3(tmp_path):
    path = tmp_path / "cell.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["time_ms"] = np.arange(SAMPLES)[None] * 0.5  # MATLAB's axes are in the other order
        file["voltage_mV"] = np.full((2, SAMPLES), [[-65.0], [-64.0]])
        file["stimulus_pA"] = np.ones((2, SAMPLES)) * ON
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))
    found = recordings.read(path)
    assert found.responses["V"][3].tolist() == [-65, -64]
    assert found.stimulus[12].tolist() == [1, 1]


def test_stimulus_from_another_file(tmp_path):
    path, other = tmp_path / "cell.csv", tmp_path / "command.csv"
    path.write_text("time_ms,voltage_mV\n" + "".join(f"{0.5 * k},-65\n" for k in range(10)))
    other.write_text("t_s,current_nA\n" + "".join(f"{0.001 * k},{k}\n" for k in range(6)))
    found = recordings.read(path, stimulus={"file": other})
    assert found.stimulus[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]  # each sample holds until the next
    assert found.units["stimulus"] == "nA"
    assert found.source["stimulus file"] == "command.csv"
    other.write_text("t_s,current_nA\n0,1\n0.001,2\n")
    with pytest.raises(
        RecordingError, match="command.csv: expected a stimulus for the times of .*cell.csv, 0 to 4.5"
    ):
        recordings.read(path, stimulus={"file": other})


def test_table_without_headers(tmp_path):
    path = tmp_path / "cell.txt"
    path.write_text("".join(f"  {0.5 * k:g}   -65.0 {-64.0 + k}\n" for k in range(10)))
    found = recordings.read(
        path,
        columns={"time": "0", "V": "{sweep}"},
        units={"time": "ms", "V": "mV"},
        protocol=STEP | {"unit": "nA", "amplitudes": [1, 2]},
    )
    assert found.sweeps.tolist() == [1, 2]
    assert found.responses["V"][2].tolist() == [-65, -62]
    assert found.units["stimulus"] == "nA"


def test_amplitudes_of_a_file(tmp_path):
    path = tmp_path / "cell.csv"
    path.write_text("time_ms,V_mV_0,V_mV_1\n" + "".join(f"{0.5 * k},-65,-64\n" for k in range(30)))
    (tmp_path / "steps.json").write_text(json.dumps({"cell": {"steps": [0.1, 0.2]}}))
    (tmp_path / "steps.txt").write_text("# nA\n0.1\n0.2\n")
    for given in ([0.1, 0.2], str(tmp_path / "steps.json:cell.steps"), str(tmp_path / "steps.txt")):
        found = recordings.read(path, protocol=STEP | {"amplitudes": given})
        assert found.stimulus[12].tolist() == [0.1, 0.2]
        assert str(tmp_path) not in str(found.source)


@pytest.mark.parametrize(("name", "library"), [("cell.abf", "pyabf"), ("cell.ibw", "igor2")])
def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch, name, library):
    path = abf(tmp_path / name) if name.endswith("abf") else ibw(tmp_path / name, ON)
    for module in (library, "igor2.binarywave"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(
        RecordingError, match=rf"{name}: reading an .* needs the library {library}.*odynn\[recordings\]"
    ):
        recordings.read(path)


def loop(path):
    while True:
        pass


def die(path):
    os._exit(3)


def refuse(path):
    raise RecordingError(f"{path}: no")


def double(path, number):
    sys.stdout.write("a library may print")
    return 2 * number


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Return a function that runs one of this module in a process of its own."""
    module = tmp_path / "functions.py"
    module.write_text(
        "import os, sys\nfrom odynn.errors import RecordingError\n\n"
        + "\n\n".join(inspect.getsource(one) for one in (loop, die, refuse, double))
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(isolation, "SECONDS", 5.0)

    def run(function, *arguments):
        monkeypatch.setattr(function, "__module__", "functions")
        return isolation.run_isolated(function, module, *arguments)

    return run


def test_what_hangs_or_dies_in_a_process_of_its_own_ends_in_a_message(child):
    assert child(double, 21) == 42
    with pytest.raises(RecordingError, match="functions.py: no$"):
        child(refuse)
    with pytest.raises(
        RecordingError, match="functions.py: expected a whole file.*exit status 3.*Copy or export"
    ):
        child(die)
    with pytest.raises(RecordingError, match="functions.py: expected a file that is read within 5 s"):
        child(loop)


# Bad files: each makes one in a folder, and says how it is read and what the message has


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def damaged(path, place, data):
    whole = bytearray(path.read_bytes())
    whole[place : place + len(data)] = data
    path.write_bytes(whole)
    return path


def zeros(path, size=3 * 10**9):
    """Make a file of zeros that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def text(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding))
    return path


def waves(folder, **change):
    ibw(folder / "c_0_1.ibw", ON * 1e-12, "A")
    ibw(folder / "c_1_1.ibw", **({"values": np.full(SAMPLES, -0.065)} | change))
    return folder / "c_{channel}_{sweep}.ibw"


TABLE = "time_ms,current_pA,voltage_mV\n" + "".join(f"{0.5 * k},{10 * ON[k]},-65\n" for k in range(SAMPLES))
TIME = np.arange(SAMPLES) * 0.5
MATRICES = {"time_ms": TIME, "stimulus_pA": ON * 1.0, "voltage_mV": TIME - 65}
BAD = {
    "empty abf": (lambda d: text(d / "c.abf", ""), {}, "expected an ABF file.*an empty file"),
    "empty nwb": (lambda d: text(d / "c.nwb", ""), {}, "expected an NWB file.*an empty file"),
    "empty ibw": (lambda d: text(d / "c.ibw", ""), {}, "expected an Igor binary wave.*an empty file"),
    "empty mat": (lambda d: text(d / "c.mat", ""), {}, "expected a MATLAB file.*an empty file"),
    "zeros abf": (lambda d: zeros(d / "c.abf"), {}, "an ABF file.*Received: zeros"),
    "zeros nwb": (lambda d: zeros(d / "c.nwb"), {}, "an NWB file.*Received: zeros"),
    "zeros ibw": (lambda d: zeros(d / "c.ibw"), {}, "an Igor binary wave.*Received: zeros"),
    "zeros mat": (lambda d: zeros(d / "c.mat"), {}, "a MATLAB file.*Received: zeros"),
    "zeros csv": (lambda d: zeros(d / "c.csv"), {}, "row 1: expected a text table.*Received: zeros"),
    "zeros hdf5": (lambda d: zeros(d / "c.h5"), {}, "an HDF5 file.*does not begin like one"),
    "cut abf": (lambda d: cut(abf(d / "c.abf"), 0.7), {}, "c.abf: expected .*cut short"),
    "cut abf header": (lambda d: cut(abf(d / "c.abf"), 0.1), {}, "expected a whole ABF file.*Copy or export"),
    "cut nwb": (lambda d: cut(nwb(d / "c.nwb"), 0.7), {}, "expected a whole NWB file.*Copy or export"),
    "cut ibw": (lambda d: cut(ibw(d / "c.ibw", ON), 0.7), {}, "expected a whole Igor binary wave.*Copy or"),
    "cut mat": (lambda d: cut(mat(d / "c.mat", **MATRICES), 0.7), {}, "c.mat: .*Copy|missing"),
    "cut csv": (lambda d: cut(text(d / "c.csv", TABLE), 0.99), {}, "expected 3 cells.*cut short"),
    "abf called nwb": (lambda d: abf(d / "c.nwb"), {}, "an NWB file. Received: an ABF file. Say its format"),
    "nwb called abf": (lambda d: nwb(d / "c.abf"), {}, "an ABF file. Received: an HDF5 file .as .h5 or .nwb"),
    "mat called ibw": (lambda d: mat(d / "c.ibw", **MATRICES), {}, "binary wave. Received: a MATLAB file"),
    "page called abf": (lambda d: text(d / "c.abf", "<html>404"), {}, "Received: a page of HTML"),
    "zip called mat": (lambda d: text(d / "c.mat", "PK\x03\x04xx"), {}, "Received: a zip archive .as .xlsx"),
    "hdf5 called nwb": (
        lambda d: h5py.File(d / "c.nwb", "w").close() or d / "c.nwb",
        {},
        "expected a whole NWB file.*pynwb",
    ),
    "abf of no sweeps": (
        lambda d: damaged(abf(d / "c.abf"), 16, struct.pack("<i", -1)),
        {"protocol": STEP},
        "header: expected at least one channel, sweep and sample.*Received: -1 sweeps",
    ),
    "abf of a billion sweeps": (
        lambda d: damaged(abf(d / "c.abf"), 16, struct.pack("<i", 2**30)),
        {"protocol": STEP},
        "header: expected at least one channel, sweep and sample.*Received: 1073741824 sweeps",
    ),
    "abf without a command": (lambda d: abf(d / "c.abf"), {}, "Expected the stimulus.*protocol"),
    "abf of no unit": (
        lambda d: abf(d / "c.abf", units=""),
        {"protocol": STEP},
        "missing. Expected.*voltage",
    ),
    "mat of V stored as mV": (
        lambda d: mat(d / "c.mat", **MATRICES | {"voltage_mV": TIME * 1e-3 - 0.065}),
        {},
        "the membrane voltage must reach 0.3 mV .*these look like numbers in V.*units: {V: V}",
    ),
    "abf channel that is not there": (
        lambda d: abf(d / "c.abf"),
        {"columns": {"V": "Vm"}},
        "columns.V: expected a channel of .*c.abf.*Received: 'Vm'",
    ),
    "nwb of no series": (lambda d: nwb(d / "c.nwb", numbers=()), {}, "series of current clamp.*no series"),
    "nwb of no stimulus": (lambda d: nwb(d / "c.nwb", stimuli=None), {}, "Expected the stimulus.*protocol"),
    "nwb of a stimulus too few": (
        lambda d: nwb(d / "c.nwb", stimuli=(1, 2)),
        {},
        "every sweep must have a stimulus. Received: none for the sweeps 10",
    ),
    "nwb of a short stimulus": (
        lambda d: nwb(d / "c.nwb", given=30),
        {},
        "sweep 1: expected a stimulus as long as the response, 40 samples.*Received: 30",
    ),
    "nwb of a sweep twice": (
        lambda d: nwb(d / "c.nwb", said={1: 2}),
        {},
        "one response a sweep. Received: response_1, response_2, all of sweep 2",
    ),
    "nwb of rate 0": (
        lambda d: nwb(d / "c.nwb", rates={2: 0.0}),
        {},
        "series response_2: expected a sampling",
    ),
    "nwb of mixed rates": (lambda d: nwb(d / "c.nwb", rates={2: 100.0}), {}, "one sampling rate.*sweep 2"),
    "nwb series that is not there": (
        lambda d: nwb(d / "c.nwb"),
        {"columns": {"V": "nothing_{sweep}"}},
        "columns.V: expected the name of a series of .*response_2",
    ),
    "nwb of mV stored as V": (
        lambda d: nwb(d / "c.nwb", scale=1.0),
        {},
        "must lie within ±200 mV. Received: -6.* mV in sweep 1, sample 0, from a file in V.*units: {V: mV}",
    ),
    "ibw of another unit": (lambda d: ibw(d / "c.ibw", ON, "N"), {}, "which channel the wave 'c' is.*'N'"),
    "ibw of no unit": (lambda d: ibw(d / "c.ibw", ON, ""), {}, "which channel the wave 'c' is"),
    "ibw of no samples": (
        lambda d: ibw(d / "c.ibw", []),
        {},
        "wave of real numbers|a whole Igor binary wave",
    ),
    "ibw alone": (lambda d: ibw(d / "c.ibw", ON), {}, "Expected the stimulus.*protocol"),
    "ibw of unequal lengths": (
        lambda d: waves(d, values=np.full(30, -0.065)),
        {},
        "c_1_1.ibw: expected the times of c_0_1.ibw: 40 samples.*Received: 30 samples",
    ),
    "ibw of mixed rates": (
        lambda d: waves(d, interval=0.001),
        {},
        "c_1_1.ibw: expected the times of c_0_1.ibw: 40 samples, 0.0005 s apart. Received: .* 0.001 s apart",
    ),
    "ibw of contradictory units": (
        lambda d: waves(d, unit="A"),
        {},
        "c_1_1.ibw: expected another channel than c_0_1.ibw has.*the stimulus in both",
    ),
    "ibw of swapped channels": (
        lambda d: waves(d),
        {"columns": {"stimulus": "1", "V": "0"}},
        "the stimulus must be a current.*Received: a voltage .V.*swapped",
    ),
    "ibw with a gap": (
        lambda d: waves(d, values=np.where(ON, np.nan, -0.065)),
        {},
        "sweep 1, sample 10 .time 5 ms.: the membrane voltage must be a number.*NaN",
    ),
    "ibw pattern of nothing": (
        lambda d: d / "none_{sweep}.ibw",
        {},
        "none_{sweep}.ibw: expected files whose names fit this pattern.*none among 0 files",
    ),
    "ibw channel that is not there": (
        lambda d: waves(d),
        {"columns": {"stimulus": "7"}},
        "Received: none of 2, of the channels 0, 1 and the sweeps 1",
    ),
    "mat of no numbers": (lambda d: mat(d / "c.mat", a="text"), {}, "channel is missing.*Received: nothing"),
    "mat of no unit": (
        lambda d: mat(d / "c.mat", time=TIME, stimulus=ON * 1.0, voltage=TIME),
        {"units": {"time": "ms", "stimulus": "pA"}},
        "unit of the membrane voltage is missing.*units: {V: mV}",
    ),
    "mat of unequal lengths": (
        lambda d: mat(d / "c.mat", **MATRICES | {"voltage_mV": np.zeros(30)}),
        {},
        "every trace must be .time, sweep.*V .30, 1.",
    ),
    "mat of complex numbers": (
        lambda d: mat(d / "c.mat", **MATRICES | {"voltage_mV": 1j * TIME}),
        {},
        "variable voltage_mV: expected real numbers.*complex",
    ),
    "mat variable that is not there": (
        lambda d: mat(d / "c.mat", **MATRICES),
        {"columns": {"V": "voltage_mv"}},
        "columns.V: expected a variable of .*Did you mean 'voltage_mV'",
    ),
    "mat of two times": (
        lambda d: mat(d / "c.mat", **MATRICES),
        {"interval": 0.1},
        "interval: expected a sampling interval only where the file has no times",
    ),
    "mat of gaps in time": (
        lambda d: mat(d / "c.mat", **MATRICES | {"time_ms": np.where(TIME > 5, TIME + 3, TIME)}),
        {},
        "time, sample 11: expected uniform times, 0.5 apart. Received: 5 then 8.5",
    ),
    "pA stored as A": (
        lambda d: text(d / "c.csv", TABLE.replace("_pA", "_A")),
        {},
        "the stimulus must lie within.*Received: .*sweep 0, sample 10, from a file in A",
    ),
    "UTF-16 text": (lambda d: text(d / "c.csv", TABLE, "utf-16"), {}, "UTF-16. Save it again as CSV"),
    "decimal commas": (
        lambda d: text(d / "c.csv", TABLE.replace(",", ";").replace(".", ",")),
        {},
        "row 2, column time_ms.*Write decimal points",
    ),
    "no headers": (
        lambda d: text(d / "c.txt", "-65 -64\n-65 -64\n"),
        {},
        "columns separated by|the first row must name",
    ),
    "no times": (
        lambda d: text(d / "c.txt", "-65\t-64\n-65\t-64\n"),
        {"columns": {"V": "{sweep}"}, "units": {"V": "mV"}, "protocol": STEP},
        "Expected the time .*interval: 0.1",
    ),
    "too few amplitudes": (
        lambda d: text(d / "c.csv", TABLE),
        {"protocol": STEP | {"amplitudes": [1, 2]}},
        "protocol.amplitudes: expected as many amplitudes as .*c.csv has sweeps, 1. Received: 2",
    ),
    "amplitudes of a wrong key": (
        lambda d: text(d / "a.json", '{"steps": [1]}') and text(d / "c.csv", TABLE),
        {"protocol": STEP | {"amplitudes": "a.json:step"}},
        "a.json has no key 'step'. Expected one of steps.*Did you mean 'steps'",
    ),
    "amplitudes that are no numbers": (
        lambda d: text(d / "a.json", '{"steps": ["a"]}') and text(d / "c.csv", TABLE),
        {"protocol": STEP | {"amplitudes": "a.json:steps"}},
        "expected a list of numbers at a.json:steps",
    ),
    "amplitudes that are no JSON": (
        lambda d: text(d / "a.json", "{") and text(d / "c.csv", TABLE),
        {"protocol": STEP | {"amplitudes": "a.json:steps"}},
        "protocol.amplitudes: expected a file of numbers.*Received: a.json, which cannot be read",
    ),
    "another checksum": (
        lambda d: text(d / "c.csv", TABLE),
        {"sha256": "0" * 64},
        "sha256: expected c.csv to have the checksum 0000.*Fetch the file again",
    ),
    "a pipe": (
        lambda d: os.mkfifo(d / "c.abf") or d / "c.abf",
        {},
        "expected a file. Received: something else",
    ),
    "a folder": (lambda d: (d / "c.abf").mkdir() or d / "c.abf", {}, "Received: a folder. Name a file in it"),
    "a link to nothing": (
        lambda d: (d / "c.abf").symlink_to(d / "gone") or d / "c.abf",
        {},
        "c.abf: expected a recording. Received: no such file",
    ),
    "an address": (lambda d: "https://example.org/c.abf", {}, "expected a file on this machine.*an address"),
    "a file twice": (
        lambda d: [abf(d / "c.abf"), d / "c.abf"],
        {},
        "none of them twice. Received: .*c.abf twice",
    ),
    "no files": (lambda d: [], {}, "file: expected a list of files.*Received: none"),
}


def test_there_are_many_kinds_of_bad_files():
    assert len(BAD) >= 40


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_ends_in_one_message(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    make, settings, pattern = BAD[kind]
    path = make(tmp_path)

    def use():
        recordings.prepare(recordings.read(path, **settings), dt=0.5, area=100.0)

    with pytest.raises(RecordingError) as refusal:
        use()
    message = str(refusal.value)
    first = message.split("\n")[0]
    assert re.search(pattern, first), message
    assert re.search("[Ee]xpected|must", first) and "Received: " in first and first.endswith("."), message
    assert "Traceback" not in message and len(first) < 700
    # The traceback of a library would be shown with its own, unless suppressed.
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__
