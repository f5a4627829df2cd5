"""Reading in a process of its own, with a time limit.

The HDF5 library can loop without end over a damaged file, and nothing in the same process can stop
it. So such files are read in a child, which may be ended.
"""

import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import numpy as np

from odynn.errors import RecordingError
from odynn.recordings.channels import Contents

SECONDS = 60.0
BYTES = 2e6
"""A child has so many seconds, and one more for so many bytes of its file."""


def run_isolated(function: Callable[..., Contents], path: Path, *arguments: object) -> Contents:
    """Return the contents that a function of a module finds, run in a child process.

    Args:
        function: a function at the top of a module; path is its first argument.
        path: the file that it reads.
        *arguments: the others, as JSON has them.

    Raises:
        RecordingError: as the function does; or it took too long, or the child died.
    """
    # The workflow quotes the path of Python for shell commands.
    python = sys.executable if os.path.exists(sys.executable) else shlex.split(sys.executable)[0]
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    arguments = [dict(one) if isinstance(one, Mapping) else one for one in arguments]
    request = [function.__module__, function.__name__, str(path), arguments]
    limit = SECONDS + path.stat().st_size / BYTES
    try:
        done = subprocess.run(
            [python, "-c", f"from {__name__} import serve; serve()"],
            input=json.dumps(request, default=list).encode(),
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
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as arrays:
        plain = json.loads(arrays["plain"].item())
        if "error" in plain:
            raise RecordingError(plain["error"])
        traces = {name: arrays[name] for name in arrays.files if name != "plain"}
    responses = {channel: traces.pop(f"responses {channel}") for channel in plain.pop("responses")}
    return Contents(**{"time": None, "stimulus": None} | traces | plain, responses=responses)


def serve() -> None:
    """Do in a child what `run_isolated` asks on standard input, and answer on standard output."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries may print
    module, name, path, arguments = json.loads(sys.stdin.buffer.read())
    traces: dict[str, np.ndarray] = {}
    try:
        found = vars(getattr(import_module(module), name)(Path(path), *arguments))
    except RecordingError as error:
        plain = {"error": str(error)}
    else:
        responses = found.pop("responses")
        traces = {key: value for key, value in found.items() if isinstance(value, np.ndarray)}
        traces |= {f"responses {channel}": trace for channel, trace in responses.items()}
        plain = {key: value for key, value in found.items() if key not in traces}
        plain = {key: dict(value) if isinstance(value, Mapping) else value for key, value in plain.items()}
        plain["responses"] = list(responses)
    whole = io.BytesIO()
    np.savez(whole, plain=np.array(json.dumps(plain)), **traces)
    with answer:
        answer.write(whole.getvalue())
