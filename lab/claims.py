"""The claims of the three papers, and what became of them here: results/CLAIMS.md.

Every number on our side is computed from results/; the papers' are quoted. lab/plan.py says what
decides each claim: one or more quantities, each with a bound.

    reproduced                  the 95% interval of every quantity is beyond its bound
    refuted at this scale       that of at least one is short of it
    undecided                   neither
    not run                     the results of some are missing

Only one quantity is shown: that which is the least sure to be beyond its bound. Until the runs of
the plan are there, lab/earlier.py names older rows that stand for them.

    python -m lab.claims                # results/CLAIMS.md
    python -m lab.reproduce 4           # makes the runs of claim 4 anew
    python -m lab.claims again          # again/CLAIMS.md, of what was made anew
"""
import fnmatch
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from data.cli import BadInput, Parser, one_line
from data.files import write
from data.rows import setting
from lab.earlier import EARLIER
from lab.intervals import interval
from lab.plan import CLAIMS, PLAN, RUNS, Change, Double, Gain, Value, seeds_of
from lab.tables import by_seed

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"      # or the folder that `main` is told
VERDICTS = ("reproduced", "refuted at this scale", "undecided", "not run")


# ---- rows of results -----------------------------------------------------------------------------

@cache
def rows(folder):
    return by_seed(sorted((RESULTS / folder).glob("*.json")))


def find(ref):
    """[{seed: row}] of the rows called "folder: name", or "folder: name @updates", in results/; of
    one, unless a "*" in the name stands for anything. A run of the plan has a folder of its own,
    where a name is but "method setting".

    BadInput unless there is just one such name and number of updates; but [] for a run of the plan
    that has no results yet, or if there is none in a folder other than results/, where not all may
    have been made anew.
    """
    folder, name = ref.split(": ", 1)
    name, _, updates = name.partition(" @")
    known = rows(f"evidence/{folder}" if folder in RUNS else folder)
    found = []
    for (own, _, _, steps), by in known.items():
        if folder in RUNS:
            row = next(iter(by.values()))
            own = f"{row['method']} {setting(row)}".strip()
        if fnmatch.fnmatchcase(own, name) and updates in ("", str(steps)):
            found.append(by)
    if not found and (folder in RUNS and not known or RESULTS != ROOT / "results"):
        return []
    if not found or len(found) > 1 and "*" not in name:
        raise BadInput(f"{RESULTS.name}/{folder}: {len(found)} rows are called {ref!r}")
    return found


def get(ref, column="accuracy", moves=()):
    """{seed: value} of a row, or the mean over those that a "*" stands for. moves: only of problems
    of these difficulties."""
    found = find(ref)
    seeds = [seed for seed in found[0] if all(seed in by for by in found)] if found else []
    return {seed: sum(cell(by[seed], column, moves) for by in found) / len(found)
            for seed in seeds}


def cell(row, column, moves):
    if not moves:
        return row[column]
    some = of_difficulty(row, moves)
    return sum(s["accuracy"] * s["n"] for s in some) / sum(s["n"] for s in some)


def of_difficulty(row, moves):
    """What a row has of problems of these difficulties, as far as there were any: of three moves
    there are so few problems that none is fresh."""
    return [row["by_difficulty"][str(m)] for m in moves if str(m) in row["by_difficulty"]]


def problems(ref, moves=()):
    """How many problems its accuracy is about, the fewest of any seed."""
    return min((sum(s["n"] for s in of_difficulty(row, moves)) if moves else row["n"]
                for by in find(ref) for row in by.values()), default=0)


def paired(a, b, how=lambda x, y: x - y):
    """{seed: how(a, b)} of the seeds that both have."""
    return {seed: how(a[seed], b[seed]) for seed in a if seed in b}


def differences(one, other, seeds):
    """What a row has right beyond another one, in points, as (S, N): each seed on each problem.
    None unless all are known to be about the same problems."""
    found = find(one), find(other)
    if not seeds or any(len(rows) > 1 for rows in found):
        return None
    pairs = [[rows[0][seed] for rows in found] for seed in seeds]
    about = {row.get("problems", "") for pair in pairs for row in pair}
    if len(about) > 1 or "" in about:
        return None
    return torch.tensor([[100.0 * (int(a) - int(b)) for a, b in zip(row["right"], than["right"])]
                         for row, than in pairs])


# ---- what decides --------------------------------------------------------------------------------

