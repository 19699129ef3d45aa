"""Several questions about one story: each sentence of a written solution asks for its result.

    question    Natalia sold clips to 48 of her friends in April, and then she sold half as many
                clips in May. How many clips did Natalia sell altogether in April and May?
    solution    Natalia sold 48/2 = <<48/2=24>>24 clips in May.
                Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.

    asked       Natalia sold clips to 48 of her friends in April, and then she sold half as many
                clips in May. Natalia sold how many clips in May?
    equations   48/2=24
    answer      24

The chain is what leads to this result alone: equations that it does not need are left out. A
sentence is passed over if it says a number that the story does not have (an earlier result would be
given away), has more than one equation or other signs of arithmetic, or is shorter than five words;
a problem, if its last sentence is no question, or states a number after what it asks.

    GSM8K   of 6,967 training problems 12,553 questions, beside their own
"""
import re

from fractions import Fraction

from data.formats import NoChain, equation, evaluate
from data.resample import NUMBER, OPERAND

SENTENCES = re.compile(r"(?<=[.!?])\s+")
ASKS = re.compile(r"\b(how (?:many|much|long|far|old|tall|big|fast|often)|what|which|calculate|find"
                  r"|determine)\b", re.I)
RESULT = re.compile(    # "48/2 = <<48/2=24>>24", "$3 x 4 = $<<3*4=12>>12"
    r"[-+*/x×÷()$%\d.,\s=]*<<([^<>\n]*)>>\s*\$?-?[\d,]*(?:\.\d+)?%?", re.I)
FEWEST = 5      # words of a sentence that asks


def story_of(question):
    """A question without what it asks; "" if that cannot be told."""
    *story, last = SENTENCES.split(question.strip())
    asks = [found.start() for found in ASKS.finditer(last)]
    at = asks[-1] if asks else 0
    if not last.endswith("?") or re.search(r"\d", last[at:]):
        return ""
    if re.search(r"\d", last[:at]):         # "If she pays with $20, how much ...?"
        story.append(last[:at].strip())
    return " ".join(story)


def needed(equations):
    """Of equations ["48/2=24"] those that lead to the result of the last one."""
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
        said = " ".join(RESULT.sub(" how many ", line).split()).rstrip(" .")
        plain = not re.search(r"[*/=+×÷<>]", said) and numbers(said) <= known
        if len(new) == 1 and plain and len(said.split()) >= FEWEST:
            found.append((f"{story} {said}?", needed(chain), chain[-1].rpartition("=")[2]))
    return found


def numbers(text):
    """The numbers of a text, as texts without commas."""
    return {spot.replace(",", "") for spot in NUMBER.findall(text)}
