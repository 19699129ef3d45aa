"""Makes the numbers of this project: the runs of lab/plan.py, or what results/ names once more.

The plan says which runs decide a claim. They are done claim by claim, in order of value, and seed
by seed; runs that several claims or runs need are done once. The results of each are copied to
OUT/evidence/RUN/sSEED.json when it ends.

    python -m lab.reproduce --list              # hours for each claim
    python -m lab.reproduce                     # all claims, two runs at a time
    python -m lab.reproduce 4 2 --hours 3       # these; starts nothing that would take longer
    python -m lab.claims again                  # their verdicts: again/CLAIMS.md

Every file results/FOLDER/NAME.json keeps the command that made it; results/runs.txt keeps those of
runs that only others start from. A command waits for the run folders that it names (--init, or what
eval.py and rl.py take).

    python -m lab.reproduce codes replace       # these folders of results/, and what they need
    python -m lab.tables again/codes/*.json     # compare with results/codes/README.md

What is done is skipped, what was stopped is resumed, so this can be stopped and started again at
any time; of one that fails, what depends on it is left out. Runs go to runs/, as their commands
say, results to --out. Seeds are those of the commands; last digits depend on the machine and its
number of threads. Flags and scripts that had another name when a command was recorded are called by
today's. Flags that it left at a default which has changed since are spelled out, as its config has
them.
"""
import itertools
import math
import os
import shlex
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import rl
import runs
from data.cli import BadInput, Flag, Parser, choice, one_line, options
from data.files import read_json, write
from data.rows import git_hash
from lab.jobs import launch, run_all
from lab.plan import CLAIMS, PLAN, RUNS, folder, of, parents, runs_of, seeds

ROOT = Path(__file__).parents[1]
OLD = "before"      # not by default: made by older code than today's commands
RENAMED = {"--accum": "--grad-accum", "--sort": "--bucket", "--clip": "--grad-clip",
           "--punish": "--length-penalty", "--beta": "--kl-penalty", "--drop": "--word-dropout"}
NOT_KEPT = "device", "dtype", "threads", "workers", "split"     # the last of rl.py: as it was found
SCRIPTS = {"--controls": "lab.controls", "--decode": "lab.latents"}   # once flags of eval.py


@dataclass
class Job:
    """One command. `run`: the run folder that it makes, if any; `needs`: those it starts from."""
    argv: list                  # without "python"
    run: str = ""
    needs: list = field(default_factory=list)
    results: list = field(default_factory=list)     # files, relative to --out, that it fills
    minutes: float = 0.0        # it took when it was recorded
    file: str = ""              # where an evaluation goes first; "": straight to its results

    def done(self, out):
        if self.run and not Path(self.run, "results.json").exists():
            return False
        return all((out / name).exists() for name in self.results)

    def command(self, out):
        first, *rest = self.argv
        argv = [sys.executable, first if first == "-m" else str(ROOT / first), *rest]
        if not self.run:        # an evaluation: one file
            return [*argv, "--json", self.file or str(out / self.results[0])]
        return argv + ["--resume"] * Path(self.run, "config.json").exists()


def todays(command):
    """A recorded command line as (script, flags): ["-m", "lab.controls"], ["runs/a", "--n", "4"].

    Where an evaluation was written is left out.
    """
    argv = [RENAMED.get(word, word) for word in shlex.split(command)[1:]]
    script = [argv.pop(0)] if argv[0] != "-m" else [argv.pop(0), argv.pop(0)]
    for flag, module in SCRIPTS.items():
        if script == ["eval.py"] and flag in argv:
            argv.remove(flag)
            script = ["-m", module]
    if script not in (["train.py"], ["rl.py"]) and "--json" in argv:
        at = argv.index("--json")
        argv = argv[:at] + argv[at + 2:]
    return script, argv


