"""New numbers for old problems: a word problem with its equations becomes a template.

    Natalia sold clips to 48 of her friends in April, and then she sold half as many in May. ...
    <<48/2=24>> <<48+24=72>> #### 72

    Natalia sold clips to 66 of her friends in April, and then she sold half as many in May. ...
    <<66/2=33>> <<66+33=99>> #### 99

`trace` follows every operand of every equation to where it comes from: a number in the text, an
earlier result, p/100, 1 - p/100, 1 + p/100, 100 - p or 100 + p of a percentage p in the text, or a
constant that a word of the text explains (half: 2, week: 7; see CONSTANTS). A result that nothing
has used yet goes before constants and numbers that something has. There is no template where an
operand cannot be followed or may still come from two places, where an equation does not hold or has
one operand only, or where the answer is none of the results. Numbers of the text keep their value
if no equation uses them, if a word may explain them as well, and in fractions, ordinals, times and
years. Equal numbers stay equal.

`Template.draw` takes new numbers between half and twice of the old ones, as round as these, until
the chain holds: whole results stay whole, none gets more decimals, and none is negative, or 0, that
was not. It knows no more than the numbers: a constant that equals a number of the text by chance is
taken for it, and a class of 30 may become one of 55.

    python data/gsm8k.py --show 3       # problems and their variants; how many have any
"""
import math
import re
from dataclasses import dataclass

NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+")
OPERAND = re.compile(r"\d*\.\d+|\d+")
PLAIN = r"(?:[0-9]+\.[0-9]+|\.?[0-9]+)"      # a number of an equation; they have at least one sign
EQUATION = re.compile(rf"[-+*/()]*(?:{PLAIN}[-+*/()]+)+(?:{PLAIN}\)*)?={PLAIN}")
CONSTANTS = {   # an operand, and the beginnings of the words that explain it
    2: "half|halves|twice|doubl|both|couple|pair|two|weekend|each other|second",
    3: "third|tripl|thrice|three|yard", 4: "quarter|four|month|legs",
    5: "fifth|five|nickel|weekday", 6: "six", 7: "seven|week|dail|day", 8: "eigh", 9: "nin",
    10: "ten|dime|decade", 11: "eleven",
    12: "twel|dozen|year|annual|month|feet|foot|inch", 13: "thirteen", 14: "fourteen",
    15: "fifteen", 16: "sixteen|pound|ounce", 18: "eighteen", 20: "twenty", 24: "day|dail|hour",
    25: "quarter", 28: "feb", 30: "thirt|month", 31: "march|may|july|august|jan|dec|oct",
    36: "yard", 40: "fort", 50: "fift|half", 52: "year|week|annual", 60: "hour|minute|sixty",
    100: "%|percent|cent|hundred|dollar|discount|tax|meter", 365: "year|dail|day|annual",
    1000: "thousand|kilo|liter|gram|km", 1000000: "million", 0.5: "half|halves",
    0.25: "quarter|fourth", 0.75: "quarter|fourth", 0.2: "fifth", 0.1: "tenth|dime",
    0.05: "nickel", 0.01: "%|percent|cent|penn"}
CONSTANTS = {value: re.compile(rf"\b(?:{words})") for value, words in CONSTANTS.items()}
PERCENT = ("{}/100", "1-{}/100", "1+{}/100", "100-{}", "100+{}")
TOPS = {re.compile(words): top for words, top in {     # how large may be what comes before these
    r"\s?(?:%|percent)": 100, r" days (?:a|per|each|every|of the) week": 7,
    r" hours (?:a|per|each|every) (?:day|night)": 24, r" months (?:a|per|each|every) year": 12,
    r" weeks (?:a|per|each|every) (?:year|month)": 4}.items()}
