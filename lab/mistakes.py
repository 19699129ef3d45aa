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

Numbers may stand in another order where it does not matter: 48+24 is 24+48, and 48-2+24 is
48+24-2. Else a true chain is one of several: a wrong answer may have another cause than its chain's
difference.
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

NUMBERS = re.compile(r"[^-+*/()%]+")     # or slots
KINDS = "no end", "arithmetic", "too short", "too long", "operators", "operands", "answer"
FLAGS = {name: evaluation.FLAGS[name] for name in ("split", "n", "data")} | {
    "show": Flag(0, "how many of each kind to print")}


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
    mine, true = ([left for left, _ in chain] for chain in (mine, true))
    ways = [sorted(in_order(NUMBERS.sub("n", left)) for left in chain) for chain in (mine, true)]
    if ways[0] != ways[1]:
        return "operators"
    return "answer" if sorted(map(in_order, mine)) == sorted(map(in_order, true)) else "operands"


def in_order(expression):
    """A text that is the same for expressions which differ in the order of terms or factors alone:
    "48*2+24-3" -> "+*2*48+*24-*3", and so does "24-3+2*48". Brackets, the inner ones first, become
    [...], which counts as one factor."""
    while inner := re.search(r"\(([^()]*)\)", expression):
        expression = f"{expression[:inner.start()]}[{terms(inner[1])}]{expression[inner.end():]}"
    return terms(expression)


def terms(expression):
    """`in_order` of an expression without round brackets."""
    if "//" in expression:      # whole quotients: here the order of factors matters
        return expression
    ordered = [sign + "".join(sorted(f"{way}{factor}" for way, factor in split(term, "*/")))
               for sign, term in split(expression, "+-")]
    return "".join(sorted(ordered))


def split(text, signs):
    """"48+24-2" at the signs "+-" -> [["+", "48"], ["+", "24"], ["-", "2"]]; what begins the text
    has the first sign. What is in [...] stays whole."""
    found, depth = [[signs[0], ""]], 0
    for sign in text:
        depth += (sign == "[") - (sign == "]")
        if sign in signs and not depth:
            found.append([sign, ""])
        else:
            found[-1][1] += sign
    return found


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
