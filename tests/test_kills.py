"""Runs that are killed, or meet a full disk, at every kind of write: resumed, they are what they
would have been, to the last bit, with clean logs.

Every training is a process of its own, which is forked from this one: so it can be killed.
"""
import contextlib
import errno
import importlib
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

import rl
import runs
import train
from data import checkpoint, files, rows, script
from tests.helpers import fails, same, untimed

if not hasattr(os, "fork"):
    pytest.skip("processes are not forked here", allow_module_level=True)
FORK = multiprocessing.get_context("fork")
NANO = "--size nano --steps 4 --first-steps 4 --batch 4 --val-n 3 --test-n 4 --threads 1".split()
RL = ("--steps 4 --batch 3 --samples 2 --val-n 3 --test-n 4 --lr 0.003 --warmup 1 "
      "--threads 1").split()
RUNS = {        # what is killed: (the command, which of its folders it is killed in)
    "cot": (["--method", "cot", *NANO], ""),
    "first stage of colar": (["--method", "colar", *NANO], "cot"),
    "colar": (["--method", "colar", *NANO], ""),
    "rl": (RL, "")}
FILES = {       # which time that it is written is the last one
    "config.json": 1, "log.jsonl": 3, "ckpt.pt": 2, "results.json": 1, "accuracy.png": 1}
MOMENTS = "before", "halfway", "whole", "after", "full"
TRIALS = [(run, file, moment) for run in RUNS for file in FILES for moment in MOMENTS
          if (file, moment) != ("log.jsonl", "whole")]      # lines get their name as they come
TRIALS += [(run, "reward.png" if run == "rl" else "curves.png", moment)
           for run in RUNS for moment in MOMENTS]


# ---- what happens at a write ---------------------------------------------------------------------

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def strike(moment, patch):
    """In the write of a file that comes now: kills this process, or finds the disk full."""
    if moment == "before":
        kill()

    def half(descriptor):
        os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
        kill() if moment == "halfway" else no_space()
    if moment in ("halfway", "full"):
        patch.setattr(os, "fsync", half)
    elif moment == "whole":         # written, but not yet under its name
        patch.setattr(os, "replace", kill)


