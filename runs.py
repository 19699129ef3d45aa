"""What a run is: its method, task and backbone, its flags, its device, its folder on disk.

A run folder holds config.json, log.jsonl, ckpt.pt, results.json and curves.png. `parse` turns a
command line into a config, a flat dict with every setting of the run; `build` turns a config into
its task and untrained method; `load_run` opens a trained one.
"""
import argparse
import json
import math
import os
import shlex
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist

import baselines
import colar
import model
import recurrent
import vqvae
from data.arithmetic import Arithmetic
from data.cli import BadInput, Parser, choice
from data.common import FileTask, Vocab, digest
from data.gsm8k import GSM8K
from data.maze import Maze
from data.permutation import Permutation
from data.prontoqa import ProntoQA
from data.prosqa import ProsQA

METHODS = {"cot": baselines.CoT, "nocot": baselines.NoCoT, "pause": baselines.Pause,
           "icot": baselines.ICoT, "coconut": baselines.Coconut, "codi": baselines.CODI,
           "colar": colar.CoLaR, "vqvae": vqvae.VQVAE, "assorted": vqvae.Assorted}
TASKS = {"arithmetic": Arithmetic, "maze": Maze, "prosqa": ProsQA, "prontoqa": ProntoQA,
         "permutation": Permutation, "gsm8k": GSM8K}
BACKBONES = {"gpt": model.GPT, "recurrent": recurrent.RecurrentGPT}
SIZES = {   # one dial; any flag given by hand wins
    # seconds: is everything wired up?
    "nano": dict(layers=1, width=32, heads=2, batch=8, steps=30, first_steps=30,
                 lr=3e-3, val_n=8, test_n=32),
    # minutes on two CPU cores
    "tiny": dict(layers=3, width=64, heads=2, batch=32, steps=4000, first_steps=2000,
                 lr=3e-3, val_n=100, test_n=500),
    # one GPU
    "small": dict(layers=6, width=384, heads=6, batch=128, steps=20000, first_steps=10000,
                  lr=1e-3, val_n=200, test_n=1000),
}
FLAGS = {   # name: (default, help). None: --size decides; a tuple: the choices, the default first
    "steps": (None, "optimizer steps"),
    "first_steps": (None, "optimizer steps of the stage that the method starts from, if any"),
    "layers": (None, "blocks of the backbone"),
    "width": (None, "width C of the backbone"),
    "heads": (None, "attention heads"),
    "conv": (4, "width of the causal convolutions before attention and MLP; 0 = none"),
    "qk_norm": (False, "RMSNorm on queries and keys"),
    "batch": (None, "problems per batch"),
    "sort": (64, "batches drawn at once and sorted by length, against padding; 1: every batch has "
             "problems of all lengths"),
    "accum": (1, "batches per optimizer step"),
    "optimizer": (("adamw", "muon"), "muon: for the hidden matrices, AdamW for the rest"),
    "lr": (None, "peak learning rate"),
    "weight_decay": (0.01, "on matrices other than embeddings"),
    "warmup": (100, "steps of linear warm-up"),
    "decay": (0.5, "last share of the steps, in which the learning rate falls linearly to 0"),
    "clip": (1.0, "largest gradient norm"),
    "val_n": (None, "validation problems, solved about five times in a run"),
    "test_n": (None, "test problems for the final table"),
    "seed": (0, "of weights and data"),
    "device": (("auto", "cuda", "mps", "cpu"), "auto: the first of these that is there"),
    "dtype": (("auto", "float32", "bfloat16", "float16"),
              "of matrix products; weights are float32"),
    "compile": (False, "torch.compile the backbone for training, where it needs no cache"),
    "threads": (0, "CPU threads; 0 = all cores"),
    "workers": (0, "processes that draw the problems ahead: for a GPU, which needs many"),
    "data": ("", "train on this JSON file of {question, steps, answer}, as they are"),
}
FILES = ("data", "extra")   # flags that name files
MAY_BE_0 = ("conv", "threads", "seed", "weight_decay", "punish", "beta", "distill", "variants",
            "mix", "drop", "workers")