def spelled_out(script, argv, config):
    """The flags of a recorded training, and after them those that it left at a default which was
    another one then. What its config lacks is younger: as declared, whatever the task makes of it.

    BadInput if such a flag may not have its value any more.
    """
    then = {today(name): value for name, value in config.items()}
    if script == ["rl.py"]:
        flags, now = rl.FLAGS, {name: flag.default for name, flag in rl.FLAGS.items()}
    else:
        now = parse(argv)
        flags = (runs.FLAGS | runs.TASKS[now["task"]].FLAGS | runs.METHODS[now["method"]].FLAGS
                 | runs.BACKBONES[now["backbone"]].FLAGS)
    left, given = {}, {word.replace("--no-", "--") for word in argv if word.startswith("--")}
    for name, flag in flags.items():
        option = "--" + name.replace("_", "-")
        if name not in NOT_KEPT and option not in given and now[name] is not None:
            left[name] = replace(flag, default=now[name])
            then.setdefault(name, flag.default)
            if then[name] is not None:
                flag.check(name, then[name])
    return argv + [part for word in options(left, then) for part in word.split(" ", 1)]


def today(name):
    """What a setting of an old config is called today: "accum" -> "grad_accum"."""
    option = "--" + name.replace("_", "-")
    return RENAMED.get(option, option)[2:].replace("-", "_")


def parse(argv):
    """A training's flags -> its config, as runs.parse, but without what --extra holds: to plan a
    run, a file that somebody else had need not be here."""
    if "--extra" not in argv:
        return runs.parse(argv)
    at = argv.index("--extra")
    return runs.parse(argv[:at] + argv[at + 2:]) | {"extra": argv[at + 1]}


def job(command, minutes=0.0, config=None):
    """The Job of a recorded command line. config: of the run that a training then made, if it was
    recorded, too."""
    script, argv = todays(command)
    if config and script in (["train.py"], ["rl.py"]):
        try:
            argv = spelled_out(script, argv, config)
        except BadInput as error:
            raise BadInput(f"{command}: cannot be repeated, as a default has changed ({error})"
                           ) from None
    out = (config or {}).get("out")
    option = {a: b for a, b in zip(argv, argv[1:]) if a.startswith("--")}
    started = list(itertools.takewhile(lambda word: not word.startswith("-"), argv))
    if script == ["train.py"]:
        needs = [option["--init"]] if "--init" in option else []
        if out and "--out" not in option:
            argv += ["--out", out] * (out != parse(argv)["out"])    # another name by default
        return Job([*script, *argv], parse(argv)["out"], needs, minutes=minutes)
    if script == ["rl.py"]:
        return Job([*script, *argv], option.get("--out", f"{started[0]}-rl"), started,
                   minutes=minutes)
    return Job([*script, *argv], needs=started, minutes=minutes)


def plan(folders):
    """The jobs that fill these folders of results/ (all, if none are given), those needed first.

    BadInput if a run that is needed has no command, or a folder is unknown.
    """
    known = sorted({path.parent.name for path in (ROOT / "results").glob("*/*.json")})
    records = {path: as_list(read_json(path)) for path in (ROOT / "results").glob("*/*.json")}
    configs = {record["config"].get("out"): record["config"]
               for some in records.values() for record in some}
    made, jobs = {}, []
    for line in (ROOT / "results/runs.txt").read_text(encoding="utf-8").splitlines():
        command, _, minutes = line.partition("  # ")
        found = job(command, float(minutes.removesuffix(" minutes")))
        found = job(command, found.minutes, configs.get(found.run))
        made[found.run] = found
    folders = [choice(folder, known, "folder of results/") for folder in folders]
    folders = folders or [name for name in known if name != OLD]
    for place in [*folders, *(name for name in known if name not in (*folders, OLD))]:
        for path in sorted((ROOT / "results" / place).glob("*.json")):
            record = records[path][0]
            found = job(record["config"]["command"], record["minutes"], record["config"])
            again = made.setdefault(found.run, found) if found.run else found
            if again.argv != found.argv:
                raise BadInput(f"{path}: another command makes {found.run}, too")
            found = again
            found.minutes = max(found.minutes, record["minutes"])
            if place in folders:       # others may be what it starts from
                found.results.append(f"{place}/{path.name}")
                jobs.append(found)
    return ordered(jobs, made)


