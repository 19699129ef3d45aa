"""Every method on every task through the contracts alone: a new entry is tested with no edit."""
import math

import pytest
import torch

import runs
from data.common import collate
from recurrent import EXITS

FEW = {"colar": ["--c-train", "1,2"], "vqvae": ["--codes", "64"], "assorted": ["--codes", "64"],
       "coconut": ["--latents", "2"], "codi": ["--latents", "2"],
       "maze": ["--level", "tiny"]}      # flags that keep a method or task small


def small(method, task, *argv):
    argv = ["--method", method, "--task", task, "--size", "nano", *argv]
    config = runs.parse(argv + FEW.get(method, []) + FEW.get(task, []))
    config |= runs.limits(runs.make_task(config), 64)
    torch.manual_seed(0)
    return config, *runs.build(config)


def shortest(task, vocab, n=4):
    examples = [task.sample("train", i) for i in range(40)]
    examples.sort(key=lambda e: len(e.question) + sum(map(len, e.steps)) + len(e.answer))
    return collate(examples[:n], vocab)


def solves(method, task, batch, thinks):
    """Are all answers right at every setting, after thoughts if there should be any?"""
    return all(method.right(task, e, s) and (s.n_think > 0) == thinks for knobs in method.SWEEP
               for e, s in zip(batch.examples, method.solve(batch, **knobs)))


DEEP = ["--backbone", "recurrent", "--mean-r", "3", "--layers", "3"]


def telling(method, kind, call):
    """A threshold of the exit `kind` at which the rows of `call` stop at different iterations."""
    for limit in range(2, 9) if kind == "argmax" else 10.0 ** -torch.arange(-1, 4, 0.25):
        with method.model.using(exit=kind, threshold=float(limit), taken=[]):
            call()
            if len(torch.cat(method.model.taken).unique()) > 1:
                return float(limit)
    raise AssertionError("all rows stop at once")


@pytest.mark.parametrize("name, task_name, argv", [
    *((name, task, []) for name in runs.METHODS for task in runs.TASKS),
    *((name, "permutation", DEEP) for name in runs.METHODS)])
def test_overfits_one_batch(name, task_name, argv):
    """After some steps on four problems, `solve` answers all four, at every setting of SWEEP."""
    config, task, method = small(name, task_name, *argv)
    batch = shortest(task, method.vocab)
    method.args.max_think = 2 * batch.chain.shape[1] + 1     # where untrained models stop
    if method.PARENT:
        parent = runs.build({**config, "method": method.PARENT})[1]
        parent.loss(batch)      # a codebook starts from data
        method.start_from(parent)
    thinks = name not in ("nocot", "pause", "icot")
    rate = 3e-3 if argv else 1e-2       # what is iterated does not bear as much
    opt = torch.optim.AdamW(method.parameters(), lr=rate, weight_decay=0.0)
    for step in range(400):
        loss, _ = method.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        if step % 20 == 19 and loss < 1 and solves(method, task, batch, thinks):
            break
    assert solves(method, task, batch, thinks), loss.item()


@pytest.mark.parametrize("name", ["cot", "colar", "assorted"])
def test_what_needs_no_step_is_answered_without_a_thought(name):
    """Of four problems two have no chain: trained on them, a method thinks about the others only,
    where it is the method that decides."""
    config, task, method = small(name, "arithmetic")
    batch = shortest(task, method.vocab)
    for e in batch.examples[::2]:
        e.steps = []
    batch = collate(batch.examples, method.vocab)
    if method.PARENT:
        parent = train.build({**config, "method": method.PARENT})[1]
        parent.loss(batch)
        method.start_from(parent)
    method.args.max_think = 40

    def done():
        return all(task.check(e, s.answer) and bool(s.n_think) == bool(e.steps)
                   for knobs in method.SWEEP if "latents" not in knobs
                   for e, s in zip(batch.examples, method.solve(batch, **knobs)))
    opt = torch.optim.AdamW(method.parameters(), lr=1e-2, weight_decay=0.0)
    for step in range(400):
        method.loss(batch)[0].backward()
        opt.step()
        opt.zero_grad()
        if step % 20 == 19 and done():
            break
    assert done()


@pytest.mark.parametrize("name", train.METHODS)
@pytest.mark.parametrize("train_on", [True, False])
def test_a_batch_without_any_step(name, train_on):
    """It has a finite loss with a gradient, or none to give, and can be solved; also a single
    problem."""
    _, task, method = small(name, "arithmetic")
    method.train(train_on)
    for n in (1, 3):
        examples = [task.sample("train", i) for i in range(n)]
        for e in examples:
            e.steps = []
        batch = collate(examples, method.vocab)
        loss, parts = method.loss(batch)
        loss.backward()
        assert all(math.isfinite(value) for value in (loss.detach(), *parts.values()))
        assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)
        method.args.max_think = 6
        for knobs in method.SWEEP:
            solved = method.solve(batch, **knobs)
            assert len(solved) == n
            for value in method.extras(examples, solved).values():
                assert math.isfinite(value)


@pytest.mark.parametrize("name", train.METHODS)
@torch.no_grad()
def test_rows_exit_from_a_loss_as_if_alone(name):
    """On a recurrent backbone with an exit, every call of the model: its padding has no say."""
    argv = ["--replace", "all"] if name == "assorted" else []
    _, task, method = small(name, "arithmetic", *DEEP, "--mean-r", "9", *argv)
    method.eval().double()
    if name == "colar":
        method.c_train = method.c_train[:1]     # no draw
    examples = [task.sample("train", i) for i in range(5)]
    batches = [collate(some, method.vocab) for some in (examples, *([e] for e in examples))]
    for kind in EXITS:
        limit, taken = telling(method, kind, lambda: method.loss(batches[0])), []
        for batch in batches:
            with method.model.using(exit=kind, threshold=limit, taken=[]):
                method.loss(batch)
                taken.append(torch.stack(method.model.taken, 1))        # (B, calls)
        assert torch.equal(taken[0], torch.cat(taken[1:])), kind


@pytest.mark.parametrize("argv", [[], DEEP], ids=["gpt", "recurrent"])
@pytest.mark.parametrize("name", runs.METHODS)
def test_batched_equals_single(name, argv):
    """Solving problems together or one at a time gives the same answers, steps and thoughts."""
    _, task, method = small(name, "arithmetic", *argv)
    method.eval().double()  # an untrained model is close to ties, which float32 breaks either way
    method.args.max_think = 20
    examples = [task.sample("train", i) for i in range(6)]
    knobs = method.SWEEP[-1]
    together = method.solve(collate(examples, method.vocab), **knobs)
    alone = [method.solve(collate([e], method.vocab), **knobs)[0] for e in examples]
    assert together == alone
