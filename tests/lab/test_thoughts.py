"""One thought at a time becomes another problem's: what a model thinks on, and what it answers."""
import json
import math
from types import SimpleNamespace

import pytest
import torch

import runs
from data.cli import BadInput
from data.common import END, EOS, PAD, SPECIALS, collate
from lab import controls, thoughts
from method import Method
from tests.helpers import DEEP, fails, run, small
from tests.naive import started

THINKERS = [name for name, cls in runs.METHODS.items() if cls.think_on is not Method.think_on]
KNOBS = {"colar": [{"c": 2}, {"c": "auto"}], "assorted": [{}, {"latents": 3}, {"latents": 0}]}
SETTINGS = [(name, knobs) for name in THINKERS for knobs in KNOBS.get(name, [{}])]


def test_who_can_think_on():
    assert THINKERS == ["cot", "icot", "coconut", "codi", "colar", "assorted"]


@torch.no_grad()
def thinker(name, knobs, *argv):
    """A task, an untrained method in float64, problems, and a rollout: numbers of thoughts differ,
    and some rows answer."""
    config, task, method = small(name, "arithmetic", *argv)
    examples = [task.sample("train", i) for i in range(7)]
    batch = collate(examples, method.vocab)
    started(config, method, batch)
    method.eval().double()
    method.args.max_think, method.args.max_answer = 7, 3
    weight = method.model.head.weight.data
    for seed in range(99):
        torch.manual_seed(seed)
        weight.copy_(0.1 * torch.randn_like(weight))        # or it repeats itself
        weight[[END, EOS]] *= 3
        rollout = method.rollout(batch, 1, **knobs)
        n, said = method.thoughts_read(rollout)[2], [s.answer for s in rollout.solved]
        if len(n.unique()) > 1 and sum(map(bool, said)) > 3 and n.bincount()[1:].max() > 2:
            return task, method, examples, rollout
    raise AssertionError("all rows think alike")


@pytest.mark.parametrize("name, knobs, backbone", [
    *((name, knobs, []) for name, knobs in SETTINGS),
    *((name, KNOBS.get(name, [{}])[0], DEEP) for name in ("cot", "coconut", "colar"))])
def test_after_its_own_thoughts_a_row_thinks_and_answers_as_before(name, knobs, backbone):
    """Cut after any thought; other rows in the batch have more of them, or end there."""
    _, method, _, rollout = thinker(name, knobs, *backbone)
    prompt, z, n = method.thoughts_read(rollout)
    for k in range(1, int(n.max()) + 1):
        rows = (n >= k).nonzero()[:, 0]
        solved = method.think_on(prompt[rows], z[rows, :k], **knobs)
        for r, one in zip(rows.tolist(), solved):
            before = rollout.solved[r]
            assert one.answer == before.answer and k + one.n_think == before.n_think, (k, r)


@pytest.mark.parametrize("name, knobs", SETTINGS)
@torch.no_grad()
def test_replacing_equals_a_loop_over_rows(name, knobs, monkeypatch):
    """Thought by thought, each row alone; in batches of 2."""
    monkeypatch.setattr(thoughts, "BATCH", 2)
    _, method, examples, rollout = thinker(name, knobs)
    found = thoughts.alike(examples, *method.thoughts_read(rollout))
    N, M = found.z.shape[:2]
    assert N > 2
    for i in range(M):
        after, on = (thoughts.answered(method, found.prompt, thoughts.replaced(found.z, i, kind),
                                       kind, **knobs)[0] for kind in ("", thoughts.ON))
        for r in range(N):
            prompt = found.prompt[r:r + 1]
            prompt = prompt[prompt != PAD][None]
            own, other = found.z[r].clone(), found.z[r - 1]         # row 0: the last row's
            own[i] = other[i]
            assert after[r] == controls.answers(method, prompt, own[None], torch.tensor([M]))[0]
            assert on[r] == method.think_on(prompt, own[None, :i + 1], **knobs)[0].answer


@pytest.mark.parametrize("c", [2, 5])
@torch.no_grad()
def test_colar_thinks_on_as_a_loop_without_cache(c):
    """From the thoughts of another problem, the whole sequence anew for every thought and word."""
    _, method, examples, rollout = thinker("colar", {"c": c})
    model, E = method.model, method.model.embed.weight
    prompt, z, _ = method.thoughts_read(rollout)
    z = z.roll(1, 0)
    solved = method.think_on(prompt, z[:, :2], c=c)
    for r in range(len(examples)):
        x, n = torch.cat([E[prompt[r][prompt[r] != PAD]], z[r, :2]]), 2
        while n < min(7, 2 * math.ceil(7 / c)):
            h = model(x[None])[0, -1]
            if model.head(h).argmax() == END:
                break
            x, n = torch.cat([x, method.std * method.latent_head.likeliest(h)[None]]), n + 1
        x, words = torch.cat([x, E[[END]]]), []
        while len(words) < 3 and (not words or words[-1] != EOS):
            logits = model.head(model(x[None])[0, -1])
            words.append(1 + int(logits[1:].argmax()))              # never 0, the padding
            x = torch.cat([x, E[words[-1:]]])
        said = method.vocab.decode([i for i in words if i != EOS])
        assert (solved[r].answer, solved[r].n_think) == (said, n - 2)


