"""Measures trained runs: accuracy with its interval, thinking steps and time per problem.

    python eval.py runs/colar-arithmetic-tiny-s0            # every setting, on the test split
    python eval.py RUN RUN --c 1,2,4 --n 2000 --split ood   # several runs, chosen factors
    python eval.py RUN --data problems.json --show 3        # a file of {question, steps, answer}
    python eval.py RUN RUN --k 1,4,16 --sigma-min 0.1       # does noise find right answers?
    python eval.py RUN --latents 0,2,4,999 --plot mix.png   # from text to codes
    python eval.py RUN --r 1,4,16 --exit kl --json out.json # recurrent depth: see recurrent.py

accuracy   share of problems whose greedy answer `Task.check` accepts, with a 95% Wilson interval
right      which problems were: "110...". By them a run is compared with the first one by pairs
steps      mean number of sequential model calls spent thinking (the papers' #L)
ms         wall time per problem when solved in batches of BATCH
iterations of a recurrent backbone, mean over its calls and the rows still in them
"""
import itertools
import json
import re
import shlex
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from tqdm import tqdm

import runs
from data.cli import BadInput, Flag, Parser, one_line
from data.common import collate, same_all
from data.files import can_draw, draw, writable, write
from data.machine import pick_device
from data.problems import problems
from data.rows import by_pairs, mean_of, names_of, pass_at, plot, record, table, wilson
from method import can, computed
from model import Sampler

BATCH = 100     # problems solved at once


def split_knobs(method, knobs):
    """Those of the method's `solve`, and those of its backbone's forward pass."""
    backbone = {name: value for name, value in knobs.items() if name in method.model.KNOBS}
    return {name: value for name, value in knobs.items() if name not in backbone}, backbone


def in_batches(method, examples):
    """(some examples, their Batch) until all have come, on the method's device; until then the
    method is in eval mode, so that nothing is dropped out."""
    device, training = next(method.parameters()).device, method.training
    method.eval()
    try:
        for i in range(0, len(examples), BATCH):
            some = examples[i:i + BATCH]
            yield some, collate(some, method.vocab).to(device)
    finally:
        method.train(training)


def solve_all(method, examples, progress=None, **knobs):
    """[Solved] in the order of examples; rows of similar length share a batch."""
    own, backbone = split_knobs(method, knobs)
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].question))
    found = []
    for some, batch in in_batches(method, [examples[i] for i in order]):
        with method.model.using(**backbone):
            found += method.solve(batch, **own)
        if progress:
            progress.update(len(some))
    solved = dict(zip(order, found))
    return [solved[i] for i in range(len(examples))]


def evaluate(method, task, examples, progress=None, **knobs):
    """One row of the results table: accuracy, steps and time of `method` at one setting."""
    start = time.perf_counter()
    with method.model.using(**split_knobs(method, knobs)[1]):
        with method.model.recording() as cost:
            solved = solve_all(method, examples, progress, **knobs)
            seconds = time.perf_counter() - start
        extras = method.extras(examples, solved)    # may ask the model, too
    right = [method.right(task, e, s) for e, s in zip(examples, solved)]
    levels = sorted({e.difficulty for e in examples})
    by = {d: [r for e, r in zip(examples, right) if e.difficulty == d] for d in levels}
    low, high = wilson(sum(right), len(right))
    return {
        "knobs": knobs, "n": len(right),
        "accuracy": sum(right) / len(right), "low": low, "high": high,
        "steps": sum(s.n_think for s in solved) / len(solved),
        "ms": 1000 * seconds / len(solved), **cost, **extras,
        "problems": same_all(examples), "right": "".join("1" if r else "0" for r in right),
        "by_difficulty": {str(d): {"n": len(r), "accuracy": sum(r) / len(r)}
                          for d, r in by.items()},
    }


def sweep(name, method, task, examples, settings=None):
    """Rows of `evaluate` at every setting given, or at those worth a row each."""
    if settings is None:
        settings = settings_of(method, {})
    with tqdm(total=len(settings) * len(examples), desc=f"test {name}", unit="problem",
              leave=False, disable=None) as bar:        # None: only a terminal has a bar
        return [{"method": name, **evaluate(method, task, examples, bar, **k)} for k in settings]


