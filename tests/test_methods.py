"""Every method on every task through the contracts alone: a new entry is tested with no edit."""
import json
import math

import pytest
import torch

import eval as evaluation
import rl
import runs
from data import script
from data.arithmetic import Arithmetic
from data.cli import Flag
from data.common import END, EOS, PAD, collate
from lab import tables
from method import (RIGHT, Method, Rollout, Solved, column, log_softmax, next_token_loss, pack,
                    split_at, states_before)
from model import GREEDY, Cache
from recurrent import EXITS
from tests.helpers import DEEP, fails, log, results, run, same, shortest, small, telling
from tests.naive import started


def solves(method, task, batch, thinks):
    """Are all answers right at every setting, after thoughts if there should be any?"""
    return all(method.right(task, e, s) and (s.n_think > 0) == thinks for knobs in method.settings()
               for e, s in zip(batch.examples, method.solve(batch, **knobs)))


@pytest.mark.parametrize("name, task_name, argv", [
    *(pytest.param(name, task, [], marks=[] if task in ("arithmetic", "prosqa") else
                   [pytest.mark.slow]) for name in runs.METHODS for task in runs.TASKS),
    *(pytest.param(name, "permutation", DEEP, marks=[] if name in ("cot", "colar") else
                   [pytest.mark.slow]) for name in runs.METHODS)])
def test_overfits_one_batch(name, task_name, argv):
    """After some steps on four problems, `solve` answers all four, at every one of its settings."""
    config, task, method = small(name, task_name, *argv)
    batch = shortest(task, method.vocab)
    method.args.max_think = 2 * batch.chain.shape[1] + 1     # where untrained models stop
    started(config, method, batch)
    thinks = name not in ("nocot", "pause", "icot")
    rate = 3e-3 if argv else 1e-2       # what is iterated does not bear as much
    opt = torch.optim.AdamW(method.parameters(), lr=rate, weight_decay=0.0)
    for step in range(800):
        loss, _ = method.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        if step % 20 == 19 and loss < 1 and solves(method, task, batch, thinks):
            break
    assert solves(method, task, batch, thinks), loss.item()


@pytest.mark.parametrize("name", ["cot", "colar", "assorted"])
def test_what_needs_no_step_is_answered_without_a_thought(name):
    """Of four problems two have no chain: trained on them, a method thinks about the others only,
    where it is the method that decides."""
    config, task, method = small(name, "arithmetic")
    batch = shortest(task, method.vocab)
    for e in batch.examples[::2]:
        e.steps = []
    batch = collate(batch.examples, method.vocab)
    started(config, method, batch)
    method.args.max_think = 40

    def done():
        return all(task.check(e, s.answer) and bool(s.n_think) == bool(e.steps)
                   for knobs in method.settings() if "latents" not in knobs
                   for e, s in zip(batch.examples, method.solve(batch, **knobs)))
    opt = torch.optim.AdamW(method.parameters(), lr=1e-2, weight_decay=0.0)
    for step in range(800):
        method.loss(batch)[0].backward()
        opt.step()
        opt.zero_grad()
        if step % 20 == 19 and done():
            break
    assert done()


@pytest.mark.parametrize("name", runs.METHODS)
@pytest.mark.parametrize("train_on", [True, False])
def test_a_batch_without_any_step(name, train_on):
    """It has a finite loss with a gradient, or none to give, and can be solved; also a single
    problem."""
    _, task, method = small(name, "arithmetic")
    method.train(train_on)
    for n in (1, 3):
        examples = [task.sample("train", i) for i in range(n)]
        for e in examples:
            e.steps = []
        batch = collate(examples, method.vocab)
        loss, parts = method.loss(batch)
        loss.backward()
        assert all(math.isfinite(value) for value in (loss.detach(), *parts.values()))
        assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)
        method.args.max_think = 6
        for knobs in method.settings():
            solved = method.solve(batch, **knobs)
            assert len(solved) == n
            for value in method.extras(examples, solved).values():
                assert math.isfinite(value)


