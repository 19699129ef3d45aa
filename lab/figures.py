"""The figures of the chapters of results/, from the rows of its folders.

    python -m lab.figures               # all of them
    python -m lab.figures colar rl      # these

A row is called "FOLDER: NAME" or "FOLDER: NAME @UPDATES", as in a page's tables. Small dots are
seeds; a large one is their mean, with its 95% interval over seeds; a single run has the interval
over its problems.
"""
import json

from data.cli import Parser, choice, one_line
from data.files import draw
from lab.pages import ROOT, seeds
from lab.tables import mean_row

TWIN = "depth{}: nocot r=1 --backbone recurrent --mean-r 1 --sampler fixed --bucket 1{}"
DEEP = "depth{}: nocot --layers 8 --bucket 1{}"
RECURRENT = "depth{}: nocot r={} --backbone recurrent --mean-r 6 --bucket 1{}"
ONLY = "replace: assorted latents=999"
SLOTS = "--rare slots --vocabulary 400 --word-dropout 0.15 --layers 4"
PAUSES = "pause --curriculum steps --pauses 6"


def percent(ref, key="accuracy"):
    """(values of the seeds, mean, low, high) of a row, in %."""
    rows = list(seeds(ref).values())
    mean = mean_row(rows)
    low, high = (mean["low"], mean["high"]) if key == "accuracy" else (mean[key], mean[key])
    return [100 * row[key] for row in rows], 100 * mean[key], 100 * low, 100 * high


def spot(axes, x, values, mean, low, high, colour, across=True):
    """Draws one row at place x: its seeds, mean and interval, along an axis of accuracy."""
    places = [x] * len(values)
    axes.plot(*((values, places) if across else (places, values)), ".", color=colour, alpha=0.4)
    low, high = max(0, low), min(100, high)     # an interval of few seeds reaches beyond
    if across:
        axes.errorbar([mean], [x], xerr=[[mean - low], [high - mean]], fmt="o", capsize=3,
                      color=colour)
    else:
        axes.errorbar([x], [mean], yerr=[[mean - low], [high - mean]], fmt="o", capsize=3,
                      color=colour)


def listed(axes, rows, title, lines=()):
    """Rows {label: (ref, colour)} below each other, accuracy to the right; lines: [(accuracy,
    label)], of a control or of chance."""
    for y, (ref, colour) in enumerate(rows.values()):
        spot(axes, y, *percent(ref), colour)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    for at, label in lines:
        axes.axvline(at, color="gray", linestyle="--", label=label)
    if lines:
        axes.legend(fontsize=8, loc="lower left")
    axes.set(title=title, xlabel="accuracy, %", xlim=(0, 103))
    axes.grid(alpha=0.3, axis="x")


def along(axes, rows, key, labels=None):
    """Rows {label: (ref, colour)} at their mean `key`, accuracy upward; labels: {label: its place
    beside the row, (right, up) in points}."""
    for label, (ref, colour) in rows.items():
        values, mean, low, high = percent(ref)
        row = mean_row(list(seeds(ref).values()))
        x = row.get(key, row["knobs"].get(key))
        spot(axes, x, values, mean, low, high, colour, across=False)
        if labels:
            axes.annotate(label, (x, mean), xytext=labels[label], textcoords="offset points",
                          ha="center", fontsize=8, color=colour)
    axes.set(ylabel="accuracy, %", ylim=(0, 103))
    axes.grid(alpha=0.3)


def colar(figure):
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    speeds = {f"c={c}": (f"tiny: colar c={c}", "C0") for c in range(1, 6)}
    places = {"written chain": (0, -42), **dict.fromkeys(speeds, (0, -26)),
              "no chain, 1,200 updates": (70, -4), "no chain, 2,700 updates": (70, -4)}
    along(left, {"written chain": ("tiny: cot", "C1"), **speeds,
                 "no chain, 1,200 updates": ("tiny: nocot @1200", "C3"),
                 "no chain, 2,700 updates": ("tiny: nocot @2700", "C3")}, "steps", places)
    left.set(title="thinking faster, at today's defaults", xlabel="thinking steps", xlim=(-1, 38))
    along(right, {f"{c}": (f"dial: colar c={c}", "C0" if c < 6 else "C7") for c in range(1, 10)},
          "c")
    right.set(title="speeds beyond training (097c379)", xlabel="c that the prompt asks for")
    right.axvspan(5.5, 9.5, color="C7", alpha=0.15)
    right.text(7.5, 5, "never trained", ha="center", fontsize=8)


