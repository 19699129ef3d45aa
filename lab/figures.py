"""The figures of results/: one for each page, a point for each seed, from the rows that are there.

    python -m lab.figures               # all of them: results/figures/NAME.png
    python -m lab.figures rl speed      # these

A figure keeps a digest of the numbers that it shows, so lab/pages.py knows which are out of date.
"""
import hashlib
import io
import json
import math
import sys
from dataclasses import dataclass, field

from data.cli import BadInput, Parser, choice, one_line
from data.files import write
from lab import claims, quantities

SIGNS = "os^Dv<>p*hXPd12348"    # one for each seed, the same in all panels: pairs can be seen
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#aa4499", "#777777"
ACCURACY = "accuracy, %"
GSM8K_BARE = {      # of its default, what is left out, in the order of a row's name
    "--sizes": None, "--extra": None, "--asked": " 0.0", "--told": " 0.0", "--word-dropout": " 0.0",
    "--dropout": " 0.0", "--ema": None, "--weight-decay": " 0.1", "--conv": " 0"}


@dataclass
class Mark:
    """A quantity at a place of a panel: a point for each seed, a bar at their mean."""
    what: str               # see lab/quantities.py
    panel: int = 0
    series: str = ""        # what the legend calls its colour
    color: str = BLUE
    hollow: bool = False


@dataclass
class Panel:
    """A pair of axes. lines: {what a straight line is called: its quantity, or a number}."""
    title: str
    label: str = ACCURACY   # of the axis of the numbers
    limits: tuple = (-4, 106)
    lines: dict = field(default_factory=dict)


@dataclass
class Dots:
    """A figure with a row for each label, and points along it: {label: [Mark]}."""
    title: str
    panels: list
    rows: dict


@dataclass
class Curves:
    """A figure of points over a setting x: {x: [Mark]}; those of a series are joined."""
    title: str
    panels: list
    rows: dict
    over: str               # what x is
    log: bool = False
    untrained: float = 0.0  # settings above it were in no training


# ---- the figures ---------------------------------------------------------------------------------

def colar():
    def row(c):
        new = {"hollow": c > 5}
        return [Mark(f"dial: colar c={c}", 0, "CoLaR", BLUE, **new),
                Mark(f"steps of dial: colar c={c}", 1, "CoLaR", BLUE, **new)]
    answers = {"a written chain (CoT)": "tiny: cot",
               "no chain, as many updates": "tiny: nocot @2700"}
    return Curves("CoLaR: one model at every speed", [
        Panel("right answers", lines=answers),
        Panel("length of the thoughts", "thinking steps per problem", (0, 35),
              {"a written chain (CoT)": "steps of tiny: cot"})],
        {c: row(c) for c in range(1, 10)}, "words per thought that the prompt asks for (c)",
        untrained=5)


def rl():
    rows = {
        "chains that go on: CoLaR, c=5, stage one": "rl-redundant: colar c=5",
        "and 100 batches of GRPO that price length": "rl-redundant: colar+rl c=5",
        "or 2,000 more supervised updates": "more-redundant-long: colar c=5",
        "usual chains, older recipe: CoLaR, c=5": "rl: colar c=5 on long @4000",
        "and 100 batches of GRPO": "rl: colar+rl c=5 on long",
        "or 2,500 more supervised updates": "rl: colar c=5 on long @6500",
        "written chain (CoT)": "rl: cot on long",
        "CoT and 50 batches of GRPO": "rl: cot+rl on long"}
    return Dots("What does reinforcement add to training, and at which length?", [
        Panel("right answers, problems of 5 to 7 steps"),
        Panel("length of the thoughts", "thinking steps per problem", (0, 65))],
        {name: [Mark(ref, 0), Mark(f"steps of {ref}", 1)] for name, ref in rows.items()})


def token_assorted():
    rows = {
        "written chain (CoT)": "default: cot",
        "codes for the whole chain, always": "replace: assorted latents=999 --replace all",
        "codes, more and more in training": "replace: assorted latents=999 --replace curriculum",
        "codes, trained on the paper's mixture": "replace: assorted latents=999",
        "codes or text as the model likes": "replace: assorted",
        "random codes": "replace: assorted latents=999 --replace random",
        "pauses in place of codes": "replace: assorted latents=999 --replace pause",
        "beginning of the chain deleted": "replace: assorted --replace delete"}
    return Dots("Token Assorted on arithmetic: what may stand for the chain?", [
        Panel("right answers", lines={"no chain": "default: nocot @2000"}),
        Panel("length of the thoughts", "thinking tokens per problem", (0, 35))],
        {name: [Mark(ref, 0), Mark(f"steps of {ref}", 1)] for name, ref in rows.items()})


