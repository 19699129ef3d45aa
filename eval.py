"""Measures trained runs: accuracy with its interval, thinking steps and time per problem.

    python eval.py runs/colar-arithmetic-tiny-s0            # every setting, on the test split
    python eval.py RUN RUN --c 1,2,4 --n 2000 --split ood   # several runs, chosen factors
    python eval.py RUN --data problems.json --show 3        # a file of {question, steps, answer}
    python eval.py RUN --json out.json --plot out.png
    python eval.py RUN --c 1,2,3,4,5,6,7 --plot dial.png --over c   # the dial, past training too
    python eval.py RUN RUN --k 1,4,16 --sigma-min 0.1           # does noise find right answers?
    python eval.py RUN --decode                             # what the latents hold
    python eval.py RUN --split val --loss                   # how well it fits unseen problems
    python eval.py RUN --controls --plot controls.png       # are they used? see controls.py
    python eval.py RUN --k 1,10 --top-k 10                  # 1-Feasible-10 of Token Assorted
    python eval.py RUN --latents 0,2,4,999 --plot mix.png --over latents     # from text to codes
    python eval.py RUN --r 1,4,16 --exit kl --share 1       # recurrent depth: see recurrent.py
    python eval.py --summary results/default/*.json         # seeds side by side, as Markdown

accuracy   share of problems whose greedy answer `Task.check` accepts, with a 95% Wilson interval
steps      mean number of sequential model calls spent thinking (the papers' #L)
ms         wall time per problem when solved in batches of BATCH
iterations of a recurrent backbone, mean over its calls and their unfinished rows
"""
import argparse
import itertools
import json
import math
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from data.cli import BadInput, choice
from data.common import FileTask, collate, mixed, read_problems, take
from model import Cache
from recurrent import EXITS
from runs import Parser, load_run, pick_device
from tables import plot, plot_over, pool, setting, summary, table

BATCH = 100     # problems solved at once


def wilson(right, n, z=1.96):
    """95% interval (low, high) of a share; unlike mean +- 2 sd it holds near 0 and 1."""
    p, z2 = right / n, z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z2 / (4 * n))
    middle, scale = p + z2 / 2, 1 + z2
    low, high = (middle - half) / scale, (middle + half) / scale
    return max(0.0, min(p, low)), min(1.0, max(p, high))        # exact at 0 and 1


def split_knobs(method, knobs):
    """Those of the method's `solve`, and those of its backbone's forward pass."""
    deep = {name: value for name, value in knobs.items() if name in method.model.KNOBS}
    return {name: value for name, value in knobs.items() if name not in deep}, deep


def in_batches(method, examples):
    """(some examples, their Batch) until all have come, on the method's device."""
    device = next(method.parameters()).device
    for i in range(0, len(examples), BATCH):
        some = examples[i:i + BATCH]
        yield some, collate(some, method.vocab).to(device)


def solve_all(method, examples, progress=None, **knobs):
    """[Solved] in the order of examples; rows of similar length share a batch."""
    own, deep = split_knobs(method, knobs)
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].question))
    found = []
    method.eval()
    for some, batch in in_batches(method, [examples[i] for i in order]):
        with method.model.using(**deep):
            found += method.solve(batch, **own)
        if progress:
            progress.update(len(some))
    method.train()
    solved = dict(zip(order, found))
    return [solved[i] for i in range(len(examples))]


@torch.no_grad()
def cache_size(method, knobs):
    """Numbers that the cache of the method's backbone holds per token, if none exits early."""
    model, device = method.model, next(method.parameters()).device
    cache, deep = Cache(1, 1, device), split_knobs(method, knobs)[1]
    with model.using(**deep | {"exit": ""}):
        model(model.embed(torch.zeros(1, 1, dtype=torch.long, device=device)), cache)
    return sum(buffer.numel() for buffer in cache.store.values())


def evaluate(method, task, examples, progress=None, **knobs):
    """One row of the results table: accuracy, steps and time of `method` at one setting."""
    start, deep = time.perf_counter(), {}
    with method.model.using(**{"taken": []} if method.model.KNOBS else {}):
        solved = solve_all(method, examples, progress, **knobs)
        seconds = time.perf_counter() - start
        if method.model.KNOBS:
            taken = torch.cat(method.model.taken)
            deep["cache"] = cache_size(method, knobs)
            if not knobs.get("draft"):      # whose calls are of several tokens or thrown away
                deep["iterations"] = float(taken[taken > 0].float().mean())
    right = [method.right(task, e, s) for e, s in zip(examples, solved)]
    levels = sorted({e.difficulty for e in examples})
    by = {d: [r for e, r in zip(examples, right) if e.difficulty == d] for d in levels}
    low, high = wilson(sum(right), len(right))
    return {
        "knobs": knobs, "n": len(right),
        "accuracy": sum(right) / len(right), "low": low, "high": high,
        "steps": sum(s.n_think for s in solved) / len(solved),
        "ms": 1000 * seconds / len(solved), **deep, **method.extras(examples, solved),
        "by_difficulty": {str(d): {"n": len(r), "accuracy": sum(r) / len(r)}
                          for d, r in by.items()},
    }