@dataclass
class Part:
    """A measured quantity over seeds, and what it must be beyond."""
    values: dict        # {seed: value}, in points or %
    more: str           # what follows its size in words if it is above 0,
    less: str           # if it is below,
    level: str          # and if neither can be seen
    bound: float = None
    saved: bool = False     # beyond means below
    n: int = 0              # problems per seed
    each: torch.Tensor = None   # (S, N): the values on each problem, if they are known

    def interval(self):
        """Its mean, and half of its 95% interval: nan for a single seed."""
        return interval(list(self.values.values()), self.each)

    def sureness(self):
        """How far beyond its bound it is, in halves of its interval: above 1, the whole interval
        is, below -1 none of it. 0: a single seed does not say."""
        mean, half = self.interval()
        beyond = self.bound - mean if self.saved else mean - self.bound
        if math.isnan(half):
            return 0.0
        if half == 0:
            return math.inf if beyond >= 0 else -math.inf
        return beyond / half

    def __str__(self):
        if not self.values:
            return "not run"
        mean, half = self.interval()
        spread = "" if math.isnan(half) else f" ± {half:.1f}"
        if f"{abs(mean):.1f}" == "0.0" and self.level:
            return self.level + (f" ({spread.strip()})" if spread else "")
        return f"{abs(mean):.1f}{spread}{self.more if mean >= 0 else self.less}"

    def said_bound(self):
        """The bound in words, such as "at least 9.9 points more"."""
        if self.bound == 0:
            return "no more" if self.saved else "no less"
        if self.saved:
            return f"at least {-self.bound:g}% fewer"
        size = f"{abs(self.bound):g} point{'s' * (abs(self.bound) != 1)}"
        return f"at least {size} more" if self.bound > 0 else f"at most {size} less"


def measured(spec):
    """The Part of a Gain, Double, Change or Value of lab/plan.py."""
    return {Gain: gain, Double: double, Change: change, Value: value}[type(spec)](*spec)


def points(values, text, bound, n, each=None):
    """Part: a difference of accuracies, in points."""
    return Part(values, f" points more {text}", f" points less {text}",
                f"no more and no less {text}", bound, n=n, each=each)


def gain(one, other, text, bound=None, moves=()):
    """Part: accuracy of one row over that of another, paired by seed and, if it can be, problem."""
    values = paired(get(one, moves=moves), get(other, moves=moves), lambda x, y: 100 * (x - y))
    each = None if moves else differences(one, other, values)
    return points(values, text, bound, problems(one, moves), each)


def double(first, second, text, bound=None):
    """Part: one gain over another, paired by seed."""
    first, second = measured(first), measured(second)
    return points(paired(first.values, second.values), text, bound, min(first.n, second.n))


def change(one, other, text, bound=None, column="steps"):
    """Part: by what share a column of one row differs from another's; less is better."""
    share = paired(get(one, column), get(other, column), lambda x, y: 100 * (x / y - 1))
    return Part(share, f"% more {text}", f"% fewer {text}", f"as many {text}", bound, True,
                problems(one))


def value(one, text, column="accuracy"):
    """Part: a share as it is."""
    share = {seed: 100 * v for seed, v in get(one, column).items()}
    return Part(share, f"% {text}", f"% {text}", "", n=problems(one))


# ---- verdicts ------------------------------------------------------------------------------------

@dataclass
class Judged:
    """A claim with what was measured for it."""
    number: int
    parts: list         # Parts that decide
    control: Part       # what they must be read beside
    planned: int = 0    # seeds, without which nothing is decided
    needs: str = ""     # what the code lacks to run them

    def deciding(self):
        """The part that is the least sure to be beyond its bound; None if one was not run."""
        known = [part for part in self.parts if part.values]
        least = min(known, key=Part.sureness, default=None)
        missing = len(known) < len(self.parts)
        return least if least and (not missing or least.sureness() < -1) else None

    def verdict(self):
        part = self.deciding()
        if part is None:
            return "not run"
        if self.left():
            return "undecided"
        sure = part.sureness()
        return VERDICTS[0] if sure >= 1 else VERDICTS[1] if self.refuted() else VERDICTS[2]

    def refuted(self):
        """Is one part short of its bound? Then it does not matter what the others are."""
        part = self.deciding()
        return part is not None and part.sureness() < -1

    def left(self):
        """How many seeds are still to be run: without its control nothing is decided, either."""
        return max(self.deciding_left(), self.planned - len(self.control.values))

    def deciding_left(self):
        """How many seeds of what decides are still to be run."""
        needed = [self.deciding()] if self.refuted() else self.parts
        return max(0, self.planned - min(len(part.values) for part in needed))

    def short(self):
        """The verdict, and where it is open how wide the interval is."""
        verdict = self.verdict()
        if verdict != "undecided" or math.isnan(self.deciding().interval()[1]):
            return verdict
        return f"{verdict} (± {self.deciding().interval()[1]:.1f})"

    def why(self):
        """The verdict as a sentence."""
        others = len(self.parts) - 1
        too = f", and so are those of {others} more quantities" if others > 1 else \
            ", and so is that of one more quantity" if others else ""
        if self.deciding() and self.left() and not self.deciding_left():
            return f"The control lacks {self.left()} of {self.planned} seeds."
        return {
            "reproduced": f"The whole interval is beyond the bound{too}.",
            "refuted at this scale": "The whole interval falls short of the bound.",
            "undecided": f"{self.deciding_left()} of {self.planned} seeds of what decides are "
                         "still to be run." if self.left() else
                         "The interval reaches across the bound, so these seeds do not decide it.",
            "not run": "What would decide it has not been run"
                       + (f", for it needs {self.needs}." if self.needs else "."),
        }[self.verdict()]


