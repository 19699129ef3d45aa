"""What a run is: its method, task and backbone, its flags, its device, its folder on disk.

A run folder holds config.json, log.jsonl, ckpt.pt, results.json and curves.png. `parse` turns a
command line into a config, a flat dict with every setting of the run; `build` turns a config into
its task and untrained method; `load_run` opens a trained one.
"""
import json
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
from data.cli import BadInput, Flag, Parser, merge
from data.common import FileTask, Vocab
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
KINDS = {
    "method": Flag("colar", ", ".join(METHODS), tuple(METHODS)),
    "task": Flag("arithmetic", ", ".join(TASKS), tuple(TASKS)),
    "backbone": Flag("gpt", ", ".join(BACKBONES), tuple(BACKBONES)),
    "size": Flag("tiny", ", ".join(SIZES), tuple(SIZES)),
}
FLAGS = {   # None: --size decides
    "steps": Flag(None, "optimizer steps", kind=int, least=1),
    "first_steps": Flag(None, "optimizer steps of the stage that the method starts from, if any",
                        kind=int, least=1),
    "layers": Flag(None, "blocks of the backbone", kind=int, least=1, most=1000),
    "width": Flag(None, "width C of the backbone", kind=int, least=2, most=2**16),
    "heads": Flag(None, "attention heads", kind=int, least=1, most=2**10),
    "conv": Flag(4, "width of the causal convolutions before attention and MLP; 0 = none",
                 most=2**10),
    "qk_norm": Flag(False, "RMSNorm on queries and keys"),
    "batch": Flag(None, "problems per batch", kind=int, least=1, most=2**20),
    "bucket": Flag(64, "batches drawn at once and sorted by length, against padding; 1: every batch "
                   "has problems of all lengths", least=1, most=2**16),
    "grad_accum": Flag(1, "batches per optimizer step", least=1, most=2**16),
    "optimizer": Flag("adamw", "muon: for the hidden matrices, AdamW for the rest",
                      ("adamw", "muon")),
    "lr": Flag(None, "peak learning rate", kind=float, above=0),
    "weight_decay": Flag(0.01, "on matrices other than embeddings"),
    "warmup": Flag(100, "steps of linear warm-up", least=1),
    "decay": Flag(0.5, "last share of the steps, in which the learning rate falls linearly to 0",
                  above=0, most=1),
    "grad_clip": Flag(1.0, "largest gradient norm", above=0),
    "val_n": Flag(None, "validation problems, solved about five times in a run", kind=int, least=1),
    "test_n": Flag(None, "test problems for the final table", kind=int, least=1),
    "seed": Flag(0, "of weights and data"),
    "device": Flag("auto", "auto: cuda, mps or cpu, the first that is there",
                   ("auto", "cuda", "mps", "cpu")),
    "dtype": Flag("auto", "of matrix products; weights are float32",
                  ("auto", "float32", "bfloat16", "float16")),
    "compile": Flag(False, "torch.compile the backbone for training, where it needs no cache"),
    "threads": Flag(0, "CPU threads; 0 = all cores", most=2**10),
    "workers": Flag(0, "processes that draw the problems ahead: for a GPU, which needs many",
                    most=2**10),
    "data": Flag("", "train on this JSON file of {question, steps, answer}, as they are"),
}
FORMAT = "nanolatent 1"     # written into every checkpoint
RANK, WORLD = (int(os.environ.get(name, n)) for name, n in (("RANK", 0), ("WORLD_SIZE", 1)))
MAIN = RANK == 0    # of the processes that torchrun started, the one that writes
WIDE = 256          # width from which bfloat16 can pay on a CPU: see bench.py --dtype --width


# ---- command line --------------------------------------------------------------------------------

