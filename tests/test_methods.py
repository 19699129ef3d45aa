"""Every method on every task through the contracts alone: a new entry is tested with no edit."""
import pytest
import torch

import runs
from data.common import collate


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


@pytest.mark.parametrize("name, task_name, argv", [
    *((name, task, []) for name in runs.METHODS for task in runs.TASKS),
    *((name, "permutation", DEEP) for name in runs.METHODS)])
def test_overfits_one_batch(name, task_name, argv):
    """After some steps on four problems, `solve` answers all four, at every setting of SWEEP."""
    config, task, method = small(name, task_name, *argv)
    batch = shortest(task, method.vocab)
    method.args.max_think = 2 * batch.thoughts.shape[1] + 1     # where untrained models stop
    if method.PARENT:
        parent = runs.build({**config, "method": method.PARENT})[1]
        parent.loss(batch)      # a codebook starts from data
        method.start_from(parent)
    thinks = name not in ("nocot", "pause", "icot")
    opt = torch.optim.AdamW(method.parameters(), lr=1e-2, weight_decay=0.0)
    for step in range(400):
        loss, _ = method.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        if step % 20 == 19 and loss < 1 and solves(method, task, batch, thinks):
            break
    assert solves(method, task, batch, thinks), loss.item()


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