@pytest.mark.parametrize("name, knobs", SETTINGS)
@torch.no_grad()
def test_another_problem_that_is_the_same_one_changes_nothing(name, knobs):
    task, method, examples, rollout = thinker(name, knobs)
    prompt, z, n = method.thoughts_read(rollout)
    r = max(range(len(n)), key=lambda r: (len(rollout.solved[r].answer) > 0, n[r]))
    found = thoughts.Alike([examples[r]] * 3, prompt[[r] * 3], z[[r] * 3, :int(n[r])])
    rows = thoughts.one_by_one(name, method, task, found, knobs)
    assert len(rows) == 2 * (1 + n[r]) and all(row["same"] == 1 for row in rows)
    assert all(row["donor"] == 0 for row in rows if "donor" in row)     # no answer differs


def test_only_problems_with_as_many_thoughts_take_part():
    z, n = torch.randn(6, 4, 2), torch.tensor([0, 3, 2, 0, 3, 0])
    prompt = torch.arange(6)[:, None]
    found = thoughts.alike(list("abcdef"), prompt, z, n)
    assert found.examples == ["b", "e"] and found.prompt.tolist() == [[1], [4]]
    assert torch.equal(found.z, z[[1, 4], :3])
    assert thoughts.alike(list("abcdef"), prompt, z, n, 2).examples == ["c"]
    changed = thoughts.replaced(found.z, 1, "")
    assert torch.equal(changed[:, 1], found.z[[1, 0], 1])
    assert torch.equal(changed[:, [0, 2]], found.z[:, [0, 2]])
    assert torch.equal(thoughts.replaced(found.z, 1, thoughts.ON), changed[:, :2])


def test_a_run_that_thinks_nothing_is_refused(monkeypatch):
    """As one that learned problems without a chain: there is nothing to replace."""
    _, task, method = small("cot", "arithmetic")
    examples, think = [task.sample("val", i) for i in range(3)], thoughts.think

    def nothing(*args, **knobs):
        prompt, z, n = think(*args, **knobs)
        return prompt, z, torch.zeros_like(n)
    monkeypatch.setattr(thoughts, "think", nothing)
    with pytest.raises(BadInput, match="run: it thinks nothing"):
        thoughts.measure("run", method, task, examples, [{}], SimpleNamespace(k=[], loss=False))


def test_each_thought_has_its_words():
    """Those of a written chain; of a latent as many as it was merged of, all of which can stand in
    a chain."""
    for name, knobs in (("cot", {}), ("coconut", {}), ("colar", {"c": 2})):
        _, method, examples, rollout = thinker(name, knobs)
        for e, n in zip(examples, method.thoughts_read(rollout)[2].tolist()):
            words = thoughts.thought_words(method, e, knobs)
            assert len(words) == n
            latents = " ".join(words[:{"coconut": 2, "colar": n}.get(name, 0)])
            assert not set(latents.split()) & set(SPECIALS)     # an untrained CoT may write those


def test_command(tmp_path, capsys):
    """One command, one table, one figure; a method that cannot think on is refused."""
    folder = str(run(tmp_path, "--method", "coconut", "--steps", "1"))
    out, figure = tmp_path / "rows.json", tmp_path / "thoughts.png"
    thoughts.main([folder, "--n", "6", "--json", str(out), "--plot", str(figure)])
    rows = json.loads(out.read_text(encoding="utf-8"))[0]["rows"]
    M = len(rows) // 2 - 1
    assert [r["knobs"]["thoughts"] for r in rows[:3]] == ["as thought", "replace 1", "replace 2"]
    assert rows[-1]["knobs"]["thoughts"] == f"replace {M}, think on"
    assert all(0 <= r["low"] <= r["accuracy"] <= r["high"] <= 1 for r in rows)
    assert rows[0]["steps"] == M and all("words" in r for r in rows[1:M + 1])
    assert figure.stat().st_size > 10000 and "thoughts=replace 1" in capsys.readouterr().out
    for argv, message in ((["--n", "1"], "no two of these problems have as many thoughts"),
                          (["--n", "4", "--k", "2"], "--k and --loss: of eval.py")):
        assert message in fails([folder, *argv], capsys, thoughts.main)
    for name in ("nocot", "pause"):
        with pytest.raises(BadInput, match="it: it has no thoughts from which it could think on"):
            thoughts.check("it", small(name, "arithmetic")[2])
