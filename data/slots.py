"""Numbers as slots: equations over the numbers of a question, and their exact arithmetic.

    question  Natalia sold clips to n0 of her friends in April, and then she sold half as many ...
    steps     << n0 / 2 = r0 >>   << n0 + r0 = r1 >>
    answer    r1                        with n0 = 48 it is 72

`mask` names the numbers of a text n0, n1 ... in the order in which they first appear: equal ones
have one name. Numbers in letters, "two" to "ninety-nine", are numbers like others. "one" is not,
as in "one of them", and words for hundreds and more stay words. `write` says a chain of equations
in these names, in r0, r1 ... for their results, and in constants, which the question does not state
as a number. A model that writes such a chain need not compute: `compute` does that, in fractions,
without rounding.

An operand is followed to where it comes from, in this order: the latest result that nothing has
used yet; a number of the question; the latest result; p %, ( 1 - p % ), ( 1 + p % ), ( 100 - p )
or ( 100 + p ) of a percentage p in the question; and else it is a constant. Operands of a sum or a
product stand in the order of their slots, constants last.

With sizes, a word before each number of a question says how large it is, and no more:

    question  Natalia sold clips to #100 n0 of her friends in April, and then ...

A chain cannot be written where it needs more names than there are, or where none of its results is
the answer, exactly: most of these end before the last equation, or have none. Such problems are
left out of training; in validation and test they count, and cannot be right but by chance.

    can be written      93.9% of the training and 91.6% of the test problems: the most that can be
                        right there; python data/gsm8k.py prints it
    equal numbers       have one name, since nothing says which of them an equation means
    still open          whether an operand is a number or an equal result, or a word ("half") that
                        the question has beside a 2
    in words            three in ten training questions have a number from two on in letters
"""
import re
from fractions import Fraction
from typing import NamedTuple

from data.formats import evaluate, number
from data.resample import CONSTANTS, NUMBER, OPERAND, TOPS, Untraceable, spell

