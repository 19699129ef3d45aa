"""The answer that most samples give: self-consistency. Wang et al., arXiv 2203.11171.

    python -m lab.vote RUN --k 1,4,16                   # of so many samples of a run
    python -m lab.vote RUN RUN RUN --k 16               # and of those of all runs together

Each run writes k solutions of a problem. The answer that most of them reach is the run's; the one
that most solutions of all runs reach is the ensemble's. Of answers with as many votes the one that
was given first wins. Where a task computes answers, they count by their value, and what cannot be
computed has no vote. With k=0 each run votes with its greedy answer, the one that eval.py measures.

Thinking steps are those of one sample, on average; the time is that of all that vote.
"""
import json
import os
import shlex
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import torch
from tqdm import tqdm

from data.cli import BadInput, Flag, Parser, one_line
from data.common import same_all
from data.files import writable, write
from data.machine import pick_device
from data.problems import problems
from data.rows import by_pairs, names_of, record, table, wilson
from eval import in_batches, named
from method import can, computed
from model import GREEDY, Sampler
from runs import FLAGS as RUN_FLAGS
from runs import load_run

FLAGS = {
    "temperature": Flag(0.7, "of the samples", above=0.0),
    "seed": Flag(0, "of the samples"),
    "split": Flag("test", "test, val, the task's own, or fresh: see data/common.py"),
    "n": Flag(0, "problems; 0: 500, or all of --data"),
    "data": Flag("", "a JSON file of problems instead of a split"),
    "json": Flag("", "write the rows to this file"),
    "device": RUN_FLAGS["device"],
}
LISTS = {"k": Flag(16, "samples of each run that vote, as 0,1,4,16; 0: the greedy one", most=1000)}


def ballots(method, task, examples, n, sample):
    """[[answer]]: what n samples of a run answer to each problem, as words; and the mean number of
    thinking steps of a sample."""
    found, steps = [], 0
    method.eval()
    with tqdm(total=len(examples), desc=f"{n} of each", unit="problem", leave=False,
              disable=None) as bar:     # None: only a terminal has a bar
        for some, batch in in_batches(method, examples):
            solved = method.rollout(batch, n, sample).solved
            steps += sum(one.n_think for one in solved)
            for i, example in enumerate(some):
                mine = solved[i * n:(i + 1) * n]
                found.append([tuple(computed(task, example, one.thoughts.split(), one.answer))
                              for one in mine])
            bar.update(len(some))
    return found, steps / len(examples) / n


def winner(votes):
    """The words of the answer with the most votes, the first of several; () without any."""
    count = Counter(vote for vote in votes if vote)
    return max(count, key=count.get, default=())    # the first: a dict keeps its order


def row_of(method, task, examples, votes, knobs, steps, seconds):
    """A row of the table of results: the winners of votes, [[answer]] of each problem. method: the
    name of that which voted."""
    right = [task.check(e, list(winner(mine))) for e, mine in zip(examples, votes)]
    low, high = wilson(sum(right), len(right))
    return {"method": method, "knobs": knobs, "n": len(right), "accuracy": sum(right) / len(right),
            "low": low, "high": high, "steps": steps, "ms": 1000 * seconds / len(right),
            "problems": same_all(examples), "right": "".join("1" if r else "0" for r in right)}


def measured(run, args):
    """The votes of a run, {k: [[answer]]}, its mean steps and seconds for one sample of each
    problem, and what it answered: (votes, steps, seconds, task, examples, config)."""
    device = pick_device(args.device)
    task, method, state = load_run(run, device)
    if not can(method, "rollout"):
        raise BadInput(f"{run}: {state['config']['method']} has nothing to sample")
    examples, votes, steps, seconds = problems(task, args), {}, {}, {}
    for n, sample in ((1, GREEDY), (max(args.k), sampler(args, device))):
        ks = [k for k in args.k if (k == 0) == (sample is GREEDY)]
        if ks:
            began = time.perf_counter()
            found, mean = ballots(method, task, examples, n, sample)
            for k in ks:    # of fewer samples the first ones
                votes[k] = [mine[:max(1, k)] for mine in found]
                steps[k], seconds[k] = mean, (time.perf_counter() - began) / n
    return votes, steps, seconds, task, examples, state["config"]


def sampler(args, device):
    return Sampler(args.temperature, generator=torch.Generator(device).manual_seed(args.seed))


def rows_of(members, ks, names):
    """Rows of each member alone at every k, then of all of them together."""
    together = [list(range(len(members)))] if len(members) > 1 else []
    rows = []
    for group in [[i] for i in range(len(members))] + together:
        for k in ks:
            some = [members[i] for i in group]
            votes = [sum(mine, []) for mine in zip(*(member[0][k] for member in some))]
            steps = sum(member[1][k] for member in some) / len(some)
            seconds = sum(member[2][k] for member in some) * max(1, k)
            name = names[group[0]] if len(group) == 1 else f"all {len(group)}"
            _, _, _, task, examples, config = some[0]
            rows.append({**row_of(config["method"], task, examples, votes, {"vote": k}, steps,
                                  seconds), "run": name})
    return rows


def parse(argv):
    parser = Parser("lab.vote", __doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_flags(FLAGS)
    parser.add_flags(LISTS, many=True)
    args = SimpleNamespace(**parser.parse(argv))
    args.k = args.k or [LISTS["k"].default]
    for run, times in Counter(map(os.path.abspath, args.runs)).items():
        if times > 1:
            raise BadInput(f"{run}: given {times} times, but it has one vote")
    if args.json:
        writable(args.json)
    return args


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    with one_line("lab.vote"):
        args, began = parse(argv), time.time()
        members = [measured(run, args) for run in args.runs]
        about = {same_all(examples) for _, _, _, _, examples, _ in members}
        if len(about) > 1:
            raise BadInput("these runs answer other problems than each other: they cannot vote")
        rows = rows_of(members, args.k, names_of(args.runs))
        config = members[0][-1] | {"command": f"python -m lab.vote {shlex.join(argv)}",
                                   "split": Path(args.data).name if args.data else args.split}
        if args.json:
            found = record(named(rows, config), config, time.time() - began)
            write(args.json, json.dumps([found], indent=1))
        print("\n".join([table(rows), *by_pairs(rows)]))


if __name__ == "__main__":
    main()
