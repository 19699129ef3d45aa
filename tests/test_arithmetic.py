"""The arithmetic task: its chains compute, its splits are disjoint, its statistics are GSM8K's."""
import pytest

from data.arithmetic import HARDER, SHARES, STEPS, Arithmetic, statistics
from data.cli import BadInput

LEVELS = ["tiny", "full"]


def number(words):
    return int("".join(words))


def value(words):
    """Of 'a op b [op2 b2]', left to right, with numbers of one or more digit words."""
    text, total, op = [], None, None
    for w in words + ["end"]:
        if w.isdigit():
            text.append(w)
            continue
        a, b = total, number(text)
        total = b if op is None else {"+": a + b, "-": a - b, "*": a * b, "/": b and a / b}[op]
        text, op = [], w
    return total


@pytest.mark.parametrize("level", LEVELS)
def test_chain_follows_from_the_question(level):
    """Each statement is solved on its own here and compared with the step about it."""
    task = Arithmetic(level)
    for i in range(300):
        e = task.sample("train", i)
        lines, asked = " ".join(e.question).rsplit(" . ", 1)
        lines = [line.split() for line in lines.split(" . ")]
        known = {lines[0][0]: number(lines[0][2:])}
        for line, step in zip(lines[1:], e.steps, strict=True):
            y, line, more = line[0], line[2:], 0
            if "," in line:
                cut = line.index(",")
                more = number(line[cut + 2:]) * {"plus": 1, "minus": -1}[line[cut + 1]]
                line = line[:cut]
            a, share = known[line[-1]], " ".join(line[:-4])
            if share in SHARES.values():
                result = a / {w: n for n, w in SHARES.items()}[share]
            else:
                b = number([w for w in line if w.isdigit()])
                result = a + b if "more" in line else a - b if "fewer" in line else a * b
            known[y] = int(result + more)
            assert step[0] == y and known[y] == result + more and 0 < known[y] <= task.top
            equals = step.index("=")
            assert value(step[3:equals]) == known[y] == number(step[equals + 1:-2])
        assert asked == f"how many does {y} have ?" and number(e.answer) == known[y]
        assert task.check(e, e.answer) and not task.check(e, e.answer + ["1"])
        assert set(e.question + sum(e.steps, []) + e.answer) <= set(task.words)


@pytest.mark.parametrize("level", LEVELS)
def test_a_redundant_chain_says_its_steps_again(level):
    """Of the same problems: one to three times as long."""
    plain, longer = Arithmetic(level), Arithmetic(level, chain="redundant")
    shares = []
    for i in range(300):
        short, e = plain.sample("train", i), longer.sample("train", i)
        assert (e.question, e.answer, e.difficulty) == (short.question, short.answer,
                                                        short.difficulty)
        assert e.steps == (3 * short.steps)[:len(e.steps)]
        shares.append(len(e.steps) / len(short.steps))
    assert 1 == min(shares) and max(shares) == 3 and 1.9 < sum(shares) / len(shares) < 2.1


@pytest.mark.parametrize("level", LEVELS)
def test_a_short_chain_says_who_has_how_many(level):
    """Of the same problems."""
    plain, short = Arithmetic(level), Arithmetic(level, chain="short")
    for i in range(100):
        e, s = plain.sample("train", i), short.sample("train", i)
        want = [[step[0], *step[step.index("=") + 1:-2]] for step in e.steps]
        assert (s.question, s.steps, s.answer) == (e.question, want, e.answer)


@pytest.mark.parametrize("op, b, more, text", [
    ("+", 3, 0, "3 more than Ann"), ("-", 4, 0, "4 fewer than Ann"),
    ("*", 2, 0, "2 times as many as Ann"), ("/", 2, 0, "half as many as Ann"),
    ("/", 3, 0, "a third as many as Ann"), ("/", 4, 0, "a quarter as many as Ann"),
    ("/", 5, -7, "a fifth as many as Ann , minus 7"), ("+", 12, 3, "1 2 more than Ann , plus 3"),
])
def test_wording_of_a_statement(op, b, more, text):
    assert " ".join(Arithmetic("full").statement(op, b, "Ann", more)) == text