def explore(name, method, task, examples, settings, ks, top_k=0, seed=0):
    """Rows of pass@k: the share of problems of which at least one of k samples is right.

    Of max(ks) rollouts per problem; the interval is that of a mean over problems. With k = 10 and
    top_k = 10 this is the 1-Feasible-10 of Token Assorted.
    """
    n, rows = max(ks), []
    generator = torch.Generator(next(method.parameters()).device).manual_seed(seed)
    for knobs in settings:
        right, steps, start = [], 0, time.perf_counter()
        own, backbone = split_knobs(method, knobs)
        for some, batch in in_batches(method, examples):
            with method.model.using(**backbone):
                solved = method.rollout(batch, n, Sampler(1.0, top_k, generator), **own).solved
            steps += sum(s.n_think for s in solved)
            right += [sum(method.right(task, e, s) for s in solved[j * n:j * n + n])
                      for j, e in enumerate(some)]
        ms = 1000 * (time.perf_counter() - start) / len(examples)
        for k in ks:
            mean, low, high = mean_of([pass_at(k, r, n) for r in right])
            tried = {**knobs, "k": k} | ({"top_k": top_k} if top_k else {})
            rows.append({"method": name, "knobs": tried, "n": len(examples),
                         "accuracy": mean, "low": low, "high": high,
                         "steps": steps / len(examples) / n, "ms": ms * k / n})
    return rows


@torch.no_grad()
def loss_on(method, examples):
    """The method's training loss on these problems; a mean over batches."""
    losses = [float(method.loss(batch)[0]) for _, batch in in_batches(method, examples)]
    return sum(losses) / len(losses)


def show(method, task, examples, **knobs):
    """Worked problems as text: question, thoughts, prediction, truth."""
    lines, own = [], split_knobs(method, knobs)[0]
    for e, s in zip(examples, solve_all(method, examples, **knobs)):
        mark = "right" if method.right(task, e, s) else "WRONG"
        most = 10 + 2 * sum(map(len, e.steps))      # what has learned nothing does not stop
        thoughts = re.findall(r"\[.*?\]|\S+", s.thoughts)
        thoughts = thoughts[:most] + ["..."] * (len(thoughts) > most)
        lines += [f"question    {' '.join(e.question)}",
                  f"thoughts    {' '.join(thoughts) or '(none)'}   [{s.n_think} steps]"]
        groups = method.true_groups(e, **own)   # the chain as it would be merged, to compare
        if groups:
            lines.append("true chain  " + " ".join(f"[{' '.join(words)}]" for words in groups))
        said = computed(task, e, s.thoughts.split(), s.answer)
        true = computed(task, e, [word for step in e.steps for word in step], method.target(e))
        lines += [f"prediction  {' '.join(said)}   truth  {' '.join(true)}   {mark}", ""]
    return "\n".join(lines)


# ---- results files and the command line ----------------------------------------------------------

def named(rows, config):
    """Rows of a run with what tells them from other runs' in a table."""
    return [{"updates": config["steps"], "variant": runs.variant(config), **row} for row in rows]


FLAGS = {
    "split": Flag("test", "test, val, the task's own, or fresh: see data/common.py"),
    "n": Flag(0, "problems; 0: 500, or all of --data"),
    "data": Flag("", "a JSON file of problems instead of a split"),
    "show": Flag(0, "worked problems to print"),
    "top_k": Flag(0, "words to sample among for --k, the likeliest; 0: all"),
    "seed": Flag(0, "of the samples of --k"),
    "sigma_min": Flag(0.0, "floor of sigma for --k; 0: the run's", most=7),
    "loss": Flag(False, "the training loss on these problems, which says more than the accuracy "
                 "where that is near 0"),
    "json": Flag("", "write the rows to this file"),
    "plot": Flag("", "write the figure to this .png, .pdf or .svg"),
    "device": runs.FLAGS["device"],
}
LISTS = {"k": Flag(1, "pass@k of sampled rollouts, e.g. 1,8", least=1, most=10**4)}


