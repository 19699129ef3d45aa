"""Measures trained runs: accuracy with its interval, thinking steps and time per problem.

    python eval.py runs/colar-arithmetic-tiny-s0                   # every setting of every stage, on test
    python eval.py RUN RUN --c 1,2,4 --n 2000                      # chosen compression factors
    python eval.py RUN --data problems.json --show 3               # a file of {question, steps, answer}
    python eval.py RUN --json out.json --plot out.png
    python eval.py --summary results/default/*.json                # seeds side by side, as Markdown

accuracy   share of problems whose greedy answer `Task.check` accepts, with a 95% Wilson interval
steps      mean number of sequential model calls spent thinking (the papers' #L)
ms         wall time per problem when solved in batches of BATCH
"""
import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from data.common import BadInput, choice, collate, read_problems

BATCH = 100     # problems solved at once


def wilson(right, n, z=1.96):
    """95% interval (low, high) of a share; unlike mean +- 2 sd it holds near 0 and 1."""
    p, z2 = right / n, z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z2 / (4 * n))
    middle, scale = p + z2 / 2, 1 + z2
    return min(p, (middle - half) / scale), max(p, (middle + half) / scale)  # against rounding at 0, 1


def solve_all(method, examples, progress=None, **knobs):
    """[Solved] in the order of examples; rows of similar length share a batch."""
    device = next(method.parameters()).device
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].question))
    solved = [None] * len(examples)
    method.eval()
    for i in range(0, len(order), BATCH):
        rows = order[i:i + BATCH]
        batch = collate([examples[r] for r in rows], method.vocab).to(device)
        for r, s in zip(rows, method.solve(batch, **knobs)):
            solved[r] = s
        if progress:
            progress.update(len(rows))
    method.train()
    return solved


def evaluate(method, task, examples, progress=None, **knobs):
    """One row of the results table: accuracy, steps and time of `method` at one setting."""
    start = time.perf_counter()
    solved = solve_all(method, examples, progress, **knobs)
    seconds = time.perf_counter() - start
    right = [task.check(e, s.answer) for e, s in zip(examples, solved)]
    levels = sorted({e.difficulty for e in examples})
    by = {d: [r for e, r in zip(examples, right) if e.difficulty == d] for d in levels}
    low, high = wilson(sum(right), len(right))
    return {
        "knobs": knobs, "n": len(right), "accuracy": sum(right) / len(right), "low": low, "high": high,
        "steps": sum(s.n_think for s in solved) / len(solved),
        "ms": 1000 * seconds / len(solved),
        "by_difficulty": {str(d): {"n": len(r), "accuracy": sum(r) / len(r)} for d, r in by.items()},
    }


def sweep(name, method, task, examples, settings=None):
    """Rows of `evaluate` for every setting of the method (its SWEEP unless given)."""
    settings = method.SWEEP if settings is None else settings
    with tqdm(total=len(settings) * len(examples), desc=f"test {name}", unit="problem",
              leave=False) as bar:
        return [{"method": name, **evaluate(method, task, examples, bar, **k)} for k in settings]


def table(rows):
    """Rows of `sweep` as text."""
    lines = [f"{'method':<14}{'accuracy (95% interval)':<28}{'thinking steps':>15}{'ms/problem':>12}"]
    for r in rows:
        name = r["method"] + "".join(f" {k}={v}" for k, v in r["knobs"].items())
        half = 50 * (r["high"] - r["low"])
        lines.append(f"{name:<14}{100 * r['accuracy']:5.1f}% +- {half:3.1f} ({r['n']} problems)"
                     f"{r['steps']:>14.1f}{r['ms']:>12.2f}")
    return "\n".join(lines)


