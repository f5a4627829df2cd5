"""One function to write and one to read each kind of file.

Every writer takes the path, the container and the stamp that says how it was made (see
``odynn.provenance.stamp``), makes the folder if need be, and leaves the file whole or not there.
Every reader refuses, with a StorageError, a file that is missing, not HDF5, cut short, of another
kind, of a newer version, or that lacks a dataset. ``odynn.storage.schema`` says what is in a file.
"""

import os
from collections.abc import Mapping

from odynn.data import Best, Fit, Simulated, Starts, Target, Uncertainty
from odynn.storage.reader import read
from odynn.storage.writer import write

_Path = str | os.PathLike


def write_target(path: _Path, target: Target, stamp: Mapping | None = None) -> None:
    """Write ``target.h5``: time, stimulus, what was observed, and the truth of a synthetic target."""
    write(path, "target", target, stamp)


def read_target(path: _Path) -> Target:
    """Return the target of a file; observed traces are float32."""
    return read(path, "target")


def write_starts(path: _Path, starts: Starts, stamp: Mapping | None = None) -> None:
    """Write ``starts.h5``: the parameter table and a value of every parameter for each start."""
    write(path, "starts", starts, stamp)


def read_starts(path: _Path) -> Starts:
    """Return the starts of a file, parameters in the order of the model's table."""
    return read(path, "starts")


def write_simulated(path: _Path, simulated: Simulated, stamp: Mapping | None = None) -> None:
    """Write a file of ``simulated/``: loss, errors and status of a shard before fitting."""
    write(path, "simulated", simulated, stamp)


def read_simulated(path: _Path) -> Simulated:
    """Return the simulated starts of a shard."""
    return read(path, "simulated")


def write_fit(path: _Path, fit: Fit, stamp: Mapping | None = None) -> None:
    """Write a fit, of one shard or merged: values, losses, errors, status and history."""
    write(path, "fit", fit, stamp)


def read_fit(path: _Path) -> Fit:
    """Return a fit, of one shard or merged, parameters in the order of the model's table."""
    return read(path, "fit")


def write_best(path: _Path, best: Best, stamp: Mapping | None = None) -> None:
    """Write ``best.h5``: states, currents and scores of the best starts on every sweep."""
    write(path, "best", best, stamp)


def read_best(path: _Path) -> Best:
    """Return the free runs of the best starts; states and currents are float32."""
    return read(path, "best")


def write_uncertainty(path: _Path, uncertainty: Uncertainty, stamp: Mapping | None = None) -> None:
    """Write ``uncertainty.h5``: errors, spectrum and correlations of the parameters at the best starts."""
    write(path, "uncertainty", uncertainty, stamp)


def read_uncertainty(path: _Path) -> Uncertainty:
    """Return the uncertainty of the best starts."""
    return read(path, "uncertainty")