def recurrent_depth():
    def row(r):
        run = "deep" if r <= 32 else "deep-more"
        marks = [Mark(f"at {levels} of {run}: nocot r={r}", 0, f"{name} moves", color)
                 for levels, name, color in (("3,4", "3 and 4", GREEN), ("7,8", "7 and 8", BLUE),
                                             ("11,12", "11 and 12", ORANGE))]
        marks = [] if r == 6 else marks     # measured on longer problems alone
        if r not in (2, 32):                # and these are not
            marks.append(Mark(f"deep-long: nocot r={r}", 1, "13 to 18 moves", PURPLE))
        return marks
    return Curves("Recurrent depth: accuracy over iterations, on easy and hard problems", [
        Panel("3 to 12 moves, as in training", lines={"chance": 100 / 6}),
        Panel("13 to 18 moves, more than in training", lines={
            "chance": 100 / 6, "same size, one iteration": "twin-long: nocot r=1",
            "eight layers, no iterations": "layers-long: nocot"})],
        {r: row(r) for r in (1, 2, 4, 6, 8, 16, 32, 64)},
        "iterations of the core block (trained on 7 on average)", log=True)


PAUSES = "--curriculum steps --pauses 6"


def baselines():
    rows = {
        "written chain (CoT)": ("latent: cot @6000", "latent: cot on ood @6000",
                                "latent-prosqa: cot --balanced @9000"),
        "CoLaR, c=5 (ProsQA: c=1)": ("default: colar c=5", "latent: colar c=5 on ood",
                  "latent-prosqa: colar c=1 --balanced"),
        "Coconut": ("latent: coconut", "latent: coconut on ood",
                    "latent-prosqa: coconut --balanced @9000"),
        "CODI": ("latent: codi", "latent: codi on ood"),
        "iCoT": ("latent: icot", "latent: icot on ood"),
        "six pause tokens": (f"latent: pause {PAUSES}", f"latent: pause {PAUSES} on ood",
                             f"latent-prosqa: pause --balanced {PAUSES} @9000"),
        "no chain": ("default: nocot @6000", "latent: nocot on ood",
                     "latent-prosqa: nocot --balanced")}
    return Dots("Ways to think without words, on three kinds of problems", [
        Panel("arithmetic, 1 to 7 steps"), Panel("8 to 10 steps: longer than trained"),
        Panel("balanced ProsQA, 2 or 3 hops", lines={"chance": 50.0})],
        {name: [Mark(ref, panel) for panel, ref in enumerate(refs)]
         for name, refs in rows.items()})


def controls():
    arithmetic = {
        "written chain (CoT)": "controls: cot thoughts={}",
        "CoLaR, c=2": "controls: colar c=2 thoughts={}",
        "CoLaR, c=5": "controls: colar c=5 thoughts={}",
        "Token Assorted, codes only":
            "controls: assorted latents=999 thoughts={} --replace all",
        "Coconut": "controls: coconut thoughts={}", "CODI": "controls: codi thoughts={}",
        "six pause tokens": f"controls: pause thoughts={{}} {PAUSES}"}
    prosqa = {"CoLaR, c=2": "controls-prosqa: colar c=2 thoughts={} --balanced",
              "Coconut": "controls-prosqa: coconut thoughts={} --balanced",
              "six pause tokens": f"controls-prosqa: pause thoughts={{}} --balanced {PAUSES}"}

    def marks(ref, panel):
        swapped = ref.format("swap")
        return [Mark(ref.format("as thought"), panel, "right, with its own thoughts"),
                Mark(swapped, panel, "right, with another problem's thoughts", ORANGE, True),
                Mark(f"donor of {swapped}", panel, "says that other problem's answer", GREEN, True)]
    return Dots("Are the thoughts used? What a model answers with another problem's", [
        Panel("arithmetic", "answers, %"),
        Panel("balanced ProsQA", "answers, %", lines={"chance": 50.0})],
        {name: marks(ref, 0) + (marks(prosqa[name], 1) if name in prosqa else [])
         for name, ref in arithmetic.items()})


