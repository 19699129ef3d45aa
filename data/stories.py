"""Several questions about one story: each sentence of a written solution asks for its result.

    question    Natalia sold clips to 48 of her friends in April, and then she sold half as many
                clips in May. How many clips did Natalia sell altogether in April and May?
    solution    Natalia sold 48/2 = <<48/2=24>>24 clips in May.
                Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.

    asked       Natalia sold clips to 48 of her friends in April, and then she sold half as many
                clips in May. Natalia sold how many clips in May?
    equations   48/2=24
    answer      24

The result in a sentence becomes "how many", "how much" of money, or "what percentage". The chain is
what leads to this result alone: equations that it does not need are left out.

A sentence is passed over if it

    says its result elsewhere, or a number that the story does not have: an earlier result would be
        given away
    has more than one equation, or signs of arithmetic outside of it
    begins its arithmetic in words, as in "4 cats * 2 = 8"
    is shorter than five words

A problem is passed over if its last sentence is no question, or states a number after what it asks.

    GSM8K   of 6,967 training problems 11,892 questions, beside their own
"""
import re
from fractions import Fraction

from data.formats import NoChain, equation, evaluate
from data.resample import NUMBER, OPERAND
from data.slots import in_digits

SENTENCES = re.compile(r"(?<=[.!?])(?<!\b(?:Mr|Ms|Dr)\.)(?<!\bMrs\.)\s+")
HOW = re.compile(r"\bhow (?:many|much|long|far|old|tall|big|fast|often)\b", re.I)
ASKS = re.compile(r"\b(?:what|which|calculate|find|determine)\b", re.I)
RESULT = re.compile(    # "48/2 = <<48/2=24>>24", "$3 x 4 = $<<3*4=12>>12"; no x of "tax"
    r"(?:[-–+*/×÷()$%\d.,\s=]|(?<![a-z])x(?![a-z]))*<<([^<>\n]*)>>"
    r"\s*\$?-?[\d,]*(?:\.\d+)?%?", re.I)
MONEY = re.compile(r"\$\s*<<|>>\s*\$")
GOES_ON = re.compile(r"\s*(?:[-–+*/x×÷]|\.\s)", re.I)      # of what stands before it
SIGNS = re.compile(r"[*/=+×÷<>]|\s[-–x]\s", re.I)
FEWEST = 5      # words of a sentence that asks


def story_of(question):
    """A question without what it asks; "" if that cannot be told."""
    *story, last = SENTENCES.split(question.strip())
    asks = [*HOW.finditer(last)][-1:] or [*ASKS.finditer(last)][:1]     # "which" may relate
    at = asks[0].start() if asks else 0
    if not last.endswith("?") or re.search(r"\d", last[at:]):
        return ""
    if re.search(r"\d", last[:at]):         # "If she pays with $20, how much ...?"
        story.append(last[:at].strip())
    return " ".join(story)


def told(solution):
    """The n + 1 texts of a written solution before, between and after its n equations."""
    return RESULT.split(solution.partition("####")[0])[::2]


def needed(equations):
    """Of equations ["48/2=24"] those that lead to the result of the last one, in their order.

    An equation is kept if a later one that is kept has its result as a number. Where the story has
    this number, too, nobody can tell which of the two was taken, and the equation stays: mostly it
    is needed (after 72/4=18, of a story with 18 stamps, 18+18=36). Sometimes it is not (12-10=2
    before 12*2=24, of a son 2 times as old). Then the chain is longer than it has to be, and still
    right; with the other choice, steps that lead to the result would be missing from many.
    """
    kept, wanted = [], set()
    for one in reversed(equations):
        left, _, result = one.partition("=")
        if not kept or evaluate(result) in wanted:
            kept.append(one)
            wanted = wanted - {evaluate(result)} | set(map(Fraction, OPERAND.findall(left)))
    return tuple(kept[::-1])


def asked(question, solution):
    """[(question, equations, answer)]: what the sentences of a solution ask for, problems as those
    of data/formats.py."""
    story, chain, found = story_of(question), [], []
    known = numbers(story)
    for line in solution.partition("####")[0].split("\n") if story else ():
        try:
            new = [equation(raw) for raw in RESULT.findall(line)]
        except NoChain:
            break       # what follows may need it
        chain += new
        said = " ".join(RESULT.sub(asks_for, line).split()).rstrip(" .")
        asks = len(new) == 1 and self_contained(line) and not SIGNS.search(said)
        if not asks or len(said.split()) < FEWEST:
            continue
        result = chain[-1].rpartition("=")[2]
        if numbers(said) <= known - {result}:
            found.append((f"{story} {said}?", needed(chain), result))
    return found


def asks_for(result):
    """What stands in the place of a result, a match of RESULT."""
    if result[0].endswith("%"):
        return " what percentage "
    return " how much " if MONEY.search(result[0]) else " how many "


def self_contained(line):
    """Does the arithmetic of a line's result begin with a number, or the line begin with it?"""
    result = RESULT.search(line)
    return not line[:result.start()].strip() or not GOES_ON.match(result[0])


def numbers(text):
    """The numbers of a text, in digits or letters, as texts without commas."""
    return {spot.replace(",", "") for spot in NUMBER.findall(in_digits(text))}
