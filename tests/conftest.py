"""Fixtures that tests of several folders share."""

import os
import signal
from pathlib import Path

import pytest

from odynn.simulation.compiler import set_options


@pytest.fixture(scope="session")
def data_folder():
    """Give the folder of real recordings, which the project does not commit."""
    named = os.environ.get("ODYNN_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}: set ODYNN_DATA to their folder to run this test")
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Keep compiled programs in a folder of the tests' own, not in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ODYNN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def compiler():
    """Compile as a job does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))  # what is added goes with it
        set_options()
        yield


@pytest.fixture(scope="session", autouse=True)
def interrupts():
    """Let what the tests start hear of Ctrl-C, which a shell has background jobs ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