def gsm8k():
    ideas = {
        "equations over names, nothing else": {},
        "a word for the size of each number": {"--sizes": ""},
        "2,049 problems of MAWPS": {"--extra": " MAWPS.json"},
        "questions that solutions answer": {"--asked": None},
        "answers in the words of solutions": {"--told": None},
        "hidden words": {"--word-dropout": None},
        "dropout": {"--dropout": None},
        "averaged weights": {"--ema": " 0.999"},
        "ten times the weight decay": {"--weight-decay": " 1.0"},
        "convolutions": {"--conv": None},
        "the three kinds of texts": {"--extra": " MAWPS.json", "--asked": None, "--told": None},
        "the best three: decay, questions, words": {
            "--asked": None, "--told": None, "--weight-decay": " 1.0"}}
    return Dots("GSM8K from scratch: what helps a small model, one idea at a time", [
        Panel("506 validation problems", limits=(0, 12)),
        Panel("loss on them", "nats per word of chain and answer", (0.55, 0.8))],
        {**{label: [Mark(gsm8k_idea(given), 0), Mark(f"loss of {gsm8k_idea(given)}", 1)]
            for label, given in ideas.items()},
         "the answer of most of 16 samples": [Mark(gsm8k_idea({}, "cot vote=16"), 0)]})


def gsm8k_idea(given, kind="cot"):
    """The row of CoT with these of the ideas alone. None: as in the default, so not in its name."""
    words = [flag + value for flag, value in {**GSM8K_BARE, **given}.items() if value is not None]
    return f"gsm8k-ideas: {' '.join([kind, *words])} on val"


def tasks():
    codes, ten = "codes-maze: assorted{}", "maze-codes: assorted{} k=10 top_k=10"
    prosqa = "assorted-prosqa: {}"
    rows = {
        "written chain (CoT)": ["cot-maze: cot", "maze-cot: cot k=10 top_k=10",
                                prosqa.format("cot"), prosqa.format("cot --balanced"),
                                "prontoqa: cot @15000", "cot-long: cot"],
        "Token Assorted": [codes.format(""), ten.format(""),
                           prosqa.format("assorted --chunk 2"),
                           prosqa.format("assorted --balanced --chunk 2"), None, None],
        "Token Assorted, codes only": [
            codes.format(" latents=999"), ten.format(" latents=999"),
            prosqa.format("assorted latents=999 --chunk 2"),
            prosqa.format("assorted latents=999 --balanced --chunk 2"), None, None],
        "CoLaR, c=2": [None, None, "prosqa: colar c=2",
                       "latent-prosqa: colar c=2 --balanced", None,
                       "colar: colar c=2"],
        "no chain": [None, None, "latent-prosqa: nocot", "latent-prosqa: nocot --balanced", None,
                     "nocot: nocot"]}
    coin = {"chance": 50.0}
    return Dots("Mazes, logic, and statements in random order", [
        Panel("mazes"), Panel("mazes, one of\nten samples"), Panel("ProsQA", lines=coin),
        Panel("ProsQA,\nbalanced", lines=coin), Panel("ProntoQA", lines=coin),
        Panel("arithmetic in\nrandom order")],
        {name: [Mark(ref, panel) for panel, ref in enumerate(refs) if ref]
         for name, refs in rows.items()})


def speed():
    rows = {
        "train CoT, beside nanoGPT": "cot tokens/s, base: nanoGPT",
        "train CoT of width 256, beside nanoGPT": "cot-wide tokens/s, base: nanoGPT",
        "train CoT": "cot tokens/s", "train CoT of width 256": "cot-wide tokens/s",
        "train CoLaR": "colar sequences/s", "train Token Assorted": "assorted sequences/s",
        "train Coconut": "coconut sequences/s", "train CODI": "codi sequences/s",
        "train CoT, recurrent": "recurrent-cot sequences/s",
        "train CoLaR, recurrent": "recurrent-colar sequences/s",
        "answer one problem": "decode-1 tokens/s", "answer 64 at once": "decode-64 tokens/s"}

    def marks(measure):
        return [Mark(f"ratios-{n}.json: rows > {measure} > ratio", 0, f"on {n} core{s}", color)
                for n, s, color in ((1, "", BLUE), (2, "s", ORANGE))]
    return Dots("Speed beside nanoGPT, and beside commit 097c379", [
        Panel("where nanoGPT is not named: beside commit 097c379 of this project",
              "times as fast", (0, 3.5), {"equally fast": 1.0})],
        {name: marks(measure) for name, measure in rows.items()})


