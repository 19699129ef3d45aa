"""Two processes share a step's batches: steps as of one process, one log and one checkpoint."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import runs
import train
from data import machine
from data.common import batches
from tests.helpers import NANO, fails, log

ROOT = Path(__file__).parent.parent
RUNS = {        # folder: flags. c and noise are drawn; iterations without a gradient; a curriculum
    "colar": ["--method", "colar", "--c-train", "1,4", "--first-steps", "5"],
    "deep": ["--method", "cot", "--backbone", "recurrent", "--mean-r", "4", "--k-grad", "2"],
    "coconut": ["--method", "coconut", "--latents", "2"]}
SEVERAL = """
import contextlib, json, os, signal, sys
import train
from data import machine
update = train.Training.update

def ctrl_c(self, batches):
    if self.step == 3 and self.config["method"] == "colar" and machine.RANK == 1:
        os.kill(os.getpid(), signal.SIGINT)     # only here, but both must stop
    return update(self, batches)
train.Training.update = ctrl_c
for argv in json.loads(sys.argv[1]):
    with contextlib.suppress(SystemExit):
        train.main(argv)
"""


def commands(folder):
    """The flags of all RUNS, in folders of their own."""
    few = [*NANO, "--val-n", "2", "--test-n", "2", "--grad-accum", "2", "--steps", "7"]
    return [[*few, *argv, "--out", str(folder / name)] for name, argv in RUNS.items()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The same runs by one process and by two: folders "one" and "two", and what the two print.

    Two are stopped after four steps of CoLaR's second stage, and one process does the rest.
    """
    folder = tmp_path_factory.mktemp("processes")
    for argv in commands(folder / "one"):
        train.main(argv)
    script = folder / "several.py"
    script.write_text(SEVERAL, encoding="utf-8")
    printed = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
         str(script), json.dumps(commands(folder / "two"))], stdout=subprocess.PIPE,
        encoding="utf-8", env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    assert runs.load(folder / "two/colar")["step"] == 4
    train.main([*commands(folder / "two")[0], "--resume"])
    return folder, printed.stdout


@pytest.mark.slow
@pytest.mark.parametrize("run", ["colar/cot", "colar", "deep", "coconut"])
def test_two_processes_do_what_one_does_and_one_goes_on(trained, run):
    folder, _ = trained
    one, two = (runs.load(folder / name / run) for name in ("one", "two"))
    assert one["step"] == two["step"]
    for name, p in one["method"].items():
        torch.testing.assert_close(p, two["method"][name], atol=1e-5, rtol=1e-4)
    steps = [[row["step"] for row in log(folder / name / run)] for name in ("one", "two")]
    assert steps[0] == steps[1]


@pytest.mark.slow
def test_one_of_them_talks(trained):
    assert trained[1].count("colar on arithmetic") == 1


def test_batches_are_dealt_out_and_the_codebook_sees_all(monkeypatch):
    monkeypatch.setattr(machine, "WORLD", 2)
    monkeypatch.setattr(machine, "RANK", 1)
    monkeypatch.setattr(train, "DistributedDataParallel", lambda loss, **_: loss)
    seen = {}
    for name in ("cot", "vqvae"):
        config = runs.parse([*NANO, "--method", name, "--grad-accum", "4"])
        config |= runs.limits(runs.make_task(config), 9)
        task, method = runs.build(config)
        training = train.Training(method, config, torch.device("cpu"), torch.float32)
        seen[name] = training.rank, training.world
    assert seen == {"cot": (1, 2), "vqvae": (0, 1)}
    whole = batches(task, method.vocab, 4)
    mine = batches(task, method.vocab, 4, start=2, rank=1, world=2)
    numbered = [next(whole) for _ in range(70)]
    for number in (3, 5, 7, 9, *range(11, 69, 2)):      # across the end of a pool
        assert torch.equal(next(mine).question, numbered[number].question)


def test_noise_depends_on_seed_step_and_batch(monkeypatch):
    """With --grad-accum every batch has random numbers of its own, whichever process takes it."""
    seen = []
    monkeypatch.setattr(runs.METHODS["cot"], "loss", lambda self, batch: (
        seen.append(torch.rand(1).item()) or self.model.norm.weight.sum(), {}))
    for seed in (0, 1, 0):
        config = runs.parse([*NANO, "--method", "cot", "--grad-accum", "2", "--seed", str(seed)])
        config |= runs.limits(runs.make_task(config), 9)
        method = runs.build(config)[1]
        training = train.Training(method, config, torch.device("cpu"), torch.float32)
        data = batches(runs.make_task(config), method.vocab, 2)
        for _ in range(2):
            training.update([next(data), next(data)])
    assert len(set(seen)) == 8 and seen[:4] == seen[8:]


def test_batches_that_cannot_be_shared_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, "WORLD", 2)
    line = fails([*NANO, "--grad-accum", "3", "--out", str(tmp_path / "run")], capsys)
    assert "make it a multiple of 2" in line and not (tmp_path / "run").exists()
