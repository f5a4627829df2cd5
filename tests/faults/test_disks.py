"""Full disks, too little memory, files that cannot be read: one message, and the next run mends it."""

import shutil
import subprocess

import h5py
import pytest

from tests.faults.tools import INPUTS, OUTPUTS, wait_for

MEGABYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder):
    """Take all that is free on a disk, and return the file that does."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            while True:
                try:
                    if file.write(b"x" * size) < size:
                        break
                except OSError:
                    break
    return path


def sound(life):
    """Return whether what a user sees has no traceback of Python, and no crash."""
    return not any(word in life.log + life.errors for word in ("Traceback", "Logging error", "Segmentation"))


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_full_disk_is_told_and_mended(lives, before, undisturbed, small_disk, stage):
    folder = before(stage, small_disk)
    for name in OUTPUTS[stage]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    filler = fill(folder)
    life, code = lives.run(folder, stage)
    assert code == 1, life.errors
    assert "must be writable" in life.errors
    assert "No space left on device" in life.errors
    assert "make room" in life.errors
    assert sound(life)
    assert [name for name in OUTPUTS[stage] if (folder / name).exists()] == []
    assert list(folder.rglob(".*")) == []
    filler.unlink()
    life, code = lives.run(folder, stage)
    assert code == 0, life.errors
    for name in OUTPUTS[stage]:
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes()


def test_a_fit_goes_on_without_its_checkpoint(lives, before, undisturbed, small_disk):
    folder = before("fit", small_disk)
    filler = fill(folder)
    life = lives.begin(folder, "fit")
    # The log is on the full disk too: what is heard of the fit goes to standard error.
    wait_for(lambda: "cannot be written" in life.errors, what="the first line that finds no room")
    checkpoints = folder / "checkpoints"
    wait_for(checkpoints.exists, what="the first checkpoint")
    filler.unlink()
    assert life.end() == 0, life.errors
    assert sound(life)
    output = OUTPUTS["fit"][0]
    assert (folder / output).read_bytes() == (undisturbed / output).read_bytes()


def test_a_full_disk_of_checkpoints_alone(lives, before, undisturbed, small_disk):
    folder = before("fit")
    fill(small_disk)
    (folder / "checkpoints").symlink_to(small_disk)
    life, code = lives.run(folder, "fit")
    assert code == 0, life.errors
    assert life.log.count("no checkpoint, the work goes on without") == 1
    output = OUTPUTS["fit"][0]
    assert (folder / output).read_bytes() == (undisturbed / output).read_bytes()


def test_too_little_memory_is_told_and_mended(lives, before, undisturbed):
    folder = before("simulate_best")
    # What the libraries take by themselves differs between machines.
    for memory in range(2500, 0, -500):
        (folder / "best.h5").unlink(missing_ok=True)
        life, code = lives.run(folder, "simulate_best", memory=memory * MEGABYTE)
        if code:
            break
    assert code != 0
    assert not (folder / "best.h5").exists()
    life, code = lives.run(folder, "simulate_best")
    assert code == 0, life.errors
    assert (folder / "best.h5").read_bytes() == (undisturbed / "best.h5").read_bytes()


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def foreign(path):
    with h5py.File(path, "w") as file:
        file["measurements"] = [1.0, 2.0]


def without_a_dataset(path):
    with h5py.File(path, "a") as file:
        del file["loss" if "loss" in file else "time" if "time" in file else "parameters"]


CASES = [(stage, name) for stage, names in INPUTS.items() for name in names if stage != "get_random"]


@pytest.mark.parametrize(
    ("place", "case"),
    list(enumerate(CASES)),
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_an_input_that_cannot_be_read_is_set_aside(lives, before, place, case):
    stage, name = case
    folder = before(stage)
    path = folder / name
    damages = (truncated, emptied, foreign, without_a_dataset)
    damages[place % len(damages)](path)
    damaged = path.read_bytes()
    life, code = lives.run(folder, stage)
    assert code == 1, life.errors
    assert sound(life)
    message = life.errors
    assert message.count("Error:") == 1
    assert f"'results/tiny/{name}'" in message
    assert "run the same command again" in message
    assert not path.exists()
    assert path.with_name(f"{path.name}.unreadable").read_bytes() == damaged
    assert [found for found in OUTPUTS[stage] if (folder / found).exists()] == []
