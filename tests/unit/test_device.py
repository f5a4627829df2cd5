"""Which device a job takes, and the compiled programs that it finds."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from odynn.errors import DeviceError
from odynn.simulation import blocks, device
from odynn.simulation.compiler import set_options
from odynn.storage import kept_programs

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "SLURM_JOB_ID",
    "SLURM_JOB_GPUS",
    "SLURM_STEP_GPUS",
    "SLURM_GPUS_ON_NODE",
)


class Gpu:
    def __init__(self, number):
        self.name = f"/physical_device:GPU:{number}"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Pretend that TensorFlow sees some GPUs; give what it is told to do with them."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(device.tempfile, "tempdir", str(tmp_path))
    told = {"visible": None, "growth": []}

    def pretend(number):
        found = [Gpu(place) for place in range(number)]
        config = tf.config
        # Here TensorFlow may be running already, which refuses this.
        monkeypatch.setattr(config.threading, "set_intra_op_parallelism_threads", lambda number: None)
        monkeypatch.setattr(config, "list_physical_devices", lambda kind: found)
        monkeypatch.setattr(config, "set_visible_devices", lambda gpus, kind: told.update(visible=gpus))
        monkeypatch.setattr(config, "get_visible_devices", lambda kind: told["visible"])
        monkeypatch.setattr(
            config.experimental, "set_memory_growth", lambda gpu, grows: told["growth"].append((gpu, grows))
        )
        monkeypatch.setattr(
            config.experimental, "get_device_details", lambda gpu: {"device_name": f"Model {gpu.name[-1]}"}
        )
        return told

    return pretend


def test_without_a_gpu(machine):
    told = machine(0)
    assert device.set_up_device() == device.set_up_device("cpu") == "CPU"
    assert told["visible"] == []
    with pytest.raises(DeviceError, match="device: 'gpu' needs a GPU.*Received: none.*device: auto"):
        device.set_up_device("gpu")


def test_the_jobs_of_one_machine_take_a_gpu_each(machine, caplog):
    told = machine(2)
    assert device.set_up_device() == "Model 0"
    assert [gpu.name for gpu in told["visible"]] == ["/physical_device:GPU:0"]
    assert told["growth"] == [(told["visible"][0], True)]
    # The claim of the first job holds as long as its process, here this one.
    assert device.set_up_device("gpu") == "Model 1"
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert device.set_up_device() in ("Model 0", "Model 1")
    assert "every GPU is in use" in caplog.text


def test_a_claim_ends_with_its_process(machine, tmp_path):
    machine(1)
    code = f"""
