"""The claims of the three papers, and what became of them here: results/CLAIMS.md.

Every number on our side is computed from results/; the papers' are quoted. Each claim is one or
more measured quantities, values over seeds, and a bound on each: half of the paper's effect where
it gives one, else our choice.

    reproduced              the 95% intervals (Student's t over seeds) of all are beyond the bounds
    partly                  the mean of some accuracy is: what is saved alone does not count
    not at this scale       none is
    open                    what would decide has not been run

The bounds were written down before the table was made, but after most of the results were known.

    python -m lab.claims                # results/CLAIMS.md, and the numbers of both README.md
    python -m lab.reproduce default     # what the column "again" says makes a claim's numbers anew
    python -m lab.claims again          # again/CLAIMS.md, of what was made anew
"""
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data.cli import BadInput, Parser, one_line
from data.files import write
from lab.tables import by_seed, over_seeds, summary

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"      # or the folder that `main` is told
READMES = ("README.md", "results/README.md", "results/speed.md")
VERDICTS = ("reproduced", "partly", "not at this scale", "open")
UNITS = {"points": 100, "%": 100, "": 1}


@dataclass
class Part:
    """A measured quantity: its values {seed: value}, as "+3.1 ± 2.0 points of something"."""
    values: dict
    unit: str
    text: str
    bound: float = -math.inf    # in `unit`; what it must be beyond
    upper: bool = False         # something that is saved: beyond means below
    n: int = 0                  # problems per seed

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
        if not self.values:
            return f"(not run) {self.text}"
        mean, half = self.interval()
        sign = "+" if self.unit == "points" or self.upper else ""
        spread = "" if math.isnan(half) else f" ± {half:.1f}"
        unit = " points" if self.unit == "points" else self.unit
        return f"{mean:{sign}.1f}{spread}{unit} {self.text}"


@dataclass
class Claim:
    paper: str
    says: str       # with the paper's numbers
    parts: list     # what decides
    control: list   # Parts, or text: what it must be read beside
    folders: str    # of results/, all that `lab.reproduce` needs to be told

    def verdict(self):
        if not all(part.values for part in self.parts) or not self.parts:
            return "open"
        if all(part.holds(sure=True) for part in self.parts):
            return "reproduced"
        some = any(part.holds(sure=False) for part in self.parts if not part.upper)
        return "partly" if some else "not at this scale"

    def size(self):
        """Seeds x problems, the fewest."""
        parts = self.parts or [part for part in self.control if isinstance(part, Part)]
        return f"{min(len(p.values) for p in parts)} x {min(p.n for p in parts)}"


@cache
def rows(folder):
    return by_seed(sorted((RESULTS / folder).glob("*.json")))


def get(ref, column="accuracy"):
    """{seed: value} of the rows called "folder: name", or "folder: name @updates", in results/.

    BadInput unless there is just one such name and number of updates; but {} if there is none in
    a folder other than results/, where not all may have been made anew.
    """
    folder, name = ref.split(": ", 1)
    name, _, updates = name.partition(" @")
    found = [by for (own, _, _, steps), by in rows(folder).items()
             if own == name and updates in ("", str(steps))]
    if not found and RESULTS != ROOT / "results":
        return {}
    if len(found) != 1:
        raise BadInput(f"{RESULTS.name}/{folder}: {len(found)} rows are called {ref!r}")
    return {seed: row[column] for seed, row in found[0].items()}


def problems(ref):
    return min(get(ref, "n").values(), default=0)


def paired(a, b, how=lambda x, y: x - y):
    """{seed: how(a, b)} of the seeds that both have."""
    return {seed: how(a[seed], b[seed]) for seed in a if seed in b}


def gain(one, other, text, bound=-math.inf):
    """Part: accuracy of one row over that of another, paired by seed."""
    return Part(paired(get(one), get(other)), "points", text, bound, n=problems(one))


def change(one, other, text, bound=math.inf, column="steps"):
    """Part: by what share a column of one row differs from another's; less is better."""
    share = paired(get(one, column), get(other, column), lambda x, y: x / y - 1)
    return Part(share, "%", text, bound, True, problems(one))


