"""Trains any method on any task with any backbone: one loop, exact resume, one run folder.

    python train.py --method colar                     # CoT stage, then CoLaR from it
    python train.py --method nocot --steps 6000        # the control: no thoughts
    python train.py --method cot --task maze --level tiny     # another task
    python train.py --method colar --resume            # continues it, on a CPU bit for bit
    torchrun --nproc_per_node=2 train.py --accum 2     # two processes share the batches of a step

A run folder holds config.json, log.jsonl, ckpt.pt, results.json and curves.png. A method that
starts from another one (CoLaR from CoT) trains that first, in a run folder inside its own;
--init RUN takes a trained one instead.

Of the --accum batches of a step every process takes its share, and the gradients are added up: a
step is the same for one process and for N, and a run may go on with another N. The first process
alone validates, writes and talks.
"""
import argparse
import contextlib
import difflib
import json
import math
import os
import shlex
import signal
import sys
import time
import zlib
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

# Idle OpenMP threads spin for a millisecond before they sleep: if another program wants a core,
# steps then take 10 times as long. A short spin costs nothing when the cores are free.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
import torch.distributed as dist
from tqdm import tqdm

import baselines
import colar
import eval as evaluation
import model
import recurrent
import tables
import vqvae
from data.arithmetic import Arithmetic
from data.common import BadInput, FileTask, Vocab, batches, choice, take
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
MAY_BE_0 = ("conv", "threads", "seed", "weight_decay", "punish", "beta", "distill", "variants",
            "mix", "drop", "workers")
FORMAT = "nanolatent 1"     # written into every checkpoint
VALIDATIONS = 5     # times in a run that validation problems are solved, if it divides the steps
SAVE_SECONDS = 60   # between checkpoints
RANK, WORLD = (int(os.environ.get(name, n)) for name, n in (("RANK", 0), ("WORLD_SIZE", 1)))
MAIN = RANK == 0    # of the processes that torchrun started, the one that writes
WIDE = 256          # width from which bfloat16 can pay on a CPU: see bench.py --dtype --width


# ---- command line --------------------------------------------------------------------------------