UNITS = 1000, 500, 100, 50, 10, 5, 1    # of round numbers
SMALL, LARGE = 1e-4, 1e15   # beyond these, `spell` and floats do not hold a number
LONGEST = 300   # characters of an equation; GSM8K's own have 36 at most
TRIES = 30      # draws for one variant, before the old numbers are kept


class Untraceable(ValueError):
    """Why a problem is no template."""


def value(text):
    return float(text.replace(",", ""))


def spell(x):
    """A number as new equations have it: no exponent, no trailing zeros, no error of the last
    bit. Between SMALL and LARGE."""
    text = f"{x:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def same(a, b):
    return abs(a - b) < 1e-6


@dataclass
class Number:
    """A number of the text: v units of 10^-d. If it is free, it may become another, up to top."""
    v: int
    d: int
    top: int
    free: bool = False

    def draw(self, rng):
        if not self.free:
            return self.v / 10 ** self.d
        unit = next(u for u in UNITS if self.v % u == 0 and self.v >= 2 * u or u == 1)
        low, high = math.ceil(self.v / (2 * unit)), min(self.top, 2 * self.v) // unit
        return rng.randint(max(1, low), high) * unit / 10 ** self.d


@dataclass
class Template:
    """A problem whose free numbers can be drawn again."""
    text: list      # strings of the question; (i, format) where its number i stands
    numbers: list   # [Number], each value once
    steps: list     # equations as formats: {} for every operand and for the result
    chain: object   # values of the numbers -> results, and the operands of every equation
    old: list       # [(result, its decimals)]
    answer: int     # the place of the answer among the results

    def draw(self, rng):
        """(question, equations, answer) with new numbers; None if TRIES draws do not do."""
        for _ in range(TRIES):
            n = [number.draw(rng) for number in self.numbers]
            try:
                results, operands = self.chain(n)
            except ArithmeticError:
                continue
            if all(map(alike, results, self.old)):
                return self.fill(n, results, operands)
        return None

    def fill(self, n, results, operands):
        text = [piece if isinstance(piece, str) else piece[1].format(n[piece[0]])
                for piece in self.text]
        steps = [step.format(*map(spell, (*o, r)))
                 for step, o, r in zip(self.steps, operands, results)]
        return "".join(text), steps, spell(results[self.answer])


def alike(new, old):
    """Is a result still whole, or of as few decimals, and positive, if the old one was?"""
    result, d = old
    scaled = new * 10 ** d
    return abs(scaled - round(scaled)) < 1e-6 and (new > 0 or result <= 0) and (
        new >= 0 or result < 0) and (new == 0 or SMALL <= abs(new) < LARGE)


def fixed(question, spot):
    """Must this number stay? Part of a fraction, a time or a name; an ordinal; a year; 0 or 1."""
    before, after = question[:spot.start()][-1:], question[spot.end():]
    year = re.fullmatch("(19|20)[0-9][0-9]", spot[0]) and before != "$"
    return bool(year or value(spot[0]) <= 1 or before in tuple("/:") or before.isalpha()
                or re.match(r"/|:\d|\s?[ap]\.?m\b|-?(?:st|nd|rd|th)\b", after, re.I))


def read_numbers(question, spots):
    """{value: Number} of a text, the values in it that must stay, and its percentages."""
    numbers, stay, percents = {}, set(), set()
    for s in spots:
        v, d = value(s[0]), len(s[0].partition(".")[2])
        d = max(d, numbers[v].d if v in numbers else 0)
        tops = [top for words, top in TOPS.items() if words.match(question, s.end())]
        tops += [numbers[v].top / 10 ** numbers[v].d] if v in numbers else [10 ** 9]
        numbers[v] = Number(round(v * 10 ** d), d, int(max(v, min(tops)) * 10 ** d))
        if fixed(question, s):
            stay.add(v)
        if 100 in tops:
            percents.add(v)
    return numbers, stay, percents


