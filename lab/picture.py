"""One problem as every method sees it: its chain as rows of boxes, as text and as a picture.

The boxes come from the methods' own code: the parts of a sequence, the groups of CoLaR, a mixture
of Token Assorted. look.py shows them; README.md begins with the picture.
"""
import textwrap
from dataclasses import dataclass

import torch

from baselines import Coconut
from data.common import collate
from data.rows import drawable
from lab.thoughts import SHOWN
from method import CHAIN, OPEN, pack
from recurrent import RecurrentGPT
from runs import METHODS, build
from vqvae import VQVAE, Assorted, mix

SHORT = "CoT", "CoLaR c=2", "CoLaR c=5", "Token Assorted", "recurrent depth"   # picture
WIDTH = 106         # letters in a line of the picture
COLOURS = {"word": "#f2f2f2", "given": "#ffffff", "latent": "#cfe3f7", "code": "#f9dfb8",
           "deep": "#d9ecd0"}


@dataclass
class Row:
    name: str
    about: str      # what the method does
    boxes: list     # [(text, kind)], the kinds those of COLOURS
    calls: str      # of the model, one after the other, that the thinking takes


def methods_rows(config, method, example):
    """[Row] of what all methods make of a problem; `method` is that of the run."""
    torch.manual_seed(0)        # iCoT draws how much of the chain is gone
    found = [written(config, example, *row) for row in (
        ("CoT", "cot", "writes every word of its chain"), ("no CoT", "nocot", "answers at once"),
        ("pause tokens", "pause", "is given more positions to compute in"),
        ("iCoT", "icot", "after 40% of its training: the beginning is gone", 0.4),
        ("Coconut", "coconut", "feeds its last state back"),
        ("CODI", "codi", "feeds its last state back, taught by a reader of the chain"))]
    for c in (2, 5):
        groups = other(config, "colar").true_groups(example, c=c)
        boxes = [(" ".join(words), "latent") for words in groups]
        found.append(Row(f"CoLaR c={c}", f"thinks in vectors, {c} words merged into each", boxes,
                         str(len(boxes))))
    boxes = mixture(config, method, example)
    found.append(Row("Token Assorted", "writes a code for each of the first chunks, then words",
                     boxes, str(len(boxes))))
    words, r = found[0].boxes, config.get("mean_r", RecurrentGPT.FLAGS["mean_r"].default)
    return found + [Row("recurrent depth", f"the same words, each position iterated {r} times",
                        [(word, "deep") for word, _ in words], f"{len(words)} x {r}")]


def other(config, name):
    """An untrained method on the task of a run; its flags are those of the run's method that mean
    the same there, and else have their defaults."""
    shared = METHODS[config["method"]].FLAGS
    own = {flag: f.default for flag, f in METHODS[name].FLAGS.items() if f != shared.get(flag)}
    return build({**config, **own, "method": name})[1].eval()


def written(config, example, title, name, about, progress=1.0):
    """The Row of a method that writes words, from the parts of its sequence."""
    method = other(config, name)
    method.progress = progress
    ids, part, _ = pack(*method.parts(collate([example], method.vocab)))
    said = method.vocab.decode(ids[(part == OPEN) | (part == CHAIN)].tolist())[1:]  # not <think>
    pauses = said.count("<pause>")
    latents = method.count(method.args.latents) if isinstance(method, Coconut) else 0
    boxes = [(f"z{i + 1}", "latent") for i in range(latents)]
    boxes += [(word, "word") for word in said[pauses:]]
    given = [(f"<pause> x {pauses}", "given")] if pauses else []
    return Row(title, about, given + boxes, str(len(boxes)))


def mixture(config, method, example):
    """Boxes of Token Assorted: of five mixtures of the chain the one in the middle. The codes have
    numbers if the run has a codebook."""
    assorted = method if isinstance(method, Assorted) else other(config, "assorted")
    if isinstance(method, VQVAE):
        assorted.start_from(method)
    chunk, code = assorted.vqvae.codes(collate([example], assorted.vocab))  # (1, n, L), (1, n)
    latent = assorted.latent(chunk.any(-1).expand(5, -1), mixtures=5)       # (5, n)
    latent = latent[latent.sum(1).argsort()[2:3]]                           # (1, n)
    ids = mix(chunk, assorted.first + code, latent, assorted.bo, assorted.eo)[0]
    groups = assorted.true_groups(example)
    chunks = (" ".join(words) for words, gone in zip(groups, latent[0].tolist()) if gone)
    known = isinstance(method, (VQVAE, Assorted))
    return [(f"{word} {next(chunks)}" if known else next(chunks), "code")
            if i >= assorted.first else (word, "word")
            for i, word in zip(ids.tolist(), assorted.vocab.decode(ids.tolist()))]


