"""The loop and its command line: exact resume, a safe stop, one clear line for bad input."""
import contextlib
import itertools
import json
import math
import multiprocessing
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch

import eval as evaluation
import runs
import train
from data import checkpoint, machine, rows
from data.arithmetic import Arithmetic
from data.average import Average
from data.cli import BadInput
from data.common import Vocab, collate
from data.muon import Muon, orthogonal
from lab import latents, tables
from method import Method, Rollout, Solved
from model import GPT, Cache, Config
from recurrent import RecurrentGPT
from tests.helpers import (NANO, fails, log, record, results, run, same, small, untimed,
                           write_records)
from tests.naive import EXACT

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def colar_run(tmp_path_factory):
    return run(tmp_path_factory.mktemp("colar"), "--method", "colar", "--labels", "one")


def test_colar_trains_both_stages_and_reports(colar_run):
    found = results(colar_run)
    assert [r["knobs"] for r in found["rows"]] == [{}] + [{"c": c} for c in range(1, 6)]
    for r in found["rows"]:
        assert r["n"] == 8 and 0 <= r["low"] <= r["accuracy"] <= r["high"] <= 1
    updates = [(r["updates"], r["variant"]) for r in found["rows"]]
    assert updates == [(30, "")] + [(10, "--labels one")] * 5    # each of its own stage
    assert found["config"]["init"] is None and (colar_run / "cot/results.json").exists()
    *_, trained, validated = log(colar_run)
    assert trained["step"] == 10 and {"ce", "latent", "norm"} <= set(trained)
    assert len(validated["val"]) == 5
    for name in ("curves.png", "accuracy.png", "cot/curves.png", "cot/accuracy.png"):
        assert (colar_run / name).exists()


def test_minutes_are_those_of_a_stage_alone(colar_run, tmp_path, monkeypatch):
    """Not those of the stage after it, at whose end both are tested."""
    clock = iter(range(0, 10**6, 60))       # it is a minute later whenever one asks
    monkeypatch.setattr(train.time, "time", lambda: next(clock))
    out = run(tmp_path, "--method", "colar", "--steps", "20", "--first-steps", "5")
    cot, colar = (results(folder)["minutes"] for folder in (out / "cot", out))
    assert 0 < cot < colar


def test_a_stage_makes_its_task_once(tmp_path, monkeypatch):
    """A task of files may take long to make."""
    made, make = [], runs.make_task
    monkeypatch.setattr(runs, "make_task", lambda config: made.append(config["method"])
                        or make(config))
    run(tmp_path, "--method", "colar", "--steps", "1", "--first-steps", "1")
    assert made == ["colar", "cot"]


def test_colar_starts_from_the_cot_weights(colar_run):
    cot, colar = runs.load(colar_run / "cot"), runs.load(colar_run)
    embed = "model.embed.weight"    # frozen, so still what the CoT stage left
    assert torch.equal(cot["method"][embed], colar["method"][embed])
    assert torch.equal(colar["method"]["std"], cot["method"][embed].std())


@pytest.mark.parametrize("method, backbone, how, flags", [
    ("cot", "gpt", signal.SIGTERM, "--ema 0.5 --dropout 0.3"), ("colar", "gpt", signal.SIGINT, ""),
    ("cot", "recurrent", signal.SIGINT, "")])
def test_stopped_and_resumed_equals_uninterrupted(method, backbone, how, flags, tmp_path,
                                                  monkeypatch, capsys):
    monkeypatch.setattr(RecurrentGPT, "settings", lambda self: [{"r": 3}])
    monkeypatch.setattr(train.Training, "log_every", 5)     # it is stopped between two rows
    argv = [*NANO, "--method", method, "--backbone", backbone, *flags.split()]
    train.main(argv + ["--out", str(tmp_path / "whole")])
    update = train.Training.update

    def ctrl_c_in_step_7(self, *args):
        if self.step == 6 and self.config["method"] == method:
            os.kill(os.getpid(), how)
        return update(self, *args)
    monkeypatch.setattr(train.Training, "update", ctrl_c_in_step_7)
    with pytest.raises(SystemExit) as stop:
        train.main(argv + ["--out", str(tmp_path / "parts")])
    assert stop.value.code == 130 and runs.load(tmp_path / "parts")["step"] == 7
    assert "--resume" in capsys.readouterr().out
    monkeypatch.setattr(train.Training, "update", update)
    (tmp_path / "parts").rename(tmp_path / "moved")
    train.main(["--out", str(tmp_path / "moved"), "--resume"])      # its config has the flags
    whole, parts = runs.load(tmp_path / "whole"), runs.load(tmp_path / "moved")
    for key in ("step", "method", "optimizers", "rng", *(["raw"] if flags else [])):
        assert same(whole[key], parts[key]), key
    assert untimed(log(tmp_path / "moved")) == untimed(log(tmp_path / "whole"))
    first, second = (results(tmp_path / name)["config"] for name in ("whole", "moved"))
    ours = {"out": 0, "command": 0}
    assert first | ours == second | ours and second["command"].endswith("/parts")


@pytest.mark.parametrize("accum", [1, 2])
def test_a_row_of_the_log_is_the_mean_since_the_last_one(accum, tmp_path, monkeypatch, capsys):
    """Also of the last steps, fewer than the others; and over the batches of a step."""
    losses, tokens, update = [], [], train.Training.update
    loss = runs.METHODS["colar"].loss

    def watched_loss(self, batch):
        value, parts = loss(self, batch)
        losses.append((value.item(), parts["ce"].item()))
        return value, parts

    def watched(self, batches):
        for batch in batches:
            parts = batch.question, batch.chain, batch.answer
            tokens.append(sum(word != 0 for part in parts for row in part.tolist() for word in row))
        return update(self, batches)
    monkeypatch.setattr(runs.METHODS["colar"], "loss", watched_loss)
    monkeypatch.setattr(train.Training, "update", watched)
    monkeypatch.setattr(train.Training, "log_every", 4)
    monkeypatch.setattr(train.time, "perf_counter", iter(range(10**6)).__next__)    # 1 s a step
    out = run(tmp_path, "--first-steps", "1", "--grad-accum", str(accum), "--warmup", "3")
    rows, tokens = [row for row in log(out) if "val" not in row], tokens[accum:]
    assert [row["step"] for row in rows] == [4, 8, 10]
    for row, first in zip(rows, (0, 4, 8)):
        mine = slice(first * accum, row["step"] * accum)
        for name, values in zip(("loss", "ce"), zip(*losses[mine])):
            assert row[name] == pytest.approx(sum(values) / len(values), rel=1e-5)
        assert row["tokens_per_s"] == round(sum(tokens[mine]) / (row["step"] - first))
        config = runs.load(out)["config"]
        assert row["lr"] == pytest.approx(train.learning_rate(row["step"] - 1, config), rel=1e-5)
    assert rows[0]["seconds"] <= rows[2]["seconds"] < 60
    lines = [line for line in capsys.readouterr().out.splitlines() if " of 10: loss" in line]
    assert len(lines) == 3 and "tokens/s" in lines[0] and lines[0].endswith(" left")


