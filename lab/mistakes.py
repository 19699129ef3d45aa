"""Where wrong answers go wrong: a chain of equations beside the true one.

    python -m lab.mistakes RUN              # every wrong answer of --n problems, counted
    python -m lab.mistakes RUN --show 5     # and five of each kind, to be read

For runs that write their equations in words, << 48 / 2 = 24 >>, as --method cot does on GSM8K and
arithmetic. Problems without a true chain are left out. A wrong answer is counted as the first of
these that fits:

    no end          it has no answer, or none that can be computed
    arithmetic      an equation does not hold (never over slots, where a machine computes)
    too short       fewer equations than the true chain: steps are left out
    too long        more of them
    operators       as many equations, but they do not all compute the same way
    operands        the same operators on other numbers: the question is misread, or a number is
                    copied wrong
    answer          the true equations, but another result is given as the answer

A true chain is one of several: a wrong answer may have another cause than its chain's difference.
"""
import re
from collections import Counter
from types import SimpleNamespace

import eval as evaluation
from data.cli import BadInput, Flag, Parser, one_line
from data.formats import holds
from data.problems import problems
from data.rows import wilson
from method import computed
from runs import load_run

KINDS = "no end", "arithmetic", "too short", "too long", "operators", "operands", "answer"
FLAGS = {name: evaluation.FLAGS[name] for name in ("split", "n", "data")} | {
    "show": Flag(0, "print so many of each kind")}


def equations(words):
    """["<<", "4", "8", "/", "2", "=", "2", "4", ">>"] -> [("48/2", "24")], of a whole chain."""
    found = [text.replace(" ", "") for text in re.findall("<<(.*?)>>", " ".join(words))]
    return [(left, result) for left, _, result in (text.rpartition("=") for text in found)]


def kind(task, example, solved):
    """The kind of mistake of a Solved that is wrong: one of KINDS."""
    thoughts = solved.thoughts.split()
    mine, true = equations(thoughts), equations(sum(example.steps, []))
    if not computed(task, example, thoughts, solved.answer):
        return "no end"
    if any(miscalculated(*equation) for equation in mine):
        return "arithmetic"
    if len(mine) != len(true):
        return "too short" if len(mine) < len(true) else "too long"
    ways = [sorted(re.sub(r"[^-+*/()%]", "", left) for left, _ in chain) for chain in (mine, true)]
    if ways[0] != ways[1]:
        return "operators"
    same = sorted(left for left, _ in mine) == sorted(left for left, _ in true)
    return "answer" if same else "operands"


def miscalculated(left, result):
    """Is this an equation in numbers that does not hold? One over slots says nothing of that."""
    if re.search("[a-z]", left + result):
        return False
    try:
        return not holds(left, result)
    except (ValueError, ZeroDivisionError):
        return True


def report(task, examples, solved, right, show):
    """Lines: each kind with its share of wrong answers, and `show` examples of it."""
    wrong = [(example, one) for example, one, ok in zip(examples, solved, right) if not ok]
    kinds = [kind(task, *pair) for pair in wrong]
    count, lines = Counter(kinds), [f"{len(wrong)} of {len(examples)} answers are wrong"]
    if not wrong:
        return lines
    lines.append("")
    for name in KINDS:
        low, high = wilson(count[name], len(wrong))
        lines.append(f"{name:<12}{count[name]:>5}{100 * count[name] / len(wrong):>7.1f}% "
                     f"({100 * low:.1f} to {100 * high:.1f})")
    for name in KINDS:
        some = [pair for pair, own in zip(wrong, kinds) if own == name][:show]
        lines += [line for pair in some for line in ["", name, *shown(*pair)]]
    return lines


def shown(example, solved):
    """A wrong answer to be read."""
    return [f"  question  {' '.join(example.question)}",
            f"  true      {' '.join(sum(example.steps, []))}  {' '.join(example.answer)}",
            f"  thoughts  {solved.thoughts}  {' '.join(solved.answer)}"]


def main(argv=None):
    parser = Parser("lab.mistakes", __doc__)
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_flags(FLAGS)
    with one_line("lab.mistakes"):
        args = SimpleNamespace(**parser.parse(argv))
        task, method, _ = load_run(args.run)
        if not method.IN_WORDS:
            raise BadInput(f"{args.run}: {method.args.method} does not write its chain in words")
        given = problems(task, args)
        examples = [e for e in given if equations(sum(e.steps, []))]
        if not examples:
            raise BadInput(f"{args.run}: none of {len(given)} problems has a chain of equations")
        if len(examples) < len(given):
            print(f"{len(given) - len(examples)} problems without a chain of equations are left "
                  "out")
        solved = evaluation.solve_all(method, examples, **method.shown())
        right = [method.right(task, e, s) for e, s in zip(examples, solved)]
        print("\n".join(report(task, examples, solved, right, args.show)))


if __name__ == "__main__":
    main()
