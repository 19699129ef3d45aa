"""The contract of a method: what it must implement, what it may, and what it is made of.

A method is one way to think. It is an nn.Module around a backbone, and writes sequences of five
parts, of which the middle one, the chain, is its own affair:

    question   <think>   chain   </think>   answer <eos>

To add one, write a subclass of Method and give it a line in METHODS (runs.py). It must have `loss`
and `rollout`, or `solve` where there is nothing to sample. `log_probs` and ACTIONS let rl.py
reinforce it; `thoughts_read` lets lab/controls.py change its thoughts, `think_on` lets
lab/thoughts.py see what it thinks after them. Flags and knobs that it declares reach every command
line.

A method knows the backbone's interface (embed, forward with a cache, head, generate), never which
backbone it has: all methods run on all of them.

Precision. Weights are float32, and train.py runs `loss` under autocast where a GPU is faster in
half precision: matrix products come out as bfloat16 or float16 there, norms and embeddings do not.
What is summed or exponentiated is first made `at_least_float32`. Tests run methods in float64
(`method.double()`), where two ways to compute the same agree to 1e-9 on every processor; so nothing
may be cast down to float32.
"""
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F

from data.cli import BadInput
from data.common import END, EOS, PAD
from model import GREEDY, Cache, at_least_float32, ends

QUESTION, OPEN, CHAIN, CLOSE, ANSWER = range(5)     # the parts of every sequence, in this order
RIGHT, LENGTH, OPTION = range(3)    # what an action decides: answer; answer and length; speed


@dataclass
class Solved:
    """One problem's solution."""
    answer: list        # words
    n_think: int        # sequential model calls spent thinking, the papers' #L
    thoughts: str       # what was thought, as text
    latents: list = ()  # what was thought in codes: their numbers, or words


@dataclass
class Rollout:
    """R sampled solutions, those of a problem next to each other, and what they consist of."""
    solved: list            # R of Solved
    option: torch.Tensor    # (R,) what was chosen before the thinking, a speed; 0 if nothing is
    acts: dict              # {name: (R, ...) tensor}: all that the method's log_probs needs
    info: dict              # {name: scalar} for the log

    def rows(self, chosen):
        """The Rollout of some rows only; chosen: a tensor of their indices."""
        return Rollout([self.solved[i] for i in chosen.tolist()], self.option[chosen],
                       {name: t[chosen] for name, t in self.acts.items()}, self.info)


