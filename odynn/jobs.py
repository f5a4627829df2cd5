"""A stage run as a job of the workflow: its log, the signals that end it, and what ends it by itself."""

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from odynn.errors import OdynnError, UnreadableFileError
from odynn.slurm import placement

log = logging.getLogger("odynn")

# A cluster's warning before its time limit, Ctrl-C, a closed terminal.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP"))
# s between two looks at whether the job is still wanted.
_EVERY = 1.0
# s after which a job that was asked to stop and has not is asked again.
_AGAIN = 10.0
_OUT_OF_MEMORY = ("MemoryError", "ResourceExhaustedError")


@contextmanager
def job(log_path: str | os.PathLike) -> Iterator[None]:
    """Run one stage as a job: its progress goes to a log file, a failure ends in one message.

    A signal (SIGTERM, SIGUSR1, SIGINT, SIGHUP) ends the stage as an exception does, so that it can save
    what it has. Python hears of a signal when a compiled computation returns, which may take as long as
    one iteration of a fit; a kill before that loses no more than that iteration, which would not have
    been saved either.

    The job ends in the same way when nobody waits for it any more: Snakemake, its parent, was killed; or
    another job writes the same log, since Snakemake was killed and run again elsewhere. So no job is left
    behind that could write over the results of a later one.

    A file of results that cannot be read is set aside under another name: the next run makes it again.

    Args:
        log_path: the log file, made anew.
    """
    # TensorFlow's notes, some of them called errors, would bury the message; the second setting brings one
    # of them, and turns off kernels that odynn does not use and whose sums depend on the machine.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    path = Path(log_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A new file, not the old one emptied: that is how a job that still writes to the old one finds out.
    path.unlink(missing_ok=True)
    handler = _Log(path)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    # What is ignored (as by nohup) stays ignored.
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    stop = _Stop()
    kept = {number: signal.signal(number, stop) for number in heard}
    if where := placement():
        log.info("%s", where)
    over = threading.Event()
    threading.Thread(target=_watch, args=(handler, os.getppid(), stop, over), daemon=True).start()
    try:
        yield
    except SystemExit:
        if stop.number is not None:
            name = signal.Signals(stop.number).name
            log.warning("stopped by %s; run the same command again to go on", name)
        raise
    except UnreadableFileError as error:
        _fail(f"{error} {_set_aside(error.path)}")
    except OdynnError as error:
        _fail(str(error))
    except Exception as error:
        if type(error).__name__ in _OUT_OF_MEMORY:
            _fail(
                "the stage must fit into memory. Expected: as much as its computation takes. Received: no "
                f"more from the system ({str(error)[:200] or type(error).__name__}). Give the job more "
                "(resources: mem_mb), or make it smaller (starts: shard_size)."
            )
        log.error("%s", traceback.format_exc())
        raise
    finally:
        over.set()
        for number, previous in kept.items():
            signal.signal(number, previous)
        log.removeHandler(handler)
        handler.close()


def _fail(message: str) -> None:
    log.error("Error: %s", message)
    sys.stderr.write(f"Error: {message}\n")
    raise SystemExit(1) from None


class _Stop:
    """The handler of signals that end a job.

    Python throws away what is raised while it removes an object (``__del__``), so that a signal at that
    moment is lost: the handler remembers it, for whoever asks again.

    Attributes:
        number: the signal that came last, or None.
        when: the time when it came, on the monotonic clock.
    """

    def __init__(self):
        self.number, self.when = None, 0.0

    def __call__(self, number: int, _frame) -> None:
        # Nothing is logged here: the signal may have come in the middle of a line of the log.
        self.number, self.when = number, time.monotonic()
        raise SystemExit(128 + number)


def _watch(handler: "_Log", parent: int, stop: _Stop, over: threading.Event) -> None:
    """End this process, as a signal would, once nobody waits for the job, or where a signal was lost."""
    main = threading.main_thread().ident
    while not over.wait(_EVERY):
        reason = None
        if stop.number is not None:
            if time.monotonic() - stop.when > _AGAIN:
                signal.pthread_kill(main, stop.number)
        elif os.getppid() != parent:
            reason = "Snakemake has ended before this job"
        elif handler.is_replaced():
            reason = "another job does the same work now"
        if reason:
            log.warning("%s: it stops", reason)
            # To the main thread itself: one that waits for the others does not hear of signals to them.
            signal.pthread_kill(main, signal.SIGTERM)
            over.wait(_AGAIN)  # a compiled computation may have to end first


def _set_aside(path: Path) -> str:
    """Rename a file out of the way, and return what to say about it."""
    aside = path.with_name(f"{path.name}.unreadable")
    try:
        os.replace(path, aside)
    except OSError as error:
        return f"(It could not be renamed to '{aside.name}': {error}.)"
    return f"It is now called '{aside.name}': run the same command again, which makes '{path.name}' anew."


class _Log(logging.FileHandler):
    """A log file; where it cannot be written, as on a full disk, the job goes on without it."""

    def __init__(self, path: Path):
        super().__init__(path, mode="w", encoding="utf-8")
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        self._failed = False

    def is_replaced(self) -> bool:
        """Return whether another file has taken this one's name."""
        try:
            own, there = os.fstat(self.stream.fileno()), os.stat(self.baseFilename)
        except (OSError, AttributeError, ValueError):
            return False  # gone, by hand, or closed
        return (own.st_dev, own.st_ino) != (there.st_dev, there.st_ino)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say once that the log cannot be written."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._failed:
            self._failed = True
            sys.stderr.write(f"The log '{self.baseFilename}' cannot be written ({error}); the job goes on.\n")

    def close(self) -> None:
        """Close the file, though its last lines may be lost."""
        with suppress(OSError):
            super().close()
