"""Which thoughts matter? One at a time becomes another problem's.

A run thinks about every problem, greedily, as always. Then thought i of each is replaced by thought
i of another problem with as many thoughts, in two ways:

    replace i               after thinking: it reads its own thoughts again, this one changed, and
                            answers
    replace i, think on     while thinking: it reads its own thoughts before i and the other's i,
                            thinks on from there, and answers
    as thought              the same two without any change: what they are to be compared with

The first shows which thoughts the answer is read from. It does not show that the others were idle:
what they were good for is in the thoughts that follow them. So a swap of all at once, as in
lab/controls.py, shows no more than where the answer is copied from.

The second shows which thoughts the later ones depend on. It does not show how: a number of another
problem leads to a right answer for that number, or confuses the model, and both cost accuracy. Nor
is a thought idle that can be replaced: the model may read the same in the question or in a second
thought.

Only problems with the most frequent number of thoughts take part. So all rows are about the same
problems, and thought i is as a rule at the same place of all chains. "the donor's" is, where the
other problem's answer differs, the share of answers that become it.

It works for every method that says what its thoughts were and can think on from given ones
(`thoughts_read` and `think_on` in method.py), words included: a written chain is the yardstick.

    python -m lab.thoughts RUN RUN --c 2,5 --plot thoughts.png      # flags as of eval.py
"""
import time
from dataclasses import dataclass

import torch

import eval as evaluation
from data.cli import BadInput
from data.common import collate, first_problems
from data.rows import drawable, label, wilson
from eval import BATCH, split_knobs
from lab.controls import answers, check_answers, check_cache, think
from method import can

ON = ", think on"
SHOWN = 60      # thoughts of one problem on a page: untrained runs do not end theirs


@dataclass
class Alike:
    """N problems with M thoughts each."""
    examples: list
    prompt: torch.Tensor    # (N, P)
    z: torch.Tensor         # (N, M, C)


def alike(examples, prompt, z, n, M=None):
    """Those of some problems that have M thoughts (None: the most frequent number but 0), as Alike;
    prompt, z, n: as controls.think returns them."""
    if M is None:
        count = n.bincount()
        count[0] = 0
        M = int(count.argmax())
    rows = (n == M).nonzero()[:, 0]
    return Alike([examples[i] for i in rows.tolist()], prompt[rows], z[rows, :M])


def replaced(z, i, kind):
    """Thoughts z (N, M, C), of which number i is the one of the problem before: (N, M, C); to think
    on from there, only those up to it, (N, i + 1, C). i None: nothing is replaced."""
    if i is None:
        return z[:, :1] if kind else z
    changed = z.clone()
    changed[:, i] = z.roll(1, 0)[:, i]
    return changed[:, :i + 1] if kind else changed


def answered(method, prompt, z, kind, **knobs):
    """The answers of N problems to thoughts z (N, n, C), and the mean number of thoughts behind
    them: z alone, or z and what the method thinks on from there."""
    n = torch.full_like(prompt[:, 0], z.shape[1])
    if not kind:
        return answers(method, prompt, z, n), z.shape[1]
    solved = [s for some in zip(prompt.split(BATCH), z.split(BATCH))
              for s in method.think_on(*some, **knobs)]
    return [s.answer for s in solved], z.shape[1] + sum(s.n_think for s in solved) / len(solved)


def one_by_one(name, method, task, found, knobs, kinds=("", ON), most=None):
    """Rows of a results table for found, an Alike: as thought, then with each thought replaced, or
    with each of the first `most`."""
    rows, own = [], split_knobs(method, knobs)[0]
    words = thought_words(method, found.examples[0], own)
    for kind in kinds:
        before = None
        for i in (None, *range(found.z.shape[1])[:most]):
            start = time.perf_counter()
            said, steps = answered(method, found.prompt, replaced(found.z, i, kind), kind, **own)
            before = before or said
            right = [task.check(e, answer) for e, answer in zip(found.examples, said)]
            low, high = wilson(sum(right), len(right))
            what = "as thought" if i is None else f"replace {i + 1}"
            row = {"method": name, "knobs": {**knobs, "thoughts": what + kind}, "n": len(right),
                   "accuracy": sum(right) / len(right), "low": low, "high": high,
                   "steps": steps, "ms": 1000 * (time.perf_counter() - start) / len(right),
                   "same": sum(map(list.__eq__, said, before)) / len(said)}
            if i is not None:
                other = before[-1:] + before[:-1]
                moved = [s == o for s, o, b in zip(said, other, before) if o != b]
                row |= {"donor": sum(moved) / max(1, len(moved)), "words": words[i]}
            rows.append(row)
    return rows