class Method(nn.Module):
    """Base of all methods. B problems of a batch, T tokens, C the backbone's width, V words.

    Attributes of a class, each with a default:
    FLAGS       {name: Flag}: its own settings, found in self.args
    KNOBS       {name: Flag}: keyword arguments of `solve` and `rollout`, set at inference
    PARENT      name of the method that it starts from, or None
    ALONE       must one process see every batch, since it learns in other ways than by gradients?
    IN_WORDS    does it write its whole chain in words, so that a task may compute it?
    ACTIONS     {kind of action: RIGHT, LENGTH or OPTION}: what it answers for; {}: no rl.py
    branches    how many sequences an update trains for each problem; they share its question
    progress    share of the training that is done. The loop sets it
    """
    FLAGS = {}
    KNOBS = {}
    PARENT = None
    ALONE = False
    IN_WORDS = False
    ACTIONS = {}
    branches = 1
    progress = 1.0

    def __init__(self, backbone, vocab, args):
        """backbone: a GPT or RecurrentGPT; vocab: its Vocab; args: every setting of the run."""
        super().__init__()
        self.model, self.vocab, self.args = backbone, vocab, args

    @staticmethod
    def words(args):
        """Words of its own, beyond the task's: a list of strings."""
        return []

    # ---- every method ----

    def loss(self, batch):
        """Batch -> (scalar to minimise, {name: detached scalar for the log, besides the loss})."""
        raise NotImplementedError

    def forward(self, batch):
        """`loss`, as DistributedDataParallel calls it."""
        return self.loss(batch)

    def solve(self, batch, sample=GREEDY, **knobs):
        """Batch -> B of Solved. sample: a Sampler; knobs: those of KNOBS."""
        return self.rollout(batch, 1, sample, **knobs).solved

    def rollout(self, batch, samples, sample=GREEDY, **knobs):
        """Batch -> Rollout of `samples` solutions for each of its problems."""
        raise NotImplementedError

    def settings(self):
        """Knobs of `solve` worth a row each in the table of results. rl.py practises the last."""
        return [{}]

    def shown(self):
        """Knobs that worked problems are shown at."""
        return self.settings()[0]

    def start_from(self, parent):
        """Takes over a trained method of the kind PARENT. Needed only where there is one."""
        raise NotImplementedError

    # ---- what is right, and what there is to tell ----

    def target(self, example):
        """The words that it should answer."""
        return example.answer

    def right(self, task, example, solved):
        """Is this Solved right?"""
        return task.check(example, computed(task, example, solved.thoughts.split(), solved.answer))

    def extras(self, examples, solved):
        """{column of the table of results: number}, if it has more to tell than its accuracy."""
        return {}

    def true_groups(self, example, **knobs):
        """The words that each latent should hold, a list of lists; None if it has no latents."""
        return None

    # ---- to be reinforced, and to be examined ----

    def reinforceable(self, **knobs):
        """Those of ACTIONS that there are at these knobs; BadInput if rl.py cannot reinforce it."""
        if not self.ACTIONS:
            raise BadInput(f"{self.args.method} writes nothing to reinforce")
        return self.ACTIONS

    def log_probs(self, rollout):
        """{kind of action: (log-probability (R, T), mask (R, T), Normal or None)} of a rollout.

        The third is the distribution of Gaussian actions, one row for each True of the mask.
        """
        raise NotImplementedError

    def thoughts_read(self, rollout):
        """The thoughts of a rollout as the model read them: prompts (R, P), embeddings (R, M, C),
        and how many thoughts each row has (R,)."""
        raise NotImplementedError

    def think_on(self, prompt, z, **knobs):
        """Goes on, greedily, after the first n >= 1 thoughts of each row, whoever thought them.

        prompt (R, P) and z (R, n, C): as thoughts_read returns them. Returns R of Solved, whose
        n_think and thoughts are those that follow. After its own thoughts a row answers as `solve`.
        """
        raise NotImplementedError

    def latent_words(self, rollout):
        """Of each row and latent of a rollout the words that it is most like: R lists of lists."""
        raise NotImplementedError


def computed(task, example, chain, answer):
    """The words of an answer after a chain; where a task computes its chains, its value."""
    return task.compute(example, chain, answer) if hasattr(task, "compute") else answer


def can(method, name):
    """Does this method implement an optional part of the contract?"""
    return getattr(type(method), name) is not getattr(Method, name)


# ---- sequences of ragged parts -------------------------------------------------------------------

def column(like, token):
    """(B, 1) of one token: a part that every row of `like` (B, T) has, also where T is 0."""
    return like.new_full((len(like), 1), token)


def pack(*parts):
    """Joins ragged parts row by row without padding between them.

    parts: (B, T_i) each, 0 = pad. Returns ids (B, T) padded on the right, part (B, T): the number
    of the part that each token came from (-1 = pad), and order (B, T): where in cat(parts) it was.
    """
    ids = torch.cat(parts, 1)
    part = torch.cat([torch.full_like(p, i) for i, p in enumerate(parts)], 1)
    real = ids != PAD
    order = (~real).byte().argsort(dim=1, stable=True)[:, :int(real.sum(1).max())]  # real first
    part = part.masked_fill(~real, -1)
    return ids.gather(1, order), part.gather(1, order), order


def split_at(ids, stop):
    """A list of ids before the first `stop`, and those after it."""
    cut = ids.index(stop) if stop in ids else len(ids)
    return ids[:cut], ids[cut + 1:]


