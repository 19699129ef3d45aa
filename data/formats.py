"""Files of word problems: each record becomes (question, equations, answer), all text.

    {"question": "Bo has 3 jars of 48 beans and eats half. How many are left?",
     "answer": "He has 3*48=<<3*48=144>>144, then <<144*50%=72>>72 left.\\n#### 72"}

    ("Bo has 3 jars ...", ("3*48=144", "144*0.5=72"), "72")

FORMATS below has one reader for each format. What they have in common:

    question    a text that is not empty
    answer      a number, exactly as the file has it, or a text; never nothing, null, true or NaN
    equations   a chain is taken whole or not at all: each of its equations must be one, and hold
                up to the rounding of its result. Else the problem has no chain, and says why.

A record without a question or an answer is a mistake: ValueError. Only where a data set itself says
that a question has no answer ("None", in GSM-Plus) is the record left out and counted.
"""
import math
import operator
import re
import string
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from data.cli import BadInput
from data.records import LeftOut, read_json, read_line
from data.resample import LONGEST

THOUSANDS = re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")
DECIMAL = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
NUMBER = re.compile(rf"[-+]?{DECIMAL}(?:[eE][-+]?[0-9]{{1,3}})?")
FRACTION = re.compile(r"([-+]?)(?:([0-9]+)_)?([0-9]+/0*[1-9][0-9]*)")     # 1/2, 5_1/2


class NoChain(ValueError):
    """Why a problem has no chain."""


class Parsed(NamedTuple):
    problem: tuple      # (question, ("48/2=24", ...), answer)
    no_chain: str       # why it has none; "" if it has one, and be it empty
    remarks: list       # what was repaired, and why it has no chain


# ---- files ---------------------------------------------------------------------------------------

def load(path):
    """The problems of a file and why others are left out: [(i, Parsed)], [(i, why)] of records i.

    BadInput names the file, and the record that is no problem.
    """
    found, left_out = [], []
    try:
        rows = records(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}") from None
    for i, record in enumerate(rows):
        try:
            found.append((i, parse(record)))
        except LeftOut as why:
            left_out.append((i, f"left out: {why}"))
        except ValueError as error:
            raise BadInput(f"{path}, record {i}: {error}") from None
    if not found:
        raise BadInput(f"{path}: holds no problems")
    return found, left_out


def records(text):
    """The records of a file's text: a JSON list, or one per line (JSON or question||chain ####
    answer). ValueError if it is neither."""
    if text.lstrip().startswith("["):
        return read_json(text)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return [read_line(i, line) if line.startswith("{") else line for i, line in enumerate(lines)]


# ---- one record ----------------------------------------------------------------------------------

def parse(record):
    """A record of any format as Parsed; LeftOut or ValueError if it holds no problem."""
    question, answer, chain = reader(record)(record)
    remarks = []
    if re.search("[\ud800-\udfff]", question + answer):       # no text file can hold these
        question, answer = (re.sub("[\ud800-\udfff]", "\ufffd", t) for t in (question, answer))
        remarks.append("repaired: half a character (a lone surrogate)")
    try:
        if chain is None:
            raise NoChain("the file gives none")
        equations, no_chain = tuple(map(equation, chain)), ""
        if any("%" in raw for raw in chain):
            remarks.append("repaired: percentages in equations are written as decimals")
    except NoChain as why:
        equations, no_chain = (), str(why)
        remarks.append(f"without a chain: {why}")
    return Parsed((question, equations, answer), no_chain, remarks)


def reader(record):
    """The function that reads records of this format."""
    if isinstance(record, str):
        return augmented
    if not isinstance(record, dict):
        raise ValueError("neither a JSON object nor a line of text")
    for fields, read in FORMATS:
        if all(field in record for field in fields):
            return read
    raise ValueError(f"no known format has just these fields: {sorted(record)[:9]}")


# Each reader returns question, answer and the chain: its equations as the file writes them, [] for
# a chain that is empty, None where the file gives none.

def augmented(line):
    """GSM8k-Aug, of iCoT and Coconut: question||<<48/2=24>> <<48+24=72>> #### 72."""
    question, bar, rest = line.partition("||")
    chain, mark, answer = rest.partition("####")
    if not bar or not mark:
        raise ValueError("neither JSON nor question||<<chain>> #### answer")
    found = annotations(chain)
    if chain.strip() and not found:     # a chain without << >>
        found = [chain]
    return read_text(question, "question"), read_answer(answer), found


