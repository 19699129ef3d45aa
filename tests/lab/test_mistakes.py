"""Where wrong answers go wrong: each kind of mistake, once."""
import json
import random

import pytest

from data.arithmetic import Arithmetic
from data.formats import evaluate
from data.gsm8k import GSM8K
from lab import mistakes
from method import Solved
from tests.helpers import fails, run
from tests.test_slots import CLIPS

TRUE = "<< 4 8 / 2 = 2 4 >> << 4 8 + 2 4 = 7 2 >>"
OVER_SLOTS = "<< n0 / 2 = r0 >> << n0 + r0 = r1 >>"


def clips(numbers):
    task = GSM8K(numbers=numbers)
    return task, task.example(CLIPS, ("48/2=24", "48+24=72"), "72")


@pytest.mark.parametrize("numbers, thoughts, answer, kind", [
    ("digits", TRUE, "2 4", "answer"), ("digits", TRUE, "", "no end"),
    ("digits", "<< 4 8 / 2 = 2 5 >> << 4 8 + 2 5 = 7 3 >>", "7 3", "arithmetic"),
    ("digits", "<< 4 8 / 0 = 2 >> << 4 8 + 2 = 5 0 >>", "5 0", "arithmetic"),
    ("digits", "<< 4 8 / = 2 >> << 4 8 + 2 = 5 0 >>", "5 0", "arithmetic"),
    ("digits", "<< 4 8 / 2 = 2 4 >>", "2 4", "too short"), ("digits", "", "2 4", "too short"),
    ("digits", TRUE + " << 7 2 + 2 = 7 4 >>", "7 4", "too long"),
    ("digits", "<< 4 8 * 2 = 9 6 >> << 4 8 + 9 6 = 1 4 4 >>", "1 4 4", "operators"),
    ("digits", "<< 4 8 / 3 = 1 6 >> << 4 8 + 1 6 = 6 4 >>", "6 4", "operands"),
    ("digits", "<< 4 8 / 2 = 2 4 >> << 2 4 + 4 8 = 7 2 >>", "2 4", "answer"),
    ("digits", "<< 2 4 + 4 8 = 7 2 >> << 4 8 / 2 = 2 4 >>", "2 4", "answer"),
    ("digits", "<< 4 8 + 2 = 5 0 >> << 5 0 / 2 = 2 5 >>", "2 5", "operands"),
    ("slots", OVER_SLOTS, "r0", "answer"), ("slots", OVER_SLOTS, "r2", "no end"),
    ("slots", "<< n0 / 0 = r0 >> << n0 + r0 = r1 >>", "r1", "no end"),
    ("slots", "<< n0 / 2 = r0 >> << r0 + n0 = r1 >>", "r0", "answer"),
    ("slots", "<< 2 / n0 = r0 >> << n0 + r0 = r1 >>", "r1", "operands"),
    ("slots", "<< n0 / 2 = r0 >> << r0 + r0 = r1 >>", "r1", "operands"),
    ("slots", "<< n0 * 2 = r0 >> << n0 + r0 = r1 >>", "r1", "operators")])
def test_each_kind(numbers, thoughts, answer, kind):
    task, example = clips(numbers)
    solved = Solved(answer.split(), 0, thoughts)
    assert mistakes.kind(task, example, solved) == kind
    lines = mistakes.report(task, [example] * 3, [solved] * 3, [False, True, False], 1)
    assert lines[0] == "2 of 3 answers are wrong"
    counted = [line.split()[-5:-3] for line in lines if line.startswith(kind) and "%" in line]
    assert counted == [["2", "100.0%"]]
    assert lines[-4] == kind and lines[-1].endswith(f"{thoughts}  {answer}")


def expression(rng, depth):
    """A random expression of numbers and slots, as nested text."""
    if not depth or rng.random() < 0.2:
        return rng.choice(["2", "3", "48", "n0", "r1", "20%"])
    sides = [expression(rng, depth - 1) for _ in range(rng.randint(2, 4))]
    return "(" + rng.choice("+*").join(sides) + ")"


