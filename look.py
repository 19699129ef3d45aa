"""One problem on a page: what every method makes of its chain, and what a run makes of the problem.

    python look.py                          # an untrained CoLaR of size nano
    python look.py RUN --index 7 --c 5      # a trained run, another problem, another speed
    python look.py RUN --plot page.png      # the page as a picture, too
    python look.py RUN --question "Ann has 8 . Ben has 4 more than Ann . how many does Ben have ?"
    python look.py --methods-only --index 23 --plot results/one-problem.png

All of it is made by the code that trains and tests:

    THE CHAIN   as each method sees it, and how many calls of the model, one after the other, its
                thinking takes
    THE LAYOUT  the tensors that the run's loss makes of this problem, and their shapes; shown from
                the speed or <think> on
    PREDICTED   what should follow each slot or word; what the model says, the likeliest first; the
                cross-entropy (ce), its floor, which is the entropy of the words that should follow,
                and the excess; of a latent also the squared error
    THE LOSS    of this problem alone, at this speed, or in this mixture of codes and words
    THOUGHTS    of the run, as words, beside the true ones. Of a trained run also the accuracy that
                is left on problems with as many thoughts if this one is another problem's and the
                model thinks on from there (lab/thoughts.py)

The problem is one of validation, never of the test. Of a question of your own no chain is known:
then the page has thoughts and an answer only.
"""
import textwrap
from dataclasses import dataclass, replace
from types import SimpleNamespace

import torch
import torch.nn.functional as F

from baselines import Coconut, CoT
from colar import CoLaR, merge
from data.cli import BadInput, Flag, Parser, choice, named, one_line, unless
from data.common import FIRST_WORD, PAD, Example, collate, first_problems
from data.files import can_draw, draw
from eval import split_knobs
from lab import picture, thoughts
from lab.controls import check_cache
from method import CHAIN, OPEN, can, computed, pack, split_at
from model import changed
from runs import build, knobs_of, limits, load_run, make_task, parse
from vqvae import VQVAE, Assorted

UNTRAINED = ["--method", "colar", "--size", "nano"]


# ---- layout and predictions ----------------------------------------------------------------------

@dataclass
class Place:
    """What should be predicted at one place: a slot, a word or a chunk."""
    after: str      # what stands before it
    label: str
    says: str       # as many words as the label has
    ce: float
    floor: float = 0.0
    error: float = None


def places(method, batch, own):
    """What the loss of a run makes of one problem: ([(name, tensor)], [Place]). own: the knobs of
    its `solve`."""
    if isinstance(method, CoLaR):
        return slots(method, batch, own["c"])
    if isinstance(method, VQVAE):
        return chunks(method, batch)
    return words(method, batch) if isinstance(method, CoT) else ([], [])


def slots(method, batch, c):
    """Of CoLaR: as in its `loss`, at one speed."""
    ids, part, _, slot, size = method.layout(batch, torch.tensor([[c]]))
    z = merge(method.model.embed(ids), slot, size, method.args.pool)            # (1, S+1, C)
    said = torch.full_like(size, -1).scatter(1, slot, part) > OPEN              # (1, S+1)
    h = method.model(z[:, :-1], None, (size > 0).sum(1) - 1, at=said[:, 1:])    # (N, C)
    ce, floor = method.lm_loss(h, ids, slot, size, said)
    error = (method.latent_head.likeliest(h) - z[said] / method.std).square().mean(1)
    holds = [method.vocab.decode(ids[slot == s].tolist()) for s in range(size.shape[1])]
    found = []
    for i, s in enumerate(said[0].nonzero()[:, 0].tolist()):
        says = method.vocab.decode(method.model.head(h[i]).topk(len(holds[s])).indices.tolist())
        latent = bool((part[slot == s] == CHAIN).all())
        found.append(Place(" ".join(holds[s - 1]), " ".join(holds[s]), " ".join(says),
                           float(ce[i]), float(floor[i]), float(error[i]) if latent else None))
    return [("ids", ids), ("part", part), ("slot", slot), ("size", size)], found


