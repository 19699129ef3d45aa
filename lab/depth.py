"""Looks into the iterations of a recurrent backbone: what more of them do, and when they converge.

    python -m lab.depth RUN [RUN ...]           # RUN/depth.json and RUN/depth.png of the first one
    python -m lab.depth RUN --split long --r 1,2,4,8,16,32 --exit latent --out DIR

Four panels, of arXiv 2502.05171 in small; several runs (seeds) are pooled. CoLaR thinks at c = 2
or, if it was not trained at that, at the first speed that it was.
    accuracy over iterations, for every difficulty                          (Figures 1 and 7 there)
    at which iteration a question's newest token has converged, for every difficulty; the last one
    stands for those that have not                                                      (Fig. 10)
    path independence: |s - s'| / |s| of the states that two different s_0 lead to, and of two
    successive iterations                                                               (Section 7)
    the path of that token's state on the first two principal components, a line per problem; dots
    where it ends: fixed point, orbit or drift                                        (Fig. 11, 12)
"""
import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

import eval as evaluation
import runs
from data.cli import BadInput, Flag, Parser, one_line
from data.common import same_all
from data.files import draw, writable, write
from data.machine import pick_device
from data.problems import problems
from data.rows import git_hash, names_of
from recurrent import EXITS, latent_change

PATHS = 24      # problems whose path is drawn


@torch.no_grad()
def first_call(method, examples, **knobs):
    """Of the call that reads the question: iterations (B,), newest token's states (r, B, C).
    knobs: of the backbone."""
    found, longest = [], 0
    for _, batch in evaluation.in_batches(method, examples):
        with method.model.using(**knobs, taken=[], trace=[]):
            method.solve(batch, **method.shown())
            steps, trace = method.model.taken[0], method.model.trace
            states = torch.stack(trace[:int(steps.max())])
        found.append((steps, states))
        longest = max(longest, len(states))
    # a batch that exits early stays where it is
    padded = [torch.cat([s, s[-1:].expand(longest - len(s), -1, -1)]) for _, s in found]
    return torch.cat([steps for steps, _ in found]), torch.cat(padded, 1)


def by_difficulty(examples, values):
    """{difficulty: [value]}, sorted."""
    found = {d: [] for d in sorted({e.difficulty for e in examples})}
    for e, value in zip(examples, values):
        found[e.difficulty].append(value)
    return found


def independence(method, examples, r):
    """Per iteration, means over problems: distance of two paths, change along one, both relative.

    And the share of problems that both answer alike, after r.
    """
    paths = [first_call(method, examples, r=r, state_seed=seed)[1] for seed in (0, 1)]
    apart = latent_change(paths[1], paths[0]).mean(1)                   # (r,)
    moved = latent_change(paths[0][:-1], paths[0][1:]).mean(1)          # (r-1,)
    answers = [[s.answer for s in evaluation.solve_all(method, examples, **method.shown(), r=r,
                                                       state_seed=seed)] for seed in (0, 1)]
    same = sum(a == b for a, b in zip(*answers)) / len(examples)
    return {"apart": apart.tolist(), "moved": moved.tolist(), "same_answers": same}


def principal(states):
    """(r, B, C) -> (r, B, 2) on the two directions of largest variance over all of them."""
    flat = states.flatten(0, 1)
    centred = flat - flat.mean(0)
    _, _, v = torch.linalg.svd(centred, full_matrices=False)
    return (centred @ v[:2].T).view(*states.shape[:2], 2)


def measure(run, name, args):
    """All figures of one run, called `name`, as a dict for JSON."""
    task, method, state = runs.load_run(run, pick_device(args.device))
    if "r" not in method.model.KNOBS:
        raise BadInput(f"{run}: its backbone does not iterate")
    examples = problems(task, args)
    rows = evaluation.sweep(name, method, task, examples,
                            [{**method.shown(), "r": r} for r in args.r])
    top = max(args.r)
    steps, _ = first_call(method, examples, r=top, exit=args.exit, threshold=args.threshold)
    _, states = first_call(method, examples[:PATHS], r=top)
    return {"run": str(run), "seed": state["config"]["seed"], "git": git_hash(),
            "command": args.command, "problems": same_all(examples), "accuracy": [
                {"r": row["knobs"]["r"], "all": row["accuracy"], **row["by_difficulty"]}
                for row in rows],
            "exits": by_difficulty(examples, steps.tolist()),
            "paths": independence(method, examples, top),
            "principal": principal(states).tolist(),
            "difficulty": [e.difficulty for e in examples[:PATHS]]}


def pooled_accuracy(found):
    """{difficulty: (rs, accuracies)}, over the problems of all runs."""
    lines = {}
    for d in found[0]["exits"]:
        rs = [row["r"] for row in found[0]["accuracy"]]
        cells = [[run["accuracy"][i][str(d)] for run in found] for i in range(len(rs))]
        n = [sum(cell["n"] for cell in row) for row in cells]
        lines[d] = rs, [sum(c["n"] * c["accuracy"] for c in row) / m for row, m in zip(cells, n)]
    return lines


