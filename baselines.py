"""What the papers compare against: explicit chain of thought, no thought at all, pause tokens.

    cot     question <think> step words </think> answer <eos>   the model writes its steps
    nocot   question <think> </think> answer <eos>              straight to the answer
    pause   question <think> <pause>*n </think> answer <eos>    n more positions to compute in, but
                                                                nothing to write (arXiv 2310.02226)

A method is an nn.Module, most easily a Method, with (METHODS in train.py holds them all)
    ARGS      {flag: (default, help)} of its own
    PARENT    name of the method it starts from, or None
    words(args)     words of its own, beyond those of the task
    progress  0 to 1: share of the training that is done; the loop sets it
    SWEEP     settings of `solve` worth a row each in the results table
    __init__(backbone, vocab, args)
    loss(batch) -> (scalar, {name: detached scalar})
    solve(batch, temperature, generator, **knobs) -> [Solved], one per problem
    start_from(parent): takes over a trained PARENT; only where there is one
    target(example), right(task, example, solved)   what it should answer, and does it?
    extras(examples, solved) -> {column of the results table: value}, if it has more to tell
    groups_of(example, **knobs)     the words that each latent should hold, if it has latents
and, to be trained by rl.py,
    rollout(batch, samples, temperature, generator, **knobs) -> Rollout of samples per problem
    log_probs(rollout) -> {kind of action: (log-probability (R, T), mask (R, T))}, and third, where
                        the actions are Gaussian, their distribution, a torch Normal of (N, C)
    ACTIONS             {kind: which reward it answers for: RIGHT, LENGTH or OPTION}
It knows the backbone's interface (embed, forward with a cache, head, generate), never which it is.

    python train.py --method cot
    python train.py --method nocot
    python train.py --method pause --pauses 16
"""
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from data.common import END, EOS, PAD, PAUSE, THINK, pack
from model import Cache, last

QUESTION, OPEN, THOUGHTS, CLOSE, ANSWER = range(5)  # the parts of every sequence, in this order
RIGHT, LENGTH, OPTION = range(3)    # what an action decides: the answer, also the length, a speed


@dataclass
class Solved:
    answer: list    # words
    n_think: int    # sequential model calls spent thinking, the papers' #L
    thoughts: str   # what was thought, as text
    latents: list = ()      # what was thought in codes: their numbers, or words


@dataclass
class Rollout:
    """R sampled solutions, those of a problem next to each other, and what they consist of."""
    solved: list    # [Solved]
    option: torch.Tensor    # (R,) what was chosen before the thinking, a speed; 0 if nothing is
    acts: dict      # {name: (R, ...) tensor}: all that the method's log_probs needs
    info: dict      # {name: scalar} for the log

    def rows(self, chosen):
        """Those of some rows, chosen: a tensor of indices."""
        return Rollout([self.solved[i] for i in chosen.tolist()], self.option[chosen],
                       {name: t[chosen] for name, t in self.acts.items()}, self.info)


def column(like, token):
    """(B, 1) of one token: a part that every row of `like` (B, ...) has."""
    return torch.full_like(like[:, :1], token)


def until(ids, stop):
    """The ids before the first `stop`, and those after it."""
    cut = ids.index(stop) if stop in ids else len(ids)
    return ids[:cut], ids[cut + 1:]


def next_token_loss(model, h, labels, where):
    """Mean cross-entropy of labels (B, T) at `where` (B, T), each predicted by h (B, T-1, C) one
    position earlier. Only the chosen positions meet the vocabulary."""
    where = where[:, 1:]
    return F.cross_entropy(model.head(h[where]).float(), labels[:, 1:][where])


def states_before(model, prompt, x):
    """(R, S, C): the state that predicts each position of x (R, S, C), embeddings which continue
    prompt (R, P). Rows with the same prompt share its computation, and its gradient."""
    start, row = prompt.unique(dim=0, return_inverse=True)              # (U, P), (R,)
    new = (start != PAD).sum(1)
    cache = Cache(len(start), start.shape[1] + x.shape[1], x.device)
    h = last(model(model.embed(start), cache, new), new)                # (U, C)
    cache.select(row)
    return torch.cat([h[row][:, None], model(x[:, :-1], cache)], 1)


