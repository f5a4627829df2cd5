"""A recording at an address is fetched once and checked by its checksum; from a server on this machine."""

import hashlib
import http.server
import threading
from functools import partial

import pytest

from odynn.storage import read_target

pytest.importorskip("snakemake_storage_plugin_http", reason="the extra workflow is not installed")

ROWS = "\n".join(f"{0.5 * row:g},{10 * (row > 20)},{-65 + 0.1 * row:g}" for row in range(60))
TABLE = f"time_ms,stimulus_uA/cm2,voltage_mV\n{ROWS}\n"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serve files, and count how often each is fetched."""

    fetched: dict[str, int] = {}

    def do_GET(self):
        self.fetched[self.path] = self.fetched.get(self.path, 0) + 1
        super().do_GET()

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """Yield the folder that a server on this machine serves, and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    Handler.fetched = {}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def use(fresh, **target):
    config = fresh.config
    config["experiments"]["tiny"]["target"] = target
    fresh.config = config


def test_a_recording_at_an_address(fresh, server):
    folder, address = server
    (folder / "cell.csv").write_text(TABLE)
    digest = hashlib.sha256(TABLE.encode()).hexdigest()
    use(fresh, file=f"{address}/cell.csv", sha256=digest)
    code, text = fresh.run("results/tiny/target.h5")
    assert code == 0, text
    target = read_target(fresh.folder / "results" / "tiny" / "target.h5")
    assert target.source["address"] == f"{address}/cell.csv"
    assert target.source["sha256"] == digest
    assert target.observed["V"].shape[1] == 1
    assert Handler.fetched == {"/cell.csv": 1}
    # The copy is kept: what else needs the recording does not fetch it again.
    (fresh.folder / "results" / "tiny" / "target.h5").unlink()
    code, text = fresh.run("results/tiny/target.h5")
    assert code == 0, text
    assert Handler.fetched == {"/cell.csv": 1}


def test_a_recording_in_a_bucket(fresh, monkeypatch):
    pytest.importorskip("snakemake_storage_plugin_s3", reason="the extra s3 is not installed")
    moto = pytest.importorskip("moto.server", reason="moto, a server of S3, is not installed")
    import boto3

    server = moto.ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    access = {"ACCESS_KEY": "testing", "SECRET_KEY": "testing", "ENDPOINT_URL": f"http://{host}:{port}"}
    for name, value in access.items():
        monkeypatch.setenv(f"SNAKEMAKE_STORAGE_S3_{name}", value)
    try:
        client = boto3.client(
            "s3",
            region_name="us-east-1",
            endpoint_url=access["ENDPOINT_URL"],
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        client.create_bucket(Bucket="rig")
        client.put_object(Bucket="rig", Key="day/cell.csv", Body=TABLE.encode())
        digest = hashlib.sha256(TABLE.encode()).hexdigest()
        use(fresh, file="s3://rig/day/cell.csv", sha256=digest)
        code, text = fresh.run("results/tiny/target.h5")
        assert code == 0, text
    finally:
        server.stop()
    source = read_target(fresh.folder / "results" / "tiny" / "target.h5").source
    assert source["address"] == "s3://rig/day/cell.csv"
    assert source["sha256"] == digest


def test_a_wrong_checksum_ends_in_one_message(fresh, server):
    folder, address = server
    (folder / "cell.csv").write_text(TABLE)
    use(fresh, file=f"{address}/cell.csv", sha256="0" * 64)
    code, text = fresh.run("results/tiny/target.h5")
    assert code != 0
    log = (fresh.folder / "results" / "tiny" / "logs" / "make_target.log").read_text("utf-8")
    assert f"sha256: expected cell.csv to have the checksum {'0' * 64}. Received: " in log
    assert "Traceback" not in log


def test_an_address_where_nothing_is(fresh, server):
    use(fresh, file=f"{server[1]}/none.csv")
    code, text = fresh.run("results/tiny/target.h5")
    assert code != 0
    assert "none.csv" in text
    assert 'File "' not in text