def rl(figure):
    listed(figure.subplots(), {
        "CoLaR, c=5": ("rl: colar c=5 on long @4000", "C0"),
        "after GRPO": ("rl: colar+rl c=5 on long", "C2"),
        "more supervised updates": ("rl: colar c=5 on long @6500", "C3"),
        "trained at c=5 alone": ("rl: colar c=5 --c-train 5 on long", "C3"),
        "written chain": ("rl: cot on long", "C1"),
        "written chain after GRPO": ("rl: cot+rl on long", "C2"),
    }, "reinforcement on problems of 5 to 7 steps")


def token_assorted(figure):
    left, right = figure.subplots(1, 2)
    listed(left, with_tokens({
        "written chain": ("default: cot", "C1"),
        "all words to codes": (f"{ONLY} --replace all", "C0"),
        "paper's mixture, words only": ("replace: assorted latents=0", "C0"),
        "paper's mixture, codes only": (ONLY, "C0"),
        "random codes only": (f"{ONLY} --replace random", "C3"),
        "pauses only": (f"{ONLY} --replace pause", "C7")}), "word problems")
    maze = "assorted-maze: {} --level tiny{}"
    listed(right, with_tokens({
        "written trace": (maze.format("cot", ""), "C1"),
        "paper's mixture": (maze.format("assorted", ""), "C0"),
        "codes only": (maze.format("assorted latents=999", ""), "C0"),
        "mixture, random codes": (maze.format("assorted", " --replace random"), "C3")}),
        "small mazes")


def with_tokens(rows):
    """Rows whose labels say how many tokens they think with."""
    return {f"{label} ({mean_row(list(seeds(ref).values()))['steps']:.0f} tokens)": (ref, colour)
            for label, (ref, colour) in rows.items()}


def recurrent_depth(figure):
    panels = figure.subplots(1, 2, sharey=True)
    for axes, folder, on, title in ((panels[0], "", "", "3 to 12 moves, as in training"),
                                    (panels[1], "-long", " on long", "13 to 18 moves")):
        along(axes, {str(r): (RECURRENT.format(folder, r, on), "C0") for r in (1, 2, 4, 8, 16, 32)},
              "r")
        for ref, colour, label in ((TWIN, "C3", "twin that never iterates"),
                                   (DEEP, "C1", "8 layers, each with its own weights")):
            axes.axhline(percent(ref.format(folder, on))[1], color=colour, linestyle="--",
                         label=label)
        axes.axhline(100 / 6, color="gray", linestyle=":", label="chance")
        axes.set(title=title, xlabel="iterations", xscale="log")
        axes.set_xticks((1, 2, 4, 8, 16, 32), (1, 2, 4, 8, 16, 32))
    panels[1].set_ylabel("")
    panels[0].legend(fontsize=8, loc="lower right")


def baselines(figure):
    left, right = figure.subplots(1, 2)
    pauses = f"latent: {PAUSES}"
    listed(left, {"written chain": ("latent: cot", "C1"), "CoLaR, c=5": ("heads: colar c=5", "C0"),
                  "iCoT": ("latent: icot", "C0"), "Coconut": ("latent: coconut", "C0"),
                  "CODI": ("latent: codi", "C0"), "no chain": ("default: nocot @6000", "C3"),
                  "six pauses": (pauses, "C7")}, "arithmetic",
           [(percent(pauses)[1], "pauses")])
    balanced = "latent-prosqa: {} --balanced{}"
    listed(right, {"written chain": (balanced.format("cot", " @4500"), "C1"),
                   "CoLaR, c=1": (balanced.format("colar c=1", ""), "C0"),
                   "CoLaR, c=2": (balanced.format("colar c=2", ""), "C0"),
                   "Coconut": (balanced.format("coconut", " @9000"), "C0"),
                   "six pauses": ("latent-prosqa: pause --balanced --curriculum steps --pauses 6 "
                                  "@9000", "C7")}, "balanced ProsQA", [(50, "a coin")])


def controls(figure):
    rows = {"written chain": "controls: cot", "CoLaR, c=2": "controls: colar c=2",
            "CoLaR, c=5": "controls: colar c=5",
            "codes": "controls: assorted latents=999 --replace all",
            "Coconut": "controls: coconut", "CODI": "controls: codi",
            "six pauses": f"controls: {PAUSES}"}
    kinds = {"its own thoughts": ("as thought", "accuracy", "C0"),
             "another problem's": ("swap", "accuracy", "C3"),
             "shuffled": ("shuffle", "accuracy", "C1"),
             "another problem's: says that one's answer": ("swap", "donor", "C7")}
    axes = figure.subplots()
    for i, (label, (thoughts, key, colour)) in enumerate(kinds.items()):
        found = [percent(named(ref, thoughts), key)[1] for ref in rows.values()]
        axes.bar([x + 0.2 * (i - 1.5) for x in range(len(rows))], found, 0.2, color=colour,
                 label=label, hatch="//" if key == "donor" else "")
    axes.set_xticks(range(len(rows)), rows)
    axes.set(title="what becomes of answers when the thoughts are changed, arithmetic",
             ylabel="accuracy, or share of answers, %", ylim=(0, 103))
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)


