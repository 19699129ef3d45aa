"""A sweep: its grid, what is shared, what goes on and what is lost, and how variants compare.

Runs are trained in this process, one after the other, but for the processes of the last test.
"""
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest

import runs
import sweep
import train
from data.rows import paired
from lab import jobs, tables, variants
from lab.variants import differences
from tests.helpers import fails, results, same

SHORT = ("--size nano --steps 2 --first-steps 2 --batch 4 --val-n 2 --test-n 6 --threads 1 "
         "--c-train 1,2").split()
COT = [*SHORT[:-2], "--method", "cot"]
POOLS = [*SHORT, "--pool", "sqrt", "mean", "--seed", "0", "1", "--out", "s"]


class Ended:
    """A process that is over."""

    def __init__(self, code):
        self.returncode = code

    def poll(self):
        return self.returncode


class Launched(list):
    """The command lines of train.py that were launched. Those that contain `bad` fail."""
    bad = None

    def __call__(self, argv, log, root):
        self.append(argv[2:])
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            if self.bad in argv:
                print("a line\nand why")
                return Ended(2)
            train.main(argv[2:])
        return Ended(0)

    def names(self):
        return [Path(argv[argv.index("--out") + 1]).name for argv in self]


@pytest.fixture
def launched(tmp_path, monkeypatch):
    found = Launched()
    monkeypatch.setattr(sweep, "launch", found)
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    monkeypatch.chdir(tmp_path)
    return found


# ---- whole sweeps --------------------------------------------------------------------------------

def test_a_sweep_trains_first_stages_once_and_compares(launched, monkeypatch, capsys):
    sweep.main(POOLS)
    text, out = capsys.readouterr().out, Path("s")
    assert "4 runs and 2 first stages; 6 are to be trained" in text
    names = launched.names()
    assert names[:2] == [f"cot-arithmetic-nano-steps=2-batch=4-s{seed}" for seed in (0, 1)]
    assert len(set(names)) == 6
    for argv, name in zip(launched[2:], names[2:]):
        assert argv[-2:] == ["--init", f"s/cot-arithmetic-nano-steps=2-batch=4-{name[-2:]}"]
    # a run is what train.py makes with a first stage of its own, to the last bit
    train.main([*SHORT, "--pool", "mean", "--seed", "1", "--out", "alone"])
    assert "pool=mean" in names[5]
    assert same(runs.load(out / names[5])["method"], runs.load("alone")["method"])
    assert [row["right"] for row in results(out / names[5])["rows"]] == [
        row["right"] for row in results(Path("alone"))["rows"][1:]]

    pooled = tables.pool([out / "results.json"])
    assert all(row["seeds"] == 2 for row in pooled)
    assert [row["method"] for row in pooled] == ["cot"] + 4 * ["colar"]
    for row, pool in zip(pooled[1:], ("sqrt", "sqrt", "mean", "mean")):
        assert row["name"].count(f"--pool {pool}") == 1 and "--c-train 1,2" in row["name"]
    found = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    assert found["command"].startswith("python sweep.py --size nano") and found["failed"] == []
    assert [(one["variant"], one["setting"], one["seeds"]) for one in found["differences"]] == [
        ("--pool mean", "c=1", 2), ("--pool mean", "c=2", 2)]
    assert "c=2: --pool mean over --pool sqrt: " in text
    assert (out / "sweep.md").read_text(encoding="utf-8") in text
    assert (out / "sweep.png").stat().st_size > 5000

    monkeypatch.setattr(variants, "draw", lambda figure, path: None)
    launched.clear()        # the same command again trains nothing; what was stopped is resumed
    sweep.main(POOLS)
    assert launched == []
    (out / names[3] / "results.json").unlink()
    sweep.main(POOLS)
    assert launched.names() == [names[3]] and launched[0][-1] == "--resume"
    other = ["7" if word == "6" else word for word in POOLS]
    assert "it has test-n 6, not 7" in fails(other, capsys, sweep.main)