def plot(rows, path):
    """Accuracy against thinking steps, one line per method: the papers' main figure."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib.figure import Figure
    axes = (figure := Figure(figsize=(6, 4), layout="constrained")).subplots()
    for name in dict.fromkeys(r["method"] for r in rows):
        mine = sorted((r for r in rows if r["method"] == name), key=lambda r: r["steps"])
        y = [100 * r["accuracy"] for r in mine]
        error = [[100 * (r["accuracy"] - r["low"]) for r in mine], [100 * (r["high"] - r["accuracy"]) for r in mine]]
        axes.errorbar([r["steps"] for r in mine], y, error, marker="o", capsize=3, label=name)
        for r, v in zip(mine, y):
            label = " ".join(f"{k}={v}" for k, v in r["knobs"].items())
            axes.annotate(label, (r["steps"], v), textcoords="offset points", xytext=(6, -12), fontsize=8)
    axes.set(xlabel="thinking steps per problem", ylabel="accuracy, % (95% interval)", ylim=(0, 103))
    axes.set_xlim(left=-.5)
    axes.grid(alpha=.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def show(method, task, examples, **knobs):
    """Worked problems as text: question, thoughts, prediction, truth."""
    lines = []
    for e, s in zip(examples, solve_all(method, examples, **knobs)):
        mark = "right" if task.check(e, s.answer) else "WRONG"
        lines += [f"question    {' '.join(e.question)}",
                  f"thoughts    {s.thoughts or '(none)'}   [{s.n_think} steps]",
                  f"prediction  {' '.join(s.answer)}   truth  {' '.join(e.answer)}   {mark}", ""]
    return "\n".join(lines)


# 97.5% points of Student's t for 1, 2, ... degrees of freedom: a 95% interval over few seeds
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def over_seeds(values):
    """Mean and half-width of its 95% interval over seeds (nan for a single one)."""
    n, mean = len(values), sum(values) / len(values)
    if n == 1:
        return mean, math.nan
    sd = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    return mean, STUDENT[n - 2] * sd / math.sqrt(n)


def summary(paths):
    """results.json files of several seeds -> a Markdown table, one line per method and setting."""
    found = {}      # (method, setting): one row per seed
    for path in paths:
        for row in json.loads(Path(path).read_text())["rows"]:
            name = " ".join([row["method"], *(f"{k}={v}" for k, v in row["knobs"].items())])
            found.setdefault(name, []).append(row)
    lines = ["| method | accuracy, % (95% over seeds) | thinking steps | ms/problem | seeds x problems |",
             "|---|---|---|---|---|"]
    for name, rows in found.items():
        mean, half = over_seeds([100 * r["accuracy"] for r in rows])
        steps, ms = (sum(r[k] for r in rows) / len(rows) for k in ("steps", "ms"))
        lines.append(f"| {name} | {mean:.1f} ± {half:.1f} | {steps:.1f} | {ms:.2f} "
                     f"| {len(rows)} x {rows[0]['n']} |")
    return "\n".join(lines)


def write_results(out, rows, config, seconds):
    """results.json and curves.png of a run folder, with all that is needed to repeat them."""
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True,
                         cwd=Path(__file__).parent)
    record = {"rows": rows, "config": config, "seed": config["seed"], "minutes": round(seconds / 60, 2),
              "git": git.stdout.strip(), "torch": torch.__version__}
    (out / "results.json").write_text(json.dumps(record, indent=1))
    plot(rows, out / "curves.png")


def parse(argv, parser_class):
    parser = parser_class(prog="eval.py", description=__doc__, allow_abbrev=False,
                          formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or results files")
    parser.add_argument("--summary", action="store_true", help="table over the seeds of results files")
    parser.add_argument("--split", default="test", help="test, val, or one of the task's own [test]")
    parser.add_argument("--n", type=int, default=500, help="problems [500]")
    parser.add_argument("--data", default="", help="a JSON file of problems instead of a split")
    parser.add_argument("--c", default="", help="compression factors, as 1,2,4 [all that were trained]")
    parser.add_argument("--show", type=int, default=0, help="print so many worked problems")
    parser.add_argument("--json", default="", help="write the rows to this file")
    parser.add_argument("--plot", default="", help="write the figure to this file")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps [cpu]")
    return parser.parse_args(argv)


def problems(task, args):
    """The examples to evaluate on: of a split, or all of a file."""
    if args.data:
        return read_problems(task, args.data)
    choice(args.split, dict.fromkeys(task.splits), "split")
    return [task.sample(args.split, i) for i in range(args.n)]


def settings(method, args):
    """The knobs to try: --c for the methods that have a factor, else all of SWEEP."""
    if args.c and "c" in method.SWEEP[0]:
        return [{"c": int(c)} for c in args.c.split(",")]
    return method.SWEEP


def main(argv=None):
    from train import Parser, load_run  # here, since train.py needs this file
    args = parse(sys.argv[1:] if argv is None else argv, Parser)
    if args.summary:
        return print(summary(args.runs))
    rows = []
    try:
        for run in args.runs:
            task, method, _ = load_run(run, args.device)
            examples = problems(task, args)
            found = sweep(Path(run).name, method, task, examples, settings(method, args))
            rows += found
            if args.show:
                print(show(method, task, examples[:args.show], **found[-1]["knobs"]))
    except BadInput as error:
        print(f"eval.py: {error}", file=sys.stderr)
        sys.exit(2)
    print(table(rows))
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