class Tree(NamedTuple):
    """Rows in which several texts branch off a common one: how the backbone has to read them."""
    positions: torch.Tensor     # (B, T): those of a text go on from the common one's
    sees: torch.Tensor          # (B, 1, T, T): may a token look at that one?
    parent: torch.Tensor        # (B, T): the index of the token before; -1: there is none


def tree(branch):
    """branch (B, T): 0 where a token is common to all of a row, then 1 ... 1, 2 ... 2, ... for
    those of each text, which sees the common one and itself; at the end -1, padding -> Tree."""
    t = torch.arange(branch.shape[1], device=branch.device)
    sees = ((branch[:, None] == 0) | (branch[:, None] == branch[:, :, None])).tril()    # (B, T, T)
    common = (branch == 0).sum(1, keepdim=True)
    first = branch != F.pad(branch, (1, -1))                # of its text
    return Tree(sees.sum(-1) - 1, sees[:, None], torch.where(first, common, t) - 1)


# ---- what the model says about them --------------------------------------------------------------

def cross_entropy(model, h, ids):
    """The mean over states h (N, C) of -log p of the words ids (N,) that follow them."""
    return F.cross_entropy(at_least_float32(model.head(h)), ids)


def log_softmax(model, h):
    """Log-probabilities (..., V) of the word that follows each state h (..., C)."""
    return at_least_float32(model.head(h)).log_softmax(-1)


def read_all(model, ids, cache=None, layers=None, at=None):
    """The states (B, T-1, C) at ids (B, T) but for each row's last word, which nothing follows.
    cache, layers, at (B, T-1): as in GPT.forward; with `at`, (N, C)."""
    return model(model.embed(ids[:, :-1]), cache, (ids != PAD).sum(1) - 1, layers, at=at)


def next_token_loss(model, ids, said):
    """Mean cross-entropy of the words of ids (B, T) that are `said` (B, T), one state earlier."""
    said = said[:, 1:]                                                          # (B, T-1)
    return cross_entropy(model, read_all(model, ids, at=said), ids[:, 1:][said])


def read_prompt(model, ids):
    """Reads prompts ids (R, P). Returns a cache that holds them, and their last states (R, C)."""
    cache, lengths = Cache(), (ids != PAD).sum(1)
    return cache, model(model.embed(ids), cache, lengths, at=ends(ids, lengths))


def states_before(model, prompt, x, lengths):
    """(R, S, C): the state that predicts each position of x (R, S, C), embeddings which continue
    prompt (R, P), of which lengths (R,) per row are no padding. Rows with the same prompt share its
    computation, and its gradient."""
    start, row = (t.to(x.device) for t in      # (U, P), (R,); MPS has it from torch 2.10 on
                  prompt.cpu().unique(dim=0, return_inverse=True))
    cache, h = read_prompt(model, start)                                # (U, C)
    h = h[row][:, None]                                                 # (R, 1, C)
    if x.shape[1] == 1:
        return h        # the prompt alone predicts it
    cache.select(row)
    return torch.cat([h, model(x[:, :-1], cache, lengths - 1)], 1)


# ---- thoughts as embeddings ----------------------------------------------------------------------

def read_thoughts(model, prompt, z, n=None):
    """Reads prompts (R, P), then thoughts z (R, M, C), of which n (R,) count (None: all). Returns
    the cache, and the states (R, M+1, C) before the first thought and after each."""
    cache, h = read_prompt(model, prompt)
    h = h[:, None]                                                                      # (R, 1, C)
    return cache, torch.cat([h, model(z, cache, n)], 1) if z.shape[1] else h


def answer_after(model, cache, max_answer, sample=GREEDY):
    """Ends the thoughts that a cache holds with </think> in all of its R rows, and returns what the
    model then writes: ids (R, <= max_answer), PAD after <eos>. Uses up the cache."""
    end = model.embed(torch.full_like(cache.lengths, END))[:, None]                     # (R, 1, C)
    return model.generate(end, None, cache, EOS, max_answer, sample)
