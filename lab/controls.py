"""Does a model use its thoughts? Interventions on them, and probes of what they hold.

A run first thinks about every problem, greedily, as always. Then it reads the question and its
thoughts again, as embeddings z_1 ... z_n, but changed, and after </think> writes the answer:

    as thought  unchanged: what everything below is to be compared with
    swap        those of another problem, with as many thoughts but for one problem of each number
    shuffle     its own, in random order
    zero        zeros
    noise       Gaussian noise, each vector with the norm of the thought it replaces
    half        the first n // 2
    none        no thoughts at all

All thoughts change at once here, and after they were thought; lab/thoughts.py changes one at a
time, and also lets the model think on from there.

A model that answers as well without its thoughts, or with another problem's, did not think in
them, whatever its accuracy: at most they are positions to compute in, like pause tokens. One that
gives the answer which belongs to the swapped thoughts (the column "the donor's") reads it there;
where a task has few answers, some of these are chance.
It works for every method that says what its thoughts were (`thoughts_read` in method.py), words
included: a written chain is the yardstick.

The probe is a ridge regression from the state after each thought to the result of each step of the
true chain: its last word that varies. Column 0 is the state before the first thought: what is known
there has not been thought out. A state that can be read is not thereby used: see above.

    python -m lab.controls RUN RUN --plot controls.png     # flags as of eval.py
"""
import math
import time

import torch
import torch.nn.functional as F

import eval as evaluation
from data.cli import BadInput
from data.common import EOS, first_problems
from data.rows import label, setting, wilson
from eval import BATCH, in_batches, split_knobs
from method import answer_after, can, read_thoughts, split_at

RIDGE = 1.0     # penalty of the probe, for states of variance 1
FEWEST = 30     # problems of the test that a share is taken of
FIT = 4         # problems of train per problem of the test that the probe is fitted on


def swap(z, n, generator):
    """z (N, M, C), n (N,): sorted by n, each row takes the thoughts of the one before it."""
    donor = donors(n)
    return z[donor], n[donor]


def donors(n):
    """For each row of n (N,), whose thoughts it gets in `swap`; the first, the last one's."""
    order = n.cpu().argsort(stable=True).to(n.device)      # MPS may sort 256 at most
    return torch.empty_like(order).scatter_(0, order, order.roll(1))


def shuffle(z, n, generator):
    """z (N, M, C): the first n (N,) of each row in random order."""
    key = torch.rand(z.shape[:2], generator=generator).to(z.device)
    key = key.masked_fill(torch.arange(z.shape[1], device=z.device) >= n[:, None], 2)
    return z.gather(1, key.argsort(1)[..., None].expand_as(z)), n


def noise(z, n, generator):
    """z (N, M, C): every vector in a random direction."""
    random = torch.randn(z.shape, generator=generator).to(z)
    return F.normalize(random, dim=-1) * z.norm(dim=-1, keepdim=True), n


