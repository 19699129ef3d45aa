"""Trains any method on any task with any backbone: one loop, exact resume, one run folder.

    python train.py --method colar                     # CoT stage, then CoLaR from it
    python train.py --method nocot --steps 6000        # the control: no thoughts
    python train.py --method cot --task maze --level tiny     # another task
    python train.py --resume --out RUN                 # continues it, on a CPU bit for bit
    torchrun --nproc_per_node=2 train.py --grad-accum 2     # two processes share a step's batches

A method that starts from another one (CoLaR from CoT) trains that first, in a run folder inside its
own; --init RUN takes a trained one instead.

Of the --grad-accum batches of a step every process takes its share, and the gradients are averaged:
a step is the same for one process and for N, and a run may go on with another N. The first process
alone validates, writes and talks.
"""
import contextlib
import math
import os
import time
import zlib
from pathlib import Path

# Idle OpenMP threads spin for a millisecond before they sleep: if another program wants a core,
# steps then take 10 times as long. A short spin costs nothing when the cores are free.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

import eval as evaluation
import model
import runs
from data import checkpoint, machine
from data.average import Average
from data.cli import BadInput, choice, must_match
from data.common import batches, first_problems, splits_of
from data.curves import plot_training
from data.files import Log, draw, read_log
from data.machine import any_process, barrier, print0
from data.muon import Muon
from data.records import FileTask
from data.rows import log_line, names_of, plot, summary_line, table, tested_rows, write_results
from data.script import Interrupt, Stopped, command, diverged, folder, keep_config, reopen
from runs import METHODS

VALIDATIONS = 5     # times in a run that validation problems are solved, if it divides the steps
SAVE_SECONDS = 60   # between checkpoints


# ---- one step ------------------------------------------------------------------------------------