FORMAT = "nanolatent 1"     # written into every checkpoint
RANK, WORLD = (int(os.environ.get(name, n)) for name, n in (("RANK", 0), ("WORLD_SIZE", 1)))
MAIN = RANK == 0    # of the processes that torchrun started, the one that writes
WIDE = 256          # width from which bfloat16 can pay on a CPU: see bench.py --dtype --width


# ---- command line --------------------------------------------------------------------------------

def add_flags(parser, flags):
    """Adds {name: (default, help)} to a parser; the kind of a flag is that of its default."""
    for name, (default, text) in flags.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(default, bool):
            kind = {"action": argparse.BooleanOptionalAction}
        elif isinstance(default, tuple):
            kind, default = {"choices": default}, default[0]
        else:
            kind = {"type": type(SIZES["tiny"][name] if default is None else default)}
        shown = "by --size" if default is None else default
        parser.add_argument(flag, default=default, help=f"{text} [{shown}]", **kind)


def parse(argv, description=None):
    """argv -> config: a flat dict with every setting of the run."""
    parser = Parser(prog="train.py", description=description, allow_abbrev=False, add_help=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, known in (("method", "colar", METHODS), ("task", "arithmetic", TASKS),
                                 ("backbone", "gpt", BACKBONES), ("size", "tiny", SIZES)):
        parser.add_argument("--" + name, default=default, help=f"{', '.join(known)} [{default}]")
    first, _ = parser.parse_known_args(argv)
    method = choice(first.method, METHODS, "method")
    task = choice(first.task, TASKS, "task")
    backbone = choice(first.backbone, BACKBONES, "backbone")
    choice(first.size, SIZES, "size")
    parser.add_argument("--help", action="help", help="show this and exit")
    parser.add_argument("--out", metavar="DIR", help="run folder [runs/METHOD-TASK-SIZE-sSEED]")
    parser.add_argument("--init", metavar="RUN", help="run folder of a trained first stage")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    add_flags(parser, FLAGS | task.ARGS | backbone.ARGS | method.ARGS)
    config = vars(parser.parse_args(argv))
    for name, value in SIZES[config["size"]].items():
        config[name] = value if config[name] is None else config[name]
    default = f"runs/{first.method}-{first.task}-{first.size}-s{config['seed']}"
    config["out"] = config["out"] or default
    if config["data"] and config.get("extra"):
        raise BadInput("--extra: adds to the problems of a task, which --data replaces")
    config = with_paths(config) | digests(config)
    check_numbers(config)
    if config["width"] % (2 * config["heads"]):
        raise BadInput(f"--width {config['width']} is no multiple of 2 x --heads {config['heads']}")
    return config


def with_paths(config):
    """A config whose files are named from the root, so that it can be opened from anywhere."""
    return config | {flag: ",".join(map(os.path.abspath, files(config, flag)))
                     for flag in FILES if flag in config}


def files(config, flag):
    """The paths that a flag names: --extra takes several, with commas between them."""
    paths = config.get(flag, "")
    return [path for path in (paths.split(",") if flag == "extra" else [paths]) if path]


def digests(config):
    """{"data_sha256": ...}: what the files of a config hold, to know them again.

    BadInput for one that cannot be read.
    """
    found = {}
    for flag in FILES:
        for path in files(config, flag):
            try:
                found.setdefault(f"{flag}_sha256", []).append(digest(path))
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                raise BadInput(f"--{flag} {path}: {why}") from None
    return {name: ",".join(values) for name, values in found.items()}


def check_numbers(config):
    """BadInput for a number that no run can have."""
    for name, value in config.items():
        flag = f"--{name.replace('_', '-')} {value}"
        number = type(value) in (int, float)
        if number and name in MAY_BE_0 and not 0 <= value < 2**31:
            raise BadInput(f"{flag}: must be at least 0")
        if number and name not in MAY_BE_0 and not 0 < value < math.inf:
            raise BadInput(f"{flag}: must be above 0")
    if config["decay"] > 1:
        raise BadInput(f"--decay {config['decay']}: a share of the steps, at most 1")


# ---- several processes ---------------------------------------------------------------------------

def join(config):
    """Meets the other processes that torchrun has started, if there are any."""
    if config["accum"] % WORLD:
        raise BadInput(f"--accum {config['accum']}: {WORLD} processes share the batches of a step; "
                       f"make it a multiple of {WORLD}, with a smaller --batch")
    if WORLD > 1 and not dist.is_initialized():
        device, here = pick_device(config["device"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if here > {"cuda": torch.cuda.device_count(), "mps": 1, "cpu": here}[device]:
            raise BadInput(f"{here} processes: each needs a device of its own; or --device cpu")
        if device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=timedelta(hours=3))


def meet():
    """Waits until all processes are here."""
    if WORLD > 1:
        dist.barrier()


def anywhere(flag, device):
    """Is it so in any process? They have to stop together."""
    if WORLD == 1:
        return flag
    flag = torch.tensor(float(flag), device=device)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


def say(text):
    if MAIN:
        print(text, flush=True)


# ---- device, model, checkpoints ------------------------------------------------------------------

def setup(config, state=None):
    """Device and dtype for this machine, or the dtype of `state`; prints them with the reason."""
    if config["threads"]:
        torch.set_num_threads(config["threads"])
    device, dtype, why = pick_device(config["device"]), config["dtype"], "as asked"
    if state:
        dtype, why = state["dtype"], "as before"
    elif dtype == "auto":
        dtype, why = pick_dtype(device, config["width"])
    if device == "mps" and dtype != "float32":      # half precision may see what comes next
        raise BadInput(f"--dtype {dtype}: on mps only float32 is right")
    several = f", {WORLD} processes" if WORLD > 1 else ""
    say(f"device {device}, {dtype} ({why}), {torch.get_num_threads()} threads{several}")
    return torch.device(device), getattr(torch, dtype)


def pick_device(name):
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(),
            "cpu": True}
    if name == "auto":
        return next(device for device, there in here.items() if there)
    if not here[name]:
        raise BadInput(f"--device {name}: not available here")
    return name


def pick_dtype(device, width):
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "this GPU has it"
        return "float16", "an older GPU: with a gradient scaler"
    if device == "cpu" and width >= WIDE and bf16_speedup() > 1.5:
        return "bfloat16", "this CPU has it, and the model is wide enough to gain"
    return "float32", "narrow model" if width < WIDE else "no fast bfloat16 here"


def bf16_speedup(n=512):
    """How much faster a matrix product is in bfloat16, measured: some CPUs only emulate it."""
    def fastest(dtype):
        a, times = torch.randn(n, n).to(dtype), []
        for _ in range(5):
            start = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - start)
        return min(times)
    return fastest(torch.float32) / fastest(torch.bfloat16)


