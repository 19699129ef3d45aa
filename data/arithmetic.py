"""Multi-step word problems with the `<<a+b=c>>` chain of GSM8K: its offline stand-in.

A worked example (level "tiny"), 2 steps:

    question  Ann has 8 . Ben has 4 more than Ann . Cid has a third as many as Ben .
              how many does Cid have ?
    steps     Ben has << 8 + 4 = 12 >> .   Cid has << 12 / 3 = 4 >> .
    answer    4

Differences read "4 fewer than Ann", products "2 times as many as Ann". At level "full" a second
operator may follow: "half as many as Ann , plus 3 ." With --shuffle the statements come in random
order. With --chain redundant a chain goes on after its answer is known, as one that checks itself:
it says its steps again, from the first on, up to twice each. How many come again is random, so
rl.py can find that none has to. With --chain short a step says only who has how many: "Ben 12".

Each statement needs the result of the one before, so the answer takes all the steps. A step names
whom it is about: then every word of it can be looked up in the question or computed from the words
before.

Drawn after GSM8K's own statistics (7,473 training problems; ours: 8,000 of each level):

                                     GSM8K                  full                   tiny
    steps 1..7, %                    5 29 29 19 11 4 2      5 30 29 20 11 4 2      5 31 29 19 11 4 2
    first operator * + - / , %       38 29 17 16            28 36 21 15            26 35 22 18
    two operators, % of equations    11                     11                     0
    operands, %: earlier result      32                     33                     34
                 number word         9                      7                      9

Small whole numbers leave less room for products, hence fewer of them than in GSM8K.

Harder splits, each with its own -train and -val: "long" (5 to 7 steps, the tail of the above) and
"ood" (8 to 10, more than is ever trained on).

What differs from GSM8K: one template per operator instead of free English; no unit constants,
decimals or percentages; names instead of things; every problem has at least one step.

    python -m data.arithmetic --level full      # three problems and the table above
"""
import random
from collections import Counter

from data.cli import DRAWN, Flag, Parser, choice
from data.common import Example, draw
from data.records import texts

NAMES = "Ann Ben Cid Dan Eva Fay Gus Hal Ida Jon Kim Leo Mia Ned Oda Pam".split()
SHARES = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}
STEPS = {1: 5.5, 2: 29.5, 3: 29, 4: 19.4, 5: 10.7, 6: 3.8, 7: 2.1}      # number of steps: weight
HARDER = {"long": {5: 1, 6: 1, 7: 1}, "ood": {8: 1, 9: 1, 10: 1}}       # splits of longer chains
CHAINS = "usual", "redundant", "short"
OPERATORS = {"*": 38, "+": 29, "-": 17, "/": 16}
LEVELS = {  # largest number, numbers spelled by digits?, share of equations with two operators
    "tiny": (20, False, 0.0),
    "full": (999, True, 0.11),
}


def apply(a, op, b):
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[op]