def as_list(records):
    """What a file of results holds: one record, or several."""
    return records if isinstance(records, list) else [records]


def ordered(jobs, made):
    """Jobs and what they need, each once, what is needed first."""
    out = []

    def add(one):
        for run in one.needs:
            whole = "/".join(run.split("/")[:2])        # runs/X/cot is a stage of runs/X
            parent = made.get(run) or made.get(whole)
            if parent is None:
                raise BadInput(f"{run}: no command in results/ makes it")
            add(parent)
        if not any(one is other for other in out):
            out.append(one)
    for one in jobs:
        add(one)
    return out


# ---- the runs of the plan ------------------------------------------------------------------------

def planned(numbers, out):
    """{number of a claim: the Jobs still to be done for it}, each once, what is needed first."""
    wanted = [(number, name, seed) for number in numbers for seed in all_seeds(number)
              for name in runs_of(number) if seed in seeds(name)]
    left = set()
    for _, name, seed in wanted:
        if not (out / result(name, seed)).exists():
            left |= unfinished(name, seed) | {(name, seed)}
    jobs, minutes = {number: [] for number in numbers}, {name: took(name)[0] for name in RUNS}
    for number, name, seed in wanted:
        if (name, seed) in left:
            left.remove((name, seed))
            jobs[number].append(evidence(name, seed, minutes[name]))
    return jobs


def all_seeds(number):
    """The seeds of all runs of a claim."""
    return sorted({seed for name in runs_of(number) for seed in seeds(name)})


def result(name, seed):
    return f"evidence/{name}/s{seed}.json"


def unfinished(name, seed):
    """The runs that a run starts from, whose folders are not there."""
    found = set()
    for parent in parents(name):
        if not Path(folder(parent, seed), "results.json").exists():
            found |= unfinished(parent, seed) | {(parent, seed)}
    return found


def evidence(name, seed, minutes):
    """The Job of a run of the plan."""
    argv, own = shlex.split(of(name, seed)), folder(name, seed)
    trains = argv[0] in ("train.py", "rl.py")
    return Job(argv, own if trains else "", [folder(parent, seed) for parent in parents(name)],
               [result(name, seed)], minutes, "" if trains else f"{own}.json")


def took(name):
    """Minutes of a run on one core, and whether they were measured: the mean of what results/ has,
    else what the plan guesses."""
    found = []
    for path in (ROOT / "results/evidence" / name).glob("*.json"):
        records = read_json(path)
        found.append(sum(record["minutes"] for record in as_list(records)))
    return (sum(found) / len(found), True) if found else (RUNS[name].minutes, False)


def listing(jobs):
    """Hours of one core for each claim, as lines; runs of several claims count for the first."""
    lines = [f"{'claim':>5}{'hours':>9}{'runs':>6}"]
    for number, some in jobs.items():
        guess = "~" if not all(took(name)[1] for name in runs_of(number)) else ""
        hours = f"{guess}{sum(one.minutes for one in some) / 60:.1f}"
        needs = f"; needs {PLAN[number].needs}" if PLAN[number].needs else ""
        lines.append(f"{number:5}{hours:>9}{len(some):6}  {CLAIMS[number].title}{needs}")
    return "\n".join([*lines, "~: with guesses, since some of its runs have not been measured yet"])


# ---- running -------------------------------------------------------------------------------------

def ready(one):
    return all(Path(run, "results.json").exists() for run in one.needs)


