"""The page of look.py shows what the methods' own code makes of a problem."""
import math
import re

import pytest
import torch

import look
import runs
from data.common import collate
from lab import picture, thoughts
from lab.examples import main as print_example
from method import can
from tests.helpers import DEEP, fails, run, small
from tests.naive import started


def opened(name, task="arithmetic", *argv):
    """Config, task, method in float64 and three problems of validation."""
    config, task, method = small(name, task, *argv)
    examples = [task.sample("val", i) for i in range(3)]
    started(config, method, collate(examples, method.vocab))
    return config, task, method.eval().double(), examples


@pytest.mark.parametrize("backbone", [[], DEEP], ids=["gpt", "recurrent"])
@pytest.mark.parametrize("name", runs.METHODS)
@torch.no_grad()
def test_what_is_shown_at_each_place_adds_up_to_the_loss(name, backbone):
    """The mean cross-entropy, that above the floor, and the mean error of the latents."""
    argv = ["--head", "deterministic"] if name == "colar" else []
    argv += ["--mixtures", "1"] if name == "assorted" else []
    _, task, method, examples = opened(name, "arithmetic", *argv, *backbone)
    if name == "coconut":
        method.progress = 0.4       # two latents before the rest of the chain
    for e in examples:
        e.prefixes = ()             # nocot alone trains on those, too
        batch, knobs = collate([e], method.vocab), method.shown()
        torch.manual_seed(0)
        layout, found = look.places(method, batch, knobs)
        torch.manual_seed(0)
        c = [torch.tensor([[knobs["c"]]])] if knobs.get("c") else []
        loss, parts = method.loss(batch, *c)
        ce = sum(p.ce for p in found) / len(found)
        names = {"colar": "ce", "vqvae": "ce", "codi": "student"}
        assert ce == pytest.approx(float(parts.get(names.get(name), loss)), abs=1e-6)
        if name == "colar":
            excess = sum(p.ce - p.floor for p in found) / len(found)
            assert excess == pytest.approx(float(parts["excess"]), abs=1e-6)
            labels = [p.label for p in found if p.label not in ("</think>", "<eos>")]
            assert labels == [" ".join(g) for g in method.true_groups(e, c=2)] + e.answer
            assert [p.error is None for p in found] == [False] * (len(labels) - 1) + [True] * 3
            same = method.layout(batch, torch.tensor([[2]]))
            assert all(torch.equal(t, same[i]) for (_, t), i in zip(layout, (0, 1, 3, 4)))


@torch.no_grad()
def test_the_loss_of_a_page_is_that_of_its_layout(capsys):
    """Of Token Assorted one mixture is shown, where training has five."""
    config, _, method, examples = opened("assorted")
    found = look.learning(config, method, examples[0], method.shown())
    said = float(re.search(r"THE LOSS  ([\d.]+)", capsys.readouterr().out)[1])
    assert said == pytest.approx(sum(p.ce for p in found) / len(found), abs=1e-3)


@pytest.mark.parametrize("task", runs.TASKS)
@torch.no_grad()
def test_rows_hold_the_chain_and_count_the_calls(task):
    config, _, method, examples = opened("colar", task)
    for e in examples:
        chain = sum(e.steps, [])
        rows = {row.name: row for row in picture.methods_rows(config, method, e)}
        texts = {name: [text for text, _ in row.boxes] for name, row in rows.items()}
        assert texts["CoT"] == texts["recurrent depth"] == chain
        assert rows["recurrent depth"].calls == f"{len(chain)} x 8"
        for name in ("CoLaR c=2", "CoLaR c=5", "Token Assorted"):
            boxes = [text for text in texts[name] if text not in ("<boLatent>", "<eoLatent>")]
            assert " ".join(boxes).split() == chain
        for c in (2, 5):        # no group spans two steps
            n = sum(math.ceil(len(step) / c) for step in e.steps)
            assert len(texts[f"CoLaR c={c}"]) == n
        assert texts["no CoT"] == [] and texts["pause tokens"] == ["<pause> x 16"]
        assert texts["Coconut"] == texts["CODI"] == [f"z{i}" for i in range(1, 7)]
        left = texts["iCoT"]
        assert left == chain[len(chain) - len(left):] and len(left) < len(chain)
        for name, row in rows.items():
            given = sum(kind == "given" for _, kind in row.boxes)
            assert name == "recurrent depth" or int(row.calls) == len(row.boxes) - given
        codes = sum(kind == "code" for _, kind in rows["Token Assorted"].boxes)
        assert codes == round(n / 2)            # of n chunks of 5 words


