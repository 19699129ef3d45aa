"""Speed and memory of this checkout beside those of another one, and beside nanoGPT's model.

    git worktree add ../before 097c379
    python -m lab.ratios --base ../before --nanogpt ../nanoGPT       # 10 minutes on 2 CPU cores
    python -m lab.ratios --base ../before --only colar,decode-64 --threads 2

Both checkouts work in processes of their own, one at a time, taking turns: a round is every measure
once on both sides. Each call, an update or a decoding, counts when it was fastest: noise only ever
adds. The problems are those of --base, drawn once, the same batches for both.

cot, cot-wide       real tokens/s of training `cot` under AdamW, against nanoGPT under fused AdamW,
                    gradients clipped on both sides: whole rows, padded to the longest of the batch,
                    every next token predicted. Wide: width 128, 4 layers, 4 heads. Without
                    --nanogpt a reference of torch's parts stands in; with it, it is measured too
colar ... codi      problems/s of training a method by its defaults, at the end of its curriculum,
                    and sequences/s: an update may train several for each problem
recurrent-cot ...   the same on the recurrent backbone, always --mean-r iterations
decode-1, -64, -ragged      tokens/s of greedy decoding by `cot`, 64 tokens after a prompt of 64, in
                    batches of 1 and 64; ragged: 64 prompts of 40 to 64 tokens
MB                  of the longest batch, counted as lab.bench does, or of so many of its problems
                    that there is a sequence for each; of decoding the most that a call allocates
"""
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import torch
from tqdm import tqdm

import runs
from data.cli import BadInput, Flag, Parser, choice, named, one_line
from data.files import writable, write
from lab import ratios_worker

ROOT = Path(__file__).parents[1]
WIDE = ["--width", "128", "--layers", "4", "--heads", "4"]
ADAMW = ["--optimizer", "adamw"]
DEEP = ["--backbone", "recurrent", "--sampler", "fixed"]
AGAINST = {"cot": [], "cot-wide": WIDE}                 # nanoGPT: {measure: sizes}
TRAINED = {"colar": 2.2, "assorted": 2.2, "coconut": 2, "codi": 2, "recurrent-cot": 2,
           "recurrent-colar": 2}                        # {measure: target}
DECODED = {"decode-1": (1, False, 3), "decode-64": (64, False, 2),
           "decode-ragged": (64, True, None)}           # {measure: (rows, ragged, target)}
MEASURES = [*AGAINST, *TRAINED, *DECODED]
LEVEL, STANDS_IN, MEMORY = 1.0, 0.97, 1.1       # targets: nanoGPT's speed; the reference's; MB