def sources(v, numbers, percents, results, text):
    """All that an operand v may come from, as code, and the number of the text it depends on."""
    place = {u: f"n[{i}]" for i, u in enumerate(numbers)}
    found = [(f"r{i}", None) for i, r in enumerate(results) if same(r, v)]
    found += [(place[u], u) for u in numbers if same(u, v)]
    for u in percents:
        for form in PERCENT:
            code = form.format(place[u])
            if same(v, eval(form.format(u))):
                found.append((f"({code})", u))
    if v == 1 or v in CONSTANTS and CONSTANTS[v].search(text):
        found.append((repr(v), None))
    return found


def likely(found, operands, used):
    """Of several sources the only result that no equation has used yet, if the others are constants
    or numbers that one has used; Untraceable if it could be either."""
    results = [(code, u) for code, u in found if code.startswith("r")]
    if not results or len(found) == 1:
        return found
    new = [(code, u) for code, u in results if not any(code in o for o in operands)]
    if len(new) != 1 or any(u is not None and u not in used for _, u in found):
        raise Untraceable("an operand from two places")
    return new


def trace(question, equations, answer):
    """The Template of a question, its equations ["48/2=24"] and its answer, or Untraceable."""
    if not re.fullmatch(rf"-?{PLAIN}", answer):
        raise Untraceable("the answer is not a number")
    spots, text = list(NUMBER.finditer(question)), question.lower()
    if max((len(s[0]) for s in spots), default=0) > 15:
        raise Untraceable("a number that floats do not hold")
    numbers, stay, percents = read_numbers(question, spots)
    results, code, operands, steps, used = [], [], [], [], set()
    for i, equation in enumerate(equations):
        if len(equation) > LONGEST or "**" in equation or not EQUATION.fullmatch(equation):
            raise Untraceable("not an equation")
        left, right = equation.split("=")
        if any(not (o == 0 or SMALL <= o < LARGE) for o in map(float, OPERAND.findall(equation))):
            raise Untraceable("a number that is too small or too large")
        found = [sources(float(o), numbers, percents, results, text) for o in OPERAND.findall(left)]
        if not all(found):
            raise Untraceable("an operand from nowhere")
        found = [likely(some, operands, used) for some in found]
        for some in found:
            (used if len(some) == 1 else stay).update(u for _, u in some)
        operands.append([some[0][0] for some in found])
        names = iter(operands[-1])
        code.append(f"(r{i} := {OPERAND.sub(lambda _: next(names), left)})")
        steps.append(OPERAND.sub("{}", left) + "={}")
        results.append(float(right))
    for v in used - stay - {None}:
        numbers[v].free = True
    if not any(number.free for number in numbers.values()):
        raise Untraceable("no free number")
    if not any(same(r, value(answer)) for r in results):
        raise Untraceable("the answer is not a result")
    listed = ", ".join(f"({', '.join(o)},)" for o in operands)
    try:
        chain = eval(f"lambda n: ([{', '.join(code)}], ({listed},))")
        true = all(map(same, chain(list(numbers))[0], results))
    except (SyntaxError, TypeError, ArithmeticError, RecursionError, MemoryError):
        raise Untraceable("not an equation") from None
    if not true:
        raise Untraceable("an equation does not hold")
    places = [len(e.rpartition("=")[2].partition(".")[2]) for e in equations]
    last = max(i for i, r in enumerate(results) if same(r, value(answer)))
    return Template(cut(question, spots, numbers), list(numbers.values()), steps, chain,
                    list(zip(results, places)), last)


def cut(question, spots, numbers):
    """The text with (i, format) for every free number."""
    pieces, end, places = [], 0, list(numbers)
    for s in spots:
        if numbers[value(s[0])].free:
            comma, d = "," if "," in s[0] else "", len(s[0].partition(".")[2])
            pieces += [question[end:s.start()],
                       (places.index(value(s[0])), f"{{:{comma}.{d}f}}")]
            end = s.end()
    return [*pieces, question[end:]]