def work(jobs, out, at_once, hours=math.inf):
    """Runs jobs until none is left or can start, none that would end after so many hours. Returns
    those that failed, and those that could not start for other reasons than time."""
    end, failed = time.time() + 3600 * hours, []

    def may_start(one):
        return ready(one) and time.time() + 60 * one.minutes <= end

    def ended(one, code, left):
        if code:
            failed.append(one)
            print(f"FAILED ({code}): {shlex.join(one.argv)}", flush=True)
            return
        collect(one, out)
        rest = sum(j.minutes for j in left) / at_once
        print(f"done: {shlex.join(one.argv)}; {len(left)} to start, about {rest:.0f} minutes",
              flush=True)
    left = [one for one in jobs if not one.done(out)]
    undone = run_all(left, at_once, lambda one: start(one, out), may_start, ended)
    return undone if hours == math.inf else failed


def start(one, out):
    for name in one.results:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
    log = out / "logs" / (shlex.join(one.argv).replace("/", "_").replace(" ", "_")[:200] + ".txt")
    return launch(one.command(out), log, ROOT)


def collect(one, out):
    """Copies the results of a run to where they belong, without the paths of this machine. What is
    there stays: a run may be repeated only for its folder."""
    source = Path(one.run, "results.json") if one.run else Path(one.file)
    for name in one.results if one.run or one.file else ():
        if not (out / name).exists():
            text = source.read_text(encoding="utf-8")
            write(out / name, text.replace(f"{Path.cwd().as_posix()}/", ""))


FLAGS = {
    "out": Flag("again", "where results go"),
    "jobs": Flag(2, "commands at a time, of one thread each", least=1),
    "hours": Flag(0.0, "start nothing that would end later; 0: no end"),
}


def chosen(what, out):
    """The jobs of claims or folders, and what --list says of them."""
    claims = {str(number): number for number in PLAN}
    numbers = [choice(word, claims, "claim") for word in what if word.isdecimal()]
    if what and not numbers:
        jobs = [one for one in plan(what) if not one.done(out)]
        return jobs, "\n".join(f"{one.minutes:6.1f}  python {shlex.join(one.argv)}" for one in jobs)
    if len(numbers) < len(what):
        raise BadInput("either numbers of claims, or folders of results/")
    jobs = planned(numbers or list(PLAN), out)
    text = listing(jobs)
    jobs = [one for some in jobs.values() for one in some]
    if numbers:
        text += "".join(f"\n{one.minutes:6.1f}  python {shlex.join(one.argv)}" for one in jobs)
    return jobs, text


def main(argv=None):
    parser = Parser("lab.reproduce", __doc__)
    parser.add_argument("what", nargs="*", metavar="CLAIM|FOLDER",
                        help="numbers of claims, or folders of results/ [all claims]")
    parser.add_argument("--list", action="store_true", help="only say what there is to do")
    parser.add_flags(FLAGS)
    with one_line("lab.reproduce"):
        args = parser.parse(argv)
        out, at_once, hours = Path(args["out"]), args["jobs"], args["hours"] or math.inf
        left, text = chosen(args["what"], out)
        if args["list"]:
            print(text)
        print(f"{len(left)} commands to run, at least "
              f"{sum(one.minutes for one in left) / at_once / 60:.1f} hours", flush=True)
        if git_hash().endswith("+"):
            print("files differ from the last commit: no claim counts results that are made now")
        if args["list"]:
            return
        os.environ["OMP_NUM_THREADS"] = "1"     # for what has no --threads
        out.mkdir(parents=True, exist_ok=True)
        try:
            failed = work(left, out, at_once, hours)
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on from there")
            sys.exit(130)
    if failed:
        sys.exit(f"{len(failed)} of {len(left)} commands failed or could not start; logs are in "
                 f"{out / 'logs'}")
    rest = sum(not one.done(out) for one in left)
    if rest:
        print(f"{rest} commands are left: --hours {args['hours']:g} was too short for them")


if __name__ == "__main__":
    main()