# ---- as text -------------------------------------------------------------------------------------

def as_text(rows, width=100):
    """A paragraph for each row; what is no word stands in brackets."""
    lines = [f"{'':16}{'steps':>7}"]
    for row in rows:
        boxes = [text if kind in ("word", "deep") else f"[{text}]" for text, kind in row.boxes]
        text = " ".join(box.replace(" ", "\u00a0") for box in boxes) or "(nothing)"
        lines += textwrap.wrap(f"{row.name:<16}{row.calls:>7}  {text}", width,
                               subsequent_indent=" " * 25)
    return "\n".join(lines).replace("\u00a0", " ")


def table(titles, rows):
    """Columns as wide as they need to be."""
    rows = [titles, *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(titles))]
    return "\n".join("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths)).rstrip()
                     for row in rows)


def tensors(layout):
    """The names, shapes and, but for the question's, numbers of a layout."""
    start = 0
    if layout[0][0] == "ids":
        start = int((layout[1][1] == OPEN).long().argmax())     # of <think>
        start -= layout[-1][0] == "size"                        # CoLaR: of the speed before it
    text = table(("", "shape", f"from {start} on"), [
        (name, str(tuple(t.shape)), " ".join(map(str, t.flatten().tolist()[start:])))
        for name, t in layout])
    return text + ("\nparts: 0 question, 1 <think>, 2 chain, 3 </think>, 4 answer" if start else "")


def predictions(found):
    """The Places of look.py; the floor only where labels are several words."""
    titles = "after", "should follow", "it says", "ce", "floor", "excess", "error"
    rows = [(p.after, p.label, p.says, f"{p.ce:.3f}", f"{p.floor:.3f}", f"{p.ce - p.floor:.3f}",
             "" if p.error is None else f"{p.error:.3f}") for p in found]
    n = 7 if any(p.floor for p in found) else 4
    return table(titles[:n], [row[:n] for row in rows])


def thinking(said, true, rows):
    """Thoughts, the true ones, and the accuracy left without each, of rows of lab/thoughts.py. Of
    thoughts that do not end the first ones."""
    if not said:
        return "(none that can be shown)"
    more = len(said) - (len(true) + 3 if true else SHOWN)
    said = said[:-more] if more > 0 else said
    left = [f"{100 * r['accuracy']:.0f}% ({100 * r['low']:.0f} to {100 * r['high']:.0f})"
            for r in rows[1:]]
    title = f"left of {100 * rows[0]['accuracy']:.0f}% ({rows[0]['n']} problems)" if rows else ""
    text = table(("", "thought", "true" if true else "", title), [
        (str(i + 1), text, *(some[i] if i < len(some) else "" for some in (true, left)))
        for i, text in enumerate(said)])
    return text + (f"\n... and {more} more" if more > 0 else "")


# ---- as a picture --------------------------------------------------------------------------------

def in_lines(boxes):
    """Boxes in lines of the picture: [[(column, text, kind)]]."""
    lines, column = [[]], 0
    for text, kind in boxes:
        if column + len(text) > WIDTH - 12 and lines[-1]:
            lines.append([])
            column = 0
        lines[-1].append((column, text, kind))
        column += len(text) + 1.6
    return lines


