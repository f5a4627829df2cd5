"""A SLURM cluster of virtual nodes on this machine: real daemons, pretend GPUs, no system services.

Everything lies in one folder, listens on free ports of the loopback interface, and runs as whoever
starts it. The nodes share the machine's processors and memory, of which each claims what it is told to.
"""

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun", "sshare")
# Every process of the cluster inherits it, jobs too: so they are found, and nobody else's.
MARK = "ODYNN_TEST_CLUSTER"

CONFIGURATION = """
ClusterName=odynn
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
# Processes are found by their parents: control groups would need a system that gives them away.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
# Without control groups this is what ends a job that takes more memory than it asked for.
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# Nodes may claim more than the machine has.
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
# Ended jobs are known for as long as a test may look at them, s.
MinJobAge=3600
KillWait=5
SlurmdTimeout=10
InactiveLimit=0
{accounting}
GresTypes=gpu
"""
NODE = (
    "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={processors} "
    "RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN\n"
)
ACCOUNTING = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge.socket
AccountingStorageTRES=gres/gpu
"""
DATABASE = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdPort={port}
SlurmUser={user}
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={storage}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""


def missing(accounting: bool = False) -> list[str]:
    """Return the programs that a cluster needs and this machine lacks."""
    wanted = [*DAEMONS, "sbatch", *(["slurmdbd", "mariadbd", "mariadb-install-db"] if accounting else [])]
    return [program for program in wanted if _path(program) is None]


def _path(program: str) -> str | None:
    """Return where a program is; daemons lie in folders that a plain user's PATH lacks."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