def test_one_failure_does_not_lose_the_others(launched, monkeypatch, capsys):
    """A first stage: what starts from it cannot start; all else is trained and compared."""
    monkeypatch.setattr(variants, "draw", lambda figure, path: None)
    launched.bad = "s/cot-arithmetic-nano-steps=2-batch=4-s0"
    with pytest.raises(SystemExit):
        sweep.main(POOLS)
    said, line = capsys.readouterr()
    assert "3 runs have failed or could not start" in line
    assert "FAILED (2): cot-arithmetic-nano-steps=2-batch=4-s0: and why; 1 of 6" in said
    assert len(launched) == 4 and len(list(Path("s").glob("*/results.json"))) == 3
    found = json.loads(Path("s/sweep.json").read_text(encoding="utf-8"))
    assert len(found["failed"]) == 3 and all(name.endswith("s0") for name in found["failed"])
    assert [one["seeds"] for one in found["differences"]] == [1, 1]      # over its problems


@pytest.mark.parametrize("argv, message", [
    (["--pol", "sqrt", "mean"], "sweep.py: unknown flag --pol (nearest: --pool)"),
    (["--pool", "sqrt", "max"], "unknown --pool 'max'"),
    (["--seed", "0", "x"], "--seed 'x' is no whole number"),
    (["--c-train", "1,2", "1,12"], "unknown factor in --c-train 1,12"),
    (["--latent-loss", "nll", "--head", "gaussian", "deterministic"], "has no density"),
    (["--method", "cot", "colar", "--pool", "sqrt", "mean"], "unknown flag --pool"),
    (["--init", "nowhere"], "nowhere: no ckpt.pt"), (["--init", "a", "b"], "at most 1 here"),
    (["--seed", *map(str, range(11))], "--seed: takes at most 10"),
    (["--seed", "0", "0"], "s0: two runs differ in no flag"),
    (["--test-n", "5", "6"], "two runs differ in no flag"),
    (["--resume"], "it is not needed"), (["0", "1"], "0: a flag comes first"),
    (["--test-split", "tst"], "unknown --test-split 'tst' (nearest: test)"),
    (["--data", "none.json"], "--data none.json: No such file"),
    (["--data", "broken.json"], "broken.json: record 0"),
    (["--method", "cot", "--first-steps", "1", "2"], "two runs differ in no flag"),
    (["--seed", "0", "--jobs", "1", "2"], "--jobs: takes at most 1 here"),
    (["--steps", "5", "--out", "t", "6"], "--out: takes at most 1 here"),
    (["--jobs", "0"], "--jobs 0: must be at least 1"), (["--jobs", "x"], "is no whole number")])
def test_bad_flags_are_refused_before_anything_is_trained(argv, message, launched, capsys):
    Path("broken.json").write_text("{", encoding="utf-8")
    argv = argv if "--out" in argv else [*argv, "--out", "s"]
    assert message in fails(argv, capsys, sweep.main)
    assert not launched and not Path("s").exists()


def test_a_sweep_and_a_run_do_not_share_a_folder(launched, capsys):
    """Each would take the other's results.json for its own."""
    train.main([*COT, "--out", "run"])
    before = Path("run/results.json").read_bytes()
    assert "--out run: it is the folder of a run" in fails([*SHORT, "--out", "run"], capsys,
                                                           sweep.main)
    assert Path("run/results.json").read_bytes() == before and not launched
    sweep.main([*COT, "--out", "s"])
    assert "s: has results, but of no run" in fails([*COT, "--out", "s"], capsys)
    assert not Path("s/ckpt.pt").exists()


def test_damaged_results_of_a_run_are_made_anew(launched, capsys):
    argv = [*COT, "--out", "s"]
    sweep.main(argv)
    path = Path("s", launched.names()[0], "results.json")
    path.write_text("{", encoding="utf-8")
    sweep.main(argv)
    assert "the test is run again" in capsys.readouterr().out
    assert len(launched) == 2 and results(path.parent)["rows"]


# ---- parts of it ---------------------------------------------------------------------------------