@pytest.mark.parametrize("name", ["vqvae", "assorted"])
@torch.no_grad()
def test_codes_of_a_run_have_their_numbers(name):
    config, _, method, examples = opened(name)
    method.float()      # the precision of the picture: two codes may be equally near but for it
    vqvae = getattr(method, "vqvae", method)
    code = vqvae.codes(collate(examples[:1], method.vocab))[1][0].tolist()
    boxes = picture.mixture(config, method, examples[0])
    shown = [int(re.match(r"<z(\d+)>", text)[1]) for text, kind in boxes if kind == "code"]
    assert shown == code[:len(shown)] and shown


def page(capsys, *argv):
    look.main([*map(str, argv)])
    return capsys.readouterr().out


def test_the_page_of_an_untrained_model(capsys, monkeypatch):
    """It knows its chain, and no problem of the test is looked at."""
    asked, first = [], look.first_problems
    monkeypatch.setattr(look, "first_problems",
                        lambda task, split, n: asked.append(split) or first(task, split, n))
    text = page(capsys)
    assert asked == ["val"] and "left of" not in text
    heads = ["THE CHAIN", "THE LAYOUT of colar", "PREDICTED", "THE LOSS", "THOUGHTS"]
    assert [head for head in heads if head in text] == heads
    config = runs.parse(look.UNTRAINED)
    example = runs.make_task(config).sample("val", 0)
    assert " ".join(example.question) in " ".join(text.split())
    B, T = 1, len(example.question) + 1 + 1 + len(sum(example.steps, [])) + 1 + 2
    assert f"ids   ({B}, {T})" in text and "excess" in text


def test_the_page_of_a_run(tmp_path, capsys):
    """Thoughts beside the true ones, what is left without each, a picture; another speed."""
    folder = run(tmp_path, "--method", "colar", "--first-steps", "1", "--steps", "1")
    figure = tmp_path / "page.png"
    text = page(capsys, folder, "--index", 1, "--n", 9, "--plot", figure)
    assert "left of" in text and figure.stat().st_size > 20000
    text = page(capsys, folder, "--c", "auto", "--n", 4)
    assert re.match(rf"{re.escape(str(folder))}: colar on arithmetic c=[12345]\n", text)
    short = page(capsys, "--methods-only", "--plot", figure)
    assert "THE CHAIN" in short and "THOUGHTS" not in short
    for argv, message in (
            (["--latents", "3"], "unknown knob of colar 'latents'"),
            (["--exit", "kl"], "unknown knob of colar 'exit'"),
            (["--index", "-1"], "--index -1: must be at least 0"),
            (["--plot", "page.txt"], "must end in .png, .pdf or .svg"),
            (["--c", "10"], "--c 10: must be at most 9")):
        assert message in fails([str(folder), *argv], capsys, look.main)
    assert "not a run folder" in fails([str(tmp_path / "none")], capsys, look.main)


@pytest.mark.parametrize("right, times", [(False, 1), (True, 1 + 1 + 3)])
@torch.no_grad()
def test_thoughts_without_end_are_not_all_replaced(right, times, capsys, tmp_path, monkeypatch):
    """Only the first ones that the page shows, and none if no answer is right."""
    config, task, method, examples = opened("assorted")
    method.args.max_think = 12
    monkeypatch.setattr(thoughts, "SHOWN", 3)
    monkeypatch.setattr(task, "check", lambda example, words: right, raising=False)
    calls, think_on = [], type(method).think_on
    monkeypatch.setattr(type(method), "think_on", lambda self, prompt, z, **knobs: calls.append(
        z.shape[1]) or think_on(self, prompt, z, **knobs))
    args = look.SimpleNamespace(run="RUN", question="", methods_only=False, n=6,
                                plot=str(tmp_path / "page.svg"))
    look.page(args, config, task, method, examples[0], {}, {})
    assert calls == [1, 1, 1, 2, 3][:times]
    assert f"left of {100 * right}%" in capsys.readouterr().out
    assert (tmp_path / "page.svg").exists()