def make_task(config):
    cls = TASKS[config["task"]]
    names = [*cls.ARGS, *getattr(cls, "LEARNS", ())]
    task = cls(**{name: config[name] for name in names if name in config})  # older runs have fewer
    if not config["data"]:
        return task
    return FileTask(task, config["data"], config.get("data_sha256", ""))


def complete(config):
    """A config with what older runs lack: newer flags, and paths from the root."""
    return with_paths(defaults(config) | config)


def defaults(config):
    """{flag: default} of the task, method and backbone of a config."""
    flags = (FLAGS | TASKS[config["task"]].ARGS | METHODS[config["method"]].ARGS
             | BACKBONES[config.get("backbone", "gpt")].ARGS | {"backbone": ("gpt", "")})
    return {name: default[0] if isinstance(default, tuple) else default
            for name, (default, _) in flags.items()}


def build(config):
    """Task and untrained method of a config."""
    task, cls = make_task(config), METHODS[config["method"]]
    config = complete(config)
    args = SimpleNamespace(**config)
    vocab = Vocab([*task.words, *cls.words(args)])
    cfg = model.Config(len(vocab), config["layers"], config["width"], config["heads"],
                       conv=config["conv"], qk_norm=config["qk_norm"])
    backbone = BACKBONES[config["backbone"]]
    backbone = backbone(cfg, **{name: config[name] for name in backbone.ARGS})
    return task, cls(backbone, vocab, args)