@pytest.mark.parametrize("name", runs.METHODS)
@torch.no_grad()
def test_rows_exit_from_a_loss_as_if_alone(name):
    """On a recurrent backbone with an exit, every call of the model: its padding has no say."""
    argv = ["--replace", "all"] if name == "assorted" else []
    _, task, method = small(name, "arithmetic", *DEEP, "--mean-r", "9", *argv)
    method.eval().double()
    if name == "colar":
        method.c_train = method.c_train[:1]     # no draw
    examples = [task.sample("train", i) for i in range(5)]
    batches = [collate(some, method.vocab) for some in (examples, *([e] for e in examples))]
    for kind in EXITS:
        limit, taken = telling(method, kind, lambda: method.loss(batches[0])), []
        for batch in batches:
            with method.model.using(exit=kind, threshold=limit, taken=[]):
                method.loss(batch)
                taken.append(torch.stack(method.model.taken, 1))        # (B, calls)
        assert torch.equal(taken[0], torch.cat(taken[1:])), kind


@pytest.mark.parametrize("argv", [[], DEEP], ids=["gpt", "recurrent"])
@pytest.mark.parametrize("name", runs.METHODS)
def test_batched_equals_single(name, argv):
    """Solving problems together or one at a time gives the same answers, steps and thoughts."""
    _, task, method = small(name, "arithmetic", *argv)
    method.eval().double()  # an untrained model is close to ties, which float32 breaks either way
    method.args.max_think = 20
    examples = [task.sample("train", i) for i in range(6)]
    for knobs in method.settings():
        together = method.solve(collate(examples, method.vocab), **knobs)
        alone = [method.solve(collate([e], method.vocab), **knobs)[0] for e in examples]
        assert together == alone


# ---- a new one: a class and a line in METHODS ----------------------------------------------------

class Reread(Method):
    """Answers at once, but may read its question several times before.

    question ... question </think> answer <eos>
    """
    FLAGS = {"hint": Flag(0, "words of the chain that it is given in training")}
    KNOBS = {"times": Flag(1, "times that it reads the question", least=1, most=3)}
    ACTIONS = {"word": RIGHT}

    def settings(self):
        return [{"times": 2}, {"times": 1}]

    def prompt(self, batch, times=1):
        return pack(*[batch.question] * times, column(batch.question, END))[0]      # (B, P)

    def loss(self, batch):
        ids, part, _ = pack(self.prompt(batch), batch.chain[:, :self.args.hint], batch.answer)
        loss = next_token_loss(self.model, ids, part == 2)
        return loss, {}

    @torch.no_grad()
    def rollout(self, batch, samples, sample=GREEDY, times=1):
        prompt, room = self.prompt(batch, times), self.args.max_answer
        cache = Cache()
        out = self.model.generate(self.model.embed(prompt), (prompt != PAD).sum(1), cache, EOS,
                                  room, sample, samples)                            # (R, T)
        solved = [Solved(self.vocab.decode(split_at(row, EOS)[0]), times - 1, "")
                  for row in out.tolist()]
        acts = {"prompt": prompt.repeat_interleave(samples, 0), "written": out}
        return Rollout(solved, torch.zeros_like(out[:, 0]), acts, {})

    def log_probs(self, rollout):
        ids = rollout.acts["written"]
        wrote = ids != PAD
        h = states_before(self.model, rollout.acts["prompt"], self.model.embed(ids), wrote.sum(1))
        logp = log_softmax(self.model, h).gather(2, ids[..., None])[..., 0]         # (R, T)
        return {"word": (logp, wrote, None)}


@pytest.fixture
def reread(monkeypatch):
    monkeypatch.setitem(runs.METHODS, "reread", Reread)


def reinforce(argv):
    script.command(rl.parse, rl.run, "rl.py", argv)