def parse(argv, prog, description):
    """argv -> (arguments, {knob: its values})."""
    parser, knobs = Parser(prog, description), runs.knobs_of(prog, FLAGS | LISTS)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_flags(FLAGS)
    parser.add_flags(LISTS | knobs, many=True)
    args = SimpleNamespace(**parser.parse(argv))
    if args.json:
        writable(args.json)
    if args.plot:
        can_draw(args.plot)
    for name in ("top_k", "sigma_min", "seed"):
        if getattr(args, name) and not args.k:
            raise BadInput(f"--{name.replace('_', '-')}: for the samples of --k")
    if args.threshold and not {*args.exit} - {"none"}:
        raise BadInput("--threshold: of an exit; add --exit")
    return args, {name: getattr(args, name) for name in knobs if getattr(args, name)}


def check_knobs(opened, given):
    """BadInput for a knob, or "sigma_min", that none of these runs has."""
    known = [name for _, method, state in opened for name in (
        *method.KNOBS, *method.model.KNOBS, *({"sigma_min"} & state["config"].keys()))]
    for name in given:
        if name not in known:
            raise BadInput(f"--{name.replace('_', '-')}: none of these runs has this knob")


def settings_of(method, given):
    """The knobs to try: every combination of the values given, {knob: [value]}; where a method or a
    backbone is given none of its own, its settings(). "none" leaves a knob as it is."""
    def tried(part):
        mine = {name: given[name] for name in part.KNOBS if name in given}
        if not mine:
            return part.settings()
        return [{name: value for name, value in zip(mine, values) if value != "none"}
                for values in itertools.product(*mine.values())]
    return [{**own, **backbone} for own in tried(method) for backbone in tried(method.model)]


def measure(name, method, task, examples, settings, args):
    """Rows of one run: greedy, or with --k of sampled rollouts."""
    if args.k:
        if not can(method, "rollout"):
            raise BadInput(f"--k: {name} has nothing to sample")
        if any(knobs.get("draft") for knobs in settings):
            raise BadInput("--draft: for greedy decoding, not for the samples of --k")
        rows = explore(name, method, task, examples, settings, args.k, args.top_k, args.seed)
    else:
        solve_all(method, examples[:2], **settings[0])      # a GPU's first call is slow: not timed
        rows = sweep(name, method, task, examples, settings)
    for row in rows if args.loss else []:
        with method.model.using(**split_knobs(method, row["knobs"])[1]):
            row["loss"] = loss_on(method, examples)
    return rows


def measured(task, method, name, args, given, measure):
    """The record of one run, called `name`; prints what --show asks for."""
    began, split = time.time(), Path(args.data).name if args.data else args.split
    config = vars(method.args) | {"command": args.command, "split": split}
    examples, tried = problems(task, args), settings_of(method, given)
    rows = measure(name, method, task, examples, tried, args)
    if args.show:
        print(show(method, task, examples[:args.show], **tried[-1]))
    kind = config.get("stage", config["method"])
    rows = named([{**row, "method": kind, "run": name} for row in rows], config)
    return record(rows, config, time.time() - began)


def main(argv=None, prog="eval.py", description=__doc__, measure=measure, figure=plot):
    """Measures runs, as eval.py does or in another way: see lab/controls.py for one."""
    argv = sys.argv[1:] if argv is None else argv
    with one_line(prog):
        args, given = parse(argv, prog, description)
        script = prog if prog.endswith(".py") else f"-m {prog}"
        args.command = f"python {script} {shlex.join(argv)}"
        changes = {"sigma_min": args.sigma_min} if args.sigma_min else {}
        device = pick_device(args.device)
        opened = [runs.load_run(run, device, **changes) for run in args.runs]  # before measuring
        check_knobs(opened, [*given, *changes])
        found = [measured(task, method, name, args, given, measure)
                 for (task, method, _), name in zip(opened, names_of(args.runs))]
        rows = [row for one in found for row in one["rows"]]
        if args.json:
            write(args.json, json.dumps(found, indent=1))
        if args.plot:
            draw(figure(rows), args.plot)
        print("\n".join([table(rows), *by_pairs(rows)]))


if __name__ == "__main__":
    main()
