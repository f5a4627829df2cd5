"""The device that a job computes on: a GPU of its own, or the CPU."""

import fcntl
import logging
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from odynn.errors import DeviceError
from odynn.simulation.compiler import set_options

log = logging.getLogger(__name__)

# Share of a GPU's memory for what one computation keeps, and bytes of it where that is not known or on CPU.
_SHARE, _MEMORY = 0.25, 1 << 28


def set_up_device(wanted: str = "auto") -> str:
    """Choose the device, set up TensorFlow and its compiler, and return the device's name.

    A job uses one GPU: of those that it was given (``CUDA_VISIBLE_DEVICES``) one that no other job of
    odynn on this machine uses. In a SLURM job that was given none, GPUs of the node belong to others.
    Blocks of starts are computed side by side: TensorFlow runs every computation in one pool of
    threads, which needs as many as there are blocks. Where it is already running, as in an interactive
    session, its settings are kept.

    Args:
        wanted: "auto" for a GPU if there is one, "gpu" for nothing else, "cpu" to leave GPUs alone.

    Returns:
        "CPU", or the name of the GPU.

    Raises:
        DeviceError: if a GPU is wanted and there is none.
    """
    gpus = [] if wanted == "cpu" or (wanted == "auto" and _given_none()) else _gpus()
    if wanted == "gpu" and not gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        raise DeviceError(
            "device: 'gpu' needs a GPU that TensorFlow can use. Received: none; CUDA_VISIBLE_DEVICES is "
            f"{visible!r}. Ask the cluster for one (workflow/profiles/README.md), install the libraries for "
            "GPUs (make environment EXTRA=cuda), or allow the CPU with `device: auto`. TensorFlow's own "
            "reasons: python -c 'import tensorflow; tensorflow.config.list_physical_devices(\"GPU\")'"
        )
    set_options()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(available_cores())
        if gpus:
            gpus = [gpus[_claimed(_numbers(len(gpus)))]]
            tf.config.experimental.set_memory_growth(gpus[0], True)
        tf.config.set_visible_devices(gpus, "GPU")
    except RuntimeError:
        log.debug("TensorFlow was running already; its settings are kept")
        gpus = tf.config.get_visible_devices("GPU")[:1]
    if not gpus:
        return "CPU"
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_gpu() -> bool:
    """Return whether computations run on a GPU."""
    return bool(tf.config.get_visible_devices("GPU"))


def memory_budget() -> int:
    """Return the bytes that one computation may keep: states for an adjoint, or traces of a block.

    On CPU the same everywhere, so that blocks are; on a GPU a quarter of the memory of the smallest one.
    """
    if not on_gpu():
        return _MEMORY
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        megabytes = min(int(line) for line in done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return _MEMORY
    return max(_MEMORY, int(_SHARE * megabytes * 2**20))


def _given_none() -> bool:
    """Return whether this is a job of SLURM without a GPU: then CUDA_VISIBLE_DEVICES may hide none."""
    names = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE")
    return "SLURM_JOB_ID" in os.environ and not any(os.environ.get(name) for name in names)


def _gpus() -> list:
    return tf.config.list_physical_devices("GPU")


def _numbers(count: int) -> list[str]:
    """Return what tells the GPUs that TensorFlow sees from those of other jobs on this machine."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible if len(visible) == count else [str(number) for number in range(count)]


def _claimed(names: Sequence[str]) -> int:
    """Return the place of a GPU that no other job has claimed; any, where all are.

    A claim is a lock on a file that is held until the process ends, however it ends.
    """
    for place, name in enumerate(names):
        path = Path(tempfile.gettempdir()) / f"odynn-{os.getuid()}-gpu-{name.replace('/', '-')}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            break
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        os.set_inheritable(descriptor, False)
        return place
    if len(names) > 1:
        log.warning("every GPU is in use by another job; one is shared")
    return os.getpid() % len(names)
