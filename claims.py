"""The claims of the three papers, and what became of them here: results/CLAIMS.md.

Every number on our side is computed from results/; the papers' are quoted. Each claim is one or more
measured quantities, a list over seeds, and a bound on each, usually half of the paper's effect:

    reproduced              the 95% interval (Student's t over seeds) of all of them is beyond the bound
    partly                  some means are beyond their bounds
    not at this scale       none is

The bounds were written down before the table was made, but after most of the results were known.

    python claims.py                # writes results/CLAIMS.md
    python reproduce.py default     # what the column "again" says makes a claim's numbers anew
"""
import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data.common import BadInput
from eval import by_seed, over_seeds

ROOT = Path(__file__).parent
UNITS = {"points": 100, "%": 100, "x": 1, "": 1}


@dataclass
class Part:
    """A measured quantity: its values {seed: value}, as "+3.1 ± 2.0 points of something"."""
    values: dict
    unit: str
    text: str
    bound: float = -math.inf    # in `unit`; what it must be beyond
    upper: bool = False         # beyond means below

    def interval(self):
        mean, half = over_seeds(list(self.values.values()))
        return UNITS[self.unit] * mean, UNITS[self.unit] * half

    def holds(self, sure):
        """Is it beyond the bound: its mean or, to be sure, its whole interval?"""
        mean, half = self.interval()
        if sure and math.isnan(half):
            return False
        worst = half if sure else 0
        return mean + worst <= self.bound if self.upper else mean - worst >= self.bound

    def __str__(self):
        mean, half = self.interval()
        sign = "+" if self.unit == "points" else ""
        spread = "" if math.isnan(half) else f" ± {half:.1f}"
        unit = {"": "", "%": "%", "x": "x"}.get(self.unit, f" {self.unit}")
        return f"{mean:{sign}.1f}{spread}{unit} {self.text}"


@dataclass
class Claim:
    paper: str
    says: str       # with the paper's numbers
    parts: list     # what decides
    control: list   # Parts, or text: what it must be read beside
    folders: str    # of results/, all that `reproduce.py` needs to be told

    def verdict(self):
        if all(part.holds(sure=True) for part in self.parts):
            return "reproduced"
        return "partly" if any(part.holds(sure=False) for part in self.parts) else \
            "not at this scale"


@cache
def rows(folder):
    paths = sorted((ROOT / "results" / folder).glob("*.json"))
    return by_seed(paths)


def get(folder, name, column="accuracy", updates=None):
    """{seed: value} of the rows with this name in a folder of results/; BadInput unless there is
    just one such name (and number of updates)."""
    found = [by for (own, _, _, steps), by in rows(folder).items()
             if own == name and updates in (None, steps)]
    if len(found) != 1:
        raise BadInput(f"results/{folder}: {len(found)} rows are called {name!r}")
    return {seed: row[column] for seed, row in found[0].items()}


def paired(a, b, how=lambda x, y: x - y):
    """{seed: how(a, b)} of the seeds that both have."""
    return {seed: how(a[seed], b[seed]) for seed in a if seed in b}


def share(a, b):
    """By how much of b is a more than b."""
    return paired(a, b, lambda x, y: x / y - 1)


def gain(folder, one, other, text, bound, **kwargs):
    """Part: accuracy of row `one` over row `other`."""
    there = kwargs.pop("there", folder)
    a, b = get(folder, one, **kwargs), get(there, other)
    return Part(paired(a, b), "points", text, bound)
