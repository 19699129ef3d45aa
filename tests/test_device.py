"""Every method on a device that is not here. Its tensors say that they are elsewhere, but hold
numbers of the CPU, and refuse to be mixed with those of the CPU, as those of a GPU do: a tensor
that somebody forgot to move stops these tests. It knows nothing of a GPU's arithmetic."""
import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

import eval as evaluation
import recurrent
import rl
import runs
from data.common import collate, first_problems
from lab import controls
from method import can
from model import Sampler
from tests.helpers import DEEP, small

AWAY = torch.device("meta")     # a device that every torch knows and that asks for no hardware
aten = torch.ops.aten
MIXES = aten._to_copy.default, aten.copy_.default       # what moves tensors
INDEXES = aten.index.Tensor, aten.index_put_.default    # indices may come from the CPU


class Away(torch.Tensor):
    """A tensor whose numbers, `here`, are said to be AWAY."""

    @staticmethod
    def __new__(cls, here):
        out = torch.Tensor._make_wrapper_subclass(
            cls, here.shape, strides=here.stride(), storage_offset=here.storage_offset(),
            dtype=here.dtype, device=AWAY)
        out.here = here
        return out

    @classmethod
    def __torch_dispatch__(cls, op, types, args=(), kwargs=None):
        return run(op, args, kwargs or {})


for name in ("tolist", "item", "__int__", "__float__", "__bool__", "__index__"):
    setattr(Away, name, lambda self, name=name: getattr(self.here.detach(), name)())


def send(x):
    return Away(x) if isinstance(x, torch.Tensor) and not isinstance(x, Away) else x


def run(op, args, kwargs):
    """An operation of any tensors: on the CPU, if all are where they should be."""
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    away = [t for t in tensors if isinstance(t, Away)]
    strangers = [t for t in tensors if t.ndim and not isinstance(t, Away)]  # single numbers may mix
    allowed = op in MIXES or op in INDEXES and isinstance(args[0], Away)
    if away and strangers and not allowed:
        raise RuntimeError(f"{op} of tensors on two devices")
    to = kwargs.get("device")
    to_away = bool(away) if to is None else to == AWAY
    if to is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    out = op(*tree_map(lambda t: getattr(t, "here", t), args),
             **tree_map(lambda t: getattr(t, "here", t), kwargs))
    if not to_away or op == aten._local_scalar_dense.default:
        return out
    out = tree_map(send, out)
    return return_and_correct_aliasing(op, args, kwargs, out) if to is None else out


class Elsewhere(TorchDispatchMode):
    """Inside, what is made on AWAY or sent there has numbers."""

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        return run(op, args, kwargs or {})


@pytest.fixture
def elsewhere(monkeypatch):
    """A function that calls another one there."""
    tensor = torch.tensor       # does not ask the mode

    def made(data, device=None, **kwargs):
        return tensor(data, **kwargs).to(device) if device else tensor(data, **kwargs)
    monkeypatch.setattr(torch, "tensor", made)
    autocast = torch.autocast   # knows no AWAY; it is off there
    monkeypatch.setattr(torch, "autocast", lambda kind, *args, **kwargs: autocast(
        "cpu" if kind == AWAY.type else kind, *args, **kwargs))
    monkeypatch.setattr(torch, "inference_mode", lambda mode=True: torch.no_grad())     # nor this
    noise = recurrent.noise     # torch leaves alone what should be drawn on this device
    monkeypatch.setattr(recurrent, "noise", lambda *shape, device=None, **kwargs: noise(
        *shape, **kwargs).to(device))

    def call(f, *args, **kwargs):
        with Elsewhere():
            return f(*args, **kwargs)
    return call


def moved(method):
    """A copy of a method that is away."""
    method = copy.deepcopy(method)
    for module in method.modules():
        for name, p in module._parameters.items():
            if p is not None:
                module._parameters[name] = torch.nn.Parameter(send(p.data), p.requires_grad)
        module._buffers.update({name: send(b) for name, b in module._buffers.items()})
    return method


def learn(method, batch):
    """Losses halfway and at the end of training, and the gradient's norm."""
    torch.manual_seed(0)
    found = []
    for method.progress in (0.5, 1.0):
        loss = method.loss(batch)[0]
        loss.backward()
        found.append(loss.item())
    return found + [gradient(method)]


def gradient(method):
    """Its norm. It is gone afterwards."""
    params = [p for p in method.parameters() if p.requires_grad]
    norm = torch.nn.utils.clip_grad_norm_(params, 1.0).item()
    method.zero_grad()
    return norm


def reinforce(method, batch):
    """Sampled answers, and the gradient of stage two."""
    torch.manual_seed(0)
    rollout = method.rollout(batch, 2, Sampler(1.0))
    acts = method.log_probs(rollout)
    before = {kind: (logp.detach(), *rest) for kind, (logp, *rest) in acts.items()}
    A = torch.ones_like(rollout.option, dtype=torch.float)
    config = {"eps": 0.2, "average": False, "kl_penalty": 1.0}
    rl.objective(acts, before, before, dict.fromkeys(acts, A), config)[0].backward()
    return [s.answer for s in rollout.solved], gradient(method)


@pytest.mark.parametrize("name, argv, deep", [
    *((name, [], {}) for name in runs.METHODS),
    ("nocot", DEEP, {"r": 3, "exit": "kl"}), ("nocot", DEEP, {"r": 3, "draft": 2})])
def test_computes_the_same_elsewhere(name, argv, deep, elsewhere):
    task_name = "permutation" if name == "nocot" else "arithmetic"      # the one with prefixes
    config, task, method = small(name, task_name, *argv)
    method.args.max_think, method.args.max_answer = 4, 2
    examples = first_problems(task, "test", 2)
    batch = collate(examples, method.vocab)
    if method.PARENT:
        parent = runs.build({**config, "method": method.PARENT})[1]
        parent.loss(batch)      # a codebook starts from data
        method.start_from(parent)
        elsewhere(moved(method).start_from, moved(parent))
    away, sent = moved(method), elsewhere(batch.to, AWAY)
    assert elsewhere(learn, away, sent) == pytest.approx(learn(method, batch), rel=1e-4)
    if method.ACTIONS and not deep:
        (said, norm), (true, true_norm) = elsewhere(reinforce, away, sent), reinforce(method, batch)
        assert said == true and norm == pytest.approx(true_norm, rel=1e-3) and norm
    for knobs in method.settings():
        knobs = knobs | deep
        assert (elsewhere(evaluation.evaluate, away, task, examples, **knobs) | {"ms": 0}
                == evaluation.evaluate(method, task, examples, **knobs) | {"ms": 0})
    if name == "colar":
        elsewhere(controls.examine, name, away, task, examples, [knobs])
    if can(method, "think_on"):
        def thought_on(method):
            prompt, z, _ = controls.think(method, examples, **knobs)
            return [s.answer for s in method.think_on(prompt, z.roll(1, 0)[:, :1], **knobs)]
        assert elsewhere(thought_on, away) == thought_on(method)


def test_a_forgotten_tensor_is_noticed(elsewhere):
    x = elsewhere(torch.ones, 3, device=AWAY)
    assert elsewhere(lambda: (2 * x + torch.ones(())).tolist()) == [3, 3, 3]
    assert elsewhere(x.cpu).device.type == "cpu"
    for forget in (lambda: x + torch.ones(3), lambda: torch.ones(3)[x.long()],
                   lambda: torch.where(torch.ones(3) > 0, x, 0)):
        with pytest.raises(RuntimeError, match="two devices"):
            elsewhere(forget)