class Worker:
    """The process of one checkout."""

    def __init__(self, tree, threads):
        self.tree = tree
        self.process = subprocess.Popen(
            [sys.executable, ratios_worker.__file__, str(tree), str(threads)], cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree),
                 "GOMP_SPINCOUNT": "10000"},    # as in train.py, before torch is there
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(BrokenPipeError):     # it has ended before
            self.process.stdin.close()      # there are no more requests
        self.process.wait()

    def ask(self, do, **request):
        """The answer of a method of ratios_worker.Side. BadInput if the process has ended."""
        try:
            print(json.dumps({"do": do, **request}), file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (ValueError, BrokenPipeError):
            raise BadInput(f"{self.tree}: cannot {do} {request.get('name', '')}") from None


# ---- what is measured ----------------------------------------------------------------------------

def contenders(args):
    """[(worker, name, arguments of Side.add)] of the measures that are asked for."""
    found = []
    for name in args.only:
        argv = ["--method", "cot", "--size", args.size]
        if name in AGAINST:
            argv += AGAINST[name]
            both = {"kind": "ours", "argv": argv + ADAMW}
            found.append(("here", f"{name} reference", {"kind": "peer", "argv": argv}))
            if args.nanogpt:
                found.append(("here", f"{name} nanoGPT",
                              {"kind": "peer", "argv": argv, "nanogpt": args.nanogpt}))
            if default_optimizer() != "adamw":
                found.append(("here", f"{name} default", {"kind": "ours", "argv": argv}))
        elif name in TRAINED:
            backbone, _, method = name.rpartition("-")
            argv = ["--method", method, "--size", args.size, *(DEEP if backbone else [])]
            both = {"kind": "ours", "argv": argv}
        else:
            rows, ragged, _ = DECODED[name]
            both = {"kind": "decode", "argv": argv, "rows": rows, "ragged": ragged}
        found += [("base", name, both), ("here", name, both)]
    return found


def default_optimizer():
    return runs.parse(["--method", "cot"])["optimizer"]


def measure(args):
    """How much work there is; the seconds it took at the fastest, MB and the sequences trained for
    a problem, {(worker, name): ...} each; whether decoding is right, {name: ...}."""
    contestants = contenders(args)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = {side: stack.enter_context(Worker(tree, args.threads))
                   for side, tree in (("base", args.base), ("here", ROOT))}
        problems = str(folder / "problems.jsonl")
        workers["base"].ask("draw", path=problems, size=args.size, n=args.batches)
        work = [worker.ask("load", path=problems) for worker in workers.values()]
        if work[0] != work[1]:
            raise BadInput(f"{args.base}: reads other problems than this checkout")
        memory, rounds = {}, defaultdict(list)
        for side, name, row in tqdm(contestants, desc="prepare", leave=False, disable=None):
            memory[side, name] = workers[side].ask("add", name=name, **row)
        for side, name, _ in tqdm(args.rounds * contestants, desc="time", leave=False,
                                  disable=None):
            rounds[side, name].append(workers[side].ask("time", name=name))
        branches = {(side, name): workers[side].ask("branches", name=name)
                    for side, name, _ in contestants if name in TRAINED}
        same = {name: workers["here"].ask("tokens_without_cache", name=name)
                for name in args.only if name in DECODED}
    seconds = {key: sum(map(min, zip(*times))) for key, times in rounds.items()}
    return work[0], seconds, memory, branches, same


# ---- the table -----------------------------------------------------------------------------------

def row(what, base, here, target=None, most=False):
    """A row of the table; most: the ratio may be at most its target, not at least."""
    ratio = here / base
    met = None if target is None else ratio <= target if most else ratio >= target
    return {"measure": what, "base": base, "here": here, "ratio": ratio, "target": target,
            "most": most, "met": met}


def table(args, work, seconds, memory, branches, same):
    """The rows of the table."""
    rows = []
    for name in args.only:
        base, here = seconds["base", name], seconds["here", name]
        if name in AGAINST:
            rate = {key: work["tokens"] / s for key, s in seconds.items()}
            peer = f"{name} {'nanoGPT' if args.nanogpt else 'reference'}"
            rows.append(row(f"{name} tokens/s, base: {peer.split()[1]}", rate["here", peer],
                            rate["here", name], LEVEL))
            if ("here", f"{name} default") in rate:
                rows.append(row(f"{name} the same under {default_optimizer()}",
                                rate["here", peer], rate["here", f"{name} default"]))
            rows.append(row(f"{name} tokens/s", rate["base", name], rate["here", name]))
            if args.nanogpt:
                rows.append(row(f"{name} reference's tokens/s, base: nanoGPT", rate["here", peer],
                                rate["here", f"{name} reference"], STANDS_IN))
        elif name in TRAINED:
            rows.append(row(f"{name} problems/s", work["problems"] / base, work["problems"] / here))
            rows.append(row(f"{name} sequences/s",
                            work["problems"] * branches["base", name] / base,
                            work["problems"] * branches["here", name] / here, TRAINED[name]))
        else:
            count, _, target = DECODED[name]
            tokens = ratios_worker.CALLS * count * ratios_worker.NEW
            rows.append(row(f"{name} tokens/s", tokens / base, tokens / here, target))
            rows.append({"measure": f"{name} the tokens of no cache", "met": same[name]})
        rows.append(row(f"{name} MB", memory["base", name], memory["here", name], MEMORY, True))
    return rows


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def report(rows):
    """The rows as text."""
    lines = [f"{'measure':<46}{'base':>10}{'here':>10}{'ratio':>8}   target"]
    for r in rows:
        verdict = {True: "met", False: "missed", None: ""}[r["met"]]
        if "ratio" in r:
            numbers = f"{number(r['base']):>10}{number(r['here']):>10}{r['ratio']:>8.2f}"
            bound = "" if r["target"] is None else \
                f"{'at most' if r['most'] else 'at least'} {r['target']:g} "
        else:
            numbers, bound = f"{'':10}{'yes' if r['met'] else 'no':>10}{'':8}", "yes "
        lines.append(f"{r['measure']:<46}{numbers}   {bound}{verdict}".rstrip())
    return "\n".join(lines)


# ---- the script ----------------------------------------------------------------------------------

FLAGS = {
    "size": runs.KINDS["size"],
    "only": Flag(",".join(MEASURES), "those to take"),
    "threads": Flag(1, "CPU threads", least=1, most=2**10),
    "rounds": Flag(5, "times that everything is measured", least=1),
    "batches": Flag(40, "of a pool sorted by length: updates in a round", least=1, most=64),
    "json": Flag("", "write the figures to this file"),
}


def arguments(argv):
    parser = Parser("lab.ratios", __doc__)
    parser.add_argument("--base", type=named, metavar="DIR", required=True,
                        help="the other checkout")
    parser.add_argument("--nanogpt", type=named, metavar="DIR",
                        help="a checkout of nanoGPT")
    parser.add_flags(FLAGS)
    args = SimpleNamespace(**parser.parse(argv))
    args.only = args.only.split(",")
    for name in args.only:
        choice(name, MEASURES, "measure")
    if not all((Path(args.base) / name).is_file() for name in ("train.py", "data/common.py")):
        raise BadInput(f"--base {args.base}: no checkout of this project there")
    if args.nanogpt and not is_nanogpt(Path(args.nanogpt) / "model.py"):
        raise BadInput(f"--nanogpt {args.nanogpt}: no model.py of nanoGPT there")
    args.base = Path(args.base).resolve()
    args.nanogpt = str(Path(args.nanogpt).resolve()) if args.nanogpt else None
    if args.json:
        writable(args.json)
    return args


def is_nanogpt(path):
    try:
        return "class GPTConfig" in path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def main(argv=None):
    with one_line("lab.ratios"):
        args = arguments(argv)
        machine = {"threads": args.threads, "size": args.size, "rounds": args.rounds,
                   "batches": args.batches, "torch": torch.__version__}
        rows = table(args, *measure(args))
        print("  ".join(f"{name} {value}" for name, value in machine.items()),
              " each call at its fastest\n")
        print(report(rows))
        if args.json:
            write(args.json, json.dumps({"machine": machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
