"""Reads mutated copies of real recordings for some seconds: ``python fuzzing.py DATA FOLDER SECONDS SEED``.

Writes a line before each file and one after it, so that whoever started it knows which one it hangs on
or dies of; at the end the number of files. Only a RecordingError is a proper end of a damaged file.
"""

import resource
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from odynn import recordings
from odynn.errors import RecordingError
from odynn.recordings import isolation

MEMORY = 3 * 2**30
LONGEST = 60
"""Seconds that a file may take: the slowest whole one takes one, on a machine that is not busy."""

FILES = {
    "neuron_171116sh_steps/171116sh_0018.abf": {},
    "neuron_18711001_FI/18711001.abf": {},
    "mouse_S1_L23_lantyer_CC/LantyerEtAl2018_180817_ME_9_CC.nwb": {},
    "rat_SSCx_BBP_C060109A1/X_IDthresh_ch1_349.ibw": {
        "protocol": {"unit": "pA", "pieces": [{"step": 1, "from": 200, "to": 1000}]}
    },
    "herg_cell5_sinewave_vc/sine_wave_protocol.mat": {
        "columns": {"V": "T"},
        "units": {"V": "mV"},
        "interval": 0.1,
        "protocol": {"unit": "pA", "pieces": [{"step": 1, "from": 200, "to": 1000}]},
    },
    "celegans_AVAL1_calcium/AVAL1.csv": {
        "columns": {"time": "timeVector", "stimulus": "inputCurrent", "Ca": "trace"},
        "units": {"time": "s", "stimulus": "uA/cm^2", "Ca": "1"},
    },
    "rodent_hippo_kali_s150420_0403/s150420-0403_ch1_cols.txt": {
        "columns": {"V": "{sweep}"},
        "units": {"V": "mV"},
        "interval": 0.2,
        "protocol": {"unit": "pA", "pieces": [{"step": 1, "from": 200, "to": 1000}]},
    },
    "reference/celegans_AVAL1_calcium.h5": {"units": {"stimulus": "uA/cm^2"}},
}


def mutate(data, random):
    """Return some bytes with one to four damages, half of them in the first 4 kB, where headers are."""
    data = bytearray(data)
    for _ in range(random.integers(1, 5)):
        if not data:
            break
        end = min(len(data), 4096) if random.random() < 0.5 else len(data)
        place, size = int(random.integers(end)), int(2 ** random.integers(0, 10))
        kind = random.integers(7)
        if kind == 0:
            data[place] ^= 1 << int(random.integers(8))
        elif kind == 1:
            data[place : place + size] = random.bytes(size)
        elif kind == 2:
            data[place : place + size] = bytes(size)
        elif kind == 3:
            del data[place:]
        elif kind == 4:
            del data[place : place + size]
        elif kind == 5:
            data[place:place] = data[place : place + size]
        else:
            value = int(random.choice([0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1]))
            data[place : place + 4] = value.to_bytes(4, "little")
    return bytes(data)


def run(source, folder, seconds, seed):
    """Read mutated files until the time is over; return how many were read."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _too_long)
    isolation.SECONDS = LONGEST / 3
    whole = {name: (source / name).read_bytes() for name in FILES}
    number = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until or number < len(FILES):
        name = list(FILES)[number % len(FILES)]
        random = np.random.default_rng([seed, number])
        path = folder / f"mutated{Path(name).suffix}"
        path.write_bytes(mutate(whole[name], random))
        _say(f"file {number} {name}")
        signal.alarm(LONGEST)
        try:
            recording = recordings.read(path, **FILES[name])
            if np.isfinite(recording.stimulus).all():
                recordings.prepare(recording, dt=0.5, area=1e3)
        except RecordingError as error:
            if not (message := str(error)).strip() or "Traceback" in message:
                _say(f"failed {number} {name}: an empty message or a traceback")
        except BaseException:
            _say(f"failed {number} {name}: {' | '.join(traceback.format_exc().splitlines()[-7:])}")
        finally:
            signal.alarm(0)
        number += 1
    return number


def _too_long(*_):
    raise TimeoutError(f"longer than {LONGEST} s")


def _say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    data, scratch, length, start = sys.argv[1:]
    _say(f"read {run(Path(data), Path(scratch), float(length), int(start))}")