def sweep(name, method, task, examples, settings=None):
    """Rows of `evaluate` for every setting of the method (its SWEEP unless given)."""
    if settings is None:
        settings = [{**own, **deep} for own in method.SWEEP for deep in method.model.SWEEP]
    with tqdm(total=len(settings) * len(examples), desc=f"test {name}", unit="problem",
              leave=False) as bar:
        return [{"method": name, **evaluate(method, task, examples, bar, **k)} for k in settings]


def pass_at(k, right, n):
    """pass@k, unbiased, if `right` of n samples are: 1 - C(n - right, k) / C(n, k); 2107.03374."""
    return 1 - math.comb(n - right, k) / math.comb(n, k)


def explore(name, method, task, examples, settings, ks, top_k=0):
    """Rows of pass@k: the share of problems of which at least one of k samples is right.

    Of max(ks) rollouts per problem; the interval is that of a mean over problems. With k = 10 and
    top_k = 10 this is the 1-Feasible-10 of Token Assorted.
    """
    n, rows = max(ks), []
    for knobs in settings:
        right, steps, start = [], 0, time.perf_counter()
        own, deep = split_knobs(method, knobs)
        for some, batch in in_batches(method, examples):
            with method.model.using(top_k=top_k, **deep):
                solved = method.rollout(batch, n, **own).solved
            steps += sum(s.n_think for s in solved)
            right += [sum(task.check(e, s.answer) for s in solved[j * n:j * n + n])
                      for j, e in enumerate(some)]
        ms = 1000 * (time.perf_counter() - start) / len(examples)
        for k in ks:
            each = [pass_at(k, r, n) for r in right]
            mean = sum(each) / len(each)
            half = 1.96 * math.sqrt(sum((p - mean) ** 2 for p in each)) / len(each)
            low, high = max(0, mean - half), min(1, mean + half)
            tried = {**knobs, "k": k} | ({"top_k": top_k} if top_k else {})
            rows.append({"method": name, "knobs": tried, "n": len(each),
                         "accuracy": mean, "low": low, "high": high,
                         "steps": steps / len(each) / n, "ms": ms * k / n})
    return rows


def decoded(method, examples, knobs):
    """Share of latents whose nearest words are the different words of the true chain's group.

    Of the latents at whose place there is a group; both chains are as long as a rule.
    """
    hits = total = 0
    own, deep = split_knobs(method, knobs)
    for some, batch in in_batches(method, examples):
        with method.model.using(**deep):
            thoughts = method.read(method.rollout(batch, 1, temperature=0.0, **own))
        for e, latents in zip(some, thoughts):
            for words, group in zip(latents, method.groups_of(e, knobs["c"])):
                hits += set(words[:len(set(group))]) == set(group)
                total += 1
    return hits / max(1, total)


@torch.no_grad()
def loss_on(method, examples):
    """The method's training loss on these problems; a mean over batches."""
    method.eval()
    losses = [float(method.loss(batch)[0]) for _, batch in in_batches(method, examples)]
    method.train()
    return sum(losses) / len(losses)


def show(method, task, examples, **knobs):
    """Worked problems as text: question, thoughts, prediction, truth."""
    lines = []
    for e, s in zip(examples, solve_all(method, examples, **knobs)):
        mark = "right" if method.right(task, e, s) else "WRONG"
        lines += [f"question    {' '.join(e.question)}",
                  f"thoughts    {s.thoughts or '(none)'}   [{s.n_think} steps]",
                  *true_groups(method, e, knobs),
                  f"prediction  {' '.join(s.answer)}   truth  {' '.join(method.target(e))}"
                  f"   {mark}", ""]
    return "\n".join(lines)


def true_groups(method, example, knobs):
    """A line for `show`: the chain as it would be merged, to read the latents beside it."""
    groups = method.groups_of(example, **split_knobs(method, knobs)[0])
    if groups:
        yield "true chain  " + " ".join(f"[{' '.join(words)}]" for words in groups)


def record(rows, config, seconds):
    """Rows with all that is needed to repeat them; config.json of the run has its tokenizer."""
    config = {name: value for name, value in config.items() if name != "pieces"}
    return {"rows": rows, "config": config, "seed": config["seed"],
            "minutes": round(seconds / 60, 2), "git": git_hash(), "torch": torch.__version__}