def test_the_ways_to_give_a_flag():
    assert sweep.axes_of("--pool sqrt mean --seed=0 1 --no-align --align --dial line".split()) == {
        "pool": [["--pool", "sqrt"], ["--pool", "mean"]],
        "seed": [["--seed", "0"], ["--seed", "1"]], "align": [["--no-align"], ["--align"]],
        "dial": [["--dial", "line"]]}


def test_what_first_stages_depend_on(tmp_path):
    """Flags of the method's own, and its steps, make no other one; batch, task and seed do."""
    def firsts(text):
        grid, found = sweep.grid_of(sweep.axes_of(["--size", "nano", *text.split()]), tmp_path)
        assert {id(run.first) for run in grid if run.first} <= {id(run) for run in [*found, *grid]}
        return len(grid), len(found)
    assert firsts("--pool sqrt mean --steps 5 6 --no-align --align") == (8, 1)
    assert firsts("--batch 4 8 --seed 0 1 --pool sqrt mean") == (8, 4)
    assert firsts("--first-steps 3 4 --task arithmetic permutation") == (4, 4)
    assert firsts("--method colar cot nocot") == (3, 0)     # the CoT of the grid is the first stage
    assert firsts("--method cot colar --first-steps 7") == (2, 1)
    assert firsts("--method assorted --replace all left --codes 64") == (2, 1)
    assert firsts("--method cot colar --task gsm8k") == (2, 1)     # over slots, in digits
    assert firsts("--method cot colar --task gsm8k --numbers digits --told 0") == (2, 0)


def test_a_first_stage_fits_what_starts_from_it(tmp_path):
    """Also where it would have other defaults by itself."""
    for task in ("gsm8k", "arithmetic", "prontoqa"):
        grid, firsts = sweep.grid_of(sweep.axes_of(
            ["--size", "nano", "--task", task, "--method", "colar"]), tmp_path)
        for name in runs.flags_of(firsts[0].config):
            if name not in ("steps", "out"):
                assert firsts[0].config[name] == grid[0].config[name], name


def test_differences_are_paired_by_seed_or_by_problem():
    def rows(right, problems="p", **knobs):
        return [{"knobs": knobs, "n": 4, "accuracy": right.count("1") / 4, "right": right,
                 "problems": problems}]
    base = {0: rows("1100"), 1: rows("1000"), 2: rows("0000")}
    found = differences({"a": base, "b": {0: rows("1110", c=2), 1: rows("1000", c=2)},
                         "one": {2: rows("1010", c=2)}, "other": {0: rows("1111", "q")}})
    by_seeds, by_problems = found
    mean, half = tables.over_seeds([0.25, 0.0])
    assert (by_seeds["variant"], by_seeds["against"], by_seeds["seeds"]) == ("b", "a", 2)
    assert (by_seeds["difference"], by_seeds["high"]) == (mean, mean + half)
    want = paired(rows("1010")[0], rows("0000")[0])
    assert tuple(by_problems[key] for key in ("difference", "low", "high")) == want
    assert by_problems["variant"] == "one" and by_problems["setting"] == "c=2"


# ---- processes -----------------------------------------------------------------------------------

STOPPABLE = """import pathlib, signal, sys, time
signal.signal(signal.SIGINT, lambda *_: None)           # that of the terminal: not for it
def stop(*_):
    pathlib.Path(sys.argv[1] + ".saved").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="no signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_all_that_run_once_they_have_saved(how, tmp_path):
    names = [str(tmp_path / name) for name in "abc"]

    def ready(name):
        if all(os.path.exists(other) for other in names[:2]):
            os.kill(os.getpid(), how)
        return name != names[2]

    def start(name):
        argv = [sys.executable, "-c", STOPPABLE, name]
        return jobs.launch(argv, tmp_path / "logs" / Path(name).name, tmp_path)
    old = signal.getsignal(signal.SIGTERM)
    ctrl_c = signal.signal(signal.SIGINT, signal.default_int_handler)   # `nohup` had it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            jobs.run_all(names, 3, start, ready, None)
    finally:
        signal.signal(signal.SIGINT, ctrl_c)
    assert all(os.path.exists(f"{name}.saved") for name in names[:2])
    assert not os.path.exists(names[2]) and signal.getsignal(signal.SIGTERM) is old
