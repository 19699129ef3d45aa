"""What the tests of methods share that compare them with loops: an untrained CoLaR in float64, and
how near two ways of computing the same come there."""
from types import SimpleNamespace

import torch

import runs
from baselines import CoT
from colar import CoLaR
from data.arithmetic import Arithmetic
from data.common import END, THINK, Vocab, collate, speed_token
from model import GPT, Config

EXACT = {"atol": 1e-9, "rtol": 1e-9}


def defaults(cls):
    """{flag: its default} of a task, backbone or method."""
    return {name: flag.default for name, flag in cls.FLAGS.items()}


def started(config, method, batch):
    """The method of a config, started from an untrained parent if it has one."""
    if method.PARENT:
        parent = runs.build({**config, "method": method.PARENT})[1]
        parent.loss(batch)      # a codebook starts from data
        method.start_from(parent)
    return method


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
