"""Interventions on thoughts, and the probe of what they hold."""
import json
import math

import pytest
import torch

import eval as evaluation
import runs
import train
from data.common import END, EOS, PAD, PAUSE, THINK
from lab import controls
from method import Method, Rollout
from tests.helpers import fails, small


def thoughts(n=(2, 0, 3, 2), M=4, C=5):
    """Distinct random thoughts, nonsense after the n of each row."""
    z = torch.randn(len(n), M, C, generator=torch.Generator().manual_seed(1))
    return z, torch.tensor(n)


def change(name, z, n):
    return controls.INTERVENTIONS[name](z, n, torch.Generator().manual_seed(0))


def test_swapped_thoughts_come_from_a_row_with_as_many():
    z, n = thoughts((2, 3, 2, 3, 2))
    donor = controls.donors(n)
    assert sorted(donor.tolist()) == list(range(5)) and not any(donor == torch.arange(5))
    changed, count = change("swap", z, n)
    assert torch.equal(changed, z[donor]) and torch.equal(count, n[donor])
    assert (count == n).sum() == 3      # two groups in a ring: each row but two finds its like


def test_nobody_is_its_own_donor():
    donor = controls.donors(torch.tensor([2, 3, 2, 3, 2])).tolist()
    own = [row for row in range(5) if donor[row] == row]
    assert not own, f"rows {own} of 5 get their own thoughts"


def test_everybody_gives_once():
    donor = controls.donors(torch.tensor([2, 3, 2, 3, 2])).tolist()
    assert sorted(donor) == list(range(5)), f"the donors of 5 rows are {donor}"


def test_most_donors_have_as_many_thoughts():
    """Of two numbers of thoughts, two rows at most get another number."""
    n = [2, 3, 2, 3, 2]
    given = [n[i] for i in controls.donors(torch.tensor(n)).tolist()]
    assert sum(map(int.__eq__, given, n)) >= 3, f"rows with {n} thoughts get {given}"


def test_shuffled_thoughts_are_the_same_in_another_order():
    z, n = thoughts((7, 3, 0), M=8)
    changed, count = change("shuffle", z, n)
    assert torch.equal(count, n) and not torch.equal(changed[0], z[0])
    for before, after, k in zip(z, changed, n):
        assert sorted(before[:k].tolist()) == sorted(after[:k].tolist())


def test_noise_keeps_every_norm_and_nothing_else():
    z, n = thoughts()
    changed, _ = change("noise", z, n)
    torch.testing.assert_close(changed.norm(dim=-1), z.norm(dim=-1))
    assert torch.cosine_similarity(changed, z, dim=-1).abs().max() < 0.99
    assert not change("zero", z, n)[0].any()
    assert change("half", z, n)[1].tolist() == [1, 0, 1, 1]
    assert change("none", z, n)[1].tolist() == [0, 0, 0, 0]


def rollout_of(written, prompt, **acts):
    acts |= {"written": torch.tensor(written), "prompt": torch.tensor(prompt)}
    return Rollout([], torch.zeros(len(written)), acts, {})


def test_thoughts_of_words_end_at_think_or_eos():
    _, _, method = small("cot", "arithmetic")
    prompt, z, n = method.thoughts_read(rollout_of(
        [[20, 21, END, 22, EOS], [20, EOS, 0, 0, 0], [20, 21, 22, 23, 24], [END, 20, EOS, 0, 0]],
        [[30, 31, THINK], [30, THINK, PAD], [30, 31, THINK], [30, 31, THINK]]))
    assert n.tolist() == [2, 1, 5, 0] and prompt[1].tolist() == [30, THINK, PAD]
    assert torch.equal(z[0, :2], method.model.embed(torch.tensor([20, 21])))
    assert torch.equal(z[2], method.model.embed(torch.tensor([20, 21, 22, 23, 24])))


def test_pauses_and_continuous_thoughts_come_before_words():
    _, _, method = small("pause", "arithmetic", "--pauses", "2")
    two = [THINK, PAUSE, PAUSE]
    prompt, z, n = method.thoughts_read(rollout_of([[20, END, 21], [END, 21, EOS]],
                                             [[30, *two], [31, *two]]))
    assert prompt.tolist() == [[30, THINK], [31, THINK]] and n.tolist() == [3, 2]
    assert torch.equal(z[0], method.model.embed(torch.tensor([PAUSE, PAUSE, 20])))
    _, _, method = small("coconut", "arithmetic", "--latents", "2")
    latent = torch.randn(2, 2, 32)
    prompt, z, n = method.thoughts_read(rollout_of([[20, END, 21], [END, 21, EOS]],
                                             [[30, 32, THINK], [31, THINK, PAD]], z=latent))
    assert n.tolist() == [3, 2] and torch.equal(z[:, :2], latent)
    assert torch.equal(z[0, 2], method.model.embed.weight[20])


@pytest.mark.parametrize("name", [
    name for name, cls in runs.METHODS.items() if cls.thoughts_read is not Method.thoughts_read])
