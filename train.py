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
import contextlib
import json
import math
import os
import signal
import sys
import time
import zlib
from pathlib import Path

# Idle OpenMP threads spin for a millisecond before they sleep: if another program wants a core,
# steps then take 10 times as long. A short spin costs nothing when the cores are free.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
import torch.distributed as dist
from tqdm import tqdm

import eval as evaluation
import model
import recurrent
import runs
import tables
from data.cli import BadInput
from data.common import FileTask, batches, take
from runs import (BACKBONES, FORMAT, METHODS, SHAPE, TASKS, Stopped, anywhere, build, complete,
                  create, join, load_run, make_task, meet, must_match, reopen, save, say,
                  setup)

VALIDATIONS = 5     # times in a run that validation problems are solved, if it divides the steps
SAVE_SECONDS = 60   # between checkpoints


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


def add_up(params):
    """Sums the gradients of all processes, in one message."""
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    for p, g in zip(params, flat.split([g.numel() for g in grads])):
        p.grad = g.view_as(p)


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
        self.rank, self.world = (0, 1) if method.ALONE else (runs.RANK, runs.WORLD)
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
    if isinstance(task, FileTask):
        say(task.summary)
    val = take(task, splits[1], config["val_n"])
    bar = tqdm(total=total, initial=start, desc=f"train {config['method']}", unit="step",
               mininterval=1 if sys.stderr.isatty() else 10, dynamic_ncols=True,
               disable=not runs.MAIN)
    path = out / "log.jsonl" if runs.MAIN else os.devnull
    with contextlib.closing(data), Interrupt() as interrupt, bar, \
            open(path, "a", encoding="utf-8") as log, \
            compiled(method.model, config["compile"]):
        while training.step < total and not anywhere(interrupt.asked, device):
            try:
                parts = training.update(data, device, dtype)
            except FloatingPointError as error:
                kept = f"{out}/ckpt.pt is the last good one. " * (out / "ckpt.pt").exists()
                line = f"{error}; {kept}A new run with a lower --lr may help"
                if not runs.MAIN:        # it may be the only one to know
                    print(line, file=sys.stderr)
                raise BadInput(line) from None
            bar.update()
            step = training.step
            if step % training.log_every == 0 or step == total:
                row = {k: round(float(v), 5) for k, v in parts.items()}
                bar.set_postfix(row, refresh=False)
                write(log, step=step, **row)
            validate = step % max(1, total // VALIDATIONS) == 0
            if runs.MAIN and (validate or time.time() - saved > SAVE_SECONDS):
                save(out / "ckpt.pt", training.state())
                saved = time.time()
            if runs.MAIN and validate:
                rows = [evaluation.evaluate(method, task, val, **k) for k in training.settings]
                write(log, step=step, val=rows)
                bar.write(f"  step {step}: {tables.one_line(rows)}")
        if runs.MAIN:
            save(out / "ckpt.pt", training.state())
    if training.step < total:
        raise Stopped


def write(log, **row):
    log.write(json.dumps(row) + "\n")
    log.flush()     # so that a run can be followed while it trains


# ---- stages --------------------------------------------------------------------------------------

def load_parent(config, device):
    """The trained method that this one starts from: the run folder --init."""
    parent = METHODS[config["method"]].PARENT
    if not parent:
        raise BadInput(f"--init: {config['method']} starts from no other method")
    _, method, state = load_run(config["init"], device)
    must_match({**config, "method": parent}, complete(state["config"]),
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
    task = make_task(config)
    config |= runs.limits(task)
    torch.manual_seed(config["seed"])
    _, method = build(config)
    parent = load_parent(config, device) if config["init"] else None
    meet()
    if runs.MAIN and not (out / "config.json").exists():
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
    return final_test(method, task, config, rows, training.began) if runs.MAIN else []


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


def main(argv=None):
    runs.command(lambda argv: runs.parse(argv, __doc__), run_stage, "train.py", argv)


if __name__ == "__main__":
    main()