def words(method, batch):
    """Of a method that writes words after what it is given, or after latents."""
    parts, k = method.parts(batch), method.given + 1
    ids, part, _ = pack(*parts)
    prompt, ahead = pack(*parts[:k])[0], pack(*parts[k:])[0]                    # (1, P), (1, T)
    logits = method.model.head(method.states({"prompt": prompt, "written": ahead})[0])  # (T, V)
    ce = F.cross_entropy(logits, ahead[0], reduction="none").tolist()
    before, label, says = (method.vocab.decode(some.tolist()) for some in (
        prompt[0, -1:], ahead[0], logits.argmax(-1)))
    if isinstance(method, Coconut) and method.count(method.args.latents):
        before = [f"z{method.count(method.args.latents)}"]      # the last of what it feeds back
    return [("ids", ids), ("part", part)], [
        Place(*some) for some in zip(before + label, label, says, ce)]


def chunks(method, batch):
    """Of the VQ-VAE, which rebuilds each chunk from its code."""
    chunk, code = method.codes(batch)                                   # (1, n, L), (1, n)
    logits = method.decode(batch.question, code >= 0, method.codebook.code[code[0]])  # (n, L, V)
    ce = F.cross_entropy(logits.transpose(1, 2), chunk[0], reduction="none").mean(1).tolist()
    label, says = ([" ".join(method.vocab.decode(split_at(row, PAD)[0])) for row in some.tolist()]
                   for some in (chunk[0], logits.argmax(-1)))
    return [("chunk", chunk), ("code", code)], [
        Place(f"<z{k}>", *some) for k, *some in zip(code[0].tolist(), label, says, ce)]


# ---- the page ------------------------------------------------------------------------------------

def page(args, config, task, method, example, own, backbone):
    """Prints the page, and draws it if asked to. own, backbone: the knobs of method and backbone;
    the latter are set."""
    of_run, rows, panels = not args.methods_only, [], []
    title = args.run or "an untrained run of size nano"
    print(f"{title}: {config['method']} on {config['task']}", *(f"{k}={v}" for k, v in own.items()))
    print(textwrap.fill("question  " + " ".join(example.question), 100, subsequent_indent=" " * 10))
    if args.question:
        print("the chain of your own question is not known: no layout and no loss")
    else:
        print("answer   ", *example.answer)
        rows = picture.methods_rows(config, method, example)
        print(f"\nTHE CHAIN, as each method sees it\n{picture.as_text(rows)}")
    if of_run and not args.question:
        found = learning(config, method, example, own)
        panels.append(lambda axes: picture.bars_of_loss(axes, found))
    if of_run:
        said, left = thinking(args, task, method, example, own, backbone)
        if left[1:]:
            panels.append(lambda axes: picture.bars_of_thoughts(axes, left, said))
    if args.plot:
        rows = [row for row in rows if row.name in picture.SHORT or of_run]
        draw(picture.plot(example, rows, panels), args.plot)


def learning(config, method, example, own):
    """Prints layout, predictions and loss. Returns the Places."""
    batch = collate([example], method.vocab)
    torch.manual_seed(0)        # what a loss draws
    layout, found = places(method, batch, own)
    torch.manual_seed(0)
    with changed(method, branches=1):       # one speed or mixture: that of the layout
        loss, parts = method.loss(batch, *([torch.tensor([[own["c"]]])] if "c" in own else []))
    print(f"\nTHE LAYOUT of {config['method']}\n{picture.tensors(layout)}\n\n"
          f"PREDICTED\n{picture.predictions(found)}\n\nTHE LOSS  {float(loss):.3f}",
          *(f"  {name} {float(value):.3f}" for name, value in parts.items()))
    return found


