"""Flags that have no effect where they are given: they are named, and they have none indeed."""
import pytest
import torch

import look
import runs
import sweep
from data.common import collate
from lab import bench, curves, vote
from tests.helpers import small, write_records

PAIRS = [   # a command line; a flag without effect there; the flag that is why
    ("--method pause", "--stages 5", "--curriculum none"),
    ("--method icot", "--stages 5", "--curriculum tokens"),
    ("--method assorted --replace all", "--mixtures 2", "--replace all"),
    ("--method assorted --replace curriculum", "--mixtures 2", "--replace curriculum"),
    ("--method colar --head deterministic", "--sigma-min 1.0", "--head deterministic"),
    ("--method nocot --backbone recurrent --parts 1,1,1", "--layers 9", "--parts 1,1,1"),
    ("--method cot --task permutation", "--no-prefixes", "--method cot"),
    ("--method cot", "--first-steps 7", "--method cot"),
    ("--method colar --init RUN", "--first-steps 7", "--init RUN")]
ACTIVE = [  # the same flags where they have one
    "--method coconut --stages 5", "--method pause --curriculum steps --stages 5",
    "--method assorted --mixtures 2", "--method assorted --replace poisson --mixtures 2",
    "--method colar --sigma-min 1.0", "--method nocot --backbone recurrent --layers 9",
    "--method nocot --task permutation --no-prefixes", "--method colar --first-steps 7",
    "--task gsm8k --sizes --variants 7", "--task gsm8k --method colar --variants 7"]


def said(argv, capsys):
    """What the parsing of a command line of train.py prints."""
    runs.parse(argv.split())
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("argv, flag, why", PAIRS)
def test_a_flag_without_effect_is_named(argv, flag, why, capsys):
    assert said(f"{argv} {flag}", capsys) == [f"train.py: {flag} has no effect with {why}"]
    assert said(argv, capsys) == []


@pytest.mark.parametrize("argv", ACTIVE)
def test_a_flag_with_an_effect_is_not_named(argv, capsys):
    assert said(argv, capsys) == []


@pytest.mark.parametrize("argv, flag", [pair[:2] for pair in PAIRS])
def test_a_flag_that_is_named_has_no_effect(argv, flag):
    """Not on the weights at the start, and not on the loss of training problems."""
    method, task = argv.split()[1], "permutation" if "permutation" in argv else "arithmetic"
    found = []
    for more in ([], flag.split()):
        _, task_of, made = small(method, task, *argv.split()[2:], *more)
        made.progress = 0.5
        torch.manual_seed(1)
        batch = collate([task_of.sample("train", i) for i in range(3)], made.vocab)
        found.append((made.loss(batch)[0].item(), sum(p.numel() for p in made.parameters())))
    assert found[0] == found[1]


@pytest.mark.parametrize("method", runs.METHODS)
@pytest.mark.parametrize("task", [name for name in runs.TASKS if name != "own"])
def test_defaults_are_never_named(method, task, capsys):
    for backbone in runs.BACKBONES:
        assert said(f"--method {method} --task {task} --backbone {backbone}", capsys) == []


@pytest.mark.parametrize("task, flag", [
    ("permutation", "--grow 9"), ("permutation", "--moves 9"), ("prosqa", "--balanced"),
    ("prontoqa", "--debiased"), ("arithmetic", "--chain short"), ("gsm8k", "--word-dropout 0.4"),
    ("gsm8k", "--told 0.5"), ("gsm8k", "--mix 0.5"), ("gsm8k", "--asked 0.3")])
def test_how_problems_are_drawn_says_nothing_of_a_file(task, flag, tmp_path, capsys):
    path = write_records(tmp_path / "a.json", [])
    argv = f"--method cot --task {task} {flag}"
    assert said(argv, capsys) == []
    assert said(f"{argv} --data {path}", capsys)[0].startswith(f"train.py: {flag} has no effect")


def test_a_sweep_names_a_flag_once(tmp_path, monkeypatch, capsys):
    """Of its own runs, however many there are, and not of the stages that they start from."""
    monkeypatch.setattr(sweep, "work", lambda left, at_once: [])
    monkeypatch.chdir(tmp_path)
    sweep.main("--size nano --method pause --curriculum none steps --stages 3 5 --seed 0 1".split())
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "no effect" in line] == [
        "sweep.py: --stages 5 has no effect with --curriculum none"]


def test_flags_of_other_scripts(tmp_path, capsys):
    def names(parse, argv):
        with pytest.raises(SystemExit):
            parse([*argv.split(), "--no-such-flag"])
        try:
            parse(argv.split())
        except SystemExit:
            pass
        return [line for line in capsys.readouterr().out.splitlines() if "no effect" in line]
    assert names(vote.parse, "RUN --k 0 --temperature 0.5 --seed 3") == [
        "lab.vote: --temperature 0.5 has no effect with --k 0",
        "lab.vote: --seed 3 has no effect with --k 0"]
    assert not names(vote.parse, "RUN --k 0,4 --temperature 0.5 --seed 3")
    assert names(look.main, "--n 50 --methods-only") == [
        "look.py: --n 50 has no effect without RUN"]
    assert names(look.main, "--c 5 --methods-only") == [
        "look.py: --c 5 has no effect with --methods-only"]
    assert names(bench.arguments, "--profile cot --methods colar") == [
        "lab.bench: --methods colar has no effect with --profile cot"]
    assert names(curves.main, f"RUN --csv {tmp_path}/a.csv --y ce") == [
        "lab.curves: --y ce has no effect without --plot"]