class Training:
    """All that changes while training, so that a checkpoint of it resumes, on a CPU bit for bit."""
    log_every = 50      # steps between lines of log.jsonl

    def __init__(self, method, config, device, dtype):
        self.method, self.config, self.device, self.dtype = method, config, device, dtype
        self.step, self.seconds, self.began = 0, 0.0, time.time()
        self.since = []     # of every step since the last row of the log: what is to be logged
        self.settings = method.settings()       # of `solve`, for the validations
        self.rank, self.world = (0, 1) if method.ALONE else (machine.RANK, machine.WORLD)
        self.params = [p for p in method.parameters() if p.requires_grad]
        self.optimizers = optimizers(method, config)
        self.average = Average(method, config["ema"])
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self.loss = method.loss
        if self.world > 1:      # unused: some parameters have no gradient in some steps
            self.loss = DistributedDataParallel(method, broadcast_buffers=False,
                                                find_unused_parameters=True)
        self.autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)

    def update(self, batches):
        """One optimizer step on this process's share of the step's batches. Returns what is to be
        logged: their mean loss, its parts, the norm of the gradient, and how many tokens they had.
        """
        self.method.progress = self.step / self.config["steps"]
        logged = []
        for i, batch in enumerate(batches):
            if self.config["grad_accum"] > 1:   # so that it does not matter who takes a batch
                number = self.rank + i * self.world
                name = f"{self.config['seed']}/{self.step}/{number}"
                torch.manual_seed(zlib.crc32(name.encode()))    # 32 bits: a CPU uses no more
            wait = self.world > 1 and i < len(batches) - 1      # the last one averages for all
            with self.loss.no_sync() if wait else contextlib.nullcontext():
                with self.autocast:
                    loss, parts = self.loss(batch.to(self.device))
                self.backward(loss / len(batches))
            logged.append({"loss": loss.detach(), **parts})
        norm = self.optimizer_step()
        self.step += 1
        if self.config["ema"]:
            self.average.update(self.step)
        return {**means(logged), "norm": norm, "tokens": sum(batch.tokens for batch in batches)}

    def backward(self, loss):
        self.scaler.scale(loss).backward()
        value = loss.item()     # after it: a GPU is not kept waiting for this
        if not math.isfinite(value):
            raise FloatingPointError(f"loss is {value} at step {self.step + 1}")

    def optimizer_step(self):
        """Clips the gradients and steps along them. Returns their norm before that."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self.step, self.config)
            self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.params, self.config["grad_clip"])
        finite = math.isfinite(norm)
        if not finite and not self.scaler.is_enabled():
            raise FloatingPointError(f"the gradient is {float(norm)} at step {self.step + 1}")
        for optimizer in self.optimizers:
            if finite:      # else none steps: a scaler asks each about its own gradients alone
                self.scaler.step(optimizer)
            optimizer.zero_grad()
        self.scaler.update()
        return norm

    def row(self):
        """A row of the log: means over the steps since the last one, the learning rate, the seconds
        of training so far, and the tokens per second that training alone would reach."""
        mean = means(self.numbers())
        tokens, busy = mean.pop("tokens", None), mean.pop("busy")
        row = {**mean, "lr": learning_rate(self.step - 1, self.config),
               "seconds": round(time.time() - self.began, 1)}
        if tokens is not None:
            row["tokens_per_s"] = round(tokens * self.world / max(busy, 1e-9))
        self.since = []
        return {name: float(f"{value:.6g}") for name, value in row.items()}

    def numbers(self):
        """What is to be logged, no longer on a GPU. It is asked for once in a row, since whoever
        reads a number there waits until it is known."""
        return [{name: float(value) for name, value in one.items()} for one in self.since]

    def state(self):
        """What a checkpoint holds. The weights of "method" are the averaged ones, if there are any,
        and those of "raw" the ones to go on from."""
        raw = {"raw": self.method.state_dict()} if self.config["ema"] else {}
        self.seconds = time.time() - self.began     # of training: another stage may follow it
        return {"format": checkpoint.FORMAT, "config": self.config, "step": self.step,
                "seconds": self.seconds, "since": self.numbers(),
                "dtype": str(self.dtype).split(".")[1],
                "method": self.average.weights, **raw, "scaler": self.scaler.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                **checkpoint.random_state(self.device)}

    def restore(self, state):
        """Goes on from a checkpoint. ValueError if it is another model's."""
        self.step, self.seconds = state["step"], state["seconds"]
        self.began -= self.seconds
        self.since = [{name: float(value) for name, value in one.items()}
                      for one in state.get("since", [])]       # older checkpoints have none
        checkpoint.load_weights(self.method, state["method"])
        if self.config["ema"]:
            self.average = Average(self.method, self.config["ema"])
            checkpoint.load_weights(self.method, state["raw"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            checkpoint.load_moments(optimizer, saved["state"])
        checkpoint.load_scaler(self.scaler, state["scaler"])
        checkpoint.set_random_state(self.device, state)


def optimizers(method, config):
    """AdamW for everything, or Muon for the hidden matrices and AdamW for the rest."""
    named = {n: p for n, p in method.named_parameters() if p.requires_grad}
    decayed = [n for n, p in named.items() if p.ndim == 2 and "embed" not in n and "conv" not in n]
    hidden = [n for n in decayed if n != "model.head.weight" and config["optimizer"] == "muon"]
    groups = [{"params": [named[n] for n in names], "weight_decay": decay} for names, decay in (
        ([n for n in named if n not in decayed], 0.0),
        ([n for n in decayed if n not in hidden], config["weight_decay"]),
        (hidden, config["weight_decay"]))]
    out = [torch.optim.AdamW(groups[:2], lr=config["lr"], betas=(0.9, 0.99), fused=True)]
    if hidden:
        out.append(Muon(groups[2:], lr=config["lr"]))
    return out


def means(logged):
    """[{name: number}] -> {name: its mean over those that have it}."""
    names = dict.fromkeys(name for one in logged for name in one)
    found = {name: [one[name] for one in logged if name in one] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}


def learning_rate(step, config):
    """Of the step after `step`, the least of a line up to lr in `warmup` steps, lr itself, and a
    line down to 0 in the last share `decay` of the steps."""
    left = (config["steps"] - step) / max(1, config["decay"] * config["steps"])
    return config["lr"] * min(1, (step + 1) / config["warmup"], left)


# ---- the loop ------------------------------------------------------------------------------------

def train(training, task, out, splits=("train", "val")):
    """Trains to step config["steps"] in the run folder `out`, from wherever `training` stands."""
    method, config = training.method, training.config
    start, total, began = training.step, config["steps"], time.time()
    saved = began
    data = batches(task, method.vocab, config["batch"], config["seed"],
                   start * config["grad_accum"], config["bucket"], splits[0], training.rank,
                   training.world, config["workers"])
    val = first_problems(task, splits[1], config["val_n"])
    bar = tqdm(total=total, initial=start, desc=f"train {config['method']}", unit="step",
               mininterval=1, dynamic_ncols=True,
               disable=None if machine.MAIN else True)      # None: only a terminal has a bar
    log = Log(out / "log.jsonl" if machine.MAIN else None, start)
    with contextlib.closing(data), contextlib.closing(log), Interrupt() as interrupt, bar, \
            compiled(method.model, config["compile"]):
        while training.step < total and not any_process(interrupt.asked, training.device):
            tick = time.perf_counter()
            try:
                logged = training.update([next(data) for _ in range(
                    config["grad_accum"] // training.world)])
            except FloatingPointError as error:
                raise diverged(error, out) from None
            training.since.append({**logged, "busy": time.perf_counter() - tick})
            bar.update()
            step = training.step
            if step == start + 1:
                began = time.time()     # the first one waits until its problems are drawn
            left = tqdm.format_interval(
                (time.time() - began) / max(1, step - start - 1) * (total - step))
            if step == start + 6 < total and bar.disable:
                print0(f"  {total - step:,} steps to go, about {left}")
            if step % training.log_every == 0 or step == total:
                row = training.row()
                log.write(step=step, **row)
                bar.set_postfix(row, refresh=False)
                if bar.disable:
                    print0(f"  step {step} of {total}: {log_line(row)}, {left} left")
            validate = step % max(1, total // VALIDATIONS) == 0
            if validate and machine.MAIN:
                with training.average.used():
                    rows = [evaluation.evaluate(method, task, val, **k) for k in training.settings]
                log.write(step=step, val=rows)
                bar.write(f"  step {step}: {summary_line(rows)}")
            if machine.MAIN and (validate or time.time() - saved > SAVE_SECONDS):
                checkpoint.save(out, training.state())    # after the rows: all logged later is cut
                saved = time.time()
        if machine.MAIN:
            checkpoint.save(out, training.state())
    if training.step < total:
        raise Stopped


@contextlib.contextmanager
def compiled(backbone, wanted):
    """Compiles the backbone for training without a cache: decoding changes shape all the time."""
    plain = getattr(backbone, backbone.COMPILED)
    if wanted:
        fast = torch.compile(plain, dynamic=True)

        def either(*args, **kwargs):
            cached = any(isinstance(a, model.Cache) for a in args)
            call = fast if backbone.training and not cached else plain
            return call(*args, **kwargs)
        setattr(backbone, backbone.COMPILED, either)
    try:
        yield
    finally:
        vars(backbone).pop(backbone.COMPILED, None)     # the method of its class is back


# ---- stages --------------------------------------------------------------------------------------

def run(config, resume):
    """Trains a run, before it the stage that it starts from, and tests both. Returns their rows."""
    rows = []
    with contextlib.ExitStack() as held:
        for training, task in train_stages(config, resume, held):
            rows = finish(training, task, rows) if machine.MAIN else []
    return rows


def train_stages(config, resume, held):
    """[(Training, task)] of a run and, before it, of the stage that it starts from, both trained.
    `held`, an ExitStack, keeps their folders to this process."""
    machine.join(config)
    held.enter_context(folder(Path(config["out"])))
    state = reopen(config, resume, runs.load)
    device, dtype = machine.setup(config, state)
    task = runs.make_task(config)
    check_test(task, config)
    config |= runs.limits(task)
    torch.manual_seed(config["seed"])
    _, method = runs.build(config, task)
    parent, before = None, []
    if config["init"] and not state:    # what it gave is in the checkpoint
        parent = load_parent(config, device)
    barrier()       # none has looked at the folder too late
    if machine.MAIN and not state:
        keep_config(config)    # now that nothing can be wrong with the input any more
    if METHODS[config["method"]].PARENT and not config["init"]:
        before = train_stages(first_stage(config), resume, held)
        parent = before[-1][0].method
    torch.manual_seed(config["seed"])
    method.to(device)
    if parent:
        method.start_from(parent)
    training = Training(method, config, device, dtype)
    if state:
        with checkpoint.reading(Path(config["out"]) / "ckpt.pt"):
            training.restore(state)
        if machine.MAIN:
            keep_config(config)
    count = sum(p.numel() for p in method.parameters())
    print0(f"{config['method']} on {config['task']}: {count:,} parameters")
    if isinstance(task, FileTask):
        print0(task.summary)
    if training.step < config["steps"]:
        train(training, task, Path(config["out"]))
    method.load_state_dict(training.average.weights)    # for good: to be tested and started from
    method.progress = 1.0   # as of a run that is opened; the last update was told of one step less
    return [*before, (training, task)]


def check_test(task, config):
    """BadInput, before the training and not after it, unless there are problems to test it on."""
    first_problems(task, choice(config["test_split"], splits_of(task), "--test-split"), 1)


def first_stage(config):
    """The config of the stage that a method starts from, in a run folder inside its own."""
    cls = METHODS[config["method"]]
    own = [name for name in cls.FLAGS if name not in METHODS[cls.PARENT].FLAGS]
    shared = {name: value for name, value in config.items() if name not in own}
    return {**shared, "method": cls.PARENT, "out": str(Path(config["out"]) / cls.PARENT),
            "init": None, "steps": config["first_steps"]}


def load_parent(config, device):
    """The trained method that this one starts from: of the run folder --init."""
    cls, init = METHODS[config["method"]], config["init"]
    if not cls.PARENT:
        raise BadInput(f"--init: {config['method']} starts from no other method")
    _, parent, state = runs.load_run(init, device)
    names = ["method", *runs.STAGES_SHARE, *runs.TASKS[config["task"]].FLAGS,
             *METHODS[cls.PARENT].FLAGS, *runs.BACKBONES[config["backbone"]].FLAGS]
    must_match({**config, "method": cls.PARENT}, state["config"], names,
               f"--init {init}: it has")
    mine, its = (set(c.get("pieces", "").split()) for c in (config, state["config"]))
    if mine != its:
        raise BadInput(f"--init {init}: its words are not those of --data {config['data']}; only "
                       f"one of the two has {', '.join(sorted(mine ^ its)[:5])}")
    if state["step"] < state["config"]["steps"]:
        raise BadInput(f"--init {init}: not finished; continue it with --resume first")
    return parent


def finish(training, task, rows):
    """Tests a trained method and draws its curves and accuracy; prints and keeps its rows after
    those of its first stage. What was tested already is not tested again."""
    config, method, out = training.config, training.method, Path(training.config["out"])
    tested = tested_rows(out)
    if tested:
        rows = tested
    else:
        test = first_problems(task, config["test_split"], config["test_n"])
        own = evaluation.sweep(config["method"], method, task, test)
        rows = rows + evaluation.named(own, config)
        write_results(out, rows, config, training.seconds)
        print(f"\n{table(rows)}\n")
        print(evaluation.show(method, task, test[:3], **method.shown()))
        if config["size"] == "nano":
            print("size nano shows that all is wired up; it learns nothing. --size mini does")
        print(f"saved in {out}", flush=True)
    draw(plot_training(read_log(out / "log.jsonl"), *names_of([out])), out / "curves.png")
    draw(plot(rows), out / "accuracy.png")
    return rows


def main(argv=None):
    command(lambda argv: runs.parse(argv, __doc__), run, "train.py", argv)


if __name__ == "__main__":
    main()
