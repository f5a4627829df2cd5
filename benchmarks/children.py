"""Runs a command in a process of its own and tells what it took."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Use:
    """What a process took.

    Attributes:
        seconds: on the clock.
        cpu: seconds of the processors, user and system, with its own children: what other work on
            the machine changes least.
        megabytes: the most memory that it held at once.
    """

    seconds: float
    cpu: float
    megabytes: float


def in_child(command: Sequence[str | os.PathLike], folder: Path | None = None) -> tuple[Use, str]:
    """Run a command, with this repository's package; return what it took and what it wrote.

    Raises:
        SystemExit: if the command fails, with what it wrote.
    """
    root = str(Path(__file__).parents[1])
    environment = {
        **os.environ,
        "PYTHONPATH": root,
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    with tempfile.TemporaryFile("w+") as written:
        began = time.perf_counter()
        child = subprocess.Popen(
            [os.fspath(part) for part in command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        written.seek(0)
        text = written.read()
    if child.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{text[-3000:]}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return Use(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6), text
