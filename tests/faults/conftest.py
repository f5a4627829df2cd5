"""A run that nothing disturbs, to compare with."""

import shutil
from pathlib import Path

import pytest

from tests.faults.tools import INPUTS, OUTPUTS, Lives


def pytest_collection_modifyitems(items):
    """Mark every test of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session", autouse=True)
def temporary(tmp_path_factory):
    """Keep what killed processes leave in the folder of temporary files away from that of the system."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))
        yield


@pytest.fixture(scope="session")
def lives(tmp_path_factory, cache, temporary):
    """A maker of processes that run a stage."""
    found = Lives(tmp_path_factory.mktemp("settings"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def undisturbed(lives, tmp_path_factory):
    """The results of an undisturbed run, a stage after the other; not to be changed."""
    # A report says where it was made, and has the name of the experiment from there.
    folder = tmp_path_factory.mktemp("undisturbed") / "results" / "tiny"
    folder.mkdir(parents=True)
    for stage in OUTPUTS:
        life, code = lives.run(folder, stage)
        assert code == 0, life.errors
    return folder


@pytest.fixture
def before(undisturbed, tmp_path):
    """Return a function that gives a folder as it is before a stage."""

    def copied(stage, parent=tmp_path):
        folder = parent / "results" / "tiny"
        folder.mkdir(parents=True)
        for name in INPUTS[stage]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(undisturbed / name, folder / name)
        for name in ("figures", "tables") if stage == "report" else ():
            shutil.copytree(undisturbed / name, folder / name)
        return folder

    return copied