@pytest.mark.parametrize("name", runs.METHODS)
@torch.no_grad()
def test_every_method_has_a_page(name, capsys, tmp_path):
    config, task, method, examples = opened(name)
    method.args.max_think = 6
    args = look.SimpleNamespace(run="RUN", question="", methods_only=False, n=6,
                                plot=str(tmp_path / "page.svg"))
    look.page(args, config, task, method, examples[0], method.shown(), {})
    text = capsys.readouterr().out
    assert f"THE LAYOUT of {config['method']}" in text and "THOUGHTS" in text
    assert can(method, "think_on") or "left of" not in text
    assert (tmp_path / "page.svg").exists()


def test_a_question_of_ones_own(capsys):
    """No chain is known of it: thoughts and an answer, no layout, no loss."""
    text = page(capsys, "--question", "Ann has 8 . how many does Ann have ?")
    assert "is not known" in text and "THOUGHTS" in text and "it answers" in text
    assert "THE CHAIN" not in text and "THE LOSS" not in text and "WRONG" not in text
    for argv, message in (
            (["--question", "Zoe has 8 ."], "'Zoe' is no word"),
            (["--question", "Ann <eos>"], "'<eos>' is no word"),
            (["--question", "Ann", "--plot", "page.png"], "its chain, which a picture shows"),
            (["--question", "Ann", "--methods-only"], "its chain, which a picture shows")):
        assert message in fails(argv, capsys, look.main)


@pytest.mark.parametrize("numbers", ["digits", "slots"])
def test_a_question_in_free_english(numbers, tmp_path, capsys):
    """With rare words, capitals and numbers: a run of GSM8K cuts it like any other text."""
    out = run(tmp_path, "--task", "gsm8k", "--method", "cot", "--numbers", numbers)
    capsys.readouterr()
    look.main([str(out), "--question", "Zoe has 8 yaks and two jars. How many jars?"])
    text = capsys.readouterr().out
    said = {"digits": "has 8", "slots": "has n0"}[numbers]
    assert said in text and "it answers" in text and "WRONG" not in text
    assert "it has no words" in fails([str(out), "--question", " "], capsys, look.main)


@torch.no_grad()
def test_a_problem_without_steps_has_a_page(capsys, tmp_path):
    for name in ("colar", "vqvae", "assorted", "cot"):
        config, task, method, examples = opened(name)
        examples[0].steps = []
        args = look.SimpleNamespace(run=None, question="", methods_only=False, n=6,
                                    plot=str(tmp_path / "page.svg"))
        method.args.max_think = 6
        look.page(args, config, task, method, examples[0], method.shown(), {})
        assert "(nothing)" in capsys.readouterr().out


@pytest.mark.parametrize("file, told", [
    ("colar", "[Eva has << 7 *] [2 = 14 >> .]"), ("vqvae", "<boLatent>"),
    ("recurrent", "iteration 32")])
def test_worked_examples(file, told, capsys):
    """What `python -m lab.examples colar` prints, and the two others: few lines."""
    print_example([file])
    text = capsys.readouterr().out
    assert told in text and len(text.splitlines()) <= 10


def test_lines_of_boxes():
    """None is wider than there is room for, unless it is a single box; all are in order."""
    boxes = [("w" * (1 + i % 7), "word") for i in range(80)] + [("w" * 200, "word")]
    lines = picture.in_lines(boxes)
    assert [(text, kind) for line in lines for _, text, kind in line] == boxes
    for line in lines:
        x, text, _ = line[-1]
        assert line[0][0] == 0 and (x + len(text) <= picture.WIDTH - 12 or len(line) == 1)
        assert all(a[0] + len(a[1]) < b[0] for a, b in zip(line, line[1:]))


def test_a_page_is_about_one_value_and_a_question_has_words(capsys):
    assert "about one value" in fails(["--c", "2,5"], capsys, look.main)
    assert "it has no words" in fails(["--question", " "], capsys, look.main)
