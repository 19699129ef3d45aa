"""The answer that most samples give: self-consistency. Wang et al., arXiv 2203.11171.

    python -m lab.vote RUN --k 1,4,16                   # of so many samples of a run
    python -m lab.vote RUN RUN RUN --k 16               # and of those of all runs together

Each run writes k solutions of a problem. The answer that most of them reach is the run's; the one
that most solutions of all runs reach is the ensemble's. Of answers with as many votes the one that
was given first wins. Where a task computes answers, they count by their value, and what cannot be
computed has no vote. With k=0 each run votes with its greedy answer, the one that eval.py measures.
CoLaR thinks at c = 2 or, if it was not trained at that, at the first speed that it was.

Thinking steps are those of one sample, on average; the time is that of all that vote.
"""
import json
import os
import shlex
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import torch
from tqdm import tqdm

import eval as evaluation
from data.cli import BadInput, Flag, Parser, one_line
from data.common import same_all
from data.files import writable, write
from data.machine import pick_device
from data.problems import problems
from data.rows import by_pairs, names_of, record, table, wilson
from eval import in_batches, named
from method import can, computed
from model import GREEDY, Sampler
from runs import load_run


def no_samples(settings):
    """Flag.idle of what is said of samples."""
    return "with --k 0" if settings["k"] == [0] else ""


FLAGS = {"temperature": Flag(0.7, "of the samples", above=0.0, idle=no_samples),
         "seed": replace(evaluation.FLAGS["seed"], idle=no_samples)} | {
    name: evaluation.FLAGS[name] for name in ("split", "n", "data", "json", "device")}
LISTS = {"k": Flag(16, "samples of each run that vote, e.g. 0,1,16; 0: the greedy one", most=1000)}


class Voter(NamedTuple):
    """A run and how it votes, {k: ...} for every number of samples."""
    votes: dict         # [[answer]], of each problem
    steps: dict         # thinking steps of one sample, on average
    seconds: dict       # for all votes
    task: object
    examples: list
    config: dict
    knobs: dict         # that it thinks with


def ballots(method, task, examples, n, sample):
    """[[answer]]: what n samples of a run answer to each problem, as words; and the mean number of
    thinking steps of a sample."""
    found, steps = [], 0
    with tqdm(total=len(examples), desc=f"{n} of each", unit="problem", leave=False,
              disable=None) as bar:     # None: only a terminal has a bar
        for some, batch in in_batches(method, examples):
            solved = method.rollout(batch, n, sample, **method.shown()).solved
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


def voter(run, args):
    """The Voter of a run folder."""
    device = pick_device(args.device)
    task, method, state = load_run(run, device)
    if not can(method, "rollout"):
        raise BadInput(f"{run}: {state['config']['method']} has nothing to sample")
    sampler = Sampler(args.temperature, generator=torch.Generator(device).manual_seed(args.seed))
    examples, votes, steps, seconds = problems(task, args), {}, {}, {}
    for n, sample in ((1, GREEDY), (max(args.k), sampler)):
        ks = [k for k in args.k if (k == 0) == (sample is GREEDY)]
        if ks:
            began = time.perf_counter()
            found, mean = ballots(method, task, examples, n, sample)
            each = (time.perf_counter() - began) / n
            for k in ks:    # of fewer samples the first ones
                votes[k] = [mine[:max(1, k)] for mine in found]
                steps[k], seconds[k] = mean, each * max(1, k)
    return Voter(votes, steps, seconds, task, examples, state["config"], method.shown())


def row_of(voters, k):
    """The row of the table of results in which these voters have k votes each."""
    task, examples, config, knobs = voters[0].task, voters[0].examples, voters[0].config, {}
    if all(one.knobs == voters[0].knobs for one in voters):
        knobs = voters[0].knobs
    votes = [sum(mine, []) for mine in zip(*(one.votes[k] for one in voters))]
    right = [task.check(e, list(winner(mine))) for e, mine in zip(examples, votes)]
    low, high = wilson(sum(right), len(right))
    knobs = {**knobs, "vote": k} | ({"runs": len(voters)} if len(voters) > 1 else {})
    return {"method": config.get("stage", config["method"]), "knobs": knobs, "n": len(right),
            "accuracy": sum(right) / len(right), "low": low, "high": high,
            "steps": sum(one.steps[k] for one in voters) / len(voters),
            "ms": 1000 * sum(one.seconds[k] for one in voters) / len(right),
            "problems": same_all(examples), "right": "".join("1" if r else "0" for r in right)}


def rows_of(voters, ks, names):
    """Rows of each voter alone at every k, then of all of them together."""
    groups = [([one], name) for one, name in zip(voters, names)]
    if len(voters) > 1:
        groups.append((voters, "all"))
    return [{**row_of(some, k), "run": name} for some, name in groups for k in ks]


def records(voters, rows, args, argv, seconds):
    """What --json keeps: a record for each run, with its config, and one for all of them, with that
    of the first."""
    about = {"command": f"python -m lab.vote {shlex.join(argv)}",
             "split": Path(args.data).name if args.data else args.split}
    found, n = [], len(args.k)
    for i in range(0, len(rows), n):
        config = voters[i // n % len(voters)].config | about
        found.append(record(named(rows[i:i + n], config), config, seconds))
    return found


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
        voters = [voter(run, args) for run in args.runs]
        if len({same_all(one.examples) for one in voters}) > 1:
            raise BadInput("these runs answer other problems than each other: they cannot vote")
        rows = rows_of(voters, args.k, names_of(args.runs))
        if args.json:
            write(args.json, json.dumps(records(voters, rows, args, argv, time.time() - began),
                                        indent=1))
        print("\n".join([table(rows), *by_pairs(rows)]))


if __name__ == "__main__":
    main()
