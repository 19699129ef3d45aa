"""What the codes of a VQ-VAE stand for: the chunks that share a code, and how much they rebuild.

    python -m lab.codes RUN         # RUN: of vqvae or assorted; also draws RUN/codes.png
"""
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import torch

from data.cli import BadInput, Flag, Parser, one_line
from data.common import PAD, collate
from data.files import draw, writable
from data.problems import problems
from method import split_at
from runs import load_run
from vqvae import VQVAE


@torch.no_grad()
def meanings(vqvae, examples):
    """{code: Counter of the chunks that it stands for}; vqvae in eval mode."""
    chunk, code = vqvae.codes(collate(examples, vqvae.vocab))
    has_chunk, found = chunk.any(-1), {}                                        # (B, n)
    for k, row in zip(code[has_chunk].tolist(), chunk[has_chunk].tolist()):
        text = " ".join(vqvae.vocab.decode(split_at(row, PAD)[0]))
        found.setdefault(k, Counter())[text] += 1
    return found


def lines(found, n=20, chunks=4):
    """The n most used codes as text: share of all chunks, and the chunks that share the code."""
    total = sum(sum(c.values()) for c in found.values())
    for k, c in sorted(found.items(), key=lambda item: -sum(item[1].values()))[:n]:
        some = "   ".join(f"{text} ({100 * m / sum(c.values()):.0f}%)"
                          for text, m in c.most_common(chunks))
        more = f"   and {len(c) - chunks} more" if len(c) > chunks else ""
        yield f"<z{k}>".ljust(7) + f"{100 * sum(c.values()) / total:4.1f}%   {some}{more}"


def plot(found, codes):
    """Code usage, most used first, and beside it what the most used ones stand for."""
    from matplotlib.figure import Figure    # slow to import; no pyplot, so no screen is needed
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    use, table = figure.subplots(1, 2, width_ratios=(1, 2.8))
    count = sorted((sum(c.values()) for c in found.values()), reverse=True)
    use.bar(range(len(count)), [100 * n / sum(count) for n in count], width=1)
    use.set(xlim=(0, codes), xlabel="codes, most used first", ylabel="% of chunks")
    table.axis("off")
    table.set_title("what the most used codes stand for", fontsize=9)
    table.text(0, 1, "\n".join(line[:128] for line in lines(found)), family="monospace",
               fontsize=7.5, va="top", transform=table.transAxes)
    return figure


FLAGS = {
    "split": Flag("test", "test, val, the task's own, or fresh: see data/common.py"),
    "n": Flag(500, "problems", least=1),
    "data": Flag("", "a JSON file of problems instead of a split"),
}


def main(argv=None):
    parser = Parser("lab.codes", __doc__)
    parser.add_argument("run", metavar="RUN", help="run folder of vqvae or assorted")
    parser.add_flags(FLAGS)
    with one_line("lab.codes"):
        args = SimpleNamespace(**parser.parse(argv))
        picture = Path(args.run) / "codes.png"
        task, method, _ = load_run(args.run)
        vqvae = getattr(method, "vqvae", method).eval()
        if not isinstance(vqvae, VQVAE):
            raise BadInput(f"{args.run}: has no codes; a run of vqvae or assorted is needed")
        writable(picture)
        examples = problems(task, args)
        found = meanings(vqvae, examples)
        if not found:
            raise BadInput(f"{args.run}: no problem of {args.data or args.split} has a step to "
                           "make codes of")
        rebuilt, mixed = vqvae.rebuilt(examples)
        print("\n".join(lines(found)))
        print(f"\n{100 * rebuilt:.1f}% of words rebuilt from the codes, {100 * mixed:.1f}% from "
              f"codes that changed places; {len(found)} of {vqvae.args.codes} codes in use")
        draw(plot(found, vqvae.args.codes), picture)
        print(f"saved {picture}")


if __name__ == "__main__":
    main()
