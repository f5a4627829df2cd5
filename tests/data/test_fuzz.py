"""Damaged copies of real recordings, by the hundred: no traceback, no hang, no memory beyond a limit.

``ODYNN_FUZZ=600 pytest tests/data/test_fuzz.py`` goes on for ten minutes, with other damages each time.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_mutated_files_end_in_a_message(data_folder, tmp_path):
    wanted = float(os.environ.get("ODYNN_FUZZ", 0))
    seconds, seed = (wanted, time.time_ns() % 10**6) if wanted else (4, 1)
    command = [sys.executable, Path(__file__).with_name("fuzzing.py"), data_folder, tmp_path]
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        done = subprocess.run(
            [*map(str, command), str(seconds), str(seed)],
            stdout=output,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=seconds + 300,  # the last file may hang as long as its own limit
            check=False,
        )
    lines = log.read_text("utf-8").splitlines()
    failed = [line for line in lines if line.startswith("failed")]
    assert not failed, f"seed {seed}: " + "\n".join(failed)
    assert done.returncode == 0, f"seed {seed}: exit status {done.returncode} after {lines[-1:]}"
    assert int(lines[-1].removeprefix("read ")) >= 8
