"""The answer that most samples of a run, or of several runs, give."""
import json
import zlib

import pytest
import torch

import eval as evaluation
import rl
from data import script
from data.arithmetic import Arithmetic
from data.common import first_problems
from lab import tables, vote
from model import GREEDY
from runs import load_run
from tests.helpers import fails, run

K = 5


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two runs of one kind; untrained, so that samples differ."""
    folder = tmp_path_factory.mktemp("vote")
    return [str(run(folder, "--method", "cot", "--seed", str(seed), "--steps", "2",
                    name=f"s{seed}")) for seed in (0, 1)]


@pytest.mark.parametrize("votes, want", [
    (["a", "b", "b"], "b"), (["b", "a"], "b"), (["", "", "a"], "a"), (["", ""], ""), ([], ""),
    (["a", "b", "b", "a"], "a")])
def test_most_votes_win_and_the_first_of_several(votes, want):
    """What could not be computed is no answer, however often."""
    assert vote.winner([tuple(v) for v in votes]) == tuple(want)


def test_rows_count_the_first_samples_of_each_run(pair, tmp_path, capsys, monkeypatch):
    """Of one run and of both: counted again, problem by problem, from their ballots. No answer of
    an untrained model is right: in place of that, one in two answers is said to be."""
    monkeypatch.setattr(Arithmetic, "check", lambda self, example, words: zlib.crc32(
        " ".join(words).encode()) % 2 == 0)
    path = tmp_path / "vote.json"
    vote.main([*pair, "--k", f"0,2,2,{K}", "--n", "12", "--seed", "3", "--json", str(path)])
    found = json.loads(path.read_text(encoding="utf-8"))
    assert "all vote=5 runs=2" in capsys.readouterr().out
    assert [one["config"]["seed"] for one in found] == [0, 1, 0]
    rows = [row for one in found for row in one["rows"]]
    assert [row["knobs"] for row in rows] == [
        {"vote": k, **more} for more in ({}, {}, {"runs": 2}) for k in (0, 2, K)]
    assert len(tables.by_seed([path])) == 6         # two runs under one name, and both together
    members = []
    for folder in pair:
        task, method, _ = load_run(folder)
        examples = first_problems(task, "test", 12)
        sample = vote.Sampler(0.7, generator=torch.Generator().manual_seed(3))
        greedy = vote.ballots(method, task, examples, 1, GREEDY)[0]
        members.append((greedy, vote.ballots(method, task, examples, K, sample)[0]))
    both = [[a + b for a, b in zip(*kind)] for kind in zip(*members)]
    want = []
    for greedy, sampled in [*members, (both[0], None)]:
        for k in (0, 2, K):
            if sampled is None and k:
                some = [a[:k] + b[:k] for a, b in zip(members[0][1], members[1][1])]
            else:
                some = [mine[:k] for mine in sampled] if k else greedy
            want.append("".join("01"[task.check(e, list(vote.winner(mine)))]
                                for e, mine in zip(examples, some)))
    assert [row["right"] for row in rows] == want and len(set(want)) > 5


def test_greedy_votes_are_the_greedy_answers(pair, tmp_path):
    task, method, _ = load_run(pair[0])
    examples = first_problems(task, "test", 12)
    votes, steps = vote.ballots(method, task, examples, 1, GREEDY)
    solved = evaluation.solve_all(method, examples)
    assert [list(mine[0]) for mine in votes] == [one.answer for one in solved]
    assert steps == sum(one.n_think for one in solved) / 12


def test_who_cannot_vote(pair, tmp_path, capsys):
    argv = "--method", "nocot", "--task", "permutation", "--steps", "1"
    other = run(tmp_path, *argv, name="other")
    codes = run(tmp_path, "--method", "vqvae", "--codes", "64", "--steps", "1", name="codes")
    for folders, line in (([pair[0], other], "these runs answer other problems"),
                          ([codes], "vqvae has nothing to sample"),
                          ([pair[0], pair[1], pair[0]], "given 2 times, but it has one vote"),
                          ([tmp_path / "none"], "not a run folder")):
        assert line in fails([*map(str, folders), "--n", "4", "--k", "1"], capsys, vote.main)


def test_a_run_votes_as_what_it_is(pair, tmp_path):
    """A reinforced one is called so; CoLaR thinks at a speed that it was trained at."""
    out = tmp_path / "slow"
    run(tmp_path, "--method", "colar", "--init", pair[0], "--c-train", "3,1", "--steps", "1",
        name="slow")
    script.command(rl.parse, rl.run, "rl.py", [str(out), "--steps", "1", "--batch", "2",
                                               "--samples", "2", "--test-n", "2", "--threads", "1"])
    path = tmp_path / "vote.json"
    vote.main([str(out), f"{out}-rl", "--n", "2", "--k", "0", "--json", str(path)])
    rows = [row for one in json.loads(path.read_text(encoding="utf-8")) for row in one["rows"]]
    assert [row["method"] for row in rows] == ["colar", "colar+rl", "colar"]
    assert [row["knobs"] for row in rows] == [
        {"c": 3, "vote": 0}, {"c": 3, "vote": 0}, {"c": 3, "vote": 0, "runs": 2}]
    task, method, _ = load_run(out)
    examples = first_problems(task, "test", 2)
    solved = evaluation.solve_all(method, examples, c=3)
    assert rows[0]["steps"] == sum(one.n_think for one in solved) / 2
