"""Trains any method on any task with any backbone: one loop, exact resume, one run folder.

    python train.py --method colar                     # CoT stage, then CoLaR from it
    python train.py --method nocot --steps 5000        # the control: no thoughts
    python train.py --method cot --task maze           # another task
    python train.py --method colar --resume            # continues a stopped run, bit for bit

A run folder holds config.json, log.jsonl, ckpt.pt, results.json and curves.png. A method that starts
from another one (CoLaR from CoT) trains that first, in a run folder inside its own; --init RUN
takes a trained one instead.
"""
import argparse
import contextlib
import difflib
import json
import math
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from tqdm import tqdm

import baselines
import colar
import eval as evaluation
import model
from data import TASKS
from data.common import BadInput, FileTask, Vocab, batches

METHODS = {"cot": baselines.CoT, "nocot": baselines.NoCoT, "pause": baselines.Pause,
           "colar": colar.CoLaR}
BACKBONES = {"gpt": model.GPT}
SIZES = {   # one dial; any flag given by hand wins
    "nano": dict(layers=1, width=32, heads=2, batch=8, steps=30, test_n=32),    # seconds: is it wired up?
    "tiny": dict(layers=3, width=64, heads=2, batch=32, steps=3000, test_n=500),    # minutes on two cores
    "small": dict(layers=6, width=384, heads=6, batch=128, steps=20000, test_n=1000),   # one GPU
}
FLAGS = {   # name: (default, help); a default of None means that --size decides
    "steps": (None, "optimizer steps of each stage"),
    "layers": (None, "blocks of the backbone"),
    "width": (None, "width C of the backbone"),
    "heads": (None, "attention heads"),
    "conv": (4, "width of the causal convolutions before attention and MLP; 0 = none"),
    "qk_norm": (False, "RMSNorm on queries and keys"),
    "batch": (None, "problems per batch"),
    "accum": (1, "batches per optimizer step"),
    "optimizer": ("adamw", "'adamw' or 'muon' (matrices only, the rest by AdamW)"),
    "lr": (3e-3, "peak learning rate"),
    "weight_decay": (0.01, "on matrices other than embeddings"),
    "warmup": (100, "steps of linear warm-up"),
    "decay": (0.5, "last share of the steps, in which the learning rate falls linearly to 0"),
    "clip": (1.0, "largest gradient norm"),
    "test_n": (None, "test problems for the final table"),
    "seed": (0, "of weights and data"),
    "device": ("auto", "'cuda', 'mps', 'cpu' or 'auto'"),
    "dtype": ("auto", "'float32', 'bfloat16', 'float16' or 'auto'"),
    "compile": (False, "torch.compile the backbone for training"),
    "threads": (0, "CPU threads; 0 = all cores"),
    "data": ("", "train on a JSON file of {question, steps, answer} instead of generated problems"),
}
FORMAT = "nanolatent 1"     # written into every checkpoint


# ---- command line --------------------------------------------------------------------------------

def nearest(word, known):
    close = difflib.get_close_matches(word, known, 1)
    return f" (nearest: {close[0]})" if close else f" (known: {', '.join(known)})"


class Parser(argparse.ArgumentParser):
    """argparse that answers bad input with one line, the nearest match in it, and exit code 2."""

    def error(self, message):
        if message.startswith("unrecognized arguments"):
            bad = message.split(": ", 1)[1].split()[0]
            message = f"unknown flag {bad}" + nearest(bad.split("=")[0], list(self._option_string_actions))
        self.exit(2, f"{self.prog}: {message}\n")

    def add_flags(self, flags):
        for name, (default, text) in flags.items():
            flag = "--" + name.replace("_", "-")
            if isinstance(default, bool):
                self.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=text)
            else:
                kind = number if default is None else type(default)
                self.add_argument(flag, type=kind, default=default, help=f"{text} [{default}]".replace(" [None]", ""))


def number(text):
    return int(text)


def chosen(value, known, what):
    if value not in known:
        raise BadInput(f"unknown {what} {value!r}" + nearest(value, list(known)))
    return known[value]