def thinking(args, task, method, example, own, backbone):
    """Prints thoughts and answer. Returns the thoughts as texts, and rows of lab/thoughts.py."""
    solved = method.solve(collate([example], method.vocab), **own)[0]
    said = thoughts.thought_words(method, example, own) if can(method, "thoughts_read") else []
    if isinstance(method, Assorted):
        chunk, first = iter(solved.latents), method.first       # what its codes stand for
        said = [f"{w} {' '.join(next(chunk))}" if method.vocab.ids[w] >= first else w for w in said]
    true, left, right = [], [], ""
    if not args.question:
        right = "   right" if method.right(task, example, solved) else "   WRONG"
        if can(method, "latent_words"):
            true = [" ".join(group) for group in method.true_groups(example, **own)]
        if args.run:
            left = thoughts.left(method, task, example, len(said), args.n, own | backbone)
    answer = computed(task, example, solved.thoughts.split(), solved.answer)
    answer = textwrap.shorten(" ".join(answer), 60, placeholder=" ...")
    print(f"\nTHOUGHTS\n{picture.thinking(said, true, left)}\n\n"
          f"after {solved.n_think} thinking steps it answers {answer}{right}")
    return said, left


def no_swaps(settings):
    """Flag.idle of --n."""
    if not settings["run"]:
        return "without RUN"
    return unless(question=[""], methods_only=[False])(settings)


FLAGS = {
    "index": Flag(0, "number of the problem of validation", idle=unless(question=[""])),
    "question": Flag("", "a question of your own instead, in the words of the task"),
    "n": Flag(100, "problems that exchange thoughts, at most", least=2, idle=no_swaps),
    "methods_only": Flag(False, "only the chain as each method sees it; drawn, five of them"),
    "plot": Flag("", "write the page to this .png, .pdf or .svg, too"),
}


def opened(run):
    """Config, task and method of a run, or of an untrained one."""
    if run:
        task, method, state = load_run(run)
        return state["config"], task, method.eval()
    config = parse(UNTRAINED)
    task = make_task(config)
    config |= limits(task)
    torch.manual_seed(0)
    _, method = build(config, task)
    method.start_from(build({**config, "method": method.PARENT}, task)[1])
    return config, task, method.eval()


def problem(task, method, args):
    """The Example that the page is about."""
    if args.question:
        words, known = args.question.split(), method.vocab.words[FIRST_WORD:]
        if not words:
            raise BadInput("--question: it has no words")
        if hasattr(task, "ask"):
            return task.ask(args.question)
        for word in words:
            if word not in known:
                raise BadInput(f"--question: {word!r} is no word of this run's vocabulary")
        return Example(words, [], [], 0)
    found = first_problems(task, "val", args.index + 1)
    if len(found) <= args.index:
        raise BadInput(f"--index {args.index}: validation has {len(found)} problems")
    return found[args.index]


def main(argv=None):
    parser, knobs = Parser("look.py", __doc__), knobs_of("look.py", FLAGS)
    parser.add_argument("run", nargs="?", type=named, metavar="RUN", help="run folder")
    parser.add_flags(FLAGS)
    parser.add_flags({name: replace(flag, idle=unless(methods_only=[False]))
                      for name, flag in knobs.items()}, many=True)
    with one_line("look.py"), torch.no_grad():
        args = SimpleNamespace(**parser.parse(argv))
        if args.plot:
            can_draw(args.plot)
        if args.question and (args.plot or args.methods_only):
            raise BadInput("--question: its chain, which a picture shows, is not known")
        config, task, method = opened(args.run)
        given = {name: getattr(args, name) for name in knobs if getattr(args, name)}
        for name, values in given.items():
            choice(name, {**method.KNOBS, **method.model.KNOBS}, f"knob of {config['method']}")
            if len(values) > 1:
                raise BadInput(f"--{name.replace('_', '-')}: a page is about one value of it")
            given[name] = values[0]
        own, backbone = split_knobs(method, method.shown() | given)
        check_cache(backbone)
        example = problem(task, method, args)
        with method.model.using(**backbone):
            if own.get("c") == "auto":
                rollout = method.rollout(collate([example], method.vocab), 1, **own)
                own["c"] = int(rollout.acts["c"])
            page(args, config, task, method, example, own, backbone)


if __name__ == "__main__":
    main()