@pytest.mark.usefixtures("reread")
def test_a_new_method_is_trained_measured_tabulated_and_reinforced(tmp_path, monkeypatch, capsys):
    """With a flag whose default is 0, and a knob, that no other file knows."""
    plain, out = run(tmp_path, "--method", "reread", name="plain"), str(tmp_path / "run")
    run(tmp_path, "--method", "reread", "--hint", "2")
    assert runs.load(plain)["config"]["hint"] == 0 and runs.load(out)["config"]["hint"] == 2
    assert [row["knobs"] for row in results(plain)["rows"]] == [{"times": 2}, {"times": 1}]
    for argv, message in (
            (["--hint", "-1"], "--hint -1: must be at least 0"),
            (["--hints", "1"], "unknown flag --hints (nearest: --hint)"),
            (["--times", "2"], "unknown flag --times")):
        assert message in fails(["--method", "reread", *argv], capsys)

    table = tmp_path / "table.json"
    evaluation.main([out, "--times", "1,3", "--n", "4", "--json", str(table)])
    rows = json.loads(table.read_text(encoding="utf-8"))[0]["rows"]
    assert [(row["knobs"]["times"], row["steps"]) for row in rows] == [(1, 0), (3, 2)]
    for argv, message in (
            (["--times", "4"], "--times 4: must be at most 3"),
            (["--times", "one"], "'one' is no whole number"),
            (["--tims", "2"], "unknown flag --tims (nearest: --times)"),
            (["--c", "2"], "--c: none of these runs has this knob")):
        assert message in fails([out, *argv], capsys, evaluation.main)
    with pytest.raises(SystemExit):
        evaluation.main(["--help"])
    assert "times that it reads the question" in " ".join(capsys.readouterr().out.split())

    monkeypatch.setattr(
        Arithmetic, "check", lambda self, example, words: len(" ".join(words)) % 2)
    reinforce([out, "--steps", "2", "--batch", "4", "--threads", "1", "--val-n", "2",
               "--test-n", "2", "--times", "3", "--learn", "word"])
    assert not same(runs.load(out)["method"], runs.load(out + "-rl")["method"])
    rows = [row for row in log(tmp_path / "run-rl") if "reward" in row]
    assert [row["steps"] for row in rows] == [2, 2] and any("kl" in row for row in rows)
    for argv, message in (
            (["--times", "0"], "--times 0: must be at least 1"),
            (["--r", "2"], "unknown knob of reread 'r'"),
            (["--learn", "words"], "unknown kind of action 'words' (nearest: word)")):
        argv = [out, *argv, "--out", str(tmp_path / "none")]
        assert message in fails(argv, capsys, reinforce)

    names = [row["name"] for row in tables.pool([table, tmp_path / "run-rl" / "results.json"])]
    assert "reread times=1 --hint 2" in names
    assert any(name.startswith("reread+rl times=3 k=1 --hint 2") for name in names), names


def test_two_flags_of_one_name_are_an_error_that_names_both(reread, tmp_path, monkeypatch):
    """Those of a run, of rl.py, and knobs on the command line of eval.py."""
    argv, own = ["--method", "reread", "--task", "maze"], Reread.FLAGS
    for name, owner in (("lr", "every run"), ("task", "every run"), ("level", "the task maze"),
                        ("mean_r", "the backbone recurrent")):
        monkeypatch.setattr(Reread, "FLAGS", own | {name: Flag(0, "another")})
        with pytest.raises(ValueError, match=f"{name}: declared by {owner} and by the method rere"):
            runs.parse([*argv, "--backbone", "recurrent"])
    monkeypatch.setattr(Reread, "FLAGS", own | {"eps": Flag(0, "another")})
    folder = str(run(tmp_path, "--method", "reread"))
    with pytest.raises(ValueError, match="eps: declared by the method reread and by rl.py"):
        rl.parse([folder])
    for name, owner in (("n", "eval.py"), ("k", "eval.py"), ("c", "colar.CoLaR")):
        monkeypatch.setattr(Reread, "KNOBS", {name: Flag(0, "another")})
        with pytest.raises(ValueError, match=f"{name}: declared by {owner} and by .*Reread"):
            evaluation.parse([folder], "eval.py", "")


def test_a_knob_that_two_methods_declare_alike_is_one(reread, monkeypatch):
    monkeypatch.setattr(Reread, "KNOBS", runs.METHODS["colar"].KNOBS)
    _, given = evaluation.parse(["folder", "--c", "auto,2"], "eval.py", "")
    assert given == {"c": ["auto", 2]}