@pytest.mark.parametrize("level, index, question, chain", [
    ("tiny", 16, "Kim has 5 . Cid has a fifth as many as Kim . Leo has 17 times as many as Cid . "
                 "how many does Leo have ?",
     "Cid has << 5 / 5 = 1 >> . Leo has << 1 * 17 = 17 >> ."),
    ("full", 3, "Ben has 1 9 . Kim has 1 9 times as many as Ben . "
                "Gus has 2 times as many as Kim , plus 5 . how many does Gus have ?",
     "Kim has << 1 9 * 1 9 = 3 6 1 >> . Gus has << 3 6 1 * 2 + 5 = 7 2 7 >> ."),
])
def test_recorded_problems(level, index, question, chain):
    """A split and an index stand for the same names and numbers, however they are worded."""
    e = Arithmetic(level).sample("test", index)
    assert (" ".join(e.question), " ".join(sum(e.steps, []))) == (question, chain)


@pytest.mark.parametrize("level", LEVELS)
def test_every_word_of_the_vocabulary_occurs(level):
    """But for 0, which no number of level tiny is."""
    task, met = Arithmetic(level), set()
    for i in range(400):
        e = task.sample("train", i)
        met.update(e.question + sum(e.steps, []))
    assert set(task.words) - met <= {"0"} and len(task.words) == len(set(task.words))


@pytest.mark.parametrize("level", LEVELS)
def test_statistics_are_those_of_gsm8k(level):
    s = statistics(Arithmetic(level), 3000)
    for got, want in zip(s["steps"], STEPS.values()):
        assert abs(got - want) < 2.5
    assert abs(s["earlier result"] - 32) < 4 and abs(s["number word"] - 9) < 3
    assert abs(s["two"] - (11 if level == "full" else 0)) < 2
    # products are rarer among small whole numbers; the other three are near GSM8K's 29 17 16
    assert s["operators"][0] > 20 and s["operators"][1] < 40
    assert abs(s["operators"][2] - 17) < 8 and abs(s["operators"][3] - 16) < 5


def test_shuffled_statements_are_one_per_step_in_another_order():
    orders = []
    for i in range(60):
        e = Arithmetic(shuffle=True).sample("train", i)
        subjects = [line.split()[0] for line in " ".join(e.question).split(" . ")[:-1]]
        steps = [s[0] for s in e.steps]
        assert set(steps) < set(subjects) and len(subjects) == len(steps) + 1
        orders.append([s for s in subjects if s in steps] == steps)
    assert 5 < sum(orders) < 30     # a third of the problems have few steps to shuffle


def chain(e):
    return " ".join(w for s in e.steps for w in s[3:-2])


def test_splits_share_no_chain_and_sample_is_pure():
    task = Arithmetic()
    chains = {split: {chain(task.sample(split, i)) for i in range(400)} for split in task.splits}
    for a in task.splits:
        for b in task.splits:
            assert a == b or not chains[a] & chains[b]
    assert Arithmetic().sample("val", 7) == task.sample("val", 7) != task.sample("val", 8)


@pytest.mark.parametrize("split", HARDER)
def test_harder_splits_have_longer_chains(split):
    for part in ("-train", "-val", ""):
        lengths = {Arithmetic().sample(split + part, i).difficulty for i in range(50)}
        assert lengths == set(HARDER[split]) and min(lengths) >= 5


def test_parse_round_trip_and_unknown_level():
    task = Arithmetic()
    e = task.sample("test", 3)
    record = {"question": " ".join(e.question), "steps": [" ".join(s) for s in e.steps],
              "answer": " ".join(e.answer)}
    assert task.parse(record) == e
    with pytest.raises(BadInput, match="nearest: tiny"):
        Arithmetic("tinny")