def limits(task, n=256):
    """What a run keeps of its task: how many tokens a chain and an answer may take, twice the
    longest of n training examples, and of a file of all; and what the task has learned."""
    if isinstance(task, FileTask):
        examples = task.examples["train"]
    else:
        examples = [task.sample("train", i) for i in range(n)]
    learned = {name: getattr(task, name) for name in getattr(task, "LEARNS", ())}
    return learned | {"max_think": 2 * max(sum(map(len, e.steps)) for e in examples) + 1,
            "max_answer": 2 * max(len(e.answer) for e in examples) + 1}


def save(path, state):
    """Atomic: a reader, or a run killed halfway, finds the old file or the new, never a part."""
    part = Path(path).with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def load(run):
    """The checkpoint of a run folder; BadInput if it is missing, truncated or not ours."""
    path = Path(run) / "ckpt.pt"
    if not path.is_file():
        raise BadInput(f"{run}: no ckpt.pt there, not a run folder")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:   # torch raises a dozen kinds for a damaged file
        raise BadInput(f"{path}: damaged, or not a checkpoint") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise BadInput(f"{path}: not a checkpoint of this project")
    return state


def load_run(run, device="cpu", **changes):
    """Task and trained method of a run folder, some of its settings changed; and its checkpoint."""
    state = load(run)
    task, method = build({**state["config"], **changes})
    method.load_state_dict(state["method"])
    if "stage" not in state["config"]:      # that is reinforced: its training is over
        method.progress = state["step"] / state["config"]["steps"]
    return task, method.to(device), state


# ---- run folders ---------------------------------------------------------------------------------

SHAPE = ("task", "backbone", "layers", "width", "heads", "conv", "qk_norm")  # stages must share
FREE = ("out", "init", "command", "device", "threads", "workers", "max_think", "max_answer",
        "pieces", *(f"{flag}_sha256" for flag in FILES))    # these may change


def must_match(config, other, names, message):
    """BadInput if one of the named settings differs. Files are compared by what they hold, wherever
    they lie; in runs from before their digests were kept, by their paths."""
    for name in names:
        mine, its = config.get(name), other.get(name)
        now, then = (c.get(f"{name}_sha256") for c in (config, other))
        if (now != then) if now and then else (mine != its):
            if mine == its:
                its, mine = f"{its} as it was then", "as it is now"
            raise BadInput(f"{message} {name.replace('_', '-')} {its}, not {mine}")


def reopen(config, resume):
    """The checkpoint of the run in --out to continue from; None if there is no run or none yet."""
    out = Path(config["out"])
    if not (out / "config.json").exists():
        return None
    if not resume:
        raise BadInput(f"{out} exists: add --resume to continue it, or --out DIR for a new run")
    try:
        begun = json.loads((out / "config.json").read_text(encoding="utf-8"))
        begun = complete(begun)
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{out}/config.json: damaged") from None
    must_match(config, begun, [k for k in config if k not in FREE],
               f"{out}: repeat the flags it was started with; it has")
    config["init"] = config["init"] or begun["init"]
    return load(out) if (out / "ckpt.pt").exists() else None


def create(config):
    """Makes the run folder."""
    out = Path(config["out"])
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--out {out}: {error.strerror}") from None


class Stopped(KeyboardInterrupt):
    """Ctrl-C, after everything has been saved."""


def command(parse, run, script, argv=None):
    """A script's main: parses argv, runs, and says in one line what stopped it."""
    argv = sys.argv[1:] if argv is None else argv
    again = f"python {script} " + shlex.join(a for a in argv if a != "--resume")
    try:
        config = parse(argv)
        config["command"] = again
        resume = config.pop("resume")
        if resume and not (Path(config["out"]) / "config.json").exists():
            raise BadInput(f"{config['out']}: no run there to resume")
        run(config, resume)
    except BadInput as error:
        if MAIN:
            print(f"{script}: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped:
        say(f"\nstopped and saved; continue with: {again} --resume")
        sys.exit(130)
    except KeyboardInterrupt:
        print("\nstopped; --resume continues from the last checkpoint, if there is one")
        sys.exit(130)