def test_a_nan_stops_the_run_and_keeps_the_last_checkpoint(tmp_path, monkeypatch, capsys):
    loss = runs.METHODS["cot"].loss

    def poisoned(self, batch):
        self.calls = getattr(self, "calls", 0) + 1
        value, parts = loss(self, batch)
        return (value * math.nan if self.calls == 6 else value), parts
    monkeypatch.setattr(runs.METHODS["cot"], "loss", poisoned)
    line = fails([*NANO, "--method", "cot", "--out", str(tmp_path / "run")], capsys)
    assert "nan at step 6" in line and str(tmp_path / "run") in line
    state = runs.load(tmp_path / "run")
    assert state["step"] == 4 and all(p.isfinite().all() for p in state["method"].values())


def test_a_nan_of_the_latent_head_is_told_in_one_line(colar_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs.METHODS["colar"], "start_from", lambda self, parent: (
        self.latent_head.mean.weight.data.fill_(math.nan)))
    argv = [*NANO, "--init", str(colar_run / "cot"), "--latent-loss", "nll", "--out"]
    line = fails([*argv, str(tmp_path / "run")], capsys)
    assert "loss is nan at step 1; A new run" in line       # there is no checkpoint yet


def test_workers_end_with_a_run_that_fails(tmp_path, monkeypatch):
    def update(self, batches):
        assert multiprocessing.active_children()
        raise ValueError
    monkeypatch.setattr(train.Training, "update", update)
    with pytest.raises(ValueError) as kept:     # its traceback, and with it all that was going on
        run(tmp_path, "--method", "cot", "--workers", "1")
    assert kept and not multiprocessing.active_children()


def test_a_nan_gradient_never_reaches_a_checkpoint(tmp_path, monkeypatch, capsys):
    """The loss may be finite while its gradient is not: sqrt at 0."""
    loss = runs.METHODS["cot"].loss

    def poisoned(self, batch):
        self.calls = getattr(self, "calls", 0) + 1
        value, parts = loss(self, batch)
        if self.calls == 4:
            value = value + (self.model.norm.weight * 0).sum().sqrt()
        return value, parts
    monkeypatch.setattr(runs.METHODS["cot"], "loss", poisoned)
    line = fails([*NANO, "--method", "cot", "--out", str(tmp_path / "run")], capsys)
    assert "gradient is nan at step 4" in line
    state = runs.load(tmp_path / "run")
    assert state["step"] == 2 and all(p.isfinite().all() for p in state["method"].values())