def value(ref, text, column="accuracy", unit="%"):
    """Part: a number as it is, for the column "beside it"."""
    return Part(get(ref, column), unit, text, n=problems(ref))


def by_moves(ref, moves):
    """{seed: accuracy on problems of so many moves}"""
    levels = {seed: [by[str(m)] for m in moves] for seed, by in get(ref, "by_difficulty").items()}
    return {seed: sum(b["accuracy"] * b["n"] for b in some) / sum(b["n"] for b in some)
            for seed, some in levels.items()}


def count(ref, moves):
    """Problems of so many moves, the fewest of any seed."""
    return min((sum(by[str(m)]["n"] for m in moves)
                for by in get(ref, "by_difficulty").values()), default=0)


def colar():
    yield Claim(
        "CoLaR", "-53.3% of the steps cost 4.8 points (c=2, mean of four sets)",
        [change("default: colar c=2", "default: cot", "steps, c=2 against CoT", -26.7),
         gain("default: colar c=2", "default: cot",
              "over CoT, which had a third of CoLaR's updates", -4.8)],
        [value("default: nocot @2000", "without thoughts, at CoT's updates"),
         value("default: nocot @6000", "at CoLaR's"),
         gain("default: colar c=2", "latent: cot @6000", "over CoT with as many updates"),
         gain("shuffled: colar c=2 --shuffle", "shuffled: nocot --shuffle @9000",
              "over no thoughts, statements in random order, at equal updates")],
        "default latent shuffled")
    yield Claim(
        "CoLaR", "over latent baselines of comparable length: +14.1 points (mean of four sets), "
        "+3.7 (on the one trained on)",
        [gain("default: colar c=5", f"latent: {name}", f"at c=5 over {name}", 1.9)
         for name in ("coconut", "codi")],
        [gain("default: colar c=5", "latent: pause --curriculum steps --pauses 6",
              "at c=5 over 6 pauses, Coconut's curriculum"),
         value("default: nocot @6000", "without thoughts"),
         gain("latent-prosqa: colar c=1 --balanced", "latent-prosqa: coconut --balanced @9000",
              "on balanced ProsQA, c=1 over coconut")], "default latent latent-prosqa")
    yield Claim(
        "CoLaR", "RL on a harder set: +5.4 points, -82.8% of the steps",
        [gain("rl: colar+rl c=5 on long", "rl: colar c=5 on long @4000",
              "on longer problems, c=5", 2.7),
         change("rl: colar+rl c=5 on long", "rl: colar c=5 on long @4000", "steps", -41.4)],
        [gain("rl: colar c=5 on long @6500", "rl: colar c=5 on long @4000",
              "by 2,500 more updates of supervised training")], "rl")
    yield Claim(
        "CoLaR", "one model, any speed, by prompting c (c=5 costs 12 points)",
        [gain(f"default: colar c={c}", "default: cot",
              f"over CoT, which had a third of CoLaR's updates, at c={c}", -12.0)
         for c in (2, 3, 4, 5)],
        [value(f"dial: colar c={c}", f"at c={c}, never trained") for c in (6, 9)]
        + [gain("default: colar c=5", "latent: cot @6000",
                "at c=5 over CoT with as many updates")], "default dial latent")
    noise, still, floor = (
        paired(*(get(f"explore: colar c=5 k={k}{flag} on long") for k in (16, 1)))
        for flag in ("", " --head deterministic", " --sigma-min 0.1"))
    yield Claim(
        "CoLaR", "the noise of the latent head explores",
        [Part(paired(noise, still), "points", "more from 16 samples than without the head's noise",
              0.0, n=problems("explore: colar c=5 k=16 on long"))],
        [Part(floor, "points", "from 16 samples with sigma held at 0.1")], "explore")


