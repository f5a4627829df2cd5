"""Runs stages as jobs in processes of their own, which begin at once: the libraries are loaded already.

Reads a job a line from standard input, as JSON: ``stage``, ``folder`` to work in, ``log`` and ``errors``
(files), ``arguments`` of the stage, ``memory`` (bytes of address space, or null). Writes the process id, and
when it has ended how it did.
"""

import json
import os
import resource
import sys


def live(job):
    """Run a job to its end; called in a process of its own."""
    from odynn import jobs, stages, storage

    os.setpgid(0, 0)
    os.dup2(os.open(job["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    # More often than in real life, so that a kill after a moment finds that the fit got on.
    storage.Checkpoint.__init__.__defaults__ = (0.2,)
    jobs._EVERY, jobs._AGAIN = 0.1, 0.5  # the fit takes seconds
    os.chdir(job["folder"])
    with stages.job(job["log"]):
        if job["memory"]:
            resource.setrlimit(resource.RLIMIT_AS, (job["memory"], job["memory"]))
        getattr(stages, job["stage"])(**job["arguments"])


def main():
    """Start a process for each job that is asked for, one after the other."""
    # Every library that a stage takes, so that a life begins without the seconds that loading takes.
    import cma  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import pandas  # noqa: F401
    import scipy.special  # noqa: F401
    import tensorflow  # noqa: F401

    from odynn import plotting, stages, storage  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                live(json.loads(line))
            except SystemExit as end:
                os._exit(end.code)
            except BaseException as error:
                sys.stderr.write(f"{type(error).__name__}: {error}")
                sys.stderr.flush()
                os._exit(99)
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