def plot(example, rows, below=()):
    """The problem and the rows, 9 inches wide. below: functions that draw on axes under them."""
    from matplotlib.figure import Figure    # slow to import; no pyplot, so no screen is needed
    question = textwrap.wrap(" ".join([*example.question, "\u2192", *example.answer]), WIDTH - 12)
    placed = [in_lines(row.boxes) for row in rows]
    height = 3 + 1.3 * len(question) + sum(2.1 + 1.8 * len(lines) for lines in placed)
    inches = 0.17 * height
    figure = Figure(figsize=(9, inches + 2.8 * len(below)))
    share = inches / figure.get_figheight()
    axes = figure.add_axes((0, 1 - share, 1, share))
    axes.set(xlim=(-1.5, WIDTH + 1.5), ylim=(height, 0))    # a unit: a letter, a line
    axes.axis("off")
    axes.text(0, 1.4, "One problem, as each method thinks about it", size=13, weight="bold",
              va="center")
    axes.text(WIDTH, 2.4, "thinking\nsteps", ha="right", va="center", size=9, color="0.35")
    y = 3.4
    for line in question:
        axes.text(0, y, drawable(line), **mono())
        y += 1.3
    for row, lines in zip(rows, placed):
        y = draw_row(axes, y + 0.6, row, lines)
    for i, panel in enumerate(below):
        panel(figure.add_axes((0.07, (len(below) - 1 - i + 0.36) * (1 - share) / len(below),
                               0.91, 0.5 * (1 - share) / len(below))))
    return figure


def mono():
    """Keywords of a text whose letters are a unit wide."""
    size = 9 * 72 / (WIDTH + 3) / 0.602
    return {"family": "DejaVu Sans Mono", "size": 0.95 * size, "va": "center"}


def draw_row(axes, y, row, lines):
    """Draws a row from height y on. Returns the height at which it ends."""
    from matplotlib.patches import FancyBboxPatch
    axes.text(0, y, row.name, size=9.5, weight="bold", va="center")
    axes.text(18, y, row.about, size=9, color="0.35", va="center")
    axes.text(WIDTH, y + 1.6, row.calls.replace("x", "\u00d7"), size=13, weight="bold", ha="right",
              va="center")
    y += 1.6
    if not row.boxes:
        axes.text(0, y, "(nothing)", size=9, color="0.35", va="center")
    for line in lines:
        for x, text, kind in line:
            for shift in (0.5, 0.25, 0) if kind == "deep" else (0,):
                axes.add_patch(FancyBboxPatch(
                    (x + shift, y - 0.65 - shift / 2), len(text) + 0.7, 1.3, ec="0.45", lw=0.6,
                    fc=COLOURS[kind], boxstyle="round,pad=0,rounding_size=0.3"))
            axes.text(x + 0.35 + len(text) / 2, y, drawable(text), ha="center", **mono())
        y += 1.8
    return y - 0.1


def bars_of_loss(axes, places):
    """The cross-entropy at each Place of look.py, and its floor."""
    x, floor = range(len(places)), [p.floor for p in places]
    axes.bar(x, floor, color="0.8", label="floor: the entropy of the words that should follow")
    axes.bar(x, [p.ce - p.floor for p in places], bottom=floor, color="C3", label="excess")
    axes.set(title="Cross-entropy of what should follow", ylabel="nats")
    name_ticks(axes, [p.label for p in places])
    axes.set_ylim(0, 1.4 * max([p.ce for p in places], default=1))      # the legend is above
    axes.legend(fontsize=8, ncols=2, loc="upper right")


def bars_of_thoughts(axes, rows, said):
    """The accuracy that is left when one thought is replaced: rows of lab/thoughts.py."""
    kept, *rows = rows
    y = [100 * r["accuracy"] for r in rows]
    error = [[v - 100 * r["low"] for r, v in zip(rows, y)],
             [100 * r["high"] - v for r, v in zip(rows, y)]]
    axes.bar(range(len(rows)), y, yerr=error, capsize=2, color="C0")
    axes.axhline(100 * kept["accuracy"], color="0.4", ls="--")
    axes.set(title="Accuracy left if this thought is another problem's and the model thinks on "
             f"(dashed: as it is; {kept['n']} problems)", ylabel="%", ylim=(0, 103))
    name_ticks(axes, said[:len(rows)])


def name_ticks(axes, texts):
    axes.set_xticks(range(len(texts)), map(drawable, texts), rotation=60, ha="right",
                    rotation_mode="anchor", fontsize=7.5)
    axes.title.set_size(9.5)
    axes.set_xlim(-0.7, len(texts) - 0.3)