def write_results(out, rows, config, seconds):
    """results.json and curves.png of a run folder."""
    part = out / "results.part"
    part.write_text(json.dumps(record(rows, config, seconds), indent=1), encoding="utf-8")
    part.replace(out / "results.json")      # whole or not at all
    plot(rows, out / "curves.png")


def git_hash():
    """The commit this code is at, "+" if files differ from it, "" outside git."""
    def git(*args):
        return subprocess.run(["git", *args], capture_output=True, encoding="utf-8",
                              errors="replace", cwd=Path(__file__).parent).stdout.strip()
    try:
        return git("rev-parse", "HEAD") + "+" * bool(git("status", "--porcelain", "-uno"))
    except OSError:     # no git program
        return ""


def factor(text):
    """A compression factor from the command line: a number, or "auto"."""
    return text if text == "auto" else int(text)


def factors(text):
    return [factor(c) for c in text.split(",")]


def counts(text):
    return [int(k) for k in text.split(",")]


def numbers(text):
    return [float(x) for x in text.split(",")]


def names(text):
    return text.split(",")


def parse(argv):
    parser = Parser(prog="eval.py", description=__doc__, allow_abbrev=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or results files")
    parser.add_argument("--summary", action="store_true", help="pool the seeds of results files")
    parser.add_argument("--split", default="test", help="test, val, or the task's own [test]")
    parser.add_argument("--n", type=int, help="problems [500; of --data: all]")
    parser.add_argument("--data", default="", help="a JSON file of problems instead of a split")
    parser.add_argument("--c", type=factors, default=[], help="compression factors, as 1,2,4 [all]")
    parser.add_argument("--latents", type=counts, default=[], help="codes before text, as 0,2,999: "
                        "Token Assorted [as the model likes]")
    parser.add_argument("--r", type=counts, default=[], help="iterations of a recurrent backbone, "
                        "as 1,4,16 [1 to 32]")
    parser.add_argument("--exit", type=names, default=[], help="when it stops early: kl, ...")
    parser.add_argument("--threshold", type=numbers, default=[], help="of the exit [by kind]")
    parser.add_argument("--share", type=counts, default=[], help="slots of its cache to share")
    parser.add_argument("--warm", action="store_true", help="it goes on from the last state")
    parser.add_argument("--draft", type=counts, default=[], help="iterations of a draft; 0: none")
    parser.add_argument("--show", type=int, default=0, help="print so many worked problems")
    parser.add_argument("--k", type=counts, default=[], help="pass@k of sampled rollouts, as 1,8")
    parser.add_argument("--top-k", type=int, default=0, help="sample among so many words [all]")
    parser.add_argument("--sigma-min", type=float, default=0, help="floor of sigma for --k [run's]")
    parser.add_argument("--controls", action="store_true",
                        help="change the thoughts: are they used? And what can be read from them?")
    parser.add_argument("--loss", action="store_true", help="the training loss on these problems, "
                        "which says more than the accuracy where that is near 0")
    parser.add_argument("--decode", action="store_true", help="how many latents can be read")
    parser.add_argument("--json", default="", help="write the rows to this file")
    parser.add_argument("--plot", default="", help="write the figure to this .png, .pdf or .svg")
    parser.add_argument("--over", default="", choices=("", "c", "k", "r", "latents"),
                        help="x-axis of that figure [thinking steps]")
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"))
    args = parser.parse_args(argv)
    counted = [n for n in (args.n, *args.k, *args.r) if n is not None]
    if min(counted, default=1) < 1 or min(args.show, args.sigma_min) < 0:
        raise BadInput("--n must be at least 1, and --k, --r; --show and --sigma-min at least 0")
    if min(args.share + args.draft + args.threshold + args.latents + [args.top_k]) < 0:
        raise BadInput("--share, --draft, --threshold, --latents, --top-k must be at least 0")
    if args.controls and (args.decode or args.k):
        raise BadInput("--controls goes with neither --decode nor --k")
    args.exit = ["" if name == "none" else name for name in args.exit]
    for name in filter(None, args.exit):
        choice(name, EXITS, "exit")
    if any(args.draft) and (any(args.exit) or any(args.share) or args.warm or args.k):
        raise BadInput("--draft goes with neither --exit, --share, --warm nor --k")
    for path in filter(None, (args.json, args.plot)):     # before the work, not after it
        if not Path(path).absolute().parent.is_dir():
            raise BadInput(f"{path}: no such folder")
    if args.plot and Path(args.plot).suffix not in (".png", ".pdf", ".svg"):
        raise BadInput(f"--plot {args.plot}: must end in .png, .pdf or .svg")
    return args


def problems(task, args):
    """The examples to evaluate on: of a split, or of a file but for what the run was trained on.

    Prints what is said of the file.
    """
    if args.data:
        examples, line = read_problems(task, args.data)
        print(line)
        new = unseen(task, examples)
        if not new:
            raise BadInput(f"--data {args.data}: the run was trained on all of its problems")
        return mixed(new)[:args.n] if args.n else new
    choice(args.split, task.splits, "split")
    if isinstance(task, FileTask):
        print(task.summary)
    return take(task, args.split, args.n or 500)


def unseen(task, examples):
    """The examples that a run on this task has not trained on, as far as that is known.

    Says how many it has. A generated task knows nothing of it: it has no list of what it drew.
    """
    if not hasattr(task, "trained_on"):
        return examples
    try:
        seen = task.trained_on(examples)
    except BadInput as error:
        print(f"problems that the run was trained on, if any, are not left out: {error}")
        return examples
    if any(seen):
        print(f"{sum(seen)} problems that the run was trained on or watched with are left out")
    return [e for e, known in zip(examples, seen) if not known]


def settings(method, args):
    """The knobs to try: those of --c, --r, ... that method and backbone have, else their SWEEP."""
    own = method.SWEEP
    for name, values in (("c", args.c), ("latents", args.latents)):
        if values and name in method.SWEEP[-1]:
            own = [{name: value} for value in values]
    given = {name: getattr(args, name) for name in ("r", "exit", "threshold", "share", "draft")}
    given["warm"] = [True] * args.warm
    given = {name: values for name, values in given.items() if values and method.model.KNOBS}
    deep = [dict(zip(given, values)) for values in itertools.product(*given.values())]
    return [{**o, **d} for o in own for d in (deep if given else method.model.SWEEP)]


def names_of(folders):
    """Folders -> names for tables and figures: the shortest end of each path that no other has."""
    paths = {folder: Path(os.path.abspath(folder)).parts for folder in folders}

    def name(parts):
        for n in range(1, len(parts) + 1):
            if sum(other[-n:] == parts[-n:] for other in set(paths.values())) == 1:
                return Path(*parts[-n:]).as_posix()
    return [name(paths[folder]) for folder in folders]


def measure(run, name, args):
    """The record of one run folder, called `name`; prints what --show asks for."""
    began = time.time()
    given = {"sigma_min": args.sigma_min} if args.sigma_min else {}
    task, method, state = load_run(run, pick_device(args.device), **given)
    split = Path(args.data).name if args.data else args.split
    config = state["config"] | given | {"command": args.command, "split": split}
    examples, tried = problems(task, args), settings(method, args)
    if args.k and not hasattr(method, "rollout"):
        raise BadInput(f"--k: {run} has nothing to sample")
    if args.controls:
        import controls                         # here, since controls.py needs this file
        task.sample("train", 0)                 # its probe needs that: fails now, not after hours
        rows = controls.examine(name, method, task, examples, tried)
        for row in rows[::len(controls.INTERVENTIONS)]:
            knobs = {k: v for k, v in row["knobs"].items() if k != "thoughts"}
            row["probe"], row["frequent"] = controls.probe(method, task, examples, knobs)
            print(f"{name} {setting({'knobs': knobs})}\n"
                  f"{controls.readable(row['probe'], row['frequent'])}\n")
    elif args.k:
        rows = explore(name, method, task, examples, tried, args.k, args.top_k)
    else:
        solve_all(method, examples[:2], **tried[0])     # a GPU's first call is slow: not timed
        rows = sweep(name, method, task, examples, tried)
    for row in rows if args.loss else []:
        with method.model.using(**split_knobs(method, row["knobs"])[1]):
            row["loss"] = loss_on(method, examples)
    for row in rows if args.decode else []:
        if isinstance(row["knobs"].get("c"), int):
            row["decoded"] = decoded(method, examples, row["knobs"])
    if args.show:
        print(show(method, task, examples[:args.show], **tried[-1]))
    stage = {"method": config.get("stage", config["method"]), "updates": config["steps"]}
    return record([{**row, "run": name, **stage} for row in rows], config, time.time() - began)


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    try:
        args = parse(argv)
        args.command = "python eval.py " + shlex.join(argv)
        named = [] if args.summary else zip(args.runs, names_of(args.runs))
        found = [measure(run, name, args) for run, name in named]
        rows = pool(args.runs) if args.summary else [row for r in found for row in r["rows"]]
        print(summary(args.runs) if args.summary else table(rows))
    except BadInput as error:
        print(f"eval.py: {error}", file=sys.stderr)
        sys.exit(2)
    if args.json:
        part = Path(args.json).with_suffix(".part")
        part.write_text(json.dumps(found or rows, indent=1), encoding="utf-8")
        part.replace(args.json)     # whole or not at all
    if args.plot and args.controls:
        import controls
        controls.plot(rows, args.plot)
    elif args.plot and args.over:
        plot_over(rows, args.over, args.plot)
    elif args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