class Half:
    """A log file that takes half a line."""

    def __init__(self, file, then):
        self.file, self.then = file, then

    def write(self, line):
        self.file.write(line[:len(line) // 2])
        self.then()

    def __getattr__(self, name):
        return getattr(self.file, name)


def trap(folder, name, moment, number, patch):
    """Strikes when the file `name` of the run folder is written for the n-th time."""
    left, write, add = [number], files.write, files.Log.write

    def due(path):
        here = Path(path).name == name and Path(path).parent == folder
        left[0] -= here
        return here and left[0] == 0

    def watched(path, content):
        if not due(path):
            return write(path, content)
        with pytest.MonkeyPatch.context() as inner:
            strike(moment, inner)
            write(path, content)
        kill()

    def watched_line(log, **row):
        if not due(log.path):
            return add(log, **row)
        if moment == "before":
            kill()
        if moment in ("halfway", "full"):
            log.file = Half(log.file, kill if moment == "halfway" else no_space)
        add(log, **row)
        kill()
    for module in (files, checkpoint, script, rows):
        patch.setattr(module, "write", watched)
    patch.setattr(files.Log, "write", watched_line)


# ---- processes -----------------------------------------------------------------------------------

def child(argv, out, traps, said):
    with open(said, "w", encoding="utf-8") as file, contextlib.redirect_stderr(file), \
            contextlib.redirect_stdout(None), pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "VALIDATIONS", 2)
        patch.setattr(train.Training, "log_every", 2)
        patch.setattr(runs.METHODS["colar"], "settings", lambda self: [{"c": 1}, {"c": 2}])
        if traps:
            trap(*traps, patch)
        if argv[0] == "rl":
            script.command(rl.parse, rl.run, "rl.py", [*argv[1:], "--out", str(out)])
        else:
            train.main([*argv, "--out", str(out)])


def start(argv, out, *traps):
    """Exit code (below 0: the signal) of a training in a process of its own; and its stderr."""
    said = out.with_suffix(".txt")
    process = FORK.Process(target=child, args=(argv, out, traps, said))
    process.start()
    process.join(120)
    process.kill()
    return process.exitcode, said.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """{name of a run: (its command, the folder of one that nothing has stopped)}"""
    for slow in ("torch._dynamo", "matplotlib.backends.backend_agg"):
        importlib.import_module(slow)       # here, and not in every process
    folder, made = tmp_path_factory.mktemp("whole"), {}
    for name, (argv, inner) in RUNS.items():
        if name == "rl":
            argv = ["rl", str(made["colar"][1]), *argv]
        made[name] = argv, folder / name.split()[-1]
        if not made[name][1].exists():
            code, text = start(*made[name])
            assert code == 0, text
    return made


# ---- what must be the same -----------------------------------------------------------------------

def contents(out):
    """All that must be the same, of all stages of a run: {file of a folder: contents}."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.name == "ckpt.pt":
            state = runs.load(path.parent)
            found[name] = {key: state[key] for key in state if key not in ("seconds", "config")}
        elif path.name == "log.jsonl":      # every line, in order
            lines = path.read_text(encoding="utf-8").splitlines()
            found[name] = [untimed(json.loads(line)) for line in lines]
        elif path.name == "results.json":
            found[name] = untimed(json.loads(path.read_text(encoding="utf-8"))["rows"])
        elif path.is_file():
            found[name] = None              # it is there
    return found


@pytest.mark.slow
@pytest.mark.parametrize("run, name, moment", TRIALS)
def test_stopped_in_a_write_and_resumed(run, name, moment, whole, tmp_path):
    (argv, want), out = whole[run], tmp_path / "run"
    code, text = start(argv, out, out / RUNS[run][1], name, moment, FILES.get(name, 1))
    if moment == "full":
        lines = [line for line in text.replace("\r", "\n").split("\n")
                 if line.strip() and not line.startswith(("train ", "test "))]
        assert code == 2 and len(lines) == 1 and "No space left" in lines[0], text
        assert "--resume" in lines[0] and name in lines[0]
    else:
        assert code == -signal.SIGKILL, text
    code, text = start([*argv, "--resume"], out)
    assert code == 0, text
    assert same(contents(out), contents(want))
    assert not list(out.rglob("*.part"))


# ---- others --------------------------------------------------------------------------------------

def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")        # of Linux: one that has ended may still be listed
    return not stat.exists() or stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"


def killed_beside_its_workers(out, pids):
    def update(self, batches):
        workers = [str(process.pid) for process in multiprocessing.active_children()]
        pids.write_text(" ".join(workers), encoding="utf-8")
        kill()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Training, "update", update)
        child(["--method", "cot", *NANO, "--workers", "2"], out, (), out.with_suffix(".txt"))


@pytest.mark.slow
def test_no_worker_outlives_its_parent(tmp_path):
    process = FORK.Process(target=killed_beside_its_workers, args=(tmp_path / "run",
                                                                   tmp_path / "pids"))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    workers = [int(pid) for pid in (tmp_path / "pids").read_text(encoding="utf-8").split()]
    assert len(workers) == 2
    until = time.time() + 10
    while time.time() < until and any(map(alive, workers)):
        time.sleep(0.1)
    assert not any(map(alive, workers))


def hold(folder, pipe):
    with files.locked(folder):
        pipe.send("locked")
        time.sleep(120)


def test_a_folder_is_for_one_process(tmp_path, capsys):
    """Whenever the second one comes, and until the first one ends, however that does."""
    argv, out = ["--method", "cot", *NANO, "--out", str(tmp_path)], tmp_path
    here, there = FORK.Pipe()
    first = FORK.Process(target=hold, args=(out, there))
    first.start()
    assert here.recv() == "locked"
    assert "another process is at work there" in fails(argv, capsys)
    files.write(out / "config.json", json.dumps(runs.parse(argv)))
    assert "another process is at work there" in fails([*argv, "--resume"], capsys)
    assert "another process is at work there" in fails(argv, capsys)
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    with files.locked(out):
        pass