def steps(record):
    """{question, steps, answer}: ours, Coconut's and CoLaR's. A step is an equation or a sentence
    with <<equations>>; a single one may be a formula for the answer. [""] has no step."""
    rows = record["steps"]
    if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
        raise ValueError("steps is not a list of texts")
    answer = read_answer(record["answer"])
    rows = [row for row in rows if row.strip("<> \t\n")]
    if any(map(annotations, rows)) and re.search("[A-Za-z]", "".join(rows)):
        chain = annotations("\n".join(rows))
    elif len(rows) == 1 and not annotations(rows[0]):
        chain = formula(rows[0], answer)
    else:
        chain = [found for row in rows for found in annotations(row) or [row]]
    return read_text(record["question"], "question"), answer, chain


def gsm_plus(record):
    """GSM-Plus: the solution is GSM8K's `answer`; beside it the answer, or "None"."""
    if record["answer"] is None:
        raise LeftOut("no answer")
    solution = read_text(record["solution"], "solution").partition("####")[0]
    return (read_text(record["question"], "question"), read_answer(record["answer"]),
            annotations(solution) or None)


def svamp(record):
    """SVAMP: a body, its question, and a formula for the answer."""
    answer = read_number(record["Answer"])
    body = read_text(record["Body"], "Body").strip()
    question = read_text(record["Question"], "Question")
    joint = " " if body[-1] in ".,?!" else ", "
    return body + joint + question, answer, formula(record["Equation"], answer)


def multiarith(record):
    """MultiArith, AddSub and SingleEq, of MAWPS: lists of equations in X and of solutions."""
    solutions, equations = record["lSolutions"], record["lEquations"]
    for value in solutions, equations:
        if not isinstance(value, list) or not value:
            raise ValueError("lSolutions and lEquations must be lists that are not empty")
    if len(solutions) > 1:
        raise LeftOut("several answers")
    answer = read_number(solutions[0])
    return (read_text(record["sQuestion"], "sQuestion").strip(), answer,
            formula(equations[0], answer) if len(equations) == 1 else None)


def mawps(record):
    """MAWPS in one file: a text, an equation in x, and its answer."""
    answer = read_number(record["ans"])
    return (read_text(record["original_text"], "original_text").strip(), answer,
            formula(record["equation"], answer))


def gsm_hard(record):
    """GSM-Hard, and PAL's other files: no chain but Python code."""
    return read_text(record["input"], "input"), read_number(record["target"]), None


def gsm8k(record):
    """GSM8K, GSM-Symbolic: a solution, in GSM8K with <<equations>>, then #### answer."""
    solution, mark, answer = read_text(record["answer"], "answer").partition("####")
    if not mark:
        raise ValueError("its answer has no ####")
    chain = annotations(solution) if "<<" in solution or not solution.strip() else None
    return read_text(record["question"], "question"), read_answer(answer), chain


FORMATS = [     # the fields that a format is known by, the first that fits
    (("question", "steps", "answer"), steps),
    (("question", "solution", "answer"), gsm_plus),
    (("Body", "Question", "Equation", "Answer"), svamp),
    (("sQuestion", "lEquations", "lSolutions"), multiarith),
    (("original_text", "equation", "ans"), mawps),
    (("input", "target"), gsm_hard),
    (("question", "answer"), gsm8k)]


# ---- questions and answers -----------------------------------------------------------------------

def read_text(value, name):
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is {'empty' if isinstance(value, str) else 'not a text'}")
    return value