class Method(nn.Module):
    """What most methods have in common."""
    ARGS = {}
    PARENT = None
    SWEEP = [{}]
    progress = 0.0

    def __init__(self, backbone, vocab, args):
        super().__init__()
        self.model, self.vocab, self.args = backbone, vocab, args

    @staticmethod
    def words(args):
        return []

    @staticmethod
    def target(example):
        return example.answer

    def right(self, task, example, solved):
        return task.check(example, solved.answer)

    def extras(self, examples, solved):
        return {}

    def groups_of(self, example, **knobs):
        return None


class CoT(Method):
    """Supervised chain of thought: cross-entropy on the steps, </think>, the answer and <eos>."""
    ACTIONS = {"thought": LENGTH, "token": RIGHT}
    given = OPEN        # the prompt ends with this part; all that follows is trained and generated

    def thoughts(self, batch):
        return batch.thoughts                                               # (B, T)

    def prompt(self, batch):
        return batch.question, column(batch.question, THINK)

    def parts(self, batch):
        return (batch.question, column(batch.question, THINK), self.thoughts(batch),
                column(batch.question, END), batch.answer)

    def loss(self, batch):
        ids, part, _ = pack(*self.parts(batch))                             # (B, T)
        h = self.model(self.model.embed(ids[:, :-1]))                       # (B, T-1, C)
        loss = next_token_loss(self.model, h, ids, part > self.given)
        if batch.prefixes.shape[1] and self.given == CLOSE:
            loss = loss + self.prefix_loss(h, batch.prefixes)
        return loss, {"loss": loss.detach()}

    def prefix_loss(self, h, prefixes):
        """Without a chain: at each word of the question (B, T), the answer to it up to there."""
        where = prefixes != PAD
        logits = self.model.head(h[:, :where.shape[1]][where]).float()
        return F.cross_entropy(logits, prefixes[where])

    def solve(self, batch, temperature=0.0, generator=None):
        return self.rollout(batch, 1, temperature, generator).solved

    @torch.no_grad()
    def rollout(self, batch, samples, temperature=1.0, generator=None):
        ids, part, _ = pack(*self.prompt(batch))
        new, room = (part >= 0).sum(1), self.args.max_think + self.args.max_answer
        cache = Cache(len(ids), ids.shape[1] + room, ids.device)
        out = self.model.generate(self.model.embed(ids), new, cache, EOS, room,
                                  temperature, generator, samples)
        return Rollout([self.read(row) for row in out.tolist()], torch.zeros_like(out[:, 0]),
                       {"prompt": ids.repeat_interleave(samples, 0), "written": out}, {})

    def log_probs(self, rollout):
        """Of every word written (R, T): "thought" up to </think>, "token" after it."""
        prompt, ids = rollout.acts["prompt"], rollout.acts["written"]
        wrote = ids != PAD
        h = states_before(self.model, prompt, self.model.embed(ids))        # (R, T, C)
        logp = self.model.head(h).float().log_softmax(-1).gather(2, ids[..., None])[..., 0]
        closed = (ids == END).cumsum(1) - (ids == END).long()               # before this word
        thought = wrote & (closed == 0) & (self.given == OPEN)
        return {"thought": (logp, thought), "token": (logp, wrote & ~thought)}

    def read(self, row):
        thoughts, answer = until(until(row, EOS)[0], END)
        thoughts = self.vocab.decode(thoughts)
        return Solved(self.vocab.decode(answer), len(thoughts), " ".join(thoughts))


class NoCoT(CoT):
    """Answers at once: the same model and loss with an empty chain."""
    given = CLOSE

    def thoughts(self, batch):
        return batch.question[:, :0]                                        # (B, 0)

    def prompt(self, batch):
        return self.parts(batch)[:CLOSE + 1]

    def read(self, row):
        return Solved(self.vocab.decode(until(row, EOS)[0]), 0, "")


class Pause(NoCoT):
    """No chain either, but n <pause> tokens to compute in. One call reads them all: n_think = 0."""
    ARGS = {"pauses": (16, "number of <pause> tokens")}

    def thoughts(self, batch):
        return column(batch.question, PAUSE).expand(-1, self.args.pauses)   # (B, n)
