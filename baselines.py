"""What the papers compare against: explicit chain of thought, no thought at all, pause tokens.

    cot     question <think> step words </think> answer <eos>   the model writes its steps
    nocot   question <think> </think> answer <eos>              straight to the answer
    pause   question <think> <pause>*n </think> answer <eos>    n more positions to compute in, but
                                                                nothing to write (arXiv 2310.02226)

A method is an nn.Module with (METHODS in train.py holds them all)
    ARGS      {flag: (default, help)} of its own
    PARENT    name of the method it starts from, or None
    SWEEP     settings of `solve` worth a row each in the results table
    __init__(backbone, vocab, args)
    loss(batch) -> (scalar, {name: detached scalar})
    solve(batch, temperature, generator, **knobs) -> [Solved], one per problem
    start_from(parent): takes over a trained PARENT; only where there is one
It knows the backbone's interface (embed, forward with a cache, head), never which backbone it is.

    python train.py --method cot
    python train.py --method nocot
    python train.py --method pause --pauses 16
"""
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from data.common import END, EOS, PAUSE, THINK, pack
from model import Cache, generate

QUESTION, OPEN, THOUGHTS, CLOSE, ANSWER = range(5)  # the parts of every sequence, in this order


@dataclass
class Solved:
    answer: list    # words
    n_think: int    # sequential model calls spent thinking, the papers' #L
    thoughts: str   # what was thought, as text


def column(batch, token):
    """(B, 1) of one token: a part that every row has."""
    return torch.full_like(batch.question[:, :1], token)


def until(ids, stop):
    """The ids before the first `stop`, and those after it."""
    cut = ids.index(stop) if stop in ids else len(ids)
    return ids[:cut], ids[cut + 1:]


def next_token_loss(model, h, labels, where):
    """Mean cross-entropy of labels (B, T) at `where` (B, T), each predicted by h (B, T-1, C) one
    position earlier. Only the chosen positions meet the vocabulary."""
    where = where[:, 1:]
    return F.cross_entropy(model.head(h[where]).float(), labels[:, 1:][where])


class CoT(nn.Module):
    """Supervised chain of thought: cross-entropy on the steps, </think>, the answer and <eos>."""
    ARGS = {}
    PARENT = None
    SWEEP = [{}]
    given = OPEN        # the prompt ends with this part; all that follows is trained and generated

    def __init__(self, backbone, vocab, args):
        super().__init__()
        self.model, self.vocab, self.args = backbone, vocab, args

    def thoughts(self, batch):
        return batch.thoughts                                               # (B, T)

    def parts(self, batch):
        return (batch.question, column(batch, THINK), self.thoughts(batch), column(batch, END),
                batch.answer)

    def loss(self, batch):
        ids, part, _ = pack(*self.parts(batch))                             # (B, T)
        h = self.model(self.model.embed(ids[:, :-1]))                       # (B, T-1, C)
        loss = next_token_loss(self.model, h, ids, part > self.given)
        return loss, {"loss": loss.detach()}

    @torch.no_grad()
    def solve(self, batch, temperature=0.0, generator=None):
        ids, part, _ = pack(*self.parts(batch)[:self.given + 1])            # the prompts
        new, room = (part >= 0).sum(1), self.args.max_think + self.args.max_answer
        cache = Cache(len(ids), ids.shape[1] + room, ids.device)
        out = generate(self.model, self.model.embed(ids), new, cache, EOS, room,
                       temperature, generator)
        return [self.read(row) for row in out.tolist()]

    def read(self, row):
        thoughts, answer = until(until(row, EOS)[0], END)
        thoughts = self.vocab.decode(thoughts)
        return Solved(self.vocab.decode(answer), len(thoughts), " ".join(thoughts))


class NoCoT(CoT):
    """Answers at once: the same model and loss with an empty chain."""
    given = CLOSE

    def thoughts(self, batch):
        return batch.question[:, :0]                                        # (B, 0)

    def read(self, row):
        return Solved(self.vocab.decode(until(row, EOS)[0]), 0, "")


class Pause(NoCoT):
    """No chain either, but n <pause> tokens to compute in. One call reads them all: n_think = 0."""
    ARGS = {"pauses": (16, "number of <pause> tokens")}

    def thoughts(self, batch):
        return column(batch, PAUSE).expand(-1, self.args.pauses)            # (B, n)