def test_answers_to_unchanged_thoughts_equal_a_loop_without_cache(name):
    """For every method that has thoughts: prompt, thoughts and </think> read anew, word by word."""
    _, task, method = small(name, "arithmetic")
    method.eval().double()
    method.args.max_think, method.args.max_answer = 6, 3
    examples = [task.sample("train", i) for i in range(5)]
    prompt, z, n = controls.think(method, examples, **method.settings()[-1])
    found, embed = controls.answers(method, prompt, z, n), method.model.embed.weight
    assert n.any()
    for row in range(5):
        words = [method.model.embed(prompt[row][prompt[row] != PAD]), z[row, :n[row]], embed[[END]]]
        x, said = torch.cat(words), []
        while len(said) < 3 and (not said or said[-1] != EOS):
            logits = method.model.head(method.model(x[None])[0, -1])
            logits[PAD] = -math.inf
            said.append(int(logits.argmax()))
            x = torch.cat([x, embed[said[-1:]]])
        assert found[row] == method.vocab.decode([i for i in said if i != EOS])


def test_colar_answers_the_same_when_its_thoughts_are_read_again():
    _, task, method = small("colar", "arithmetic")
    method.eval().double()
    method.args.max_think = 6
    examples = [task.sample("train", i) for i in range(5)]
    solved = evaluation.solve_all(method, examples, c=2)
    method.eval()
    found = controls.answers(method, *controls.think(method, examples, c=2))
    assert found == [s.answer for s in solved]


def test_the_result_is_the_last_word_that_varies():
    class E:
        def __init__(self, *steps):
            self.steps = [step.split() for step in steps]
    assert controls.result_place([E("a = 3 .", "b = 4 ."), E("c = 5 .")]) == 1
    assert controls.result_place([E("Tom cat", "cat dog")]) == 0


def test_probe_is_ridge_regression():
    """Equal to the normal equations with an unpenalised offset; perfect where classes are lines."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 6, generator=generator, dtype=torch.double)
    y = (x[:, 1] > 0).long() + 2 * (x[:, 2] > 1)
    predict = controls.fit(x, y, 4)
    u = (x - x.mean(0)) / x.std(0)
    a = torch.cat([u, torch.ones(200, 1)], 1)
    penalty = torch.diag(torch.tensor([1.0] * 6 + [0.0], dtype=torch.double))
    w = torch.linalg.solve(a.T @ a + penalty, a.T @ torch.nn.functional.one_hot(y, 4).double())
    assert torch.equal(predict(x), (a @ w).argmax(1))
    assert (controls.fit(x, (x[:, 1] > 0).long(), 2)(x) == (x[:, 1] > 0)).double().mean() > 0.95


def test_probe_reads_a_planted_result_and_nothing_else():
    """Step 1 stands in the state after thought 1, step 2 nowhere; too few rows give no number."""
    generator = torch.Generator().manual_seed(0)
    parts = []
    for rows in (400, 100):
        target = torch.randint(4, (rows, 2), generator=generator)
        h = torch.randn(rows, 3, 8, generator=generator, dtype=torch.double)
        h[:, 1, :4] += 9 * torch.nn.functional.one_hot(target[:, 0], 4)
        n = torch.full((rows,), 1)
        n[:20] = 2
        parts.append((h, n, target))
    hit, base = controls.score(*parts, 1, 0, 4)
    assert hit == 1 and base < 0.5
    for i, j in ((0, 0), (0, 1), (1, 1)):
        assert controls.score(*parts, i, j, 4)[0] < 0.45
    assert controls.score(*parts, 2, 0, 4) is None


def test_command(tmp_path, capsys, monkeypatch):
    """One command, one table, one figure; a method without thoughts is refused."""
    monkeypatch.setattr(controls, "FEWEST", 3)
    runs = []
    for name in ("coconut", "nocot"):
        runs.append(str(tmp_path / name))
        flags = ["--size", "nano", "--steps", "3", "--test-n", "4", "--task", "prosqa"]
        train.main(["--method", name, *flags, "--out", runs[-1]])
    out, figure = tmp_path / "rows.json", tmp_path / "controls.png"
    controls.main([runs[0], "--n", "8", "--json", str(out), "--plot", str(figure)])
    rows = json.loads(out.read_text(encoding="utf-8"))[0]["rows"]
    assert [r["knobs"]["thoughts"] for r in rows] == list(controls.INTERVENTIONS)
    assert rows[0]["same"] == 1 and "donor" in rows[1] and len(rows[0]["probe"][0]) > 6
    assert rows[-1]["steps"] == 0 and figure.stat().st_size > 10000
    assert "thoughts=swap" in capsys.readouterr().out
    monkeypatch.undo()
    controls.main([runs[0], "--n", "8"])
    assert "too few for the probe" in capsys.readouterr().out
    for argv, message in (([runs[1]], "has no thoughts to change"),
                          ([runs[0], "--k", "2"], "--k and --loss: of eval.py"),
                          ([runs[0], "--n", "1"], "a single problem: there is no other one")):
        assert message in fails(["--n", "8", *argv], capsys, controls.main)