def report(found):
    """The main figures as text, a line per difficulty."""
    lines = [f"{'difficulty':<12}{'accuracy at r = ':<18}" + "".join(
        f"{row['r']:>6}" for row in found[0]["accuracy"]) + "   mean exit"]
    for d, (_, y) in pooled_accuracy(found).items():
        steps = sum((run["exits"][d] for run in found), [])
        lines.append(f"{d:<30}" + "".join(f"{100 * v:>6.1f}" for v in y)
                     + f"{sum(steps) / len(steps):>12.2f}")
    same = sum(run["paths"]["same_answers"] for run in found) / len(found)
    return "\n".join([*lines, f"two noises s_0 lead to the same answer: {100 * same:.1f}%"])


def plot(found, exit_name):
    """The four panels; paths of the first run."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2).flat
    levels = list(found[0]["exits"])
    colour = {d: shade(i / max(1, len(levels) - 1)) for i, d in enumerate(levels)}
    plot_accuracy(panels[0], found, colour)
    plot_exits(panels[1], found, colour, exit_name)
    plot_distance(panels[2], found)
    plot_paths(panels[3], found[0], colour)
    for axes in panels:
        axes.grid(alpha=0.3)
    return figure


def plot_accuracy(axes, found, colour):
    for d, (rs, y) in pooled_accuracy(found).items():
        axes.plot(rs, [100 * v for v in y], marker=".", color=colour[d], label=str(d))
    axes.set(xscale="log", xlabel="iterations r", ylabel="accuracy, %", ylim=(0, 103))
    axes.set_xticks(rs, rs)
    axes.legend(title="difficulty", fontsize=8)


def plot_exits(axes, found, colour, exit_name):
    for d in colour:
        steps = sum((run["exits"][d] for run in found), [])
        top = max(steps)
        axes.plot(range(1, top + 1), [100 * steps.count(i) / len(steps) for i in range(1, top + 1)],
                  color=colour[d])
    axes.set(xlabel=f"iteration of exit ({exit_name})", ylabel="% of problems")


def plot_distance(axes, found):
    for i, run in enumerate(found):
        for key, first, line, label in (("apart", 1, "C0-", "two s_0"),
                                        ("moved", 2, "C1--", "successive iterations")):
            y = run["paths"][key]
            axes.plot(range(first, first + len(y)), y, line, label=label if i == 0 else "")
    axes.set(yscale="log", xlabel="iteration", ylabel="relative distance of states")
    axes.legend()


def plot_paths(axes, run, colour):
    states = torch.tensor(run["principal"])                             # (r, B, 2)
    for line, d in zip(states.transpose(0, 1), run["difficulty"]):
        axes.plot(*line.T, color=colour[d], lw=0.8)
        axes.plot(*line[-1], "o", color=colour[d], ms=4)
    axes.set(xlabel="first principal component", ylabel="second")


def shade(share):
    from matplotlib import colormaps
    return colormaps["viridis"](share)


FLAGS = {
    "split": Flag("test", "test, val, or the task's own"),
    "n": Flag(500, "problems", least=1),
    "data": Flag("", "a JSON file of problems instead of a split"),
    "exit": Flag("kl", "when it stops early", tuple(EXITS)),
    "threshold": Flag(0.0, "of the exit; 0: the one of its kind"),
    "out": Flag("", "an existing folder for depth.json and depth.png; '': the first RUN"),
    "device": runs.FLAGS["device"],
}
ITERATIONS = {"r": Flag(1, "iterations, e.g. 1,4,16; unless given, 1 to 64", least=1, most=10**4)}


def parse(argv):
    parser = Parser("lab.depth", __doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, of several seeds")
    parser.add_flags(FLAGS)
    parser.add_flags(ITERATIONS, many=True)
    args = SimpleNamespace(**parser.parse(argv))
    args.r = sorted(set(args.r)) or [1, 2, 3, 4, 6, 8, 16, 32, 64]
    if max(args.r) < 2:
        raise BadInput("the largest --r must be at least 2")
    args.out = Path(args.out or args.runs[0])
    return args


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    with one_line("lab.depth"):
        args = parse(argv)
        args.command = "python -m lab.depth " + shlex.join(argv)
        for run in args.runs:
            runs.load(run)      # a bad one is refused before the others are measured
        for name in ("depth.json", "depth.png"):
            writable(args.out / name)
        found = [measure(run, name, args)
                 for run, name in zip(args.runs, names_of(args.runs))]
        for run, one in zip(args.runs, found):
            if one["problems"] != found[0]["problems"]:
                raise BadInput(f"{run}: its problems differ from those of {args.runs[0]}")
        print(report(found))
        write(args.out / "depth.json", json.dumps(found))
        draw(plot(found, args.exit), args.out / "depth.png")
        print(f"saved in {args.out}")


if __name__ == "__main__":
    main()