def read_answer(value):
    """The answer of a record as text, numbers without an exponent."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("its answer is neither a text nor a number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"its answer is {value}")
    found = clean(value) if isinstance(value, str) else plain(value)
    if found == "None":
        raise LeftOut("no answer")
    if not found.strip(string.punctuation) or re.fullmatch("[-+]?(nan|inf|infinity)", found, re.I):
        raise ValueError(f"its answer is {found[:40]!r}")
    return plain(found) if NUMBER.fullmatch(found) and re.search("[eE+]", found) else found


def read_number(value):
    """The answer of a record, in formats in which it is a number."""
    found = read_answer(value)
    if number(found) is None:
        raise ValueError(f"its answer is not a number: {found[:40]!r}")
    return plain(found) if NUMBER.fullmatch(found) else found


def plain(x):
    """A number as text, exactly, without an exponent: 3.5e-07 -> "0.00000035", 4.0 -> "4"."""
    found = format(Decimal(str(x)), "f")
    if "." in found:
        found = found.rstrip("0").rstrip(".")
    return "0" if found == "-0" else found


def clean(answer):
    """An answer without what does not count: $ % commas of thousands and a full stop.

    Two numbers stay two: "3 4" -> "3_4", as questions have them; "0,1" stays.
    """
    answer = " ".join(without_commas(re.sub("[$%]", " ", answer)).split())
    answer = re.sub("(?<=[0-9.,;]) (?=[0-9])", "_", answer)
    return re.sub(r" (?=\W)|(?<=\W) ", "", answer).removesuffix(".")


def without_commas(found):
    """Without the commas of thousands: 1,200 -> 1200, but not 1,2."""
    return THOUSANDS.sub(lambda m: m[0].replace(",", ""), found)


def number(answer):
    """The exact value of an answer, a Fraction: of 1,200, 7e3, 1/2 and 5_1/2. None if it has none.

    Texts that no answer needs (1e9999) have none either: their value would fill the memory.
    """
    answer = clean(answer)
    if len(answer) > 1000:
        return None
    if NUMBER.fullmatch(answer):
        return Fraction(answer)
    if parts := FRACTION.fullmatch(answer):
        sign, whole, part = parts.groups()
        value = int(whole or 0) + Fraction(part)
        return -value if sign == "-" else value
    return None


# ---- equations -----------------------------------------------------------------------------------

def annotations(solution):
    """What stands in << >>, [text]."""
    return [found for found in re.findall(r"<<([^<>\n]*)>>", solution) if found.strip()]


def formula(expression, answer):
    """"X = 7.0 + 2.0" and "( 7.0 + 2.0 )" with the answer 9 -> ["7+2=9"].

    Whatever else has an equals sign stays as it is: an equation, or else no chain.
    """
    left = re.sub(r"^\s*[xX]\s*=", "", read_text(expression, "its formula"))
    if len(left) > LONGEST or "=" in left and left == expression:
        return [left]
    left = re.sub(r"[0-9]*\.[0-9]+", lambda m: plain(m[0]), "".join(left.split()))
    inside = re.fullmatch(r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)", left)
    return [f"{inside[1] if inside else left}={answer}"]


def equation(raw):
    """"$50 * 20% = 1,000" -> "50*0.2=1000"; NoChain if it is no equation, or does not hold."""
    if re.search(r"[^-+*/().=0-9$%,\s]", raw):
        raise NoChain("not an equation")
    if len(raw) > LONGEST:
        raise NoChain(f"an equation of more than {LONGEST} characters")
    found = without_commas(raw.replace("$", " "))
    found = re.sub(rf"({DECIMAL})\s*%", lambda m: f" {plain(Decimal(m[1]) / 100)} ", found)
    if re.search(r"[0-9.]\s+[0-9.]", found):        # two numbers are not one
        raise NoChain("not an equation")
    found = "".join(found.split())
    left, _, right = found.partition("=")
    try:
        true = holds(left, right)
    except ValueError:
        raise NoChain("not an equation") from None
    except ZeroDivisionError:
        true = False
    if not true:
        raise NoChain("an equation does not hold")
    return found


def holds(left, right):
    """Are both sides equal, as far as floats are? A result with decimals may be rounded or cut off:
    2/3=0.67 and 2/3=0.66 hold, 10/3=3 does not."""
    value, result, decimals = evaluate(left), evaluate(right), len(right.partition(".")[2])
    off, unit = abs(value - result), Fraction(1, 10 ** decimals)
    if off <= abs(result) / 10 ** 12:
        return True
    return decimals > 0 and (off <= unit / 2 or off < unit and abs(value) > abs(result))


def evaluate(expression):
    """The exact value of an expression of numbers, + - * / // and brackets, a Fraction.

    ValueError if it is none, ZeroDivisionError if it has none. Files are not trusted: no eval. Two
    stacks in place of recursion: a thousand brackets do no harm.
    """
    values, signs, complete = [], [], False     # complete: does a number or ) end here?
    for token in re.findall(r"[0-9.]+|//|.", expression):
        if complete and token in BINARY:
            apply(values, signs, RANK[token])
            signs.append(token)
            complete = False
        elif complete and token == ")":
            apply(values, signs, 0)
            if not signs:
                raise ValueError("a bracket that was never opened")
            signs.pop()
        elif not complete and token in UNARY:
            signs.append(UNARY[token])
        elif not complete and token == "(":
            signs.append(token)
        elif not complete and re.fullmatch(DECIMAL, token):
            values.append(Fraction(token))
            complete = True
        else:
            raise ValueError(f"unexpected {token}")
    if not complete:
        raise ValueError("it ends in a sign")
    apply(values, signs, 0)
    if signs:
        raise ValueError("a bracket that is never closed")
    return values[0]


BINARY = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
          "//": lambda a, b: Fraction(a // b)}
UNARY = {"+": "plus", "-": "minus"}
RANK = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "plus": 3, "minus": 3}


def apply(values, signs, rank):
    """Computes what binds at least as strongly as `rank`, back to the last open bracket."""
    while signs and signs[-1] != "(" and RANK[signs[-1]] >= rank:
        sign, b = signs.pop(), values.pop()
        if sign in BINARY:
            values.append(BINARY[sign](values.pop(), b))
        else:
            values.append(-b if sign == "minus" else b)