import fcntl, os, sys, time
file = os.open({str(tmp_path / f"odynn-{os.getuid()}-gpu-0.lock")!r}, os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
print("claimed", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "claimed\n"
        machine(2)
        assert device.set_up_device() == "Model 1"
        other.kill()
        other.wait()
    assert device.set_up_device() == "Model 0"


def test_the_gpus_that_a_job_was_given_are_told_apart_by_their_own_numbers(machine, monkeypatch):
    machine(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert device.set_up_device() == "Model 0"
    # Another job on this machine was given one of them, and another one.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 2")
    assert device.set_up_device() == "Model 0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert device.set_up_device() == "Model 1"


def test_a_job_of_slurm_leaves_the_gpus_of_others_alone(machine, monkeypatch):
    told = machine(2)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert device.set_up_device() == "CPU"
    assert told["visible"] == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert device.set_up_device() == "Model 0"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert device.set_up_device("gpu") == "Model 1"  # the user knows that this cluster does not count them


def test_options_of_the_compiler_leave_those_of_the_user(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_prefer_vector_width=256 --other=1")
    for _ in range(2):
        set_options()
        first, second, added = os.environ["XLA_FLAGS"].split()
        assert (first, second) == ("--xla_cpu_prefer_vector_width=256", "--other=1")
        assert added.startswith("--xla_backend_extra_options=")
    monkeypatch.delenv("XLA_FLAGS")
    set_options()
    assert len(os.environ["XLA_FLAGS"].split()) == 2


def test_the_cpu_if_it_is_wanted(machine):
    told = machine(2)
    assert device.set_up_device("cpu") == "CPU"
    assert (told["visible"], told["growth"]) == ([], [])


def test_a_running_tensorflow_keeps_its_settings(machine, monkeypatch):
    told = machine(1)
    told["visible"] = [Gpu(0)]

    def refuse(gpus, kind):
        raise RuntimeError("must be set before GPUs have been initialised")

    monkeypatch.setattr(tf.config, "set_visible_devices", refuse)
    assert device.set_up_device() == "Model 0"


def test_blocks_on_a_gpu_have_few_widths(machine):
    machine(1)["visible"] = [Gpu(0)]
    widths = {blocks.Blocks.of(4, round(1.1**power)).width for power in range(140)}
    assert widths == {64 * 2**k for k in range(11)}
    assert blocks.Blocks.of(4, 65).width == 128
    assert 4 * max(widths) == blocks.Blocks.of(1, 10**9).width


def test_memory_is_that_of_the_smallest_gpu(machine, monkeypatch, tmp_path):
    least = 1 << 28
    assert device.memory_budget() == least
    machine(1)["visible"] = [Gpu(0)]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert device.memory_budget() == least
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 81559\necho 16384\n", "utf-8")
    program.chmod(0o755)
    assert device.memory_budget() == 4096 * 2**20
    program.write_text("#!/bin/sh\necho '[N/A]'\n", "utf-8")
    assert device.memory_budget() == least
    program.write_text("#!/bin/sh\nexit 9\n", "utf-8")
    assert device.memory_budget() == least


class TestPrograms:
    @pytest.fixture
    def cache(self, monkeypatch, tmp_path):
        monkeypatch.setenv("ODYNN_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
        return tmp_path / "cache" / "programs"

    @staticmethod
    def job(add=(), key="fit"):
        """Return the programs that a job of this kind finds; it adds some."""
        with kept_programs(key):
            option, _, folder = os.environ["TF_XLA_FLAGS"].rpartition("=")
            assert option == "--tf_xla_persistent_cache_directory"
            found = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
            for name, content in dict(add).items():
                (Path(folder) / name).write_bytes(content)
            (Path(folder) / "half.tmp").write_bytes(b"being written")
        assert "TF_XLA_FLAGS" not in os.environ
        assert not Path(folder).exists()
        return found

    def test_a_job_finds_what_others_of_its_kind_added(self, cache):
        assert self.job({"one.pb": b"1"}) == {}
        assert self.job({"two.pb": b"2"}) == {"one.pb": b"1"}
        assert self.job() == {"one.pb": b"1", "two.pb": b"2"}
        assert self.job(key="uncertainty") == {}

    def test_a_job_that_fails_keeps_them_too(self, cache):
        with pytest.raises(SystemExit), kept_programs("fit"):
            folder = os.environ["TF_XLA_FLAGS"].partition("=")[2]
            (Path(folder) / "one.pb").write_bytes(b"1")
            raise SystemExit(143)
        assert self.job() == {"one.pb": b"1"}

    def test_a_damaged_program_is_not_used(self, cache):
        self.job({"one.pb": b"123456", "two.pb": b"2"})
        (path,) = cache.glob("*/*one.pb")
        path.write_bytes(b"123")
        assert self.job() == {"two.pb": b"2"}
        assert not path.exists()

    def test_of_another_kind_of_machine(self, cache, monkeypatch):
        self.job({"one.pb": b"1"})
        monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
        assert self.job() == {}

    def test_the_oldest_go(self, cache):
        self.job({"one.pb": b"1"})
        (folder,) = cache.iterdir()
        for path in folder.iterdir():
            os.utime(path, (time.time() - 40 * 86400,) * 2)
        self.job({f"{number}.pb": b"2" for number in range(70)}, key="another")
        assert not folder.exists()
        (other,) = cache.iterdir()
        assert len(list(other.iterdir())) == 64

    def test_none_are_kept_if_there_is_no_place(self, cache, monkeypatch, tmp_path):
        monkeypatch.setenv("ODYNN_CACHE", "")
        with kept_programs("fit"):
            assert "TF_XLA_FLAGS" not in os.environ
        (tmp_path / "file").write_text("", "utf-8")
        monkeypatch.setenv("ODYNN_CACHE", str(tmp_path / "file"))
        assert self.job({"one.pb": b"1"}) == self.job() == {}

    def test_what_the_user_set_stays(self, cache, monkeypatch):
        own = "--tf_xla_persistent_cache_directory=mine"
        monkeypatch.setenv("TF_XLA_FLAGS", own)
        with kept_programs("fit"):
            assert os.environ["TF_XLA_FLAGS"] == own
        monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_clustering_debug=false")
        with kept_programs("fit"):
            assert os.environ["TF_XLA_FLAGS"].startswith("--tf_xla_clustering_debug=false --tf_xla_pers")
        assert os.environ["TF_XLA_FLAGS"] == "--tf_xla_clustering_debug=false"

    def test_tensorflow_finds_a_program_and_computes_the_same(self, cache, tmp_path):
        code = """
import sys
import numpy as np
from odynn.models import load_model
from odynn.simulation.dynamics import Dynamics
from odynn.simulation.simulator import Simulator
from odynn.storage import kept_programs
with kept_programs("simulate"):
    model = load_model("hodgkinhuxley")
    values = {name: np.full(3, row.default) for name, row in model.table().items()}
    V = Simulator(Dynamics(model, 0.05)).traces(values, np.full((500, 2), 10.0))["V"]
np.save(sys.argv[1], V)
"""
        stored = []
        for run in ("first", "second"):
            command = [sys.executable, "-c", code, str(tmp_path / f"{run}.npy")]
            subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True)
            stored.append({path: path.stat().st_ino for path in cache.glob("*/*.pb")})
        assert stored[0]
        assert stored[0] == stored[1], "the second run compiled anew"
        one, two = (np.load(tmp_path / f"{run}.npy") for run in ("first", "second"))
        np.testing.assert_array_equal(one, two)
        assert np.ptp(one) > 50