def parse(argv):
    """argv -> config: a flat dict with every setting of the run."""
    parser = Parser(prog="train.py", description=__doc__, allow_abbrev=False, add_help=False,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, known in (("method", "colar", METHODS), ("task", "arithmetic", TASKS),
                                 ("backbone", "gpt", BACKBONES), ("size", "tiny", SIZES)):
        parser.add_argument("--" + name, default=default, help=f"{', '.join(known)} [{default}]")
    first, _ = parser.parse_known_args(argv)
    method, task = chosen(first.method, METHODS, "method"), chosen(first.task, TASKS, "task")
    chosen(first.backbone, BACKBONES, "backbone")
    chosen(first.size, SIZES, "size")
    parser.add_argument("--help", action="help", help="show this and exit")
    parser.add_argument("--out", help="run folder [runs/METHOD-TASK-SIZE-sSEED]")
    parser.add_argument("--init", help="run folder of a trained first stage")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_flags(FLAGS | task.ARGS | method.ARGS)
    config = vars(parser.parse_args(argv))
    for name, value in SIZES[config["size"]].items():
        config[name] = value if config[name] is None else config[name]
    default = f"runs/{first.method}-{first.task}-{first.size}-s{config['seed']}"
    config["out"] = config["out"] or default
    return config


# ---- device, model, checkpoints ------------------------------------------------------------------

def setup(config):
    """Device and dtype of this machine, with the reason, and the seed."""
    device = config["device"]
    if device == "auto":
        device = ("cuda" if torch.cuda.is_available() else
                  "mps" if torch.backends.mps.is_available() else "cpu")
    if device != "cpu" and not getattr(torch, device).is_available():
        raise BadInput(f"--device {device}: not available here")
    dtype, why = config["dtype"], "as asked"
    if dtype == "auto":
        dtype, why = auto_dtype(device, config["width"])
    if config["threads"]:
        torch.set_num_threads(config["threads"])
    print(f"device {device}, {dtype} ({why}), {torch.get_num_threads()} threads", flush=True)
    return torch.device(device), getattr(torch, dtype)


def auto_dtype(device, width):
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "this GPU multiplies it natively"
        return "float16", "older GPU: with a gradient scaler"
    return "float32", "the default off CUDA"


def make_task(config):
    cls = TASKS[config["task"]]
    try:
        task = cls(**{name: config[name] for name in cls.ARGS})
    except ValueError as error:
        raise BadInput(str(error)) from None
    return FileTask(task, config["data"]) if config["data"] else task


def build(config):
    """Task, vocabulary and untrained method of a config."""
    task = make_task(config)
    vocab = Vocab(task.words)
    cfg = model.Config(len(vocab), config["layers"], config["width"], config["heads"],
                       conv=config["conv"], qk_norm=config["qk_norm"])
    method = METHODS[config["method"]](BACKBONES[config["backbone"]](cfg), vocab, SimpleNamespace(**config))
    return task, method


def limits(task, n=256):
    """How many tokens a chain and an answer may take: twice the longest of n training examples."""
    examples = [task.sample("train", i) for i in range(n)]
    return {"max_think": 2 * max(sum(map(len, e.steps)) for e in examples) + 1,
            "max_answer": 2 * max(len(e.answer) for e in examples) + 1}


def save(path, state):
    """Atomic: a reader, or a run killed halfway, finds the old file or the new one, never a part."""
    part = Path(path).with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def load(run, device="cpu"):
    """The checkpoint of a run folder; BadInput if it is missing, truncated or not ours."""
    path = Path(run) / "ckpt.pt"
    if not path.is_file():
        raise BadInput(f"{run}: no ckpt.pt there, not a run folder")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception:   # torch raises a dozen kinds for a damaged file
        raise BadInput(f"{path}: damaged, or not a checkpoint") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise BadInput(f"{path}: not a checkpoint of this project")
    return state


def load_run(run, device="cpu"):
    """Task and trained method of a run folder."""
    state = load(run, device)
    task, method = build(state["config"])
    method.load_state_dict(state["method"])
    return task, method.to(device), state


# ---- optimizer -----------------------------------------------------------------------------------

def optimizers(method, config):
    """AdamW for everything, or Muon for the hidden matrices and AdamW for the rest."""
    named = [(n, p) for n, p in method.named_parameters() if p.requires_grad]
    hidden = [p for n, p in named if p.ndim == 2 and "embed" not in n and "conv" not in n]
    rest = [p for n, p in named if not any(p is q for q in hidden)]
    muon = config["optimizer"] == "muon"
    groups = [{"params": rest, "weight_decay": 0.0}]
    if not muon:
        groups.append({"params": hidden, "weight_decay": config["weight_decay"]})
    out = [torch.optim.AdamW(groups, lr=config["lr"], betas=(0.9, 0.99), fused=True)]
    if muon:
        out.append(torch.optim.Muon(hidden, lr=config["lr"], weight_decay=config["weight_decay"],
                                    adjust_lr_fn="match_rms_adamw"))
    return out


def learning_rate(step, config):
    """Warm-up, constant, linear to 0."""
    left = (config["steps"] - step) / max(1, config["decay"] * config["steps"])
    return config["lr"] * min(1, (step + 1) / config["warmup"], left)


# ---- the loop ------------------------------------------------------------------------------------

class Interrupt:
    """Ctrl-C asks for a stop after the current step; a second one stops at once."""

    def __enter__(self):
        self.asked, self.old = False, signal.signal(signal.SIGINT, self.ask)
        return self

    def ask(self, *_):
        signal.signal(signal.SIGINT, self.old)
        self.asked = True

    def __exit__(self, *_):
        signal.signal(signal.SIGINT, self.old)


def train(task, method, config, device, dtype, out, state=None):
    """Trains `method` for config["steps"] steps in the run folder `out`; continues from `state`."""
    opts = optimizers(method, config)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    step = 0
    if state:
        step = state["step"]
        for opt, s in zip(opts, state["optimizers"]):
            opt.load_state_dict(s)
        scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"].cpu())

    def checkpoint():
        save(out / "ckpt.pt", {
            "format": FORMAT, "config": config, "step": step, "method": method.state_dict(),
            "optimizers": [o.state_dict() for o in opts], "scaler": scaler.state_dict(),
            "rng": torch.get_rng_state()})

    data = batches(task, method.vocab, config["batch"], config["seed"], step * config["accum"])
    val = [task.sample("val", i) for i in range(64)]
    bar = tqdm(total=config["steps"], initial=step, desc=f"train {config['method']}", unit="step",
               mininterval=1 if sys.stderr.isatty() else 10)
    log, params = open(out / "log.jsonl", "a"), [p for p in method.parameters() if p.requires_grad]
    with Interrupt() as interrupt, bar, log:
        while step < config["steps"]:
            for opt in opts:
                for group in opt.param_groups:
                    group["lr"] = learning_rate(step, config)
            for _ in range(config["accum"]):
                batch = next(data).to(device)
                with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                    loss, parts = method.loss(batch)
                scaler.scale(loss / config["accum"]).backward()
            if not math.isfinite(loss.item()):
                raise BadInput(f"loss is {loss.item()} at step {step + 1}; {out}/ckpt.pt is the last "
                               "good one. Try a lower --lr")
            for opt in opts:
                scaler.unscale_(opt)
            norm = torch.nn.utils.clip_grad_norm_(params, config["clip"])
            for opt in opts:
                scaler.step(opt)
                opt.zero_grad()
            scaler.update()
            step += 1
            bar.update()
            if step % 50 == 0:
                row = {"step": step, **{k: float(v) for k, v in parts.items()}, "norm": float(norm)}
                bar.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k != "step"}, refresh=False)
            if step % 50 == 0:
                log.write(json.dumps(row) + "\n")
            if step % max(1, config["steps"] // 5) == 0 or interrupt.asked:
                checkpoint()
                rows = [evaluation.evaluate(method, task, val, **k) for k in method.SWEEP]
                tqdm.write(f"  step {step}: val " + "  ".join(
                    f"{'/'.join(f'{k}={v}' for k, v in r['knobs'].items())} {100 * r['accuracy']:.0f}% ({r['steps']:.1f})" for r in rows) + f"  {bar.format_dict['elapsed']:.0f}s {parts}")
            if interrupt.asked:
                raise KeyboardInterrupt
    checkpoint()


def main(argv=None):
    config = parse(sys.argv[1:] if argv is None else argv)
    device, dtype = setup(config)
    torch.manual_seed(config["seed"])
    task, method = build(config)
    config |= limits(task)
    method.args.__dict__.update(config)
    method.to(device)
    out = Path(config["out"]); out.mkdir(parents=True, exist_ok=True)
    if config["init"]:
        _, parent, _ = load_run(config["init"], device)
        method.start_from(parent)
    print(f"{sum(p.numel() for p in method.parameters())} parameters")
    train(task, method, config, device, dtype, out)
    test = [task.sample("test", i) for i in range(config["test_n"])]
    rows = evaluation.sweep(config["method"], method, task, test)
    print(evaluation.table(rows))
    print(rows[-1]["by_difficulty"])


if __name__ == "__main__":
    main()
