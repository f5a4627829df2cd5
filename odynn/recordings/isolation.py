"""Reading in a process of its own, with a time limit.

The HDF5 library can loop without end over a damaged file, and nothing in the same process can stop
it. So whatever reads such a file through many layers is run in a child, which may be ended.
"""

import os
import pickle
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from odynn.errors import RecordingError

SECONDS = 60.0
BYTES = 2e6
"""A child has so many seconds, and one more for so many bytes of its file."""


def run_isolated(function: Callable, path: Path, *arguments: object) -> object:
    """Return what a function of a module returns, run in a child process.

    Args:
        function: a function at the top of a module of this package; path is its first argument.
        path: the file that it reads.
        *arguments: the others, plain values.

    Raises:
        RecordingError: as the function does; or it took too long, or the child died.
    """
    # The workflow quotes the path of Python for shell commands.
    python = sys.executable if os.path.exists(sys.executable) else shlex.split(sys.executable)[0]
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    request = pickle.dumps((function.__module__, function.__name__, (path, *arguments)))
    limit = SECONDS + path.stat().st_size / BYTES
    try:
        done = subprocess.run(
            [python, "-c", f"from {__name__} import serve; serve()"],
            input=request,
            capture_output=True,
            timeout=limit,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RecordingError(
            f"{path}: expected a file that is read within {limit:.0f} s. Received: one that the HDF5 library "
            "does not get through, as it happens with damaged files. Copy or export it again."
        ) from None
    if done.returncode or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RecordingError(
            f"{path}: expected a whole file. Received: one that ends the process that reads it (exit status "
            f"{done.returncode}{': ' + said[-1][:200] if said else ''}). Copy or export it again."
        )
    good, found = pickle.loads(done.stdout)
    if not good:
        raise RecordingError(found)
    return found


def serve() -> None:
    """Do in a child what `run_isolated` asks on standard input, and answer on standard output."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries may print
    module, name, arguments = pickle.loads(sys.stdin.buffer.read())
    try:
        result = (True, getattr(import_module(module), name)(*arguments))
    except RecordingError as error:
        result = (False, str(error))
    with answer:
        pickle.dump(result, answer, protocol=pickle.HIGHEST_PROTOCOL)