INTERVENTIONS = {
    "as thought": lambda z, n, generator: (z, n),
    "swap": swap,
    "shuffle": shuffle,
    "zero": lambda z, n, generator: (torch.zeros_like(z), n),
    "noise": noise,
    "half": lambda z, n, generator: (z, n // 2),
    "none": lambda z, n, generator: (z, torch.zeros_like(n)),
}


@torch.no_grad()
def think(method, examples, **knobs):
    """Greedy thoughts about all examples: prompts (N, P), z (N, M, C) and their numbers n (N,)."""
    found = []
    for _, batch in in_batches(method, examples):
        found.append(method.thoughts_read(method.rollout(batch, 1, **knobs)))
    prompts, z, n = zip(*found)
    P, M = (max(t.shape[1] for t in some) for some in (prompts, z))
    return (torch.cat([F.pad(p, (0, P - p.shape[1])) for p in prompts]),
            torch.cat([F.pad(t, (0, 0, 0, M - t.shape[1])) for t in z]), torch.cat(n))


@torch.no_grad()
def answers(method, *thoughts):
    """The words of every answer after reading prompts, z and n as `think` returns them."""
    out = []
    for p, t, k in zip(*(part.split(BATCH) for part in thoughts)):
        cache, _ = read_thoughts(method.model, p, t, k)
        rows = answer_after(method.model, cache, method.args.max_answer)
        out += [method.vocab.decode(split_at(row, EOS)[0]) for row in rows.tolist()]
    return out


def examine(name, method, task, examples, settings):
    """Rows of a results table: every setting under every intervention.

    "same" is the share of answers that stay; "donor", where thoughts are swapped and the two
    problems' answers differ, the share of answers that become the donor's.
    """
    if not can(method, "thoughts_read"):
        raise BadInput(f"{name}: it has no thoughts to change")
    if len(examples) < 2:
        raise BadInput("a single problem: there is no other one to swap thoughts with")
    check_answers(name, task)
    rows, method = [], method.eval()
    for knobs in settings:
        own, backbone = split_knobs(method, knobs)
        check_cache(backbone)
        with method.model.using(**backbone):
            rows += intervene(name, method, task, examples, knobs, think(method, examples, **own))
    return rows


def check_answers(name, task):
    """BadInput where an answer is computed from the chain that is changed."""
    if getattr(task, "slots", False):
        raise BadInput(f"{name}: with --numbers slots an answer means nothing without its chain")


def check_cache(knobs):
    """BadInput for knobs of a backbone with which thoughts cannot be read again."""
    if knobs.get("exit", "none") != "none" or knobs.get("share") or knobs.get("warm"):
        raise BadInput("controls go with neither --exit, --share nor --warm: thoughts read "
                       "together would see another cache than those thought one by one")


def intervene(name, method, task, examples, knobs, thoughts):
    prompt, z, n = thoughts
    if not n.any():
        raise BadInput(f"{name}: it thinks nothing")
    rows, before = [], None
    for control, change in INTERVENTIONS.items():
        start = time.perf_counter()
        changed, count = change(z, n, torch.Generator().manual_seed(0))
        found = answers(method, prompt, changed, count)
        before = before or found
        right = [task.check(e, words) for e, words in zip(examples, found)]
        low, high = wilson(sum(right), len(right))
        row = {"method": name, "knobs": {**knobs, "thoughts": control}, "n": len(right),
               "accuracy": sum(right) / len(right), "low": low, "high": high,
               "steps": float(count.float().mean()),
               "ms": 1000 * (time.perf_counter() - start) / len(right),
               "same": sum(map(list.__eq__, found, before)) / len(found)}
        if control == "swap":
            other = [before[i] for i in donors(n).tolist()]
            moved = [f == o for f, o, b in zip(found, other, before) if o != b]
            row["donor"] = sum(moved) / max(1, len(moved))
        rows.append(row)
    return rows


def result_place(examples):
    """Which word of a step, counted from its end, is the last one that is not always the same."""
    tails = [step[::-1] for e in examples for step in e.steps]
    place = 0
    while len({tail[place] for tail in tails if len(tail) > place}) == 1:
        place += 1
    return place


def fit(x, y, classes):
    """Ridge regression of one-hot y (N,) on x (N, C), both centred: a function (M, C) -> (M,)."""
    mean, std = x.mean(0), x.std(0).clamp(min=1e-6)
    x, target = (x - mean) / std, F.one_hot(y, classes).to(x)
    offset = target.mean(0)
    gram = x.T @ x + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    weight = torch.linalg.solve(gram, x.T @ (target - offset))
    return lambda x: ((x - mean) / std @ weight + offset).argmax(1)


@torch.no_grad()
def probe(method, task, examples, knobs):
    """Accuracy [step][thought] of reading a step's result from the state after a thought, thought 0
    being the state before any; and of always saying the step's most frequent result, [step].

    Fitted on problems of train. None where fewer than FEWEST problems have so many steps and
    thoughts; a column holds only problems with as many thoughts.
    """
    train, known = first_problems(task, "train", FIT * len(examples)), {}
    place = result_place(train)
    fitted, tested = [states(method, some, place, known, knobs) for some in (train, examples)]
    steps = min(part[2].shape[1] for part in (fitted, tested))
    thoughts = min(part[0].shape[1] for part in (fitted, tested))
    table = [[score(fitted, tested, i, j, len(known)) for i in range(thoughts)]
             for j in range(steps)]
    table = [row for row in table if row[0]]
    width = sum(any(row[i] for row in table) for i in range(thoughts))
    return ([[cell and cell[0] for cell in row[:width]] for row in table],
            [row[0][1] for row in table])


def states(method, examples, place, known, knobs):
    """States (N, M+1, C) before and after each thought, numbers of thoughts (N,), and the results
    of the steps (N, S) as numbers in `known`, which grows; -1 where there is none."""
    own, backbone = split_knobs(method, knobs)
    with method.model.using(**backbone):
        thoughts = think(method, examples, **own)
        h = [read_thoughts(method.model, *rows)[1]
             for rows in zip(*(t.split(BATCH) for t in thoughts))]
    words = [[step[-1 - place] if len(step) > place else "" for step in e.steps] for e in examples]
    target = torch.full((len(words), max(map(len, words))), -1)
    for row, some in enumerate(words):
        target[row, :len(some)] = torch.tensor([known.setdefault(w, len(known)) for w in some])
    return torch.cat(h).cpu().double(), thoughts[2].cpu(), target


def score(fitted, tested, i, j, classes):
    """Accuracy of reading step j's result after thought i, and of its most frequent one."""
    pairs = []
    for h, n, target in (fitted, tested):
        there = (target[:, j] >= 0) & (n >= i)
        pairs.append((h[there, i], target[there, j]))
    (x, y), (x_test, y_test) = pairs
    if min(len(y), len(y_test)) < FEWEST:
        return None
    hit = fit(x, y, classes)(x_test) == y_test
    return float(hit.double().mean()), float((y_test == y.mode().values).double().mean())


def readable(table, base):
    """The probe's table as text."""
    if not table:
        return f"fewer than {FEWEST} problems with a chain: too few for the probe"
    head = "".join(f"{f'z{i}' if i else 'before':>8}" for i in range(len(table[0])))
    lines = ["% of the steps' results read from the state after each thought",
             f"{'':8}{head}{'frequent':>10}"]
    for j, (row, frequent) in enumerate(zip(table, base)):
        cells = "".join(f"{100 * hit:8.1f}" if hit is not None else f"{'':8}" for hit in row)
        lines.append(f"step {j + 1:<3}{cells}{100 * frequent:10.1f}")
    return "\n".join(lines)


def plot(rows):
    """A figure of accuracy under every intervention, beside what can be read from the thoughts."""
    from matplotlib.figure import Figure    # slow to import; no pyplot, so no screen is needed
    groups = {}
    for r in rows:
        other = {k: v for k, v in r["knobs"].items() if k != "thoughts"}
        name = " ".join([r.get("run", r["method"]), *(f"{k}={v}" for k, v in other.items())])
        groups.setdefault(label(name), []).append(r)
    figure = Figure(figsize=(10, 1 + 2 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), 2, squeeze=False, width_ratios=(1.3, 1))
    for (bars, heat), (name, mine) in zip(panels, groups.items()):
        y = [100 * r["accuracy"] for r in mine]
        error = [[v - 100 * r["low"] for r, v in zip(mine, y)],
                 [100 * r["high"] - v for r, v in zip(mine, y)]]
        bars.bar([r["knobs"]["thoughts"] for r in mine], y, yerr=error, capsize=3)
        bars.set(title=name, ylabel="accuracy, %", ylim=(0, 103))
        bars.tick_params(axis="x", labelrotation=20)
        table = next((r["probe"] for r in mine if "probe" in r), None)
        heat.axis("on" if table else "off")
        if table:
            shades = [[math.nan if hit is None else hit for hit in row] for row in table]
            picture = heat.imshow(shades, vmin=0, vmax=1, aspect="auto")
            heat.set(xlabel="state after thought (0: before any)", ylabel="result of step")
            heat.set_yticks(range(len(table)), range(1, len(table) + 1))
            figure.colorbar(picture, ax=heat, label="read right by the probe")
    return figure


def measure(name, method, task, examples, settings, args):
    """Rows as eval.py keeps them: every setting under every intervention, and its probe."""
    if args.k or args.loss:
        raise BadInput("--k and --loss: of eval.py, not of the controls, which think greedily")
    rows = examine(name, method, task, examples, settings)
    for row in rows[::len(INTERVENTIONS)]:
        knobs = {k: v for k, v in row["knobs"].items() if k != "thoughts"}
        try:
            row["probe"], row["frequent"] = probe(method, task, examples, knobs)
        except BadInput as error:       # of a file that is gone
            print(f"{name}: without the probe, which is fitted on training problems ({error})")
            continue
        print(f"{name} {setting({'knobs': knobs})}\n"
              f"{readable(row['probe'], row['frequent'])}\n")
    return rows


def main(argv=None):
    evaluation.main(argv, "lab.controls", __doc__, measure, plot)


if __name__ == "__main__":
    main()
