"""Worked examples of three files, each on one untrained problem: a few lines to read beside them.

    python -m lab.examples colar            # a chain, cut into groups and merged at two speeds
    python -m lab.examples vqvae            # the five mixtures of a chain
    python -m lab.examples recurrent        # how far each iteration of a core moves the state
"""
from types import SimpleNamespace

import torch
import torch.nn as nn

from colar import chunked, groups, merge, offsets
from data.arithmetic import Arithmetic
from data.cli import Parser
from data.common import PAD, Vocab, collate
from method import split_at
from model import GPT, Config
from recurrent import RecurrentGPT, latent_change
from vqvae import Assorted


def colar():
    """A chain, its groups at two speeds, the slot of each word, and the merged embeddings."""
    task, embed = Arithmetic(), nn.Embedding(99, 64).requires_grad_(False)
    vocab = Vocab(task.words)
    batch = collate([task.sample("val", 0)], vocab)
    thinking = batch.chain != PAD                                       # (1, T)
    print("chain  ", *vocab.decode(batch.chain[0].tolist()))
    for c in (2, 5):
        slot = groups(thinking, offsets(batch.step_of, thinking, align=True) % c)
        size = slot[0].bincount()[None]                                 # (1, S)
        z = merge(embed(batch.chain), slot, size)                       # (1, S, C)
        rows = chunked(batch.chain, batch.step_of, c, align=True)[0].tolist()
        words = [" ".join(vocab.decode(split_at(row, PAD)[0])) for row in rows]
        print(f"c = {c}  ", *(f"[{some}]" for some in words))
        print("  slot ", *slot[0].tolist())
        print("  size ", *size[0].tolist())
        print(f"  z     {tuple(z.shape)}, of variance {z.var():.2f}; a word's is 1")


def vqvae():
    """The five mixtures of a chain; its codes come from k-means alone."""
    task, args = Arithmetic(), SimpleNamespace(**{k: f.default for k, f in Assorted.FLAGS.items()})
    vocab = Vocab([*task.words, *Assorted.words(args)])
    method = Assorted(GPT(Config(len(vocab), layers=1, width=32, heads=2)), vocab, args)
    batch = collate([task.sample("val", i) for i in range(200)], vocab)
    method.vqvae.loss(batch)        # Eq. (4): the codebook starts from these chunks
    for ids in method.chain(collate(batch.examples[:1], vocab), mixtures=5).tolist():
        print(*vocab.decode(split_at(ids, PAD)[0]))


def recurrent():
    """How far each iteration of an untrained core moves the state."""
    task = Arithmetic()
    vocab = Vocab(task.words)
    backbone = RecurrentGPT(Config(len(vocab), layers=3, width=64, heads=4)).eval()
    question = task.sample("val", 0).question
    with torch.no_grad(), backbone.using(r=32, trace=[]):
        backbone(backbone.embed(torch.tensor([vocab.encode(question)])))
        moves = [float(latent_change(*two)) for two in zip(backbone.trace, backbone.trace[1:])]
    print(f"at the last of {len(question)} words:", *question)
    for n in (2, 4, 8, 16, 32):
        print(f"iteration {n:2}   |s_i - s_(i-1)| / |s_i| = {moves[n - 2]:.6f}")


def main(argv=None):
    parser = Parser("lab.examples", __doc__)
    parser.add_argument("file", choices=["colar", "vqvae", "recurrent"])
    example = {"colar": colar, "vqvae": vqvae, "recurrent": recurrent}[parser.parse(argv)["file"]]
    torch.manual_seed(0)
    example()


if __name__ == "__main__":
    main()