def thought_words(method, example, knobs):
    """What the thoughts about a problem say, a text each: a latent the words it is most like, all
    else what was written."""
    device = next(method.parameters()).device
    rollout = method.rollout(collate([example], method.vocab).to(device), 1, **knobs)
    if can(method, "latent_words"):
        return [" ".join(words) for words in method.latent_words(rollout)[0]]
    return rollout.solved[0].thoughts.split()


def left(method, task, example, M, n, knobs):
    """Rows of `one_by_one`, thinking on only, for the M thoughts about an example: of n problems of
    validation, as difficult as this one, those that are thought about in as many thoughts. [] where
    there are none of either, or the method cannot think on.

    Each thought is thought on from anew, which for long chains that do not end takes minutes. So
    rows end after SHOWN thoughts, and after the first one if that has no accuracy to lose.
    """
    if not M or not can(method, "think_on") or getattr(task, "slots", False):
        return []
    own, backbone = split_knobs(method, knobs)
    some = [e for e in first_problems(task, "val", 4 * n) if e.difficulty == example.difficulty]
    with method.model.using(**backbone):
        found = alike(some[:n], *think(method, some[:n], **own), M)
        if len(found.examples) < 2:
            return []
        rows = one_by_one("", method, task, found, knobs, [ON], most=0)
        if not rows[0]["accuracy"]:
            return rows
        return one_by_one("", method, task, found, knobs, [ON], SHOWN)


def check(name, method):
    """BadInput unless thoughts of this method can be replaced."""
    if not (can(method, "thoughts_read") and can(method, "think_on")):
        raise BadInput(f"{name}: it has no thoughts from which it could think on")


def measure(name, method, task, examples, settings, args):
    """Rows as eval.py keeps them: every setting with each thought replaced, in both ways."""
    if args.k or args.loss:
        raise BadInput("--k and --loss: of eval.py, not of the controls, which think greedily")
    check(name, method)
    check_answers(name, task)
    rows, method = [], method.eval()
    for knobs in settings:
        own, backbone = split_knobs(method, knobs)
        check_cache(backbone)
        with method.model.using(**backbone):
            found = alike(examples, *think(method, examples, **own))
            if not found.z.shape[1]:
                raise BadInput(f"{name}: it thinks nothing")
            if len(found.examples) < 2:
                raise BadInput(f"{name}: no two of these problems have as many thoughts")
            rows += one_by_one(name, method, task, found, knobs)
    return rows


def plot(rows):
    """A figure of the accuracy that is left, thought by thought; one panel for each setting."""
    from matplotlib.figure import Figure    # slow to import; no pyplot, so no screen is needed
    groups = {}
    for r in rows:
        other = " ".join(f"{k}={v}" for k, v in r["knobs"].items() if k != "thoughts")
        name = label(f"{r.get('run', r['method'])} {other}".strip())
        groups.setdefault(name, []).append(r)
    longest = max(r["steps"] for r in rows)
    figure = Figure(figsize=(max(7, 2 + 0.45 * longest), 3.2 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for axes, (name, mine) in zip(panels, groups.items()):
        total, n, kept = mine[0]["steps"], mine[0]["n"], 100 * mine[0]["accuracy"]
        for kind, said, style, side in (("", "replaced after thinking", "C0o", -1),
                                         (ON, "replaced, then thought on", "C3s", 1)):
            some = [r for r in mine
                    if "words" in r and (ON in r["knobs"]["thoughts"]) == bool(kind)]
            y = [100 * r["accuracy"] for r in some]
            error = [[v - 100 * r["low"] for r, v in zip(some, y)],
                     [100 * r["high"] - v for r, v in zip(some, y)]]
            x = [i + 1 + 0.1 * side * total / longest for i in range(len(some))]
            axes.errorbar(x, y, error, fmt=style, capsize=2, label=said)
        axes.axhline(kept, color="0.5", ls="--", label=f"as thought: {kept:.0f}%")
        axes.set(title=f"{name}: the {n} problems with {total} thoughts each",
                 ylabel="accuracy left, %", ylim=(-3, 103))
        axes.set_xticks(range(1, total + 1), [drawable(r["words"]) for r in some], rotation=60,
                        ha="right", rotation_mode="anchor", fontsize=8)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(fontsize=8)
    axes.set_xlabel("the thought that is another problem's; below it, what it says in one problem")
    return figure


def main(argv=None):
    evaluation.main(argv, "lab.thoughts", __doc__, measure, plot)


if __name__ == "__main__":
    main()
