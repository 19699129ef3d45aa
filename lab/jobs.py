"""Commands beside each other, each as soon as what it needs is there."""
import os
import signal
import subprocess
import time


def launch(argv, log, root):
    """Starts a command of the project in `root`, all that it prints going to the file `log`.
    Returns its process.

    It is out of reach of Ctrl-C, which the terminal sends to a whole group: run_all stops it, once.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as file:
        return subprocess.Popen(argv, stdout=file, stderr=file, start_new_session=True,
                                env={**os.environ, "PYTHONPATH": str(root)})


def run_all(jobs, at_once, start, ready, ended):
    """Runs jobs, at most `at_once` at a time. Returns those that failed or could not start.

    start(job) returns its process; ready(job) says whether it may start; ended(job, code, left) is
    called after it, with those still to start. Whatever ends this early, Ctrl-C or SIGTERM, ends
    the processes, too: training saves before it stops.
    """
    left, running, failed = list(jobs), {}, []
    old = signal.signal(signal.SIGTERM, signal.default_int_handler)     # as Ctrl-C
    try:
        while left or running:
            for job in [j for j in left if ready(j)][:at_once - len(running)]:
                left.remove(job)
                running[start(job)] = job
            if not running:
                break
            time.sleep(0.1)
            for process in [p for p in running if p.poll() is not None]:
                job = running.pop(process)
                failed += [job] * (process.returncode != 0)
                ended(job, process.returncode, left)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        signal.signal(signal.SIGTERM, old)
    return failed + left