FIGURES = {"colar": colar, "rl": rl, "token-assorted": token_assorted,
           "recurrent-depth": recurrent_depth, "baselines": baselines, "controls": controls,
           "gsm8k": gsm8k, "tasks": tasks, "speed": speed}


# ---- their numbers -------------------------------------------------------------------------------

def values(what, say):
    """{seed: value}; {} if it is not there, which is said."""
    if not isinstance(what, str):
        return {0: what}
    try:
        return quantities.measure(what)
    except BadInput as error:
        say(str(error))
        return {}


def digest(drawing):
    """A text that is another one if any number or word of a figure is."""
    def rounded(what):
        return {str(seed): round(v, 6) for seed, v in values(what, lambda _: None).items()}
    shown = [mark.what for marks in drawing.rows.values() for mark in marks]
    shown += [what for panel in drawing.panels for what in panel.lines.values()]
    return hashlib.sha256(json.dumps([repr(drawing), *map(rounded, shown)]).encode()).hexdigest()


# ---- drawing -------------------------------------------------------------------------------------

def draw(drawing, say):
    """A figure of matplotlib, of whatever numbers are there; say(message): what is not."""
    return (draw_dots if isinstance(drawing, Dots) else draw_curves)(drawing, say)


def draw_dots(drawing, say):
    labels, apart = list(drawing.rows), offsets(drawing)
    figure, panels = empty(drawing, 1.9 + 0.36 * len(labels), sharey=True)
    for row, marks in enumerate(drawing.rows.values()):
        for mark in marks:
            found, axes, y = values(mark.what, say), panels[mark.panel], row + apart[mark.series]
            for seed, x in found.items():
                axes.plot(x, y, **style(mark, seed))
            if len(found) > 1:
                axes.plot(mean(found), y, "|", color=mark.color, markersize=15, zorder=1)
            axes.plot(over_problems(mark.what, found), [y, y], color=mark.color, linewidth=1)
        for i in set(range(len(panels))) - {mark.panel for mark in marks}:
            panels[i].text(0.5, row, "not measured", transform=panels[i].get_yaxis_transform(),
                           color=GREY, fontsize=8, ha="center", va="center",
                           backgroundcolor="white")
    for axes, panel in zip(panels, drawing.panels):
        straight_lines(axes.axvline, panel, say)
        axes.set(xlabel=panel.label, xlim=panel.limits)
        axes.grid(alpha=0.3, axis="x")
        if panel.limits == Panel.limits:
            axes.set_xticks((0, 50, 100) if len(panels) > 3 else range(0, 101, 20))
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].set_ylim(len(labels) - 0.5, -0.5)
    return with_legend(figure, drawing)


def offsets(drawing):
    """{series: how far above the middle of a row it is drawn}, so that none hides another."""
    series = list(dict.fromkeys(mark.series for marks in drawing.rows.values() for mark in marks))
    return {name: 0.22 * (i - (len(series) - 1) / 2) for i, name in enumerate(series)}


def over_problems(what, found):
    """The 95% interval over its problems of a single run's accuracy, in %; else two times nan."""
    if len(found) != 1 or quantities.refs(what) != [what]:
        return math.nan, math.nan
    row, = quantities.rows(what).values()
    return 100 * row["low"], 100 * row["high"]


def draw_curves(drawing, say):
    figure, panels = empty(drawing, 4.2)
    places = list(drawing.rows)
    means = {}      # {(panel, series, color): [(x, mean)]}
    for i, (x, marks) in enumerate(drawing.rows.items()):
        for mark in marks:
            found = values(mark.what, say)
            for seed, y in found.items():
                panels[mark.panel].plot(i if drawing.log else x, y, **style(mark, seed))
            if found and not mark.hollow:
                key = mark.panel, mark.series, mark.color
                means.setdefault(key, []).append((i if drawing.log else x, mean(found)))
    for (panel, _, color), line in means.items():
        panels[panel].plot(*zip(*line), color=color, zorder=1)
    for axes, panel in zip(panels, drawing.panels):
        straight_lines(axes.axhline, panel, say)
        axes.set(xlabel=drawing.over, ylabel=panel.label, ylim=panel.limits)
        axes.set_xticks(range(len(places)) if drawing.log else places, places)
        axes.grid(alpha=0.3)
        if drawing.untrained:
            axes.axvspan(drawing.untrained + 0.5, max(places) + 0.5, color=GREY, alpha=0.15)
            axes.text((drawing.untrained + max(places) + 1) / 2, panel.limits[1] * 0.04,
                      "untrained", ha="center", fontsize=9)
    return with_legend(figure, drawing)