def parse(argv, description=None):
    """argv -> config: a flat dict with every setting of the run."""
    parser = Parser("train.py", description)
    parser.add_flags(KINDS)
    kinds = vars(parser.parse_known_args(argv)[0])
    for name, flag in KINDS.items():
        flag.check(name, kinds[name])
    parser.add_argument("--out", metavar="DIR", help="run folder [runs/METHOD-TASK-SIZE-sSEED]")
    parser.add_argument("--init", metavar="RUN", help="run folder of a trained first stage")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_flags(flags_of(kinds))
    config = parser.parse(argv)
    for name, value in SIZES[config["size"]].items():
        config[name] = value if config[name] is None else config[name]
    config["out"] = config["out"] or "runs/{method}-{task}-{size}-s{seed}".format(**config)
    if config["width"] % (2 * config["heads"]):
        raise BadInput(f"--width {config['width']} is no multiple of 2 x --heads {config['heads']}")
    return config


def flags_of(config):
    """{name: Flag} of everything that a run of this method, task and backbone may be told."""
    method, task, backbone = (config[name] for name in ("method", "task", "backbone"))
    return merge({"every run": FLAGS, f"the task {task}": TASKS[task].FLAGS,
                  f"the backbone {backbone}": BACKBONES[backbone].FLAGS,
                  f"the method {method}": METHODS[method].FLAGS})


def knobs_of(*classes):
    """{name: Flag} of what `solve` may be told, for some methods and backbones, or for all."""
    knobs = {}
    for cls in classes or (*METHODS.values(), *BACKBONES.values()):
        for name, flag in cls.KNOBS.items():
            if knobs.setdefault(name, flag) != flag:
                raise ValueError(f"--{name}: {cls.__name__} declares it otherwise than another")
    return knobs


def variant(config):
    """The flags in which a run differs from the default, as text: its name in a table."""
    named = flags_of(config)
    for name in set(FLAGS) - {"conv", "qk_norm", "optimizer", "bucket"}:
        named.pop(name)     # a size, or what is reported beside the name
    named["layers"] = Flag(SIZES[config["size"]]["layers"], "")
    named = {"backbone": KINDS["backbone"], **named}
    words = []
    for name, flag in named.items():
        value, option = config.get(name, flag.default), name.replace("_", "-")
        if value is True or value is False:
            words += [] if value == flag.default else [f"--{option}" if value else f"--no-{option}"]
        elif value != flag.default:
            words.append(f"--{option} {value}")
    return " ".join(words)


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
    return FileTask(task, config["data"]) if config["data"] else task


def defaults(config):
    """{flag: default} of the task, method and backbone of a config."""
    flags = (FLAGS | TASKS[config["task"]].ARGS | METHODS[config["method"]].ARGS
             | BACKBONES[config.get("backbone", "gpt")].ARGS | {"backbone": ("gpt", "")})
    return {name: default[0] if isinstance(default, tuple) else default
            for name, (default, _) in flags.items()}


def build(config):
    """Task and untrained method of a config."""
    task, cls = make_task(config), METHODS[config["method"]]
    config = defaults(config) | config          # older runs have fewer
    args = SimpleNamespace(**config)
    vocab = Vocab([*task.words, *cls.words(args)])
    cfg = model.Config(len(vocab), config["layers"], config["width"], config["heads"],
                       conv=config["conv"], qk_norm=config["qk_norm"])
    backbone = BACKBONES[config["backbone"]]
    backbone = backbone(cfg, **{name: config[name] for name in backbone.ARGS})
    return task, cls(backbone, vocab, args)


def limits(task, n=256):
    """What a run keeps of its task: how many tokens a chain and an answer may take, twice the
    longest of n training examples; and what the task has learned."""
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
        "pieces")   # these may change


def must_match(config, other, names, message):
    for name in names:
        if config.get(name) != other.get(name):
            flag = name.replace("_", "-")
            raise BadInput(f"{message} {flag} {other.get(name)}, not {config.get(name)}")


def reopen(config, resume):
    """The checkpoint of the run in --out to continue from; None if there is no run or none yet."""
    out = Path(config["out"])
    if not (out / "config.json").exists():
        return None
    if not resume:
        raise BadInput(f"{out} exists: add --resume to continue it, or --out DIR for a new run")
    try:
        begun = json.loads((out / "config.json").read_text())
        begun = defaults(begun) | begun         # older runs have fewer
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
        (out / "config.json").write_text(json.dumps(config, indent=1))
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
