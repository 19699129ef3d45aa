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
from tests.test_train import NANO, fails

ROOT = Path(__file__).parent.parent
STOPPED = """
import os, signal, sys
import runs, train
train.VALIDATIONS, update = 1, train.Training.update

def ctrl_c(self, *args):
    if self.step == 3 and self.config["method"] == "colar" and runs.RANK == 1:
        os.kill(os.getpid(), signal.SIGINT)     # only here, but both must stop
    return update(self, *args)
train.Training.update = ctrl_c
train.main(sys.argv[1:])
"""


@pytest.mark.usefixtures("one_setting")
def test_two_processes_do_what_one_does_and_one_goes_on(tmp_path, capfd):
    """Both stages of CoLaR, which draws c and noise, in two processes; one of them is stopped after
    four steps of the second stage, and one process does the rest: all as if there was only one."""
    argv = [*NANO, "--method", "colar", "--c-train", "1,4", "--accum", "2", "--first-steps", "5",
            "--steps", "7"]
    train.main([*argv, "--out", str(tmp_path / "one")])
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED, encoding="utf-8")
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
               str(script), *argv, "--out", str(tmp_path / "two")]
    capfd.readouterr()
    subprocess.run(several, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    assert capfd.readouterr().out.count("colar on arithmetic") == 1     # one of them talks
    assert runs.load(tmp_path / "two")["step"] == 4
    train.main([*argv, "--out", str(tmp_path / "two"), "--resume"])
    for stage in (".", "cot"):
        one, two = runs.load(tmp_path / "one" / stage), runs.load(tmp_path / "two" / stage)
        assert one["step"] == two["step"]
        for name, p in one["method"].items():
            torch.testing.assert_close(p, two["method"][name], atol=1e-5, rtol=1e-4)
        one, two = [(tmp_path / name / stage / "log.jsonl").read_text(encoding="utf-8").splitlines()
                    for name in ("one", "two")]
        assert len(one) == len(two) and json.loads(one[0])["step"] == json.loads(two[0])["step"]


def test_batches_are_dealt_out_and_the_codebook_sees_all(monkeypatch):
    monkeypatch.setattr(runs, "WORLD", 2)
    monkeypatch.setattr(runs, "RANK", 1)
    seen = {}
    for name in ("cot", "vqvae"):
        config = runs.parse([*NANO, "--method", name, "--accum", "4"])
        config |= runs.limits(runs.make_task(config), 9)
        task, method = runs.build(config)
        training = train.Training(method, config, torch.float32)
        seen[name] = training.rank, training.world
    assert seen == {"cot": (1, 2), "vqvae": (0, 1)}
    whole = train.batches(task, method.vocab, 4)
    mine = train.batches(task, method.vocab, 4, start=2, rank=1, world=2)
    numbered = [next(whole) for _ in range(70)]
    for number in (3, 5, 7, 9, *range(11, 69, 2)):      # across the end of a pool
        assert torch.equal(next(mine).question, numbered[number].question)


def test_noise_depends_on_seed_step_and_batch(monkeypatch):
    """With --accum every batch has random numbers of its own, whichever process takes it."""
    seen = []
    monkeypatch.setattr(runs.METHODS["cot"], "loss", lambda self, batch: (
        seen.append(torch.rand(1).item()) or self.model.norm.weight.sum(), {}))
    for seed in (0, 1, 0):
        config = runs.parse([*NANO, "--method", "cot", "--accum", "2", "--seed", str(seed)])
        config |= runs.limits(runs.make_task(config), 9)
        training = train.Training(runs.build(config)[1], config, torch.float32)
        data = train.batches(runs.make_task(config), training.method.vocab, 2)
        for _ in range(2):
            training.update(data, torch.device("cpu"), torch.float32)
    assert len(set(seen)) == 8 and seen[:4] == seen[8:]


def test_batches_that_cannot_be_shared_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "WORLD", 2)
    line = fails([*NANO, "--accum", "3", "--out", str(tmp_path / "run")], capsys)
    assert "make it a multiple of 2" in line and not (tmp_path / "run").exists()