def empty(drawing, height, **shared):
    """(figure, its axes) with a title."""
    from matplotlib.figure import Figure    # slow to import; no pyplot, so no screen is needed
    figure = Figure(figsize=(9.6, height), layout="constrained")
    figure.suptitle(drawing.title, fontweight="bold")
    panels = figure.subplots(1, len(drawing.panels), squeeze=False, **shared)[0]
    for axes, panel in zip(panels, drawing.panels):
        axes.set_title(panel.title, fontsize=10)
    return figure, panels


def mean(found):
    return sum(found.values()) / len(found)


def style(mark, seed):
    """How a point of a seed is drawn."""
    sign, inside = SIGNS[seed % len(SIGNS)], "white" if mark.hollow else mark.color
    thin = sign in "1234"       # lines alone
    return {"marker": sign, "color": mark.color, "linestyle": "", "zorder": 2, "alpha": 0.85,
            "markerfacecolor": inside, "markersize": 9 if thin else 6,
            "markeredgewidth": 2 if thin else 1}


def straight_lines(line, panel, say):
    """Draws the lines of a panel by axvline or axhline."""
    for name, what in panel.lines.items():
        found = values(what, say)
        if found:
            line(mean(found), color=GREY, linestyle=LINES.get(name, "-."), zorder=0)


LINES = {"chance": ":", "no chain": "--", "no chain, as many updates": "--", "equally fast": ":",
         "same size, one iteration": "--"}


def with_legend(figure, drawing):
    """The figure with a legend below it: colours, seeds and lines."""
    from matplotlib.lines import Line2D
    marks = [mark for row in drawing.rows.values() for mark in row]
    seeds = sorted({seed for mark in marks for seed in values(mark.what, lambda _: None)})
    named = {}
    for mark in marks:
        named.setdefault(mark.series, mark)
    signs = {name: Line2D([], [], **style(mark, 0)) for name, mark in named.items() if name}
    if len(seeds) > 1:
        signs |= {f"seed {seed}": Line2D([], [], **style(Mark("", color=GREY), seed))
                  for seed in seeds}
        if isinstance(drawing, Dots):
            signs["mean"] = Line2D([], [], color=GREY, marker="|", linestyle="", markersize=15)
            signs["one run: interval over problems"] = Line2D([], [], color=GREY, linewidth=1)
    signs |= {name: Line2D([], [], color=GREY, linestyle=LINES.get(name, "-."))
              for panel in drawing.panels for name in panel.lines}
    lines = math.ceil(len(signs) / 6)
    figure.legend(signs.values(), signs.keys(), loc="outside lower center", fontsize=8.5,
                  ncols=math.ceil(len(signs) / lines))
    return figure


# ---- files ---------------------------------------------------------------------------------------

def path_of(name):
    return claims.RESULTS / "figures" / f"{name}.png"


def is_stale(name):
    """Does a figure show other numbers than results/ have?"""
    path = path_of(name)
    return not path.exists() or digest(FIGURES[name]()).encode() not in path.read_bytes()


def save(name, say):
    """Draws results/figures/NAME.png, with its digest inside."""
    drawing, picture = FIGURES[name](), io.BytesIO()
    draw(drawing, say).savefig(picture, format="png", dpi=130,
                               metadata={"Description": digest(drawing), "Software": None})
    path_of(name).parent.mkdir(exist_ok=True)
    write(path_of(name), picture.getvalue())


def main(argv=None):
    parser = Parser("lab.figures", __doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="[all]")
    with one_line("lab.figures"):
        for name in parser.parse(argv)["names"] or FIGURES:
            choice(name, FIGURES, "figure")
            save(name, lambda message, name=name: print(f"{name}: {message}", file=sys.stderr))
            print(path_of(name))


if __name__ == "__main__":
    main()
