"""Trains a grid of runs and compares them: an ablation in one command.

    python sweep.py --method colar --pool sqrt mean --seed 0 1 2 --jobs 2
    python sweep.py --method cot nocot pause --task permutation --seed 0 1
    python sweep.py --c-train 1,3,5 1,2,3,4,5       # blanks part values; commas are inside of one
    python sweep.py --align --no-align --size mini  # a switch, on and off

Any flag of train.py takes one value or several; a run is trained for every combination. A first
stage that several runs start from is trained once. The same command goes on where it was stopped.
In the end there are a table of all runs, a figure, and how each variant differs from the first one,
paired by seeds (a single seed: by problems): see lab/variants.py.
"""
import itertools
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from tqdm import tqdm

import runs
import train
from data.cli import BadInput, Flag, Parser, named, one_line
from data.rows import read_results
from data.script import as_name, folder, reopen
from lab.jobs import launch, run_all
from lab.tables import STUDENT
from lab.variants import report

ROOT = Path(__file__).parent
FLAGS = {"jobs": Flag(1, "runs at a time, which share the CPU's cores", least=1, most=2**10)}


@dataclass
class Run:
    """A run of the grid, or the first stage of some."""
    words: list         # its command line, without the folder
    config: dict
    folder: Path
    varied: list        # its "--flag value" of those that the sweep varies, but for the seed
    first: "Run" = None

    def done(self):
        return (self.folder / "results.json").exists()

    def forget_damaged(self):
        """Removes results that cannot be read: they are made anew from the checkpoint."""
        try:
            if self.done():
                read_results(self.folder / "results.json")
        except BadInput as error:
            print(f"{error}; the test is run again")
            (self.folder / "results.json").unlink()

    def log(self):
        return self.folder.parent / "logs" / f"{self.folder.name}.txt"


# ---- the grid ------------------------------------------------------------------------------------

def axes_of(words):
    """["--pool", "sqrt", "mean", "--no-align"] -> {"pool": [["--pool", "sqrt"], ["--pool",
    "mean"]], "align": [["--no-align"]]}: for every flag the ways to give it."""
    axes = {}
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            axis = axes.setdefault(flag.removeprefix("--").removeprefix("no-"), [])
            axis.append([flag, value] if equals else [flag])
        elif not axes:
            raise BadInput(f"{word}: a flag comes first, as in --seed 0 1 2")
        elif len(axis[-1]) == 1:        # its first value
            axis[-1].append(word)
        else:
            axis.append([axis[-1][0], word])
    if "resume" in axes:
        raise BadInput("--resume: it is not needed, the same command goes on where it was stopped")
    most = {"seed": len(STUDENT) + 1}   # intervals for at most so many
    for name in ("out", "jobs", "init", "seed"):
        if len(axes.get(name, ())) > most.get(name, 1):
            raise BadInput(f"--{name}: takes at most {most.get(name, 1)} here")
    return axes


def grid_of(axes, out):
    """The runs of the grid, and what they start from: ([Run], [Run]). BadInput for a flag that
    train.py would refuse, or an unfinished run in `out` with other flags."""
    varied = [name for name, axis in axes.items() if len(axis) > 1 and name != "seed"]
    made, idle = {}, {}     # {folder: Run}, {what is said of flags without effect: None}

    def make(ways, tell=idle.setdefault):
        words = [word for way in ways.values() for word in way]
        config = runs.parse(words, prog="sweep.py", tell=tell)
        del config["resume"]
        where = out / Path(config["out"]).name
        if where in made:
            return made[where]
        config["out"] = str(where)
        reopen(dict(config), True, runs.load)       # was it begun with these flags?
        train.check_test(runs.build(config | {"max_think": 1, "max_answer": 1})[0], config)
        if config["init"]:
            train.load_parent(config, "cpu")        # does it fit?
        names = [name.replace("-", "_") for name in varied if name in ways]
        made[where] = Run(words, config, where, runs.differing(config, names, always=True))
        parent = runs.METHODS[config["method"]].PARENT
        if parent and not config["init"]:
            made[where].first = make(first_stage(ways, config, parent), tell=lambda line: None)
        return made[where]
    grid = [make(dict(zip(axes, ways))) for ways in itertools.product(*axes.values())]
    print("".join(f"{line}\n" for line in idle), end="")
    for run in grid:
        if grid.count(run) > 1:
            raise BadInput(f"{run.folder.name}: two runs differ in no flag that their names have")
    return grid, [run for run in made.values() if run not in grid]