class Parser(argparse.ArgumentParser):
    """argparse that answers bad input with one line, the nearest match in it, and exit code 2.

    Every script makes one at its start. From then on what it prints may hold any name of a file,
    and any sign: what the encoding of its output lacks appears as \\xff or \\udcff.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if hasattr(sys.stdout, "reconfigure"):      # not in a notebook
            sys.stdout.reconfigure(errors="backslashreplace")

    def error(self, message):
        if message.startswith("unrecognized arguments"):
            bad = message.split(": ", 1)[1].split()[0].split("=")[0]
            close = difflib.get_close_matches(bad, list(self._option_string_actions), 1)
            message = f"unknown flag {bad} ({f'nearest: {close[0]}' if close else 'see --help'})"
        self.exit(2, f"{self.prog}: {message}\n")

    def add_flags(self, flags):
        for name, (default, text) in flags.items():
            flag = "--" + name.replace("_", "-")
            if isinstance(default, bool):
                kind = {"action": argparse.BooleanOptionalAction}
            elif isinstance(default, tuple):
                kind, default = {"choices": default}, default[0]
            else:
                kind = {"type": type(SIZES["tiny"][name] if default is None else default)}
            shown = "by --size" if default is None else default
            self.add_argument(flag, default=default, help=f"{text} [{shown}]", **kind)


def parse(argv):
    """argv -> config: a flat dict with every setting of the run."""
    parser = Parser(prog="train.py", description=__doc__, allow_abbrev=False, add_help=False,
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
    parser.add_flags(FLAGS | task.ARGS | backbone.ARGS | method.ARGS)
    config = vars(parser.parse_args(argv))
    for name, value in SIZES[config["size"]].items():
        config[name] = value if config[name] is None else config[name]
    default = f"runs/{first.method}-{first.task}-{first.size}-s{config['seed']}"
    config["out"] = config["out"] or default
    check_numbers(config)
    if config["width"] % (2 * config["heads"]):
        raise BadInput(f"--width {config['width']} is no multiple of 2 x --heads {config['heads']}")
    return config


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


def add_up(params):
    """Sums the gradients of all processes, in one message."""
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    for p, g in zip(params, flat.split([g.numel() for g in grads])):
        p.grad = g.view_as(p)


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


# ---- optimizer -----------------------------------------------------------------------------------

def optimizers(method, config):
    """AdamW for everything, or Muon for the hidden matrices and AdamW for the rest."""
    named = {n: p for n, p in method.named_parameters() if p.requires_grad}
    decayed = {n for n, p in named.items() if p.ndim == 2 and "embed" not in n and "conv" not in n}
    hidden = decayed - {"model.head.weight"} if config["optimizer"] == "muon" else set()

    def group(names, decay):
        return {"params": [p for n, p in named.items() if n in names], "weight_decay": decay}
    groups = [group(set(named) - decayed, 0.0), group(decayed - hidden, config["weight_decay"])]
    out = [torch.optim.AdamW(groups, lr=config["lr"], betas=(0.9, 0.99), fused=True)]
    if hidden:
        out.append(torch.optim.Muon(**group(hidden, config["weight_decay"]), lr=config["lr"],
                                    adjust_lr_fn="match_rms_adamw"))
    return out


def learning_rate(step, config):
    """The rate of the step after `step`: linear warm-up, constant, linear to 0."""
    left = (config["steps"] - step) / max(1, config["decay"] * config["steps"])
    return config["lr"] * min(1, (step + 1) / config["warmup"], left)


# ---- the loop ------------------------------------------------------------------------------------

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


class Stopped(KeyboardInterrupt):
    """Ctrl-C, after everything has been saved."""


@contextlib.contextmanager
def compiled(backbone, wanted):
    """Compiles the backbone for training without a cache: decoding changes shape all the time."""
    plain = getattr(backbone, backbone.HOT)
    if wanted:
        fast = torch.compile(plain, dynamic=True)

        def either(*args):
            cached = any(isinstance(a, (model.Cache, recurrent.Slots)) for a in args)
            return fast(*args) if backbone.training and not cached else plain(*args)
        setattr(backbone, backbone.HOT, either)
    try:
        yield
    finally:
        vars(backbone).pop(backbone.HOT, None)      # the method of its class is back


class Training:
    """All that changes while training, so that a checkpoint of it resumes, on a CPU bit for bit."""
    log_every = 50      # steps between lines of log.jsonl

    def __init__(self, method, config, dtype):
        self.method, self.config, self.step, self.began = method, config, 0, time.time()
        self.settings = method.SWEEP    # of `solve`, for the validations
        self.rank, self.world = (0, 1) if method.ALONE else (RANK, WORLD)
        self.dtype = str(dtype).removeprefix("torch.")
        self.opts = optimizers(method, config)
        device = next(method.parameters()).device.type
        self.on_device = {"cuda": torch.cuda, "mps": torch.mps}.get(device)     # has random numbers
        self.scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
        self.params = [p for p in method.parameters() if p.requires_grad]

    def state(self):
        return {"format": FORMAT, "config": self.config, "step": self.step,
                "seconds": time.time() - self.began, "dtype": self.dtype,
                "method": self.method.state_dict(), "scaler": self.scaler.state_dict(),
                "optimizers": [o.state_dict() for o in self.opts],
                "rng": torch.get_rng_state(),
                "device_rng": self.on_device.get_rng_state() if self.on_device else None}

    def restore(self, state):
        self.step, self.began = state["step"], self.began - state.get("seconds", 0)
        self.method.load_state_dict(state["method"])
        for opt, saved in zip(self.opts, state["optimizers"]):
            opt.load_state_dict(saved)
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"].cpu())
        if self.on_device and state.get("device_rng") is not None:
            self.on_device.set_rng_state(state["device_rng"].cpu())

    def update(self, data, device, dtype):
        """One optimizer step on `accum` batches: loss parts of the last one, and gradient norm."""
        self.method.progress = self.step / self.config["steps"]
        for i in range(self.rank, self.config["accum"], self.world):
            if self.config["accum"] > 1:    # so that it does not matter who takes a batch
                name = f"{self.config['seed']}/{self.step}/{i}"
                torch.manual_seed(zlib.crc32(name.encode()))    # 32 bits: a CPU uses no more
            batch = next(data).to(device)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                loss, parts = self.method.loss(batch)
            self.backward(loss / self.config["accum"])
        if self.world > 1:
            add_up(self.params)
        norm = self.descend()
        self.step += 1
        return {**parts, "norm": norm}

    def backward(self, loss):
        self.scaler.scale(loss).backward()
        value = loss.item()     # after it: a GPU is not kept waiting for this
        if not math.isfinite(value):
            raise FloatingPointError(f"loss is {value} at step {self.step + 1}")

    def descend(self):
        """One step of the optimizers along the gradients at hand, clipped; returns their norm."""
        for opt in self.opts:
            for group in opt.param_groups:
                group["lr"] = learning_rate(self.step, self.config)
            self.scaler.unscale_(opt)
        norm = torch.nn.utils.clip_grad_norm_(self.params, self.config["clip"])
        finite = math.isfinite(norm)
        if not finite and not self.scaler.is_enabled():
            raise FloatingPointError(f"the gradient is {float(norm)} at step {self.step + 1}")
        for opt in self.opts:
            if finite:      # else none steps: a scaler asks each about its own gradients alone
                self.scaler.step(opt)
            opt.zero_grad()
        self.scaler.update()
        return norm


def train(training, task, device, dtype, out, splits=("train", "val")):
    """Trains to step config["steps"] in the run folder `out`, from wherever `training` stands."""
    method, config = training.method, training.config
    start, total, saved = training.step, config["steps"], time.time()
    data = batches(task, method.vocab, config["batch"], config["seed"], start * config["accum"],
                   config.get("sort", 64), splits[0], training.rank, training.world,
                   config.get("workers", 0))
    val = take(task, splits[1], config["val_n"])
    bar = tqdm(total=total, initial=start, desc=f"train {config['method']}", unit="step",
               mininterval=1 if sys.stderr.isatty() else 10, dynamic_ncols=True, disable=not MAIN)
    path = out / "log.jsonl" if MAIN else os.devnull
    with contextlib.closing(data), Interrupt() as interrupt, bar, \
            open(path, "a", encoding="utf-8") as log, \
            compiled(method.model, config["compile"]):
        while training.step < total and not anywhere(interrupt.asked, device):
            try:
                parts = training.update(data, device, dtype)
            except FloatingPointError as error:
                kept = f"{out}/ckpt.pt is the last good one. " * (out / "ckpt.pt").exists()
                line = f"{error}; {kept}A new run with a lower --lr may help"
                if not MAIN:        # it may be the only one to know
                    print(line, file=sys.stderr)
                raise BadInput(line) from None
            bar.update()
            step = training.step
            if step % training.log_every == 0 or step == total:
                row = {k: round(float(v), 5) for k, v in parts.items()}
                bar.set_postfix(row, refresh=False)
                write(log, step=step, **row)
            validate = step % max(1, total // VALIDATIONS) == 0
            if MAIN and (validate or time.time() - saved > SAVE_SECONDS):
                save(out / "ckpt.pt", training.state())
                saved = time.time()
            if MAIN and validate:
                rows = [evaluation.evaluate(method, task, val, **k) for k in training.settings]
                write(log, step=step, val=rows)
                bar.write(f"  step {step}: {tables.one_line(rows)}")
        if MAIN:
            save(out / "ckpt.pt", training.state())
    if training.step < total:
        raise Stopped


def write(log, **row):
    log.write(json.dumps(row) + "\n")
    log.flush()     # so that a run can be followed while it trains


# ---- stages --------------------------------------------------------------------------------------

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
        begun = json.loads((out / "config.json").read_text(encoding="utf-8"))
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
        (out / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--out {out}: {error.strerror}") from None


def load_parent(config, device):
    """The trained method that this one starts from: the run folder --init."""
    parent = METHODS[config["method"]].PARENT
    if not parent:
        raise BadInput(f"--init: {config['method']} starts from no other method")
    _, method, state = load_run(config["init"], device)
    must_match({**config, "method": parent}, defaults(state["config"]) | state["config"],
               ("method", *SHAPE, *TASKS[config["task"]].ARGS, *METHODS[parent].ARGS,
                *BACKBONES[config["backbone"]].ARGS), f"--init {config['init']}: it has")
    if state["step"] < state["config"]["steps"]:
        raise BadInput(f"--init {config['init']}: not finished; continue it with --resume first")
    return method


def run_stage(config, resume):
    """Trains one stage, the stage it starts from first, and tests it. Returns the rows of both."""
    out, cls, rows = Path(config["out"]), METHODS[config["method"]], []
    join(config)
    state = reopen(config, resume)
    device, dtype = setup(config, state)
    config |= limits(make_task(config))
    torch.manual_seed(config["seed"])
    task, method = build(config)
    parent = load_parent(config, device) if config["init"] else None
    meet()
    if MAIN and not (out / "config.json").exists():
        create(config)      # only now, when nothing can be wrong with the input any more
    if cls.PARENT and not parent:
        config["init"] = str(out / cls.PARENT)
        own = [name for name in cls.ARGS if name not in METHODS[cls.PARENT].ARGS]
        shared = {k: v for k, v in config.items() if k not in own}
        rows = run_stage({**shared, "method": cls.PARENT, "out": config["init"], "init": None,
                          "steps": config["first_steps"]}, resume)
        meet()      # until it has been written
        parent = load_parent(config, device)
    if state and (out / "results.json").exists():
        say(f"{out} is finished")
        return json.loads((out / "results.json").read_text(encoding="utf-8"))["rows"]
    torch.manual_seed(config["seed"])
    method.to(device)
    if parent:
        method.start_from(parent)
    count = sum(p.numel() for p in method.parameters())
    say(f"{config['method']} on {config['task']}: {count:,} parameters")
    training = Training(method, config, dtype)
    if state:
        training.restore(state)
    train(training, task, device, dtype, out)
    return final_test(method, task, config, rows, training.began) if MAIN else []


def final_test(method, task, config, rows, began):
    """Tests a trained method, and prints and keeps the rows after those of its first stage, whose
    time since `began` does not count here."""
    out, test = Path(config["out"]), take(task, "test", config["test_n"])
    rows = rows + evaluation.sweep(config["method"], method, task, test)
    evaluation.write_results(out, rows, config, time.time() - began)
    middle = method.SWEEP[len(method.SWEEP) // 3]
    print(f"\n{tables.table(rows)}\n")
    print(evaluation.show(method, task, test[:3], **middle))
    print(f"saved in {out}", flush=True)
    return rows


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


def main(argv=None):
    command(parse, run_stage, "train.py", argv)


if __name__ == "__main__":
    main()