def values(text):
    """What an expression computes to at some values of its slots, exactly."""
    found = text.replace("n0", "7").replace("r1", "11").replace("20%", "13")
    return evaluate(found)


def shuffled(rng, text):
    """The same with terms and factors in another order. Text is as `expression` makes it."""
    if not text.startswith("("):
        return text
    parts, depth = [""], 0
    for sign in text[1:-1]:
        depth += (sign == "(") - (sign == ")")
        if sign in "+*" and not depth:
            parts.append("")
            operator = sign
        else:
            parts[-1] += sign
    parts = [shuffled(rng, part) for part in parts]
    return "(" + operator.join(rng.sample(parts, len(parts))) + ")"


def test_order_alone_makes_no_other_expression():
    """Against shuffling; and what is the same in order has one value."""
    rng, of = random.Random(0), {}
    for _ in range(300):
        one = expression(rng, 3)
        other = shuffled(rng, one)
        assert mistakes.in_order(one) == mistakes.in_order(other)
        assert of.setdefault(mistakes.in_order(one), values(one)) == values(other)
    assert len(set(of)) > 150


@pytest.mark.parametrize("one, other, equal", [
    ("48+24", "24+48", True), ("2*3+4", "4+3*2", True), ("48-2+24", "24+48-2", True),
    ("48/2*3", "3*48/2", True), ("2*(3+4)", "(4+3)*2", True), ("(1+2)*(3-4)", "(3-4)*(2+1)", True),
    ("48-24", "24-48", False), ("48/2", "2/48", False), ("2*(3+4)", "2*3+4", False),
    ("7-(2+1)", "7-2+1", False), ("7//2*3", "3*7//2", False), ("(" * 200, "", False),
    ("(" * 200 + "1+2" + ")" * 200, "(" * 200 + "2+1" + ")" * 200, True)])
def test_where_the_order_matters(one, other, equal):
    assert (mistakes.in_order(one) == mistakes.in_order(other)) == equal


def test_the_words_around_equations_do_not_count():
    task = Arithmetic()
    example = task.sample("test", 0)
    chain = sum(example.steps, [])
    assert [f"{left}={result}" for left, result in mistakes.equations(chain)] == [
        "".join(step[step.index("<<") + 1:step.index(">>")]) for step in example.steps]
    assert mistakes.kind(task, example, Solved(["x"], 0, " ".join(chain))) == "answer"


def test_a_run_without_equations_gets_one_line(tmp_path, capsys):
    mistakes.main([str(run(tmp_path, "--method", "cot", "--steps", "1")), "--n", "8"])
    text = capsys.readouterr().out
    assert "8 of 8 answers are wrong" in text and all(name in text for name in mistakes.KINDS)
    moves = run(tmp_path, "--method", "cot", "--task", "permutation", "--steps", "1", name="moves")
    assert fails([str(moves), "--n", "4"], capsys, mistakes.main).endswith(
        "none of 4 problems has a chain of equations")
    silent = run(tmp_path, "--method", "nocot", "--steps", "1", name="silent")
    assert fails([str(silent), "--n", "4"], capsys, mistakes.main).endswith(
        "nocot does not write its chain in words")


def test_problems_without_a_chain_are_counted(tmp_path, capsys):
    path = tmp_path / "some.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"He has {n}.", "answer": f"{line}#### {n}"})
                              for n, line in ((3, "<<1+2=3>>"), (4, ""))), encoding="utf-8")
    folder = run(tmp_path, "--method", "cot", "--task", "gsm8k", "--steps", "1")
    capsys.readouterr()
    mistakes.main([str(folder), "--data", str(path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["1 problems without a chain of equations are left out",
                          "1 of 1 answers are wrong"]


def test_a_run_without_mistakes():
    task, example = clips("slots")
    assert mistakes.report(task, [example], [None], [True], 3) == ["0 of 1 answers are wrong"]