def named(ref, thoughts):
    """The reference of a row of lab.controls: its setting comes before its flags."""
    start, flag, rest = ref.partition(" --")
    return f"{start} thoughts={thoughts}{flag}{rest}"


def gsm8k(figure):
    axes = figure.subplots()
    listed(axes, {
        "chain, no variants": ("gsm8k: cot --variants 0 --layers 4", "C1"),
        "chain, other numbers": ("gsm8k: cot --layers 4", "C1"),
        "chain, hidden words": ("gsm8k: cot --word-dropout 0.15 --layers 4", "C1"),
        "chain, rare words as slots": (f"gsm8k: cot {SLOTS} @5000", "C1"),
        "the same, 12,000 updates": (f"gsm8k: cot {SLOTS} @12000", "C1"),
        "no chain, slots": (f"gsm8k: nocot {SLOTS}", "C3"),
        "CoLaR, c=2": ("gsm8k: colar c=2 --word-dropout 0.15 --layers 4", "C0"),
        "codes and words": ("gsm8k: assorted --word-dropout 0.15 --chunk 3 --codes 512 --layers 4",
                            "C0"),
    }, "official test problems, one run each")
    axes.axvspan(2, 3, color="gray", alpha=0.3, label="always 6, 4 or 10")
    axes.set_xlim(0, 12)
    axes.legend(fontsize=8)


def tasks(figure):
    panels = figure.subplots(1, 3)
    listed(panels[0], {"written chain": ("random-order: cot --shuffle", "C1"),
                       "CoLaR, c=2": ("random-order: colar c=2 --shuffle", "C0"),
                       "CoLaR, c=5": ("random-order: colar c=5 --shuffle", "C0"),
                       "no chain": ("random-order: nocot --shuffle", "C3")}, "random order")
    listed(panels[1], {"written chain": ("prosqa: cot", "C1"),
                       "CoLaR, c=2": ("prosqa: colar c=2", "C0")}, "ProsQA",
           [(50, "a coin"), (88, "depth alone")])
    listed(panels[2], {"written trace": ("maze: cot --level tiny", "C1"),
                       "CoLaR, c=2": ("maze: colar c=2 --level tiny", "C0"),
                       "CoLaR, c=4": ("maze: colar c=4 --level tiny", "C0")}, "small mazes")


def speed(figure):
    rows = json.loads((ROOT / "results/ratios-1.json").read_text(encoding="utf-8"))["rows"]
    rows = [row for row in rows if row.get("target") and not row["most"]]
    axes = figure.subplots()
    for y, row in enumerate(rows):
        axes.barh(y, row["ratio"], color="C2" if row["met"] else "C3")
        axes.plot([row["target"]] * 2, [y - 0.4, y + 0.4], "k-")
    axes.set_yticks(range(len(rows)), [row["measure"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="gray", linestyle="--")
    axes.set(title="speed on one thread, beside 097c379 or nanoGPT",
             xlabel="times as fast (a black line is the aim)")


FIGURES = {"colar": (colar, (9, 3.8)), "rl": (rl, (7, 3)), "controls": (controls, (9, 4)),
           "token-assorted": (token_assorted, (11, 3.2)), "baselines": (baselines, (9, 3.2)),
           "recurrent-depth": (recurrent_depth, (9, 3.8)), "gsm8k": (gsm8k, (7, 3.2)),
           "tasks": (tasks, (11, 2.6)), "speed": (speed, (7.5, 3.6))}


def made(name):
    """The figure of a chapter. BadInput for a row that is not there."""
    from matplotlib.figure import Figure    # slow to import; no pyplot, so no screen is needed
    plan, size = FIGURES[name]
    figure = Figure(figsize=size, layout="constrained")
    plan(figure)
    return figure


def main(argv=None):
    parser = Parser("lab.figures", __doc__)
    parser.add_argument("names", nargs="*", metavar="CHAPTER", help=", ".join(FIGURES))
    with one_line("lab.figures"):
        names = parser.parse(argv)["names"]
        for name in names:
            choice(name, FIGURES, "chapter")
        for name in names or FIGURES:
            draw(made(name), ROOT / "results" / f"{name}.png")


if __name__ == "__main__":
    main()
