"""Makes the numbers of this project again, by repeating the commands that results/ names.

Every file results/FOLDER/NAME.json keeps the command that made it; results/runs.txt keeps those of
runs that only others start from. A command waits for the run folders that it names (--init, or what
eval.py and rl.py take). What is done is skipped, what was stopped is resumed, so this can be
stopped and started again at any time; of one that fails, what depends on it is left out.

    python -m lab.reproduce --list              # what there is to do, and about how long it takes
    python -m lab.reproduce                     # all of it, two at a time
    python -m lab.reproduce codes replace       # these folders of results/, and what they need
    python -m lab.tables again/codes/*.json     # compare with results/README.md
    python -m lab.claims again                  # and with results/CLAIMS.md

Runs go to runs/, as their commands say, results to --out. Seeds are those of the commands; last
digits depend on the machine and its number of threads. Flags and scripts that had another name when
a command was recorded are called by today's.
"""
import itertools
import json
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from data.cli import BadInput, Flag, Parser, choice, one_line
from data.files import write
from lab.jobs import launch, run_all
from runs import parse

ROOT = Path(__file__).parents[1]
OLD = "rl-first", "before"       # not by default: made by older code than today's commands
RENAMED = {"--accum": "--grad-accum", "--sort": "--bucket", "--clip": "--grad-clip",
           "--punish": "--length-penalty", "--beta": "--kl-penalty", "--drop": "--word-dropout"}
SCRIPTS = {"--controls": "lab.controls", "--decode": "lab.latents"}   # once flags of eval.py


@dataclass
class Job:
    """One command. `run`: the run folder that it makes, if any; `needs`: those it starts from."""
    argv: list                  # without "python"
    run: str = ""
    needs: list = field(default_factory=list)
    results: list = field(default_factory=list)     # files, relative to --out, that it fills
    minutes: float = 0.0        # it took when it was recorded

    def done(self, out):
        if self.run and not Path(self.run, "results.json").exists():
            return False
        return all((out / name).exists() for name in self.results)

    def command(self, out):
        first, *rest = self.argv
        argv = [sys.executable, first if first == "-m" else str(ROOT / first), *rest]
        if not self.run:        # an evaluation: one file
            return [*argv, "--json", str(out / self.results[0])]
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


def job(command, minutes=0.0, out=None):
    """The Job of a recorded command line. out: the run folder that a training then had, by default
    today's."""
    script, argv = todays(command)
    option = {a: b for a, b in zip(argv, argv[1:]) if a.startswith("--")}
    runs = list(itertools.takewhile(lambda word: not word.startswith("-"), argv))
    if script == ["train.py"]:
        needs = [option["--init"]] if "--init" in option else []
        if out and "--out" not in option:
            argv += ["--out", out] * (out != parse(argv)["out"])    # another name by default
        return Job([*script, *argv], parse(argv)["out"], needs, minutes=minutes)
    if script == ["rl.py"]:
        return Job([*script, *argv], option.get("--out", f"{runs[0]}-rl"), runs, minutes=minutes)
    return Job([*script, *argv], needs=runs, minutes=minutes)


def plan(folders):
    """The jobs that fill these folders of results/ (all, if none are given), those needed first.

    BadInput if a run that is needed has no command, or a folder is unknown.
    """
    known = sorted(p.name for p in (ROOT / "results").iterdir() if p.is_dir())
    made, jobs = {}, []
    for line in (ROOT / "results/runs.txt").read_text(encoding="utf-8").splitlines():
        command, _, minutes = line.partition("  # ")
        found = job(command, float(minutes.removesuffix(" minutes")))
        made[found.run] = found
    folders = [choice(folder, known, "folder of results/") for folder in folders]
    folders = folders or [name for name in known if name not in OLD]
    for folder in [*folders, *(name for name in known if name not in (*folders, *OLD))]:
        for path in sorted((ROOT / "results" / folder).glob("*.json")):
            records = json.loads(path.read_text(encoding="utf-8"))
            record = records[0] if isinstance(records, list) else records
            found = job(record["config"]["command"], record["minutes"],
                        record["config"].get("out"))
            again = made.setdefault(found.run, found) if found.run else found
            if again.argv != found.argv:
                raise BadInput(f"{path}: another command makes {found.run}, too")
            found = again
            found.minutes = max(found.minutes, record["minutes"])
            if folder in folders:       # others may be what it starts from
                found.results.append(f"{folder}/{path.name}")
                jobs.append(found)
    return ordered(jobs, made)


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


def ready(one):
    return all(Path(run, "results.json").exists() for run in one.needs)


def work(jobs, out, at_once):
    """Runs jobs until none is left or can start. Returns those that failed."""
    def ended(one, code, left):
        if code:
            print(f"FAILED ({code}): {shlex.join(one.argv)}", flush=True)
            return
        collect(one, out)
        rest = sum(j.minutes for j in left) / at_once
        print(f"done: {shlex.join(one.argv)}; {len(left)} to start, about {rest:.0f} minutes",
              flush=True)
    left = [one for one in jobs if not one.done(out)]
    return run_all(left, at_once, lambda one: start(one, out), ready, ended)


def start(one, out):
    for name in one.results:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
    log = out / "logs" / (shlex.join(one.argv).replace("/", "_").replace(" ", "_")[:200] + ".txt")
    return launch(one.command(out), log, ROOT)


def collect(one, out):
    """Copies the results of a run to where they belong."""
    for name in one.results if one.run else ():
        write(out / name, Path(one.run, "results.json").read_bytes())


FLAGS = {
    "out": Flag("again", "where results go"),
    "jobs": Flag(2, "commands at a time", least=1),
}


def main(argv=None):
    parser = Parser("lab.reproduce", __doc__)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="of results/ [all]")
    parser.add_argument("--list", action="store_true", help="only say what there is to do")
    parser.add_flags(FLAGS)
    with one_line("lab.reproduce"):
        args = parser.parse(argv)
        out, at_once, jobs = Path(args["out"]), args["jobs"], plan(args["folders"])
        left = [one for one in jobs if not one.done(out)]
        if args["list"]:
            print("\n".join(f"{one.minutes:6.1f}  python {shlex.join(one.argv)}" for one in left))
        print(f"{len(left)} of {len(jobs)} commands to run, at least "
              f"{sum(one.minutes for one in left) / at_once:.0f} minutes", flush=True)
        if args["list"]:
            return
        out.mkdir(parents=True, exist_ok=True)
        try:
            failed = work(jobs, out, at_once)
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on from there")
            sys.exit(130)
    if failed:
        sys.exit(f"{len(failed)} of {len(left)} commands failed or could not start; logs are in "
                 f"{out / 'logs'}")


if __name__ == "__main__":
    main()