def first_stage(ways, config, parent):
    """The flags of the stage that a run starts from: its own, but for those of its method. A
    flag that is not given is as in the run, even if its default is another one for the parent."""
    known = runs.KINDS | runs.flags_of(config | {"method": parent})
    others = [name for name, flag in runs.flags_of(config).items()
              if name in known and flag.default != known[name].default]
    usual = {option: [f"--{option}", str(config[name])]
             for name in others for option in [name.replace("_", "-")]}
    kept = {name: way for name, way in ways.items()
            if name.replace("-", "_") in known and name != "first-steps"}
    return {**usual, **kept, "method": ["--method", parent],
            "steps": ["--steps", str(config["first_steps"])]}


# ---- the work ------------------------------------------------------------------------------------

def start(run):
    """Starts, or resumes, the training of a Run. Returns its process."""
    argv = [sys.executable, str(ROOT / "train.py"), *run.words, "--out", str(run.folder)]
    argv += ["--init", str(run.first.folder)] if run.first else []
    argv += ["--resume"] * (run.folder / "config.json").exists()
    return launch(argv, run.log(), ROOT)


def work(left, at_once):
    """Trains runs, `at_once` at a time. Returns those that failed, or whose first stage did."""
    began, over = time.time(), []
    bar = tqdm(total=len(left), unit="run", disable=None)      # None: only a terminal has a bar

    def ended(run, code, _):
        over.append(run)
        bar.update()
        rest = (time.time() - began) / len(over) * (len(left) - len(over))
        said = run.log().read_text(encoding="utf-8", errors="replace").strip().split("\n")[-1]
        how = f"FAILED ({code}): {run.folder.name}: {said}" if code else f"done: {run.folder.name}"
        bar.write(f"{how}; {len(over)} of {len(left)}, about {tqdm.format_interval(rest)} left")
    with bar:
        return run_all(left, at_once, start, lambda run: not run.first or run.first.done(), ended)


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    parser = Parser("sweep.py", __doc__)
    parser.add_argument("--out", type=named, metavar="DIR", help="its folder [runs/sweep-FLAGS]")
    parser.add_flags(FLAGS)
    with one_line("sweep.py"):
        axes = axes_of(argv)
        ours = [way for name in ("out", "jobs", "help") for way in axes.pop(name, [])]
        args = SimpleNamespace(**parser.parse([word for way in ours for word in way]))
        names = [f"{name} {','.join(way[-1].strip('-') for way in axis)}"
                 for name, axis in axes.items()]
        out = Path(args.out or f"runs/{as_name('sweep', names)}")
        if (out / "ckpt.pt").exists() or (out / "config.json").exists():
            raise BadInput(f"--out {out}: it is the folder of a run")
        threads = max(1, torch.get_num_threads() // args.jobs)
        axes.setdefault("threads", [["--threads", str(threads)]])
        grid, firsts = grid_of(axes, out)
        for run in firsts + grid:
            run.forget_damaged()
        left = [run for run in firsts + grid if not run.done()]
        print(f"{len(grid)} runs and {len(firsts)} first stages; {len(left)} are to be trained. "
              "Ctrl-C saves and stops all, the same command goes on", flush=True)
        with folder(out):
            failed = work(left, args.jobs)
            report(grid, firsts, failed, out, f"python sweep.py {shlex.join(argv)}")
        if failed:
            raise BadInput(f"{len(failed)} runs have failed or could not start; what they said is "
                           f"in {out / 'logs'}")


if __name__ == "__main__":
    main()