def judged(number):
    """A claim as Judged: by its runs of the plan or, until there are some of each that decides, or
    enough of one that refutes it, by earlier rows."""
    decides, control, needs = PLAN[number]
    if not needs:
        planned = Judged(number, [measured(spec) for spec in decides], measured(control),
                         seeds_of(number))
        if all(part.values for part in planned.parts) or planned.verdict() == VERDICTS[1]:
            return planned
    if number in EARLIER:
        decides, control = EARLIER[number]
        return Judged(number, [measured(spec) for spec in decides], measured(control))
    missing = Part({}, "", "", "")
    return Judged(number, [missing], missing, needs=needs)


# ---- the page ------------------------------------------------------------------------------------

HEAD = """# {count} claims

What the papers claim, and what small models show that were trained from scratch on two CPU cores.

{digest}

*Reproduced*: the whole 95% interval is beyond the bound, for each quantity that decides. *Refuted
at this scale*: the whole interval is short of it, for at least one. *Undecided*: neither, and how
wide the interval is. Bounds are mostly half of a gain that the paper reports, or all of a cost;
else our choice (`lab/plan.py`). The deciding number is the one that is the least sure to be
beyond its bound; its control is the number to read beside it. Differences are paired by seed. An
interval is over seeds and problems both (`lab/intervals.py`), or says that it is over seeds
alone.

The plan of `lab/plan.py` was fixed before its runs. Where a card names commit 097c379, its runs are
still to be made, and older ones stand in: their block, optimizer and wording of the problems were
others, and settings had been chosen with their seeds. `python -m lab.claims` computes this page.
"""


def table():
    """results/CLAIMS.md as text."""
    found = [judged(number) for number in CLAIMS]
    lines = ["| claim | verdict | deciding number |", "|---|---|---|"]
    for one in found:
        verdict = f"**{one.short()}**" if one.verdict() == "reproduced" else one.short()
        cells = f"{one.number}. {CLAIMS[one.number].title}", verdict, str(one.deciding() or "")
        lines.append("| " + " | ".join(cells) + " |")
    head = HEAD.format(count=len(found), digest="\n".join(digest(found)))
    return "\n".join([head, *lines, "", *map(card, found)])


def digest(found):
    """["- **verdict**: 1, 11, ..."], in the order of VERDICTS."""
    numbers = {verdict: [] for verdict in VERDICTS}
    for one in found:
        numbers[one.verdict()].append(str(one.number))
    return [f"- **{verdict}** ({len(some)}): {', '.join(some)}"
            for verdict, some in numbers.items() if some]


def card(one):
    """A claim on half a page."""
    claim, part = CLAIMS[one.number], one.deciding()
    here = f"{part}. The bound: {part.said_bound()}. {size(one)}." if part else "nothing yet."
    return f"""## {one.number}. {claim.title}

**{one.short()}** · {claim.paper}

- The claim: {claim.says}
- Here: {here}
- Control: {one.control}.

{one.why()} {claim.note}

```
python -m lab.reproduce {one.number}
```
"""


def size(one):
    """What the deciding number of a claim is the mean of."""
    part = one.deciding()
    seeds, alone = len(part.values), "" if part.each is not None else ", the interval over seeds"
    old = "" if one.planned else " of commit 097c379"
    return f"{seeds} seed{'s' * (seeds > 1)} x {part.n} problems{old}{alone}"


def main(argv=None):
    global RESULTS
    parser = Parser("lab.claims", __doc__)
    parser.add_argument("folder", nargs="?", default=RESULTS, help="[results]")
    with one_line("lab.claims"):
        folder = parser.parse(argv)["folder"]
        if not str(folder) or not Path(folder).is_dir():
            raise BadInput(f"{str(folder)!r}: no such folder; `python -m lab.reproduce` makes one")
        RESULTS = Path(folder).resolve()
        claims = table()
        write(RESULTS / "CLAIMS.md", claims)
        print(claims)


if __name__ == "__main__":
    main()