@pytest.mark.parametrize("argv, message", [
    (["--methot", "cot"], "unknown flag --methot .nearest: --method"),
    (["--method", "collar"], "unknown --method 'collar' .nearest: colar"),
    (["--task", "mazes"], "unknown --task 'mazes' .nearest: maze"),
    (["--size", "medium"], "unknown --size 'medium'"),
    (["--backbone", "gtp"], "unknown --backbone 'gtp' .nearest: gpt"),
    (["--level", "tinny"], "unknown --level 'tinny' .nearest: tiny"),
    (["--steps", "many"], "--steps 'many' is no whole number"),
    (["--steps", "0"], "--steps 0: must be at least 1"),
    (["--lr", "nan"], "--lr nan: must be above 0"),
    (["--conv", "-1"], "--conv -1: must be at least 0"),
    (["--seed", "99999999999"], "--seed 99999999999"),
    (["--decay", "3"], "--decay 3.0: must be at most 1"),
    (["--sigma-min", "8"], "--sigma-min 8.0: must be at most 7"),
    (["--head", "deterministic", "--latent-loss", "nll"], "has no density"),
    (["--method", "pause", "--pauses", "-1"], "--pauses -1: must be at least 1"),
    (["--method", "cot", "--init", "x"], "cot starts from no other method"),
    (["--resume"], "no run there to resume"),
    (["--heads", "3"], "no multiple"),
    (["--c-train", "2,12"], "unknown factor in --c-train 2,12 '12'"),
    (["--test-split", "fersh"], "unknown --test-split 'fersh' .nearest: fresh"),
    (["--method", "cot", "--task", "permutation", "--moves", "3", "--test-split", "fresh"],
     "fresh: test holds no more than 1,000 problems, all used before"),
    (["--pool", "max"], "unknown --pool 'max' .known: sqrt, mean"),
    (["--device", "cuda:7"], "unknown --device 'cuda:7' .nearest: cuda"),
    (["--data", "none.json"], "none.json.*No such file"),
    (["--init", "nowhere"], "nowhere: no ckpt.pt"),
    (["--out", "/dev/null/run"], "--out /dev/null/run"),
])
def test_bad_input_gets_one_line_and_leaves_nothing(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = fails([*NANO, *argv], capsys)
    assert re.search(message, line), line
    assert list(tmp_path.iterdir()) == []


def test_an_existing_run_is_not_overwritten(colar_run, capsys):
    before = (colar_run / "ckpt.pt").read_bytes()
    assert "add --resume" in fails([*NANO, "--out", str(colar_run)], capsys)
    line = fails([*NANO, "--out", str(colar_run), "--resume", "--lr", "1"], capsys)
    assert "lr 0.01, not 1.0" in line
    assert (colar_run / "ckpt.pt").read_bytes() == before


def test_runs_are_named_by_the_flags_that_differ(tmp_path):
    def name(*argv):
        return runs.parse(list(argv))["out"]
    assert name() == "runs/colar-arithmetic-tiny-s0"
    assert name("--pool", "mean", "--test-n", "9") == "runs/colar-arithmetic-tiny-pool=mean-s0"
    assert name("--method", "nocot", "--steps", "6000", "--seed", "1", "--threads", "1") == (
        "runs/nocot-arithmetic-tiny-steps=6000-s1")
    assert name("--size", "nano", "--lr", "0.01", "--conv", "0") == "runs/colar-arithmetic-nano-s0"
    assert name("--no-align", "--c-train", "1,3") == (
        "runs/colar-arithmetic-tiny-c-train=1,3-no-align-s0")
    path = write_records(tmp_path / "two words ☃.json", [Arithmetic().sample("train", 0)])
    assert name("--data", str(path)) == "runs/colar-arithmetic-tiny-data=two_words__.json-s0"
    assert name("--init", "../cot") == "runs/colar-arithmetic-tiny-init=.._cot-s0"
    long = [name("--init", "x" * 200 + end) for end in "ab"]
    assert long[0] != long[1] and all(len(one) < 130 for one in long)
    assert all(one.split("=")[1].startswith("x" * 70) for one in long)


def test_names_of_folders_agree_with_variants_in_tables():
    config = runs.parse(["--pool", "mean", "--layers", "1", "--qk-norm", "--optimizer", "adamw"])
    for word in runs.variant(config).removeprefix("--").split(" --"):
        assert f"-{word.replace(' ', '=')}-" in config["out"]


def test_a_stopped_stage_is_no_start(colar_run, tmp_path, capsys):
    state = runs.load(colar_run / "cot")
    (tmp_path / "half").mkdir()
    checkpoint.save(tmp_path / "half", {**state, "step": 5})
    line = fails([*NANO, "--init", str(tmp_path / "half"), "--out", str(tmp_path / "o")], capsys)
    assert "not finished" in line and not (tmp_path / "o").exists()


def test_resume_keeps_the_run_given_by_init(colar_run, tmp_path):
    out = run(tmp_path, "--init", str(colar_run / "cot"))
    (out / "results.json").unlink()
    train.main(["--out", str(out), "--resume"])     # as begun: no CoT stage is trained
    assert not (out / "cot").exists() and (out / "results.json").exists()


def test_a_run_goes_on_only_from_the_run_that_it_started_from(colar_run, tmp_path, capsys):
    """Wherever that is by now; else its folder would name a start that it never had."""
    first, other = tmp_path / "first", tmp_path / "other"
    shutil.copytree(colar_run / "cot", first)
    run(tmp_path, "--method", "cot", "--steps", "9", name="other")
    argv = [*NANO, "--out", str(run(tmp_path, "--init", str(first)))]
    kept = results(tmp_path / "run")
    line = fails([*argv, "--init", str(other), "--resume"], capsys)
    assert line.endswith(f"it has init {first}, not {other}")
    first.rename(tmp_path / "moved")
    train.main([*argv, "--resume"])                     # it is not needed any more
    train.main([*argv, "--init", str(tmp_path / "moved"), "--resume"])
    assert runs.load(tmp_path / "run")["config"]["init"] == str(first) and (
        results(tmp_path / "run") == kept)
    line = fails(["--out", str(colar_run), "--init", str(other), "--resume"], capsys)
    assert line.endswith(f"it has init None, not {other}")


def test_training_and_evaluating_on_a_file(tmp_path, capsys):
    task = Arithmetic()
    data = [record(task.sample("train", i)) for i in range(60)]
    (tmp_path / "d.json").write_text(json.dumps(data), encoding="utf-8")
    out = run(tmp_path, "--method", "cot", "--data", str(tmp_path / "d.json"), "--test-n", "50")
    n = results(out)["rows"][0]["n"]
    assert 0 < n < 20               # each test problem once, though 50 were asked for
    capsys.readouterr()
    evaluation.main([str(out), "--data", str(tmp_path / "d.json")])
    text = capsys.readouterr().out
    left_out = int(text.split(" problems that the run was trained on")[0].split("\n")[-1])
    assert f"{60 - left_out} problems)" in text and left_out > 30
    seen = {" ".join(e.question) for e in runs.load_run(out)[0].examples["train"]}
    (tmp_path / "seen.json").write_text(json.dumps([d for d in data if d["question"] in seen]),
                                        encoding="utf-8")
    argv = [str(out), "--data", str(tmp_path / "seen.json")]
    assert "was trained on all of its problems" in fails(argv, capsys, evaluation.main)
    (tmp_path / "few.json").write_text(json.dumps(data[:2]), encoding="utf-8")
    argv = [*NANO, "--data", str(tmp_path / "few.json"), "--out", str(tmp_path / "o")]
    assert "too few problems" in fails(argv, capsys)


@pytest.fixture(scope="module")
def file_run(tmp_path_factory):
    """A run trained on a file that was named from within its folder: (folder, train's flags)."""
    folder, task = tmp_path_factory.mktemp("file"), Arithmetic()
    for name, start in (("d.json", 0), ("other.json", 60)):
        write_records(folder / name, [task.sample("train", i) for i in range(start, start + 60)])
    argv = [*NANO, "--method", "cot", "--data", "d.json", "--out", str(folder / "run")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train.main(argv)
    return folder, argv


def test_a_run_on_a_file_opens_from_anywhere(file_run, tmp_path, monkeypatch, capsys):
    folder, argv = file_run
    n = results(folder / "run")["rows"][0]["n"]
    monkeypatch.chdir(tmp_path)
    evaluation.main([str(folder / "run")])
    text = capsys.readouterr().out
    assert f"{folder}/d.json: 60 problems; " in text and f"; {n} test" in text
    assert f"{n} problems)" in text
    monkeypatch.chdir(folder)
    (folder / "run/results.json").unlink()
    train.main([*argv, "--resume"])
    assert f"{folder}/d.json: 60 problems; " in capsys.readouterr().out
    elsewhere = (folder / "d.json").rename(tmp_path / "e.json")     # the same file, moved
    monkeypatch.chdir(tmp_path)
    argv = [*argv[:argv.index("--data")], "--data", "e.json", *argv[argv.index("--out"):]]
    train.main([*argv, "--resume"])
    elsewhere.rename(folder / "d.json")


def test_a_run_on_a_file_needs_it_only_for_its_splits(file_run, tmp_path, capsys):
    folder, argv = file_run
    (folder / "d.json").rename(tmp_path / "kept.json")
    evaluation.main([str(folder / "run"), "--data", str(folder / "other.json"), "--n", "9"])
    text = capsys.readouterr().out
    assert "other.json: 60 problems" in text and "9 problems)" in text
    assert re.search("not left out: --data .*/d.json, which .* No such file", text)
    line = fails([str(folder / "run")], capsys, evaluation.main)
    assert re.search("d.json, which the run was begun with: No such file.*--data OTHER", line)
    (tmp_path / "kept.json").rename(folder / "d.json")


def test_a_run_goes_on_only_with_the_same_file(file_run, tmp_path, monkeypatch, capsys):
    folder, argv = file_run
    monkeypatch.chdir(folder)
    before = (folder / "d.json").read_text(encoding="utf-8")
    try:
        (folder / "d.json").write_bytes((folder / "other.json").read_bytes())
        line = fails([*argv, "--resume"], capsys)
        assert f"it has data {folder}/d.json as it was then, not as it is now" in line
        assert "has changed since" in fails([str(folder / "run")], capsys, evaluation.main)
    finally:
        (folder / "d.json").write_text(before, encoding="utf-8")
    argv = [flag.replace("d.json", "other.json") for flag in argv]
    line = fails([*argv, "--resume"], capsys)
    assert f"it has data {folder}/d.json, not {folder}/other.json" in line


def test_extra_files_are_kept_and_compared_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"Bo has {i} hats and 2 caps . In all?", "steps": [f"{i}+2={i + 2}"],
             "answer": str(i + 2)} for i in range(3, 9)]
    for name in ("a.json", "b.json"):
        Path(name).write_text(json.dumps(rows), encoding="utf-8")
    argv = ["--task", "gsm8k", "--extra", "a.json,b.json", "--variants", "0"]
    out = run(tmp_path, "--method", "cot", *argv)
    assert runs.load(out)["config"]["extra"] == f"{tmp_path}/a.json,{tmp_path}/b.json"
    run(tmp_path, "--method", "cot", *argv, "--resume")
    Path("b.json").write_text(json.dumps(rows[1:]), encoding="utf-8")
    line = fails([*NANO, "--out", str(out), "--method", "cot", *argv, "--resume"], capsys)
    assert "b.json as it was then, not as it is now" in line
    line = fails([*NANO, "--task", "gsm8k", "--extra", "a.json,none.json"], capsys)
    assert "--extra none.json: No such file or directory" in line
    line = fails([*NANO, "--task", "gsm8k", "--extra", "a.json", "--data", "b.json"], capsys)
    assert "which --data replaces" in line


