"""The same profile where the cluster keeps a database of accounts and jobs."""

import pytest

from tests.slurm.cluster import Cluster, missing
from tests.slurm.conftest import OnCluster
from tests.workflow.conftest import lay_out

pytestmark = pytest.mark.slurm


@pytest.fixture
def accounting(tmp_path_factory):
    lacking = missing(accounting=True)
    if lacking:
        pytest.skip(f"no accounting here: {', '.join(lacking)} not found (Debian: slurmdbd mariadb-server)")
    with Cluster(tmp_path_factory.mktemp("slurmdbd"), nodes=1, accounting=True) as cluster:
        yield cluster


def test_the_profile_works_with_a_database(accounting, tmp_path):
    lay_out(tmp_path / "a folder")
    workflow = OnCluster(tmp_path / "a folder").set_up(accounting)
    code, text = workflow.run("results/tiny/target.h5")
    assert code == 0, text
    assert (workflow.folder / "results/tiny/target.h5").exists()
    line = accounting.run("sacct", "--allocations", "--noheader", "--parsable2", "--format=Account,State")
    assert line.split() == ["lab|COMPLETED"]