class Arithmetic:
    """Task contract: data/common.py. difficulty = number of steps."""
    FLAGS = {
        "level": Flag("tiny", "tiny: numbers to 20, one word each; full: to 999, digit by digit",
                      tuple(LEVELS)),
        "shuffle": Flag(False, "statements in random order; then with --conv 4 and twice the "
                        "steps, unless given"),
        "chain": Flag("usual", "redundant: its steps are said again, one to three times as long; "
                      "short: two words a step", CHAINS, idle=DRAWN),
    }
    splits = ("train", "val", "test", *(f"{name}{part}" for name in HARDER
                                        for part in ("-train", "-val", "")))

    @staticmethod
    def defaults(config, usual, in_words):
        """--shuffle takes convolutions and twice the updates (results/speed.md)."""
        if not config.get("shuffle"):
            return {}
        return {"conv": 4, "steps": 2 * usual["steps"], "first_steps": 2 * usual["first_steps"]}

    def __init__(self, level="tiny", shuffle=False, chain="usual"):
        self.level, self.shuffle, self.chain = level, shuffle, choice(chain, CHAINS, "chain")
        self.top, self.digits, self.two = choice(level, LEVELS, "level")
        numbers = list("0123456789") if self.digits else [str(n) for n in range(self.top + 1)]
        self.words = NAMES + numbers + (
            "+ - * / = << >> . ? has more fewer than times half a third quarter fifth as many "
            "how does have").split() + (", plus minus".split() if self.two else [])

    def sample(self, split, index):
        lengths = HARDER.get(split.split("-")[0], STEPS)
        return draw(lambda rng: self.make(rng, lengths), f"arithmetic/{self.level}", split, index)

    def make(self, rng, lengths):
        """One problem, and its numbers as key: no test chain is in training under other names."""
        k = rng.choices(list(lengths), lengths.values())[0]
        who = rng.sample(NAMES, k + 1)
        a = rng.randint(2, self.top // 2)
        lines, steps, key = [[who[0], "has", *self.spell(a), "."]], [], [str(a)]
        for x, y in zip(who, who[1:]):
            op, b = self.operation(rng, a)
            more = self.second(rng, apply(a, op, b))
            result = apply(a, op, b) + more
            lines.append([y, "has", *self.statement(op, b, x, more), "."])
            equation = [*self.spell(a), op, *self.spell(b), *self.addition(more)]
            steps.append(self.step(y, equation, result))
            key += [op, str(b), str(more)]
            a = result
        if self.shuffle:
            rng.shuffle(lines)
        question = sum(lines, []) + ["how", "many", "does", who[-1], "have", "?"]
        if self.chain == "redundant":   # with randomness of its own: the problems stay the same
            again = random.Random(" ".join(question)).randint(0, 2 * len(steps))
            steps = steps + (2 * steps)[:again]
        return Example(question, steps, self.spell(a), k), " ".join(key)

    def step(self, name, equation, result):
        if self.chain == "short":
            return [name, *self.spell(result)]
        return [name, "has", "<<", *equation, "=", *self.spell(result), ">>", "."]

    def operation(self, rng, a):
        """An operator and operand that keep the result a whole number in 1..top."""
        while True:
            op = rng.choices(list(OPERATORS), OPERATORS.values())[0]
            if op == "+" and a < self.top:
                return op, rng.randint(1, min(self.top - a, 99))
            if op == "-" and a > 1:
                return op, rng.randint(1, min(a - 1, 99))
            if op == "*" and 2 * a <= self.top:
                return op, rng.randint(2, min(self.top // a, 20))
            if op == "/":
                parts = [n for n in SHARES if a % n == 0]
                if parts:
                    return op, rng.choice(parts)

    def second(self, rng, r):
        """What a second operator adds to r (negative: takes away); 0 = there is none."""
        if rng.random() >= self.two:
            return 0
        more = rng.randint(1, 20) * rng.choice((1, -1))
        return more if 0 < r + more <= self.top else 0

    def spell(self, n):
        return list(str(n)) if self.digits else [str(n)]

    def statement(self, op, b, x, more):
        """What follows "has", as words: what x has, op b, + more."""
        if op == "/":
            words = [*SHARES[b].split(), "as", "many", "as", x]
        else:
            relation = {"+": "more than", "-": "fewer than", "*": "times as many as"}[op]
            words = [*self.spell(b), *relation.split(), x]
        if more:
            words += [",", "plus" if more > 0 else "minus", *self.spell(abs(more))]
        return words

    def addition(self, more):
        """The second operator in an equation: "+ 3", or nothing."""
        if not more:
            return []
        return ["+" if more > 0 else "-", *self.spell(abs(more))]

    def parse(self, record):
        """A record whose texts are words separated by blanks."""
        question, steps, answer = texts(record)
        steps = [s.split() for s in steps]
        return Example(question.split(), steps, answer.split(), len(steps))

    def check(self, example, words):
        return words == example.answer


def statistics(task, n=8000):
    """The rows of the table above, as {name: percentages}."""
    examples = [task.sample("train", i) for i in range(n)]
    equations = [s for e in examples for s in e.steps]
    ops = [[w for w in s if w in OPERATORS] for s in equations]
    first, operands = Counter(o[0] for o in ops), sum(len(o) + 1 for o in ops)
    steps = Counter(len(e.steps) for e in examples)
    return {"steps": [100 * steps[k] / n for k in STEPS],
            "operators": [100 * first[o] / len(ops) for o in OPERATORS],
            "two": 100 * sum(len(o) > 1 for o in ops) / len(ops),
            "earlier result": 100 * (len(equations) - n) / operands,
            "number word": 100 * first["/"] / operands}


if __name__ == "__main__":
    parser = Parser("data.arithmetic", __doc__)
    parser.add_flags(Arithmetic.FLAGS)
    arithmetic = Arithmetic(**parser.parse())
    for i in range(3):
        e = arithmetic.sample("train", i)
        print(" ".join(e.question), "|", " ".join(sum(e.steps, [])), "|", " ".join(e.answer))
    for name, value in statistics(arithmetic).items() if arithmetic.chain == "usual" else ():
        print(name, [round(v) for v in value] if isinstance(value, list) else round(value))