def assorted():
    codes = "replace: assorted latents=999"
    maze, tiny = "feasible: {} k=10 top_k=10 --level tiny", "assorted-maze: {} --level tiny"
    yield Claim(
        "Token Assorted", "mazes, 1-Feasible-10: +19.8 points, -71% of the tokens",
        [gain(maze.format("assorted"), maze.format("cot"), "over CoT", 9.9),
         change(maze.format("assorted"), maze.format("cot"), "thinking tokens", -35.5)],
        [gain(maze.format("assorted latents=999"), maze.format("cot"), "in codes only"),
         gain(tiny.format("assorted"), tiny.format("cot"), "greedy"),
         gain(tiny.format("assorted"), "assorted-maze: assorted --level tiny --replace random",
              "greedy over random codes")], "feasible assorted-maze")
    yield Claim(
        "Token Assorted", "ProsQA: +18.7 points; ProntoQA: +1.2, not learned here",
        [gain("assorted-prosqa: assorted --chunk 2", "assorted-prosqa: cot", "over CoT", 9.4)],
        [gain("assorted-prosqa: assorted --balanced --chunk 2", "assorted-prosqa: cot --balanced",
              "on balanced problems")], "assorted-prosqa")
    yield Claim(
        "Token Assorted", "GSM8K: +4.1 points, -20% of the tokens (3B)",
        [gain("replace: assorted", "default: cot",
              "over CoT on arithmetic, whose updates are as many without the VQ-VAE's", 2.0),
         change("replace: assorted", "default: cot", "thinking tokens", -10.0)],
        [gain("replace: assorted latents=999 --replace all", "default: cot",
              "in codes only, --replace all"),
         change("replace: assorted latents=999 --replace all", "default: cot", "tokens")],
        "replace default")
    yield Claim(
        "Token Assorted", "random m beats all-, curriculum-, Poisson-replace (+22.9, +22.1, +1.6)",
        [gain("replace: assorted", f"replace: assorted --replace {name}", f"over {name}", bound)
         for name, bound in (("all", 11.4), ("curriculum", 11.0), ("poisson", 0.8))],
        [gain(codes, f"{codes} --replace {name}", f"over {name} in codes only")
         for name in ("all", "curriculum", "poisson", "random")]
        + [gain("replace: assorted", "replace: assorted --replace random",
                "over random codes, which it may leave for text")], "replace")
    yield Claim(
        "Token Assorted", "the late steps stay readable",
        [gain(f"mixture: assorted latents={k}", "mixture: assorted latents=0",
              f"when text follows {k} codes, over text alone", -5.0) for k in (1, 2, 4, 6)],
        [value(f"mixture: assorted latents={k}", f"of {k} codes stand for the true words",
               "decoded") for k in (2, 6)], "mixture")


DEEP = "nocot r={}{} --backbone recurrent --mean-r 6 --bucket 1"
TWIN = "nocot r=1 --backbone recurrent --mean-r 1 --sampler fixed --bucket 1"
ANSWERS = "depth-answers: nocot r={} --backbone recurrent{} --mean-r {}{}"
CHAIN = " r=4 --backbone recurrent{} --mean-r 4 --bucket 1"