class Cluster:
    """Nodes n1, n2, … with a partition ``gpu`` of all of them; a context manager.

    Attributes:
        folder: what is told of it: configuration, logs, state.
        environment: variables with which clients, Snakemake and its jobs find this cluster.
    """

    def __init__(self, folder: Path, nodes=3, processors=8, memory=16000, gpus=2, accounting=False):
        """Describe the cluster.

        Args:
            folder: empty or absent; its path is short, for sockets lie in it.
            nodes: how many.
            processors: of each.
            memory: of each, in MB.
            gpus: of each.
            accounting: whether a database keeps what jobs took, for ``sacct``.
        """
        self.folder, self.accounting = folder, accounting
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self._claims = {"processors": processors, "memory": memory, "gpus": gpus}
        self._daemons: dict[str, subprocess.Popen] = {}
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLURM")},
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "SLURM_CONF": f"{folder}/slurm.conf",
            MARK: str(folder),
        }

    def __enter__(self) -> "Cluster":
        try:
            self._configure()
            self._start("munged", "--foreground", "--force", *self._munge_options())
            _wait(lambda: (self.folder / "munge.socket").exists(), "munged")
            if self.accounting:
                self._start_accounting()
            self._start("slurmctld", "-D", "-f", self.environment["SLURM_CONF"])
            for node in self.nodes:
                self.start_node(node)
            _wait(lambda: set(self.states().values()) == {"IDLE"}, "the nodes", self.logs)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        """End the jobs, the daemons, and whatever else carries the mark."""
        for process in self._daemons.values():
            if process.poll() is None:
                process.terminate()
        for process in self._daemons.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
        end = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < end:
            _kill(left)
            time.sleep(0.1)
        for process in self._daemons.values():
            process.wait()

    def run(self, *command: str) -> str:
        """Run a client, such as ``squeue``, and return what it writes."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def states(self) -> dict[str, str]:
        """Return the state of each node, such as IDLE, MIXED or DOWN."""
        with suppress(AssertionError):  # the controller does not answer yet
            lines = self.run("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
            return {name: state.upper() for name, state in map(str.split, lines)}
        return {}

    def jobs(self) -> dict[str, dict[str, str]]:
        """Return the fields that SLURM knows of each job, also of those that ended of late."""
        found = {}
        for line in self.run("scontrol", "--oneliner", "--details", "show", "job").splitlines():
            # Of a value with a space, such as a folder, the first word is enough.
            words = line.split()
            if words[0].startswith("JobId="):
                fields = dict(word.split("=", 1) for word in words if "=" in word)
                found[fields["JobId"]] = fields
        return found

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._start("slurmd", "-D", "-f", self.environment["SLURM_CONF"], "-N", node, name=node)

    def lose_node(self, node: str) -> None:
        """Kill a node's daemon and everything that runs there, as a failure of its power does."""
        lost = self._daemons[node]
        _kill([lost.pid, *self.processes(SLURMD_NODENAME=node), *self.step_daemons(node)])
        lost.wait()

    def step_daemons(self, node: str, job: str = "") -> list[int]:
        """Return the processes by which a node's daemon runs the steps of its jobs, or of one job."""
        return [
            process
            for process in self.processes()
            if _read(process, "cmdline").startswith(f"slurmstepd: [{job}")
            and _has_open(process, self.folder / f"{node}.log")
        ]

    def processes(self, **variables: str) -> list[int]:
        """Return the processes of this cluster, daemons and jobs, whose environment has these variables."""
        wanted = {f"{name}={value}" for name, value in {MARK: str(self.folder), **variables}.items()}
        found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        return [process for process in found if wanted <= set(_read(process, "environ").split("\0"))]

    def logs(self) -> str:
        """Return the ends of the daemons' logs."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text('utf-8', errors='replace')[-2000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )

    def _configure(self) -> None:
        port, storage, database, *ports = _free_ports(3 + len(self.nodes))
        common = {"folder": self.folder, "user": getpass.getuser()}
        accounting = ACCOUNTING.format(port=storage, **common) if self.accounting else ""
        lines = [CONFIGURATION.format(port=port, accounting=accounting, **common)]
        for node, number in zip(self.nodes, ports, strict=True):
            (self.folder / node).mkdir()
            lines.append(NODE.format(name=node, port=number, **self._claims))
        nodes = ",".join(self.nodes)
        lines.append(
            f"PartitionName=gpu Nodes={nodes} Default=YES DefaultTime=10 MaxTime=UNLIMITED State=UP\n"
        )
        (self.folder / "slurm.conf").write_text("".join(lines), "utf-8")
        # Each pretend GPU is a link to a device: for a plain file, CUDA_VISIBLE_DEVICES would not be set.
        for number in range(self._claims["gpus"]):
            (self.folder / f"gpu{number}").symlink_to(os.devnull)
        (self.folder / "gres.conf").write_text(
            f"NodeName={nodes} Name=gpu File={self.folder}/gpu[0-{self._claims['gpus'] - 1}]\n", "utf-8"
        )
        _secret(self.folder / "munge.key", secrets.token_bytes(1024))
        dbd = DATABASE.format(port=storage, storage=database, **common)
        _secret(self.folder / "slurmdbd.conf", dbd.encode())
        (self.folder / "state").mkdir()
        # Snakemake takes SLURM_CONF away before it starts the step of a job.
        for client in filter(_path, CLIENTS):
            script = self.folder / "bin" / client
            text = f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {_path(client)} "$@"\n'
            script.write_text(text, "utf-8")
            script.chmod(0o755)
        self._database_port = database

    def _munge_options(self) -> list[str]:
        files = {"key": "munge.key", "pid": "munged.pid", "log": "munged.log", "seed": "munged.seed"}
        return [
            f"--socket={self.folder}/munge.socket",
            *(f"--{name}-file={self.folder}/{file}" for name, file in files.items()),
        ]

    def _start_accounting(self) -> None:
        data, at = self.folder / "database", f"--socket={self.folder}/database.socket"
        user = f"--user={getpass.getuser()}"
        install = ["mariadb-install-db", "--no-defaults", user, f"--datadir={data}", "--skip-test-db"]
        self.run(*install, "--auth-root-authentication-method=normal")
        options = [f"--port={self._database_port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        self._start("mariadbd", "--no-defaults", user, f"--datadir={data}", at, *options)
        client = ["mariadb", "--no-defaults", at, "--user=root", "--execute"]

        def answers():
            with suppress(AssertionError):
                return self.run(*client, "select 1")

        _wait(answers, "mariadbd", self.logs)
        self.run(
            *client,
            "create database slurm; create user slurm@'%' identified by 'slurm'; "
            "grant all on slurm.* to slurm@'%'",
        )
        self._start("slurmdbd", "-D")

        def knows():
            with suppress(AssertionError):
                return self.run("sacctmgr", "--noheader", "list", "cluster") is not None

        _wait(knows, "slurmdbd", self.logs)
        self.run("sacctmgr", "--immediate", "add", "cluster", "odynn")
        self.run("sacctmgr", "--immediate", "add", "account", "lab")
        self.run("sacctmgr", "--immediate", "add", "user", getpass.getuser(), "account=lab")

    def _start(self, program: str, *arguments: str, name: str = "") -> None:
        """Start a daemon, out of reach of Ctrl-C: tests end before it does."""
        with open(self.folder / f"{name or program}.start.log", "ab") as log:
            self._daemons[name or program] = subprocess.Popen(
                [_path(program), *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _free_ports(number: int) -> list[int]:
    """Return ports of the loopback interface that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def _secret(path: Path, content: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(content)


def _wait(condition: Callable, what: str, logs: Callable[[], str] = str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come up within {seconds} s\n{logs()}"
        time.sleep(0.1)


def _read(process: int, name: str) -> str:
    try:
        return Path(f"/proc/{process}/{name}").read_text("utf-8", errors="replace")
    except OSError:  # it has ended, or is another user's
        return ""


def _has_open(process: int, path: Path) -> bool:
    with suppress(OSError):
        return any(os.readlink(entry) == str(path) for entry in Path(f"/proc/{process}/fd").iterdir())
    return False


def _kill(processes: list[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
