"""What several tests of models and methods share: small ones to test on, and naive ways to compute
the same. In float64, where two ways agree to EXACT on every processor."""
from types import SimpleNamespace

import torch

import runs
from baselines import CoT
from colar import CoLaR
from data.arithmetic import Arithmetic
from data.common import END, THINK, Vocab, collate, speed_token
from model import GPT, Config

EXACT = {"atol": 1e-9, "rtol": 1e-9}


# ---- any method on any task ----------------------------------------------------------------------

FEW = {"colar": ["--c-train", "1,2"], "vqvae": ["--codes", "64"], "assorted": ["--codes", "64"],
       "coconut": ["--latents", "2"], "codi": ["--latents", "2"],
       "maze": ["--level", "tiny"]}      # flags that keep a method or task small
DEEP = ["--backbone", "recurrent", "--mean-r", "3", "--layers", "3"]


def small(method, task, *argv):
    """A config of size nano, its task and its untrained method."""
    argv = ["--method", method, "--task", task, "--size", "nano", *argv]
    config = runs.parse(argv + FEW.get(method, []) + FEW.get(task, []))
    config |= runs.limits(runs.make_task(config), 64)
    torch.manual_seed(0)
    return config, *runs.build(config)


def started(config, method, batch):
    """The method of a config, started from an untrained parent if it has one."""
    if method.PARENT:
        parent = runs.build({**config, "method": method.PARENT})[1]
        parent.loss(batch)      # a codebook starts from data
        method.start_from(parent)
    return method


def shortest(task, vocab, n=4):
    """A batch of the n shortest of some problems."""
    examples = [task.sample("train", i) for i in range(40)]
    examples.sort(key=lambda e: len(e.question) + sum(map(len, e.steps)) + len(e.answer))
    return collate(examples[:n], vocab)


def defaults(cls):
    """{flag: its default} of a task, backbone or method."""
    return {name: flag.default for name, flag in cls.FLAGS.items()}


def telling(method, kind, call):
    """A threshold of the exit `kind` at which the rows of `call` stop at different iterations."""
    for limit in range(2, 9) if kind == "argmax" else 10.0 ** -torch.arange(-1, 4, 0.25):
        with method.model.using(exit=kind, threshold=float(limit), taken=[]):
            call()
            if len(torch.cat(method.model.taken).unique()) > 1:
                return float(limit)
    raise AssertionError("all rows stop at once")


# ---- CoLaR on arithmetic -------------------------------------------------------------------------

TASK = Arithmetic()
VOCAB = Vocab(TASK.words)


def colar_and_cot(backbone=GPT, **changes):
    """An untrained CoLaR and the CoT that it starts from, in float64."""
    torch.manual_seed(0)
    args = {**defaults(CoLaR), "max_think": 30, "max_answer": 3, **changes}
    layers = 2 if backbone is GPT else 3
    method, parent = (
        cls(backbone(Config(len(VOCAB), layers, width=32, heads=2)), VOCAB,
            SimpleNamespace(**args)).double()
        for cls in (CoLaR, CoT))
    method.start_from(parent)
    return method, parent


def batch_of(n, first=0):
    return collate([TASK.sample("train", first + i) for i in range(n)], VOCAB)


@torch.no_grad()
def stop_some_at_once(method, batch, c, most=False):
    """Makes the LM head say </think> at <think> for row 0, and for another row not, whatever the
    weights: by how a state differs from the mean of the rows. Or, most, by that mean itself.
    """
    rows = [VOCAB.encode(e.question) + [speed_token(c), THINK] for e in batch.examples]
    h = [method.model(method.model.embed(torch.tensor([row])))[0, -1] for row in rows]
    mean = sum(h) / len(h)
    apart = h[0] - mean
    apart -= mean * (apart @ mean) / (mean @ mean)      # so that the mean itself says nothing
    way = mean if most else apart
    method.model.head.weight.data[END] = 50 * way / (way @ way)