def depth():
    r1, r16 = (f"depth: {DEEP.format(r, '')}" for r in (1, 16))
    long = f"depth-long: {DEEP.format(16, '')} on long"
    yield Claim(
        "Recurrent depth", "accuracy grows with r (ARC-E 49.1 at r=4, 69.9 at 32)",
        [gain(r16, r1, "from r=1 to r=16", 10.0)],
        [gain(f"depth: {DEEP.format(64, '')}", r16, "from there to r=64")], "depth")
    hard, easy = (paired(by_moves(r16, moves), by_moves(r1, moves))
                  for moves in ((11, 12), (3, 4)))
    yield Claim(
        "Recurrent depth", "harder problems need more of them",
        [Part(paired(hard, easy), "points", "more gained on 11-12 moves than on 3-4", 10.0,
              n=count(r16, (3, 4)))],
        [Part(easy, "points", "gained on 3-4 moves")], "depth")
    kl = f"depth-exit: {DEEP.format(16, ' exit=kl threshold=1e-05')}"
    full = f"depth-exit: {DEEP.format(16, '')}"
    yield Claim(
        "Recurrent depth", "early exit saves compute (12 of 32 iterations) at no loss",
        [change(kl, full, "iterations, exit by KL at 1e-5", -25.0, "iterations"),
         gain(kl, full, "over all 16", -1.0)],
        [change(kl, full, "time in batches of 100", column="ms")], "depth-exit")
    own, one = (f"depth-cache: cot r=16 share={n} --backbone recurrent --mean-r 4 --bucket 1"
                for n in (0, 1))
    yield Claim(
        "Recurrent depth", "less memory: iterations share a cache slot",
        [change(one, own, "cached numbers per token", -50.0, "cache"),
         gain(one, own, "over a slot for each iteration", -1.0)],
        [value(ref, text, "cache", "") for ref, text in (
            (own, "numbers per token with 16 slots"), (one, "with one"))], "depth-cache")
    yield Claim(
        "Recurrent depth", "it combines with a chain of thought",
        [gain(f"depth-chain: colar c={c}{CHAIN.format(' --no-align')}",
              f"depth-chain: colar c={c} --no-align --bucket 1",
              f"by iterations under CoLaR, c={c}", 0.0) for c in (3, 4, 5)],
        [gain(f"depth-chain: cot{CHAIN.format('')}", "depth-chain: cot --bucket 1", "under CoT")],
        "depth-chain")
    learned = ANSWERS.format(16, "", 6, "")
    whole = [ANSWERS.format(r, " --no-prefixes", 6, " --bucket 1") for r in (16, 1)]
    yield Claim(
        "Recurrent depth", "no special training data",
        [gain(learned, ANSWERS.format(1, "", 1, " --sampler fixed"),
              "on arithmetic from answers alone, over the twin of as many parameters", 0.0),
         gain(*whole, "from r=1 to r=16 on permutations from answers alone", 10.0)],
        [gain(learned, ANSWERS.format(1, "", 6, ""), "from r=1 to r=16 on arithmetic"),
         value(r16, "on permutations with the answers to every prefix, too")],
        "depth-answers depth")
    yield Claim(
        "Recurrent depth", "more compute per parameter (GSM8K 10.2, its twin with r=1 2.2)",
        [gain(r16, f"depth: {TWIN}", "over the twin of as many parameters", 0.0),
         gain(r16, "depth: nocot --layers 8 --bucket 1", "over the twin of as many layers", -1.0)],
        [gain(long, f"depth-long: {TWIN} on long", "on longer problems, over the first"),
         gain(long, "depth-long: nocot --layers 8 --bucket 1 on long", "over the second")],
        "depth depth-long")
    yield Claim(
        "Recurrent depth", "it generalises beyond the difficulty in training",
        [gain(long, f"depth-long: {TWIN} on long",
              "over the twin with one iteration, on 13-18 moves, trained on 3-12", 20.0)],
        [value(long, "on 13-18 moves"), value(r16, "on 3-12")], "depth depth-long")


def ours():
    yield Claim(
        "ours", "every method gains or keeps its accuracy on the recurrent backbone (r=4)",
        [gain(deep, plain, f"by {name}", -2.0) for name, plain, deep in TWINS],
        [value(plain, f"{name}, plain") for name, plain, _ in TWINS],
        "backbones depth-chain default replace")
    yield Claim(
        "ours", "the thoughts are used: another problem's make the answer wrong",
        [lost(ref, 20.0) for ref in LATENT],
        [*map(lost, ("controls: cot thoughts={}", PAUSES)),
         *(value(ref.format("swap"), "of the swapped become the donor's: " + label(ref), "donor")
           for ref in LATENT if "prosqa" not in ref)], "controls controls-prosqa")


RECURRENT = "backbones: {} r=4 --backbone recurrent{} --mean-r 4"
TWINS = [       # a method, its row on the plain backbone and on the recurrent one
    *((f"{name} on permutations", f"depth-chain: {name}{flags} --bucket 1",
       f"depth-chain: {name}{CHAIN.format(flags)}")
      for name, flags in (("cot", ""), ("colar c=2", " --no-align"))),
    ("nocot", "default: nocot @2000", RECURRENT.format("nocot", "")),
    *((name, f"backbones: {name}{flags}", RECURRENT.format(name, flags)) for name, flags in (
        ("pause", " --curriculum steps --pauses 6"), ("icot", ""), ("coconut", ""), ("codi", ""))),
    ("assorted", "replace: assorted latents=999", RECURRENT.format("assorted latents=999", ""))]