def test_a_run_on_a_file_keeps_the_formats_of_its_task(tmp_path, capsys):
    """GSM8k-Aug's lines: to train on, and to test on afterwards."""
    names = "Bo", "Ann", "Kai", "Zoe", "Leonid"
    lines = [f"{names[i % 5]} has {i} hats . He buys 2 . In all?||<<{i}+2={i + 2}>> #### {i + 2}"
             for i in range(3, 63)]
    (tmp_path / "d.txt").write_text("\n".join(lines[:40]), encoding="utf-8")
    (tmp_path / "e.txt").write_text("\n".join(lines[30:]), encoding="utf-8")
    out = run(tmp_path, "--task", "gsm8k", "--method", "cot", "--numbers", "digits",
              "--data", str(tmp_path / "d.txt"))
    test = runs.load_run(out)[0].examples["test"]
    known = [e for e in test if int("".join(e.answer)) >= 35]
    capsys.readouterr()
    evaluation.main([str(out), "--data", str(tmp_path / "e.txt")])
    text = capsys.readouterr().out
    assert "e.txt: 30 problems" in text and f"{20 + len(known)} problems)" in text
    assert f"{10 - len(known)} problems that the run was trained on" in text


def test_names_of_runs_are_as_short_as_they_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rows.names_of(["."]) == [tmp_path.name]
    assert rows.names_of(["a-s0/cot", "a-s1/cot/", "b", "./b", "x/y/../cot"]) == [
        "a-s0/cot", "a-s1/cot", "b", "b", "x/cot"]
    assert rows.names_of(["cot", "x/cot", "x/x/cot"]) == [
        f"{tmp_path.name}/cot", f"{tmp_path.name}/x/cot", "x/x/cot"]
    assert rows.names_of([str(tmp_path), "/"]) == [tmp_path.name, "/"]


def test_runs_of_one_last_name_stay_apart(colar_run, tmp_path, monkeypatch):
    """In the table, the figure's lines and the panels of the controls; and `.` has a name."""
    for name in ("s0", "s1"):
        (tmp_path / name / "cot").mkdir(parents=True)
        (tmp_path / name / "cot/ckpt.pt").write_bytes((colar_run / "cot/ckpt.pt").read_bytes())
    monkeypatch.chdir(tmp_path / "s0")
    evaluation.main(["cot", "../s1/cot", "--n", "3", "--json", str(tmp_path / "j")])
    found = json.loads((tmp_path / "j").read_text(encoding="utf-8"))
    rows = [row for one in found for row in one["rows"]]
    assert [row["run"] for row in rows] == ["s0/cot", "s1/cot"]
    assert len(tables.curves(rows)) == 2
    monkeypatch.chdir(tmp_path / "s0/cot")
    evaluation.main([".", "--n", "3", "--json", str(tmp_path / "k")])
    assert json.loads((tmp_path / "k").read_text(encoding="utf-8"))[0]["rows"][0]["run"] == "cot"