NAMES = [f"n{i}" for i in range(20)]        # of numbers; a question of GSM8K has 15 at most
RESULTS = [f"r{i}" for i in range(20)]
WHOLE = [spell(v) for v in CONSTANTS if v not in range(10)]     # constants that are one word each
WORDS = [*NAMES, *RESULTS, *WHOLE]
PLACE = {name: i for i, name in enumerate([*NAMES, *RESULTS])}
BOUNDS = 2, 5, 10, 20, 100, 1000
SIZES = ["#<1", "#1.5", *(f"#{bound}" for bound in BOUNDS), "#more"]
SMALL = {word: i for i, word in enumerate((     # numbers in letters
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen").split(), 2)}
TENS = {word: 10 * i for i, word in enumerate(
    "twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
UNITS = {"one": 1, **{word: i for word, i in SMALL.items() if i < 10}}     # as in twenty-one
LETTERS = re.compile(       # none of "two hundred", which is no 2, nor of "a hundred and two"
    r"(?<!hundred )(?<!hundred and )\b(?:"
    rf"({'|'.join(TENS)})(?:-({'|'.join(UNITS)})| ({'|'.join(UNITS)})(?!-))?|({'|'.join(SMALL)}))\b"
    r"(?![- ](?:\w+[- ])?(?:hundred|thousand|million|billion)\b)", re.I)
LONGEST = 15        # characters of a number that has a name
LARGEST = 10 ** 30  # no result has a larger numerator or denominator


class Masked(NamedTuple):
    """A question whose numbers have names."""
    text: str           # with a 0 for every number
    names: list         # of each of these; None: it has none
    values: dict        # {name: Fraction}, in the order of appearance
    percents: list      # names of percentages


def in_digits(text):
    """A text with its numbers from two to ninety-nine in digits."""
    def digits(found):
        tens, *unit, small = (word.lower() for word in found.groups(""))
        return str(SMALL[small] if small else TENS[tens] + UNITS.get("".join(unit), 0))
    return LETTERS.sub(digits, text)


def mask(text, known=None):
    """A question as Masked; or another text, whose numbers are named as in the question that is
    `known`, a Masked, or not at all."""
    text, names, percents = in_digits(text), [], []
    name_of = {value: name for name, value in known.values.items()} if known else {}
    for spot in NUMBER.finditer(text):
        value = Fraction(spot[0].replace(",", "")) if len(spot[0]) <= LONGEST else None
        if not (known or value is None or value in name_of) and len(name_of) < len(NAMES):
            name_of[value] = NAMES[len(name_of)]
        names.append(name_of.get(value))
        if any(top == 100 and words.match(text, spot.end()) for words, top in TOPS.items()):
            percents.append(names[-1])
    values = {name: value for value, name in name_of.items()}
    return Masked(NUMBER.sub("0", text), names, values, [p for p in percents if p])


def size_of(value):
    """The word of SIZES for how large a number is: a fraction below 1, another fraction, or a
    whole number that is at most so much."""
    if value.denominator > 1:
        return SIZES[value > 1]
    return SIZES[2 + sum(value > bound for bound in BOUNDS)]


# ---- writing -------------------------------------------------------------------------------------

def write(masked, equations, answer):
    """Equations ["48/2=24"] and their answer over slots: (steps, answer), lists of words.

    The answer is the last result that computes to it; without equations, a number of the question.
    Untraceable if there is none, or not enough names.
    """
    if len(equations) > len(RESULTS):
        raise Untraceable("more results than names")
    name_of = {value: name for name, value in masked.values.items()}
    results, used, steps = {}, set(), []    # results: {name: its value as the equation says it}
    for equation, name in zip(equations, RESULTS):
        left, _, right = equation.partition("=")
        parts = []
        for operand, sign in re.findall(rf"({OPERAND.pattern})|(\D)", left):
            found = source(Fraction(operand), name_of, masked, results, used) if operand else [sign]
            used.update(found)
            parts.append(found)
        results[name] = evaluate(right)
        steps.append(["<<", *sum(in_order(parts), []), "=", name, ">>"])
    chain, true = sum(steps, []), number(answer)
    for name in [*reversed(results)] or masked.values:
        value = number("".join(compute(masked.values, chain, [name])))
        if value == true and value is not None:
            return steps, [name]
    raise Untraceable("the answer is no result")


def source(value, name_of, masked, results, used):
    """The words for an operand: where its value comes from."""
    same = [name for name in results if results[name] == value]
    new = [name for name in same if name not in used]
    if new:
        return new[-1:]
    if value in name_of:
        return [name_of[value]]
    if same:
        return same[-1:]
    for name in masked.percents:
        p = masked.values[name]
        for words, of_p in (([name, "%"], p / 100),
                            (["(", "1", "-", name, "%", ")"], 1 - p / 100),
                            (["(", "1", "+", name, "%", ")"], 1 + p / 100),
                            (["(", "100", "-", name, ")"], 100 - p),
                            (["(", "100", "+", name, ")"], 100 + p)):
            if of_p == value:
                return words
    text = spell(float(value))
    return [text] if text in WHOLE else list(text)


def in_order(parts):
    """The operands of a sum, or of a product, in the order of their slots, constants last. parts:
    operands and signs, each a list of words. What means the same is then learned once."""
    if parts[1::2] in ([["+"]] * (len(parts) // 2), [["*"]] * (len(parts) // 2)):
        parts[::2] = sorted(parts[::2], key=lambda words: min(
            PLACE.get(word, len(PLACE)) for word in words))
    return parts


# ---- computing -----------------------------------------------------------------------------------

def compute(values, chain, answer):
    """What a chain and the answer after it say, lists of words, without slots: the answer's value
    in signs, ["7", "2"] or ["1", "0", "/", "3"]. An answer that is no slot stays as it is. [] for a
    slot that has no value, or if the chain cannot be computed."""
    if len(answer) != 1 or answer[0] not in PLACE:
        return answer
    known = dict(values)
    try:
        for step in re.findall(r"<< (.*?) >>", " ".join(chain)):
            left, _, name = step.rpartition(" = ")
            if name not in RESULTS:
                raise ValueError("an equation without a result")
            known[name] = value_of(left.split(), known)
        return list(str(known[answer[0]]))
    except (ValueError, ZeroDivisionError, LookupError):
        return []


def value_of(words, known):
    """The value of an expression over slots, a Fraction. ValueError, LookupError or
    ZeroDivisionError if it has none."""
    parts = []
    for word in words:
        if word in PLACE:
            parts.append(f"({known[word]})")
        elif word == "%":
            parts[-1] = f"({parts[-1]}/100)"
        else:
            parts.append(word)
    value = evaluate("".join(parts))
    if max(abs(value.numerator), value.denominator) > LARGEST:
        raise ValueError("too large")
    return value