LATENT = ("controls: colar c=2 thoughts={}", "controls: colar c=5 thoughts={}",
          "controls: assorted latents=999 thoughts={} --replace all",
          "controls: coconut thoughts={}", "controls: codi thoughts={}",
          "controls-prosqa: coconut thoughts={} --balanced",
          "controls-prosqa: colar c=2 thoughts={} --balanced")
PAUSES = "controls: pause thoughts={} --curriculum steps --pauses 6"


def label(ref):
    """What a row of the controls is called in the table of claims."""
    name = ref.split(": ")[1].replace(" thoughts={}", "")
    return name.replace("--balanced", "on balanced ProsQA")


def lost(ref, bound=-math.inf):
    """Part: what a method loses with another problem's thoughts."""
    return gain(ref.format("as thought"), ref.format("swap"), f"lost by {label(ref)}", bound)


def table():
    """results/CLAIMS.md as text."""
    claims = [*colar(), *assorted(), *depth(), *ours()]
    lines = ["| # | paper | its claim | here | beside it | verdict | seeds x problems | again |",
             "|---" * 8 + "|"]
    for i, claim in enumerate(claims, 1):
        cells = [str(i), claim.paper, claim.says, "; ".join(map(str, claim.parts)),
                 "; ".join(map(str, claim.control)), f"**{claim.verdict()}**", claim.size(),
                 f"`python -m lab.reproduce {claim.folders}`"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([HEAD, *digest(claims), "", *lines, ""])


def digest(claims):
    """["- **verdict**: 1, 11, ..."], in the order of VERDICTS."""
    numbers = {verdict: [] for verdict in VERDICTS}
    for i, claim in enumerate(claims, 1):
        numbers[claim.verdict()].append(str(i))
    return [f"- **{verdict}**: {', '.join(some)}" for verdict, some in numbers.items() if some]


HEAD = """All numbers of this page were made with commit 097c379, whose block, optimizer and
wording of the problems were others. They will be made anew.

# Twenty claims

Eighteen of three papers, two of ours; what they say, and what small models show that were trained
from scratch on two CPU cores.
Our numbers are mean ± 95% interval (Student's t) over seeds, differences paired by seed, computed
from the files in this folder by `python -m lab.claims`; the last column makes them anew.
*Reproduced*: the intervals of all numbers under "here" are beyond a bound, half of the paper's
effect where it gives one, else our choice; *partly*: the mean of at least one accuracy is; *not at
this scale*: none is. `lab/claims.py` has the bounds, the README.md beside this file says what
each experiment was. Three seeds make wide intervals: "partly" may mean too few of them, or that one
of several numbers is far from its bound, as the steps saved in 3 and the text after one code in 10.
And the intervals are over seeds, which share their test problems: another test set adds its own
error, on 73 mazes a large one.
"""


def refresh(text):
    """A README.md, its tables and its differences "3.1 ± 2.0<!-- one | other -->" from results/.

    A difference is that of `gain`, with a sign if it had one.
    """
    def one(match):
        paths = sorted(ROOT.glob(match[1]))
        return f"<!-- lab.tables {match[1]} -->\n{summary(paths)}\n<!-- end -->"

    def difference(match):
        mean, half = gain(match[2], match[3], "").interval()
        sign = "+" if match[1] else ""
        return f"{mean:{sign}.1f} ± {half:.1f}<!-- {match[2]} | {match[3]} -->"
    return DIFFERENCE.sub(difference, TABLE.sub(one, text))


TABLE = re.compile(r"<!-- lab.tables (\S+) -->\n.*?<!-- end -->", re.S)
DIFFERENCE = re.compile(r"([+-]?)[\d.]+ ± [\d.]+<!-- ([^|>]+?) \| ([^|>]+?) -->")


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
        new = {RESULTS / "CLAIMS.md": claims}
        if RESULTS == ROOT / "results":
            for name in READMES:
                new[ROOT / name] = refresh((ROOT / name).read_text(encoding="utf-8"))
        for path, text in new.items():
            write(path, text)
        print(claims)


if __name__ == "__main__":
    main()