def test_dtype_is_chosen_by_what_the_machine_can(monkeypatch):
    assert machine.pick_dtype("cpu", 64)[0] == "float32"
    for speedup, dtype in ((2.0, "bfloat16"), (1.1, "float32")):
        monkeypatch.setattr(machine, "bf16_speedup", lambda: speedup)
        assert machine.pick_dtype("cpu", 512)[0] == dtype
    for native, dtype in ((True, "bfloat16"), (False, "float16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: native)
        assert machine.pick_dtype("cuda", 64)[0] == dtype
    monkeypatch.setattr(machine, "pick_device", lambda name: "mps")
    for dtype, fine in (("auto", True), ("float32", True), ("bfloat16", False), ("float16", False)):
        with contextlib.nullcontext() if fine else pytest.raises(BadInput, match="only float32"):
            machine.setup({"threads": 1, "device": "auto", "dtype": dtype, "width": 64})


@pytest.mark.parametrize("bad", ["model.norm.weight", "model.blocks.0.mlp.up.weight"])
def test_after_an_overflow_no_optimizer_steps(bad):
    """In float16: AdamW and Muon, of which one alone had the overflow."""
    config = runs.parse([*NANO, "--method", "cot", "--optimizer", "muon", "--dtype", "float16"])
    task, method = runs.build(config | {"max_think": 20, "max_answer": 9})
    training = train.Training(method, config, CPU, torch.float16)
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    for name, p in method.named_parameters():
        p.grad = torch.ones_like(p) if name != bad else torch.full_like(p, math.nan)
    scale = training.scaler.scale(torch.ones(())).item()
    assert not math.isfinite(training.optimizer_step()) and training.scaler.get_scale() == scale / 2
    assert all(torch.equal(p, before[name]) for name, p in method.named_parameters())
    for p in method.parameters():
        p.grad = torch.ones_like(p)
    training.scaler.scale(torch.ones(()))
    training.optimizer_step()
    assert not any(torch.equal(p, before[name]) for name, p in method.named_parameters())


def test_bad_checkpoints(colar_run, tmp_path, capsys):
    good = (colar_run / "cot" / "ckpt.pt").read_bytes()
    for name, content in (("cut", good[:len(good) // 2]), ("empty", b""), ("text", b"hello")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ckpt.pt").write_bytes(content)
        line = fails([*NANO, "--init", str(tmp_path / name), "--out", str(tmp_path / "o")], capsys)
        assert "damaged, or not a checkpoint" in line
    (tmp_path / "foreign").mkdir()
    torch.save({"model": torch.zeros(3)}, tmp_path / "foreign" / "ckpt.pt")
    line = fails([*NANO, "--init", str(tmp_path / "foreign"), "--out", str(tmp_path / "o")], capsys)
    assert "not a checkpoint of this project" in line
    for name, message in (("older", "only the version"), ("flagless", "no --test-split: only")):
        state = runs.load(colar_run / "cot")
        if name == "older":
            state["format"] = "nanolatent 1"
        else:       # of a time when there was no such flag
            del state["config"]["test_split"]
        (tmp_path / name).mkdir()
        torch.save(state, tmp_path / name / "ckpt.pt")
        line = fails([str(tmp_path / name)], capsys, evaluation.main)
        assert message in line and "that made it can open it" in line and "damaged" not in line
    start = [*NANO, "--init", str(colar_run / "cot"), "--out", str(tmp_path / "o")]
    for argv, message in ((["--width", "64"], "width 32, not 64"),
                          (["--task", "maze"], "task arithmetic")):
        assert message in fails(start + argv, capsys)
    line = fails([*NANO, "--init", str(colar_run), "--out", str(tmp_path / "o")], capsys)
    assert "method colar, not cot" in line
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("argv", [
    ["--optimizer", "muon"], ["--grad-accum", "2"], ["--workers", "1"],
    ["--dtype", "bfloat16"], ["--dtype", "float16"],
    ["--qk-norm"], ["--conv", "0"], ["--method", "pause", "--pauses", "3"], ["--method", "nocot"],
], ids=" ".join)
def test_every_switch_trains(argv, tmp_path):
    method = [] if "--method" in argv else ["--method", "cot"]
    out = run(tmp_path, *method, *argv, "--lr", "0.02", "--warmup", "2")
    *_, trained, _ = log(out)
    assert 0 < trained["loss"] < 4.3     # ln 73, what guessing costs


@pytest.mark.parametrize("argv", [
    ["--c-per", "batch", "--no-align", "--labels", "one"],
    ["--pool", "mean", "--head", "deterministic"],
    ["--latent-loss", "nll", "--labels", "none"],
], ids=" ".join)
def test_every_switch_of_colar_trains(argv, colar_run, tmp_path):
    out = run(tmp_path, "--init", str(colar_run / "cot"), *argv)
    assert runs.load(out)["step"] == 10 and not (out / "cot").exists()


def test_compile_wraps_training_only(tmp_path, monkeypatch):
    used = []       # of every call: is there a gradient, is there a cache?

    def fake_compile(plain, **_):
        def fast(*args, **kwargs):
            used.append((torch.is_grad_enabled(), any(isinstance(a, Cache) for a in args)))
            return plain(*args, **kwargs)
        return fast
    monkeypatch.setattr(torch, "compile", fake_compile)
    run(tmp_path, "--method", "cot", "--compile")
    assert used == [(True, False)] * 10     # ten training steps, no decoding
    used.clear()
    run(tmp_path, "--method", "cot", "--compile", "--backbone", "recurrent", "--sampler", "fixed",
        "--mean-r", "3", name="deep")
    assert used == [(True, False)] * 10 * 3     # every iteration of them


def test_accumulated_gradient_is_the_mean_over_batches(tmp_path):
    config = runs.parse([*NANO, "--method", "cot", "--grad-accum", "2"])
    config |= runs.limits(Arithmetic())
    task, method = runs.build(config)
    stream = [train.batches(task, method.vocab, 8) for _ in range(2)]
    total = sum(method.loss(next(stream[0]))[0] for _ in range(2)) / 2
    want = torch.autograd.grad(total, list(method.parameters()))
    training = train.Training(method, {**config, "grad_clip": 1e9}, CPU, torch.float32)
    for opt in training.optimizers:
        opt.step = lambda: None
        opt.zero_grad = lambda: None
    training.update([next(stream[1]) for _ in range(2)])
    for p, g in zip(method.parameters(), want):
        torch.testing.assert_close(p.grad, g, atol=1e-6, rtol=1e-4)


def test_orthogonal_matrices_have_singular_values_near_one():
    """Of any shape, at once as one by one; the singular vectors stay."""
    torch.manual_seed(0)
    for height, width in ((6, 18), (18, 6), (7, 7)):
        x = torch.randn(3, height, width).double()
        u = orthogonal(x)
        for one, all_at_once in zip(x, u):
            torch.testing.assert_close(orthogonal(one[None])[0], all_at_once, **EXACT)
        U, S, V = torch.linalg.svd(x, full_matrices=False)
        values = U.mT @ u @ V.mT                                        # (3, n, n), diagonal
        found = values.diagonal(dim1=1, dim2=2)
        torch.testing.assert_close(values, torch.diag_embed(found), **EXACT)
        well = found[S > 0.05 * S.norm(dim=1, keepdim=True)]    # a tiny one would need more steps
        assert well.min() > 0.6 and found.max() < 1.3


def matrices(*shape):
    """Random matrices in float64, each of norm 1."""
    torch.manual_seed(0)
    x = torch.randn(shape).double()
    return x / x.norm(dim=(1, 2), keepdim=True)


def test_orthogonal_does_not_see_the_scale():
    """But for an epsilon that a norm may get."""
    x = matrices(3, 6, 18)
    torch.testing.assert_close(orthogonal(100 * x), orthogonal(x), atol=1e-5, rtol=0)


def test_orthogonal_of_zeros_is_zero():
    """A matrix may have no gradient in a step."""
    found = orthogonal(torch.zeros(1, 2, 3))
    assert not found.any(), f"zeros become {found.tolist()}"


def test_orthogonal_of_a_matrix_does_not_see_the_others():
    x = matrices(2, 6, 18)
    x[1] *= 10
    torch.testing.assert_close(orthogonal(x)[:1], orthogonal(x[:1]), **EXACT)


def test_orthogonal_raises_small_singular_values():
    small = float(orthogonal(torch.tensor([[[1.0, 0], [0, 0.001]]]).double())[0, 1, 1])
    assert small > 0.003, f"beside one of 1, a singular value of 0.001 becomes {small:.4f}"


def test_orthogonal_keeps_the_shape():
    for shape in ((2, 4, 6), (2, 6, 4)):
        assert orthogonal(matrices(*shape)).shape == shape


def test_muon_is_that_of_torch():
    """But for bfloat16, which torch's has for the orthogonal part: 8 bits."""
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in ((8, 24), (8, 24), (32, 8))]
    its = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    start = [p.detach().clone() for p in ours]
    muon = Muon([{"params": ours, "weight_decay": 0.1}], lr=0.02)
    other = torch.optim.Muon(its, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for p, q in zip(ours, its):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        muon.step()
        other.step()
    for p, q, before in zip(ours, its, start):
        assert (p - q).norm() < 0.03 * (q - before).norm()


# ---- averaged weights ----------------------------------------------------------------------------

def test_averaged_weights_are_those_of_a_loop():
    """In float64, with a buffer, which is copied."""
    torch.manual_seed(0)
    method = torch.nn.BatchNorm1d(3).double()
    average, kept = Average(method, 0.8), [method.weight.tolist()]
    for step in range(1, 60):
        with torch.no_grad():
            method.weight.copy_(torch.randn(3))
        method(torch.randn(4, 3, dtype=torch.double))
        average.update(step)
        d = min(0.8, (1 + step) / (10 + step))
        kept.append([d * a + (1 - d) * w for a, w in zip(kept[-1], method.weight.tolist())])
    want = torch.tensor(kept[-1], dtype=torch.double)
    torch.testing.assert_close(average.weights["weight"], want, **EXACT)
    assert torch.equal(average.weights["running_mean"], method.running_mean)
    raw = method.weight.tolist()
    with average.used():
        assert torch.equal(method.weight, average.weights["weight"])
    assert method.weight.tolist() == raw


def test_a_run_is_tested_and_opened_with_its_averaged_weights(tmp_path):
    """Averaging changes no step: the weights behind it are those of a run without."""
    plain = runs.load(run(tmp_path, "--method", "cot", name="plain"))
    out = run(tmp_path, "--method", "cot", "--ema", "0.9")
    state = runs.load(out)
    assert same(state["raw"], plain["method"]) and not same(state["method"], plain["method"])
    _, method, _ = runs.load_run(out)
    assert same(dict(method.state_dict()), dict(state["method"]))
    evaluation.main([str(out), "--n", "8", "--json", str(tmp_path / "e")])
    (row,), (again,) = (rows.read_results(path)[0]["rows"] for path in (out / "results.json",
                                                                  tmp_path / "e"))
    assert row["right"] == again["right"] and row["steps"] == again["steps"]
    assert row["variant"] == "--ema 0.9"


def test_a_method_starts_from_averaged_weights(tmp_path):
    out = run(tmp_path, "--method", "colar", "--ema", "0.9", "--first-steps", "5")
    cot, colar = runs.load(out / "cot"), runs.load(out)
    embed = "model.embed.weight"    # frozen, so still what the CoT stage left
    assert torch.equal(colar["method"][embed], cot["method"][embed])
    assert not torch.equal(cot["raw"][embed], cot["method"][embed])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_optimizer_groups_cover_every_parameter_once(optimizer):
    config = {**runs.parse([*NANO, "--optimizer", optimizer]), "max_think": 9, "max_answer": 2}
    _, method = runs.build(config)
    groups = [g for o in train.optimizers(method, config) for g in o.param_groups]
    grouped = [p for g in groups for p in g["params"]]
    wanted = [p for p in method.parameters() if p.requires_grad]
    assert len(grouped) == len(wanted) and {id(p) for p in grouped} == {id(p) for p in wanted}
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    last = {id(p) for p in groups[-1]["params"]}
    head, embed = (id(layer.weight) for layer in (method.model.head, method.model.embed))
    assert head in decayed and embed not in decayed     # Muon is for what is inside
    assert (head in last) == (optimizer == "adamw") and last <= decayed


def test_seconds_add_up_when_resumed():
    config = {**runs.parse([*NANO, "--method", "cot"]), "max_think": 9, "max_answer": 2}
    training = train.Training(runs.build(config)[1], config, CPU, torch.float32)
    training.restore({**training.state(), "seconds": 500.0})
    assert 500 <= training.state()["seconds"] < 560


def test_a_run_is_tested_on_the_split_that_it_names(tmp_path):
    """By train.py as by eval.py, and its rows of a table say so."""
    out = run(tmp_path, "--method", "nocot", "--test-split", "long-fresh")
    evaluation.main([str(out), "--split", "long-fresh", "--n", "8", "--json", str(tmp_path / "e")])
    (row,), (again,) = (rows.read_results(path)[0]["rows"] for path in (out / "results.json",
                                                                  tmp_path / "e"))
    assert row["by_difficulty"] == again["by_difficulty"] and min(row["by_difficulty"]) == "5"
    ((name, _, split, _),) = tables.by_seed([out / "results.json", tmp_path / "e"])
    assert name.endswith(" on long-fresh") and split == "long-fresh"


@pytest.mark.parametrize("method", [m for m in runs.METHODS if m not in ("cot", "colar")])
def test_every_method_trains_from_the_command_line(method, tmp_path):
    flags = [f"--{f}=2" for f in ("latents", "pauses") if f in runs.METHODS[method].FLAGS]
    out = run(tmp_path, "--method", method, "--task", "permutation", "--steps", "2",
              "--first-steps", "2", *flags)
    found = results(out)["rows"]
    assert found[-1]["method"] == method and found[-1]["n"] == 8
    trained = [row for row in log(out) if "val" not in row]
    assert [row["step"] for row in trained] == [2] and {"step", "norm"} < trained[0].keys()


def test_learning_rate_schedule():
    config = {"steps": 1000, "lr": 2.0, "warmup": 100, "decay": 0.5}
    rate = [train.learning_rate(s, config) for s in range(1000)]
    assert rate[0] == 0.02 and rate[99] == 2 and rate[499] == 2
    assert abs(rate[750] - 1) < 1e-9 and abs(rate[999] - 2 / 500) < 1e-9


def rates():
    """Of 100 steps: 10 of warm-up, then a plateau of 65 at 2, then 25 of decay."""
    config = {"steps": 100, "lr": 2.0, "warmup": 10, "decay": 0.25}
    return [train.learning_rate(step, config) for step in range(100)]


def test_the_rate_rises_in_equal_steps_from_the_first():
    assert rates()[:10] == pytest.approx([2 * n / 10 for n in range(1, 11)])


def test_the_rate_stays_between_warm_up_and_decay():
    assert rates()[10:75] == pytest.approx([2] * 65)


def test_the_rate_would_reach_0_just_after_the_last_step():
    assert rates()[75:] == pytest.approx([2 * n / 25 for n in range(25, 0, -1)])


def test_the_rate_is_the_lower_one_where_warm_up_meets_decay():
    """As it is by default: the decay begins with the first step."""
    config = {"steps": 20, "lr": 2.0, "warmup": 15, "decay": 0.8}
    found = [train.learning_rate(step, config) for step in range(20)]
    assert found == pytest.approx([2 * n / 15 for n in range(1, 11)]
                                  + [2 * n / 16 for n in range(10, 0, -1)])


def test_eval_command(colar_run, tmp_path, capsys):
    task = Arithmetic()
    write_records(tmp_path / "d.json", [task.sample("test", i) for i in range(5)])
    evaluation.main([str(colar_run / "cot"), str(colar_run), "--c", "2,4", "--n", "6",
                     "--show", "1", "--json", str(tmp_path / "rows.json"),
                     "--plot", str(tmp_path / "p.png")])
    records = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [(r["run"], r["method"], r["knobs"], r["n"]) for found in records
            for r in found["rows"]] == [("cot", "cot", {}, 6), ("run", "colar", {"c": 2}, 6),
                                        ("run", "colar", {"c": 4}, 6)]
    assert records[1]["config"]["command"].startswith("python eval.py") and records[1]["git"]
    assert [r["name"] for r in tables.pool([tmp_path / "rows.json"])] == [
        "cot", "colar c=2 --labels one", "colar c=4 --labels one"]
    assert (tmp_path / "p.png").exists() and "thoughts" in capsys.readouterr().out
    for argv, n in (([], 5), (["--n", "3"], 3)):
        evaluation.main([str(colar_run), "--c", "3", "--data", str(tmp_path / "d.json"), *argv])
        assert f"{n} problems" in capsys.readouterr().out
    for argv, message in ((["--c", "10"], "--c 10: must be at most 9"),
                          (["--split", "tests"], "nearest: test"),
                          (["--data", "none.json"], "No such file"),
                          (["--nn", "3"], "nearest: --n"),
                          (["--n", "-1"], "--n -1: must be at least 0"),
                          (["--c", "a"], "'a' is no whole number, nor auto"),
                          (["--r", "3"], "--r: none of these runs has this knob"),
                          (["--top-k", "3"], "--top-k: for the samples of --k"),
                          (["--sigma-min", "0.1"], "--sigma-min: for the samples of --k"),
                          (["--sigma-min", "8", "--k", "1"], "must be at most 7"),
                          (["--seed", "1"], "--seed: for the samples of --k"),
                          (["--exit", "kl"], "--exit: none of these runs has this knob"),
                          (["--threshold", "0.1"], "--threshold: of an exit; add --exit"),
                          (["--threshold", "0.1", "--exit", "none"], "--threshold: of an exit"),
                          (["--data", "d.json", "--split", "val"], "--split val: --data takes all"),
                          (["--plot", "x.foo"], "must end in"),
                          (["--json", "/nowhere/x.json"], "no such folder")):
        assert message in fails([str(colar_run), *argv], capsys, evaluation.main)
    argv = [str(colar_run / "cot"), "--k", "1", "--sigma-min", "0.1"]
    assert "none of these runs has this knob" in fails(argv, capsys, evaluation.main)
    assert "no latents to read" in fails([str(colar_run / "cot")], capsys, latents.main)
    assert "--k: of eval.py" in fails([str(colar_run), "--k", "2"], capsys, latents.main)
    assert "no ckpt.pt" in fails([str(tmp_path)], capsys, evaluation.main)
    assert "not a results.json" in fails([str(colar_run / "config.json")], capsys, tables.main)


def test_eval_loss(tmp_path):
    """Each row with the loss at its setting."""
    out = run(tmp_path, "--method", "cot", "--backbone", "recurrent", "--mean-r", "2")
    evaluation.main([str(out), "--n", "5", "--r", "1,3", "--loss", "--json", str(tmp_path / "l")])
    task, method, _ = runs.load_run(out)
    batch = collate([task.sample("test", i) for i in range(5)], method.vocab)
    losses = []
    for r in (1, 3):
        with method.eval().model.using(r=r):
            losses.append(method.loss(batch)[0].item())
    rows = json.loads((tmp_path / "l").read_text(encoding="utf-8"))[0]["rows"]
    assert [row["loss"] for row in rows] == pytest.approx(losses, rel=1e-5)
    assert abs(losses[0] - losses[1]) > 1e-4


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_dropped_out_of_what_is_measured(training):
    """Whatever the mode of the method; it is in the same one afterwards."""
    _, task, method = small("cot", "arithmetic", "--dropout", "0.5")
    method.train(training)
    examples = [task.sample("test", i) for i in range(3)]
    for measure in (lambda: evaluation.solve_all(method, examples),
                    lambda: evaluation.loss_on(method, examples),
                    lambda: evaluation.explore("cot", method, task, examples, [{}], [2])):
        modes = []
        with method.model.blocks[0].dropout.register_forward_hook(
                lambda dropout, *_: modes.append(dropout.training)):
            measure()
        assert modes and not any(modes) and method.training == training


def test_a_run_of_one_step_is_tested_as_it_is_opened(tmp_path):
    """With its thoughts: its only step is the end of its curriculum, though it began before."""
    out = run(tmp_path, "--method", "coconut", "--steps", "1")
    evaluation.main([str(out), "--n", "8", "--json", str(tmp_path / "rows.json")])
    row, = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))[0]["rows"]
    tested, = results(out)["rows"]
    assert row["steps"] == tested["steps"] and row["right"] == tested["right"]


def test_eval_explores_and_decodes(colar_run, tmp_path, capsys):
    evaluation.main([str(colar_run), str(colar_run / "cot"), "--c", "2,auto,7", "--n", "5", "--k",
                     "1,3", "--sigma-min", "0.2", "--json", str(tmp_path / "k.json")])
    records = json.loads((tmp_path / "k.json").read_text(encoding="utf-8"))
    rows = [row for found in records for row in found["rows"]]
    assert [r["knobs"] for r in rows] == [{"c": c, "k": k} for c in (2, "auto", 7)
                                          for k in (1, 3)] + [{"k": 1}, {"k": 3}]
    dial = tmp_path / "dial.json"
    latents.main([str(colar_run), "--c", "3", "--n", "5", "--show", "1", "--json", str(dial)])
    tables.main([str(dial), "--plot", str(tmp_path / "dial.png"), "--over", "c"])
    assert (tmp_path / "dial.png").stat().st_size > 5000
    text = capsys.readouterr().out
    assert "latents read" in text and "true chain  [" in text


def test_explore_counts_the_samples_of_each_problem():
    """Problem j of 4 is right in j of its 3 samples."""
    task, n = Arithmetic(), 3
    examples = [task.sample("test", i) for i in range(4)]
    solved = [Solved(e.answer if i < j else ["x"], i, "") for j, e in enumerate(examples)
              for i in range(n)]

    class Stub(Method):
        def rollout(self, batch, samples, sample):
            return Rollout(solved, None, {}, {})
    stub = Stub(GPT(Config(vocab=2, layers=1, width=8, heads=1)), Vocab(task.words), None)
    rows = evaluation.explore("stub", stub, task, examples, [{}], [1, 3])
    assert [r["accuracy"] for r in rows] == [(0 + 1 + 2 + 3) / 12, 3 / 4]
    assert rows[0]["steps"] == 1 and [r["knobs"] for r in rows] == [{"k": 1}, {"k": 3}]


def test_samples_are_drawn_from_their_seed(colar_run, tmp_path):
    """The same seed samples the same, another one something else; what ran before plays no part."""
    found = []
    for seed in (0, 1, 0):
        torch.manual_seed(len(found))
        path = tmp_path / f"{len(found)}.json"
        evaluation.main([str(colar_run / "cot"), "--k", "4", "--n", "20", "--seed", str(seed),
                         "--json", str(path)])
        found.append(json.loads(path.read_text(encoding="utf-8"))[0]["rows"][0]["steps"])
    assert found[0] == found[2] != found[1]


def test_pass_at_k_equals_counting():
    """Over all ways to draw k of n samples: in how many is one of the right ones?"""
    for right in range(6):
        for k in range(1, 6):
            draws = list(itertools.combinations(range(5), k))
            want = sum(min(d) < right for d in draws) / len(draws)
            assert abs(rows.pass_at(k, right, 5) - want) < 1e-12


def test_pass_at_1_is_the_share():
    assert [rows.pass_at(1, right, 5) for right in range(6)] == pytest.approx(
        [0, 0.2, 0.4, 0.6, 0.8, 1])


def test_pass_at_k_does_not_fall_with_k():
    chances = [rows.pass_at(k, 2, 5) for k in range(1, 6)]
    assert chances == sorted(chances), f"pass@1 ... pass@5 of 2 right ones in 5: {chances}"


def test_pass_at_all_is_sure_if_one_is_right():
    chance = rows.pass_at(5, 1, 5)
    assert chance == 1, f"pass@5 of 1 right one in 5 is {chance:.3f}"


def test_a_run_says_at_its_start_how_long_it_will_take(tmp_path, capsys, monkeypatch):
    """After six steps, and again once it goes on; not if nothing is left to do."""
    stops = iter([False, False, True])
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(train, "any_process", lambda asked, device: next(stops))
        run(tmp_path, "--method", "cot", "--steps", "9")
    assert "to go" not in capsys.readouterr().out
    train.main(["--out", str(tmp_path / "run"), "--resume"])
    assert "  1 steps to go, about 00:0" in capsys.readouterr().out
    run(tmp_path, "--method", "cot", "--steps", "9", name="whole")
    assert "  3 steps to go, about 00:0" in capsys.readouterr().out
    run(tmp_path, "--method", "cot", "--steps", "6", name="short")
    assert "to go" not in capsys.readouterr().out


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_shares_that_are_alike_are_not_certain(share):
    """All samples of all 50 problems right: the interval is about as wide as Wilson's."""
    mean, low, high = rows.mean_of([share] * 50)
    assert mean == share and 0 <= low <= share <= high <= 1 and 0.02 < high - low < 0.1
    assert rows.mean_of([0.0, 1.0] * 5000)[1:] == pytest.approx(rows.wilson(5000, 10000), abs=1e-5)


@pytest.mark.parametrize("mine, other", [
    ("1101", "1011"), ("1110", "0010"), ("1111", "0000"), ("0000", "1111"), ("1010", "1010")])
def test_a_comparison_by_pairs_is_a_mean_over_problems(mine, other):
    """Of the differences 1, 0 or -1, beside one 1 and one -1 that are added for the interval."""
    row, base = ({"n": 4, "problems": "p", "right": right} for right in (mine, other))
    difference, low, high = rows.paired(row, base)
    each = [int(a) - int(b) for a, b in zip(mine, other)]
    assert difference == sum(each) / 4
    each += [1, -1]
    sd = torch.tensor(each).double().std(correction=0).item()
    for end, sign in ((low, -1), (high, 1)):
        want = sum(each) / 6 + sign * 1.96 * sd / 6 ** 0.5
        assert end == pytest.approx(min(1, max(-1, want)))
    assert low <= difference <= high
    assert rows.paired(row, base | {"problems": "q"}) is None
    assert rows.paired(row, {"n": 4}) is None and rows.paired({"n": 4}, {"n": 4}) is None


def test_rows_keep_which_problems_were_right(colar_run, tmp_path, capsys):
    """And a second run is compared with the first one where the problems are the same."""
    task, method, _ = runs.load_run(colar_run)
    answers = [task.sample("test", i) for i in range(6)]
    words = [s.answer for s in evaluation.solve_all(method, answers, c=2)]
    row = evaluation.evaluate(method, task, answers, c=2)
    assert row["right"] == "".join(str(int(task.check(e, w))) for e, w in zip(answers, words))
    other = evaluation.evaluate(method, task, answers[::-1], c=2)
    assert other["right"] == row["right"][::-1] and other["problems"] != row["problems"]
    capsys.readouterr()
    evaluation.main([str(colar_run / "cot"), str(colar_run), "--c", "1,2", "--n", "6"])
    text = capsys.readouterr().out.split("on the same problems, by pairs:\n")[1]
    assert re.fullmatch(r"(run c=[12] - cot: [+-]\d+\.\d points \(-.* to \+.*\)\n){2}", text)
    evaluation.main([str(colar_run / "cot"), "--n", "6"])
    evaluation.main([str(colar_run / "cot"), str(colar_run), "--k", "1", "--n", "6"])
    assert "by pairs" not in capsys.readouterr().out


def test_wilson_interval():
    low, high = rows.wilson(8, 10)        # Brown, Cai and DasGupta's formula, by hand
    assert abs(low - 0.4902) < 1e-3 and abs(high - 0.9433) < 1e-3
    assert rows.wilson(10, 10)[1] == 1 and rows.wilson(10, 10)[0] > 0.7
    for n in range(1, 200):
        (low, _), (_, high) = rows.wilson(0, n), rows.wilson(n, n)
        assert f"{low} {high}" == "0.0 1.0"     # no rounding: neither -0.0 nor 1.0000000000000002


def test_the_ends_of_wilson_are_z_standard_errors_away():
    """From an end, not from the share: it is where |share - end| = z sqrt(end (1 - end) / n)."""
    for right, n in ((1, 5), (8, 10), (30, 90)):
        for end in rows.wilson(right, n):
            away, z_errors = abs(right / n - end), 1.96 * math.sqrt(end * (1 - end) / n)
            assert abs(away - z_errors) < 1e-12, (
                f"{right} of {n}: the end {end:.4f} is {away:.4f} away, not {z_errors:.4f}")


def test_the_middle_of_wilson_is_pulled_to_a_half():
    """To the share if z^2 more tries counted, half of them right."""
    z2 = 1.96 ** 2
    for right, n in ((1, 5), (8, 10), (30, 90)):
        middle, want = sum(rows.wilson(right, n)) / 2, (right + z2 / 2) / (n + z2)
        assert abs(middle - want) < 1e-12, (
            f"the middle of {right} of {n} is {middle:.4f}, not {want:.4f}")


def test_wilson_at_z_0_is_the_share():
    low, high = rows.wilson(3, 4, 0)
    assert low == high == 0.75, f"at z = 0 the interval of 3 of 4 is {low:.4f} to {high:.4f}"


def test_help_names_the_flags_of_method_and_task(capsys):
    with pytest.raises(SystemExit) as stop:
        train.main(["--method", "colar", "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "--c-train" in text and "--level" in text and "--lr" in text
