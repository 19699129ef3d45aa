"""A script that trains: its command, its run folder, and what stops it."""
import contextlib
import json
import os
import re
import shlex
import signal
import sys
import zlib
from pathlib import Path

from data.cli import BadInput, must_match, named, one_line
from data.files import NotWritten, digest, locked, read_json, reason, write
from data.machine import MAIN, print0

LONGEST = 80        # characters of a folder's name that flags may take
PARENT = "init", "init_sha256"      # the run that a run starts from, and its checkpoint's hash
MAY_CHANGE = ("out", "init_sha256", "command", "device", "threads", "workers", "max_think",
              "max_answer", "pieces")       # when a run is resumed


class Stopped(KeyboardInterrupt):
    """Ctrl-C, after everything has been saved."""


def command(parse, run, script, argv=None):
    """A script's main: parses argv, runs, and says in one line what stopped it."""
    argv = sys.argv[1:] if argv is None else argv
    again = f"python {script} " + shlex.join(a for a in argv if a != "--resume")
    with one_line(script, quiet=not MAIN):
        config = parse(argv)
        config["command"] = again
        resume, out = config.pop("resume"), Path(config["out"])
        start = Path(config["init"] or "", "ckpt.pt")
        if config["init"] and start.is_file():      # if not, loading it says what is wrong
            config["init_sha256"] = digest(start)
        traces = [out / name for name in ("config.json", "ckpt.pt", ".lock")]
        if resume and not any(map(os.path.lexists, traces)):
            raise BadInput(f"{out}: no run there to resume")
        try:
            run(config, resume)
        except NotWritten as error:
            raise BadInput(f"{error}. What was written before is good: once this is mended, "
                           f"continue with: {again} --resume") from None
        except Stopped:
            print0(f"\nstopped and saved; continue with: {again} --resume")
            sys.exit(130)
        except KeyboardInterrupt:
            print("\nstopped; --resume continues from the last checkpoint, if there is one")
            sys.exit(130)


# ---- the folder of a run -------------------------------------------------------------------------

def as_name(start, words):
    """A name for a folder that begins with `start`: of words like "--pool mean", in characters
    that every system allows. A long one is cut, and ends with its hash."""
    text = "".join("-" + word.removeprefix("--").replace(" ", "=", 1) for word in words)
    text = re.sub(r"[^A-Za-z0-9_.,=+-]", "_", text)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}...{zlib.crc32(' '.join(words).encode(errors='replace')):08x}"
    return start + text


@contextlib.contextmanager
def folder(out):
    """Makes a run folder and keeps it to this process. If no run was begun in it, it goes again."""
    if not MAIN:
        yield
        return
    try:
        new = [path for path in (out, *out.parents) if not path.exists()]
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--out {out}: {reason(error)}") from None
    try:
        with locked(out):
            yield
    except NotWritten:
        raise       # a full disk, say: the folder stays, to go on with --resume
    except BadInput:
        if new and not (out / "config.json").exists():
            (out / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):      # a run beside it may have been begun
                for path in new:
                    path.rmdir()
        raise


def read_config(path):
    """What a config.json holds. None if there is none, or if it is damaged: a run without a
    checkpoint that was killed so early has nothing to lose."""
    try:
        config = read_json(path) if path.exists() else None
    except BadInput:
        return None
    return config if isinstance(config, dict) else None


def keep_config(config):
    """Writes config.json, for people; a checkpoint holds the config, too."""
    write(Path(config["out"]) / "config.json", json.dumps(config, indent=1))


def begun_in(out, load):
    """The checkpoint of the run in a folder and its config; None for each that is not there."""
    state = load(out) if (out / "ckpt.pt").exists() else None
    return state, state["config"] if state else read_config(out / "config.json")


def resumed(parser, argv, script, load, usual):
    """Gives a script's parser --out, a folder that is `usual` unless given, and --resume. Returns
    the config of the run that a command line continues, with --resume --out RUN; else {}. BadInput
    if it is a run of another script. load(RUN): its checkpoint."""
    parser.add_argument("--out", type=named, metavar="DIR", help=f"run folder [{usual}]")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out with the "
                        "flags it was started with, which need not be repeated")
    args = parser.parse_known_args(argv)[0]
    begun = begun_in(Path(args.out), load)[1] if args.resume and args.out else None
    if begun is None:
        return {}
    maker = "rl.py" if "stage" in begun else "train.py"
    if maker != script:
        raise BadInput(f"{args.out}: continue it with python {maker} --resume --out {args.out}")
    return begun


def reopen(config, resume, load):
    """The checkpoint of the run in --out to continue from; None if it has none yet."""
    out = Path(config["out"])
    state, begun = begun_in(out, load)
    if begun is None:
        if (out / "results.json").exists() and not (out / "config.json").exists():
            raise BadInput(f"{out}: has results, but of no run: --out DIR for a new one")
        return None
    if not resume:
        raise BadInput(f"{out} exists: add --resume to continue it, or --out DIR for a new run")
    if not config["init"]:
        config |= {name: begun[name] for name in PARENT if name in begun}
    must_match(config, begun, [k for k in config if k not in MAY_CHANGE],
               f"{out}: repeat the flags it was started with; it has")
    if "command" in begun:      # which has all of its flags
        config["command"] = begun["command"]
    return state


# ---- what stops it -------------------------------------------------------------------------------

class Interrupt:
    """Ctrl-C asks for a stop after the current step, and so does torchrun or a scheduler that ends
    the process; a second time stops at once."""

    def __enter__(self):
        self.asked = False
        self.old = {s: signal.signal(s, self.ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def ask(self, *_):
        self.__exit__()
        self.asked = True

    def __exit__(self, *_):
        for number, handler in self.old.items():
            signal.signal(number, handler)


def diverged(error, out):
    """The BadInput that says that training came to nothing, and what is left of it."""
    kept = f"{out}/ckpt.pt is the last good one. " if (out / "ckpt.pt").exists() else ""
    line = f"{error}; {kept}A new run with a lower --lr may help"
    if not MAIN:       # it may be the only one to know
        print(line, file=sys.stderr)
    return BadInput(line)
