"""What the papers compare against: a written chain, none, pause tokens, and other latent thoughts.

    cot      question <think> step words </think> answer        the model writes its steps
    nocot    question <think> </think> answer                   straight to the answer
    icot     question <think> (rest of the steps) </think> answer           arXiv 2405.14838
    pause    question <think> <pause>*n (rest) </think> answer              arXiv 2310.02226
    coconut  question <think> z_1 ... z_n (rest) </think> answer            arXiv 2412.06769
    codi     question <think> z_1 ... z_n </think> answer                   arXiv 2502.21074

    (1) curriculum   p of the training is over, s = 3p - 1 cut to [0, 1]: of the chain's beginning
                     so much is gone (s = 1: all of it; then all n thoughts are there)
                         tokens   round(s longest) words + o, P(o) ~ exp(-4 o)      n s thoughts
                         steps    k = ceil(s K) steps                               n k/K thoughts
    (2) Coconut      z_{i+1} = std h_i: the last state, as the embedding that is read next
    (3) CODI         z_{i+1} = MLP(h_i);  loss = CE(teacher) + CE(student) + gamma * mean over
                     layers of |h_student - sg h_teacher| / std h_teacher at </think>
In every one cross-entropy is taken on all that follows what is given or fed back.

Differs from the papers:
 1. From scratch, in one run: the first third of it is CoT, in the last third the chain is gone.
    Coconut's and iCoT's optimizers start anew at every stage; here one schedule runs through.
 2. std, the embeddings' standard deviation: norms of states and embeddings differ by 1 / std.
 3. Coconut's <start> is <think>, its <end> is left out; all rows of a batch have n k/K thoughts.
 4. iCoT removes 8 tokens per epoch, and all from 39 on; Eq. (1) does it in the middle third.
 5. CODI's student and teacher share </think>, and their distance is taken there; theirs at ":".
 6. On a recurrent backbone what needs a cache, the thoughts and what follows them, is trained with
    r = --mean-r; CODI's teacher draws its r.

A method is an nn.Module, most easily a Method, with (METHODS in train.py holds them all)
    ARGS      {flag: (default, help)} of its own
    PARENT    name of the method it starts from, or None
    ALONE     must one process see every batch, since it learns in other ways than by gradients?
    words(args)     words of its own, beyond those of the task
    progress  share of the training that is done: 1, but while the loop sets it
    SWEEP     settings of `solve` worth a row each in the results table
    __init__(backbone, vocab, args)
    loss(batch) -> (scalar, {name: detached scalar})
    solve(batch, temperature, generator, **knobs) -> [Solved], one per problem
    start_from(parent): takes over a trained PARENT; only where there is one
    target(example), right(task, example, solved)   what it should answer, and does it?
    extras(examples, solved) -> {column of the results table: value}, if it has more to tell
    groups_of(example, **knobs)     the words that each latent should hold, if it has latents
and, to be examined by controls.py,
    thought(rollout) -> prompts (R, P), the R problems' thoughts as they were read, embeddings
                        (R, M, C), and how many each has (R,)
and, to be trained by rl.py,
    rollout(batch, samples, temperature, generator, **knobs) -> Rollout of samples per problem
    log_probs(rollout) -> {kind of action: (log-probability (R, T), mask (R, T))}, and third, where
                        the actions are Gaussian, their distribution, a torch Normal of (N, C)
    ACTIONS             {kind: which reward it answers for: RIGHT, LENGTH or OPTION}
It knows the backbone's interface (embed, forward with a cache, head, generate), never which it is.

    python train.py --method cot
    python train.py --method nocot
    python train.py --method pause --pauses 6 --curriculum steps --steps 6000
    python train.py --method coconut --steps 6000
    python train.py --method icot --steps 6000
    python train.py --method codi --steps 6000
"""
import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from data.common import END, EOS, PAD, PAUSE, THINK, pack
from model import Cache, last, sample_token

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
    start, row = (t.to(x.device) for t in      # (U, P), (R,); MPS has it from torch 2.10 on
                  prompt.cpu().unique(dim=0, return_inverse=True))
    new = (start != PAD).sum(1)
    cache = Cache(len(start), start.shape[1] + x.shape[1], x.device)
    h = last(model(model.embed(start), cache, new), new)                # (U, C)
    cache.select(row)
    return torch.cat([h[row][:, None], model(x[:, :-1], cache)], 1)


class Method(nn.Module):
    """What most methods have in common."""
    ARGS = {}
    PARENT = None
    ALONE = False
    SWEEP = [{}]
    progress = 1.0

    def __init__(self, backbone, vocab, args):
        super().__init__()
        self.model, self.vocab, self.args = backbone, vocab, args

    def sample(self, logits, temperature, generator):
        """`sample_token` for the methods' own decoding: as `generate`, from the model's top_k."""
        return sample_token(logits, temperature, generator, self.model.top_k)

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

    def opening(self, batch):
        return column(batch.question, THINK)                                # (B, T)

    def thoughts(self, batch):
        return batch.thoughts                                               # (B, T)

    def prompt(self, batch):
        return batch.question, self.opening(batch)

    def parts(self, batch):
        return (batch.question, self.opening(batch), self.thoughts(batch),
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
        new, room = (part >= 0).sum(1), self.args.max_answer
        room += self.args.max_think if self.given == OPEN else 0
        cache = Cache(len(ids), ids.shape[1] + room, ids.device)
        out = self.model.generate(self.model.embed(ids), new, cache, EOS, room,
                                  temperature, generator, samples)
        return Rollout([self.read(row) for row in out.tolist()], torch.zeros_like(out[:, 0]),
                       {"prompt": ids.repeat_interleave(samples, 0), "written": out}, {})

    def states(self, acts):
        """(R, T, C): the state that predicts each word written."""
        return states_before(self.model, acts["prompt"], self.model.embed(acts["written"]))

    def log_probs(self, rollout):
        """Of every word written (R, T): "thought" up to </think>, "token" after it."""
        ids = rollout.acts["written"]
        wrote = ids != PAD
        h = self.states(rollout.acts)                                       # (R, T, C)
        logp = self.model.head(h).float().log_softmax(-1).gather(2, ids[..., None])[..., 0]
        closed = (ids == END).cumsum(1) - (ids == END).long()               # before this word
        thought = wrote & (closed == 0) & (self.given == OPEN)
        return {"thought": (logp, thought), "token": (logp, wrote & ~thought)}

    def thought(self, rollout):
        """What was read between the question and </think>: see `thought` above."""
        ids, prompt = rollout.acts["written"], rollout.acts["prompt"]
        ended = ((ids == END) | (ids == EOS)).cumsum(1)
        words = pack(torch.where(prompt == PAUSE, PAUSE, PAD), ids.masked_fill(ended > 0, PAD))[0]
        prompt = pack(prompt.masked_fill(prompt == PAUSE, PAD))[0]
        return prompt, self.model.embed(words), (words != PAD).sum(1)

    def read(self, row):
        thoughts, answer = until(until(row, EOS)[0], END)
        thoughts = self.vocab.decode(thoughts)
        return Solved(self.vocab.decode(answer), len(thoughts), " ".join(thoughts))


class NoCoT(CoT):
    """Answers at once: the same model and loss with an empty chain."""
    given = CLOSE
    thought = None      # there is none

    def thoughts(self, batch):
        return batch.question[:, :0]                                        # (B, 0)

    def prompt(self, batch):
        return self.parts(batch)[:CLOSE + 1]

    def read(self, row):
        return Solved(self.vocab.decode(until(row, EOS)[0]), 0, "")


class ICoT(CoT):
    """Stepwise internalisation: from the left, more and more of the chain is gone (Eq. 1)."""
    ARGS = {
        "curriculum": (("tokens", "steps", "none"), "what of a chain goes: token by token, step by "
                       "step, or all of it from the beginning"),
        "stages": (3, "K of --curriculum steps: so many first steps go one by one, then all"),
    }

    def schedule(self):
        """Eq. (1): how many tokens or steps are gone, and the share of thoughts in their place."""
        kind, K = self.args.curriculum, self.args.stages
        share = 1 if kind == "none" else min(1, max(0, 3 * self.progress - 1))
        if share == 1:
            return math.inf, 1
        if kind == "tokens":
            return round(share * (self.args.max_think // 2)), share     # max_think: twice a chain
        k = math.ceil(share * K)
        return k, k / K

    def count(self, n):
        """How many of n thoughts are there by now."""
        return round(n * self.schedule()[1])

    def thoughts(self, batch):
        gone, place = self.schedule()[0], batch.step
        if self.args.curriculum == "tokens" and gone:
            place = torch.arange(place.shape[1], device=place.device)
            more = torch.empty_like(batch.question[:, :1], dtype=torch.float)
            gone = gone + more.exponential_(4).floor()                      # (B, 1)
        return batch.thoughts * (place >= gone)


class Pause(ICoT):
    """n <pause> tokens to compute in, and nothing to write: the control for every latent."""
    ARGS = ICoT.ARGS | {"pauses": (16, "number of <pause> tokens"),
                        "curriculum": (("none", "steps", "tokens"), ICoT.ARGS["curriculum"][1])}

    def opening(self, batch):
        pauses = column(batch.question, PAUSE).expand(-1, self.count(self.args.pauses))
        return torch.cat([super().opening(batch), pauses], 1)               # (B, 1 + n)


class Coconut(ICoT):
    """n continuous thoughts: the state at one position is the input of the next (Eq. 2)."""
    ARGS = ICoT.ARGS | {"latents": (6, "n, continuous thoughts"),
                        "curriculum": (("steps", "tokens", "none"), ICoT.ARGS["curriculum"][1])}

    def latent(self, h):
        """Eq. (2): a state h (B, C) -> the embedding (B, C) that is read next."""
        return h * self.model.embed.weight.detach().std()

    def think(self, ids, room, samples=1):
        """Reads prompts ids (B, P) and thinks: cache, z (R, n, C), h (R, n, C). The last z is not
        read yet; the cache has room for it and `room` more. R = B samples."""
        n, new = self.count(self.args.latents), (ids != PAD).sum(1)
        cache = Cache(len(ids), ids.shape[1] + n + room, ids.device)
        h = [last(self.model(self.model.embed(ids), cache, new), new)]
        h = [cache.repeat(h[0], samples)]
        z = [self.latent(h[0])]
        while len(z) < n:
            h.append(self.model(z[-1][:, None], cache)[:, 0])
            z.append(self.latent(h[-1]))
        return cache, torch.stack(z, 1), torch.stack(h, 1)

    def states(self, acts):
        """(R, T, C): the state that predicts each word written after the thoughts."""
        ids = acts["written"]
        cache, z, _ = self.think(acts["prompt"], ids.shape[1])
        return self.model(torch.cat([z[:, -1:], self.model.embed(ids[:, :-1])], 1), cache)

    def loss(self, batch):
        if not self.count(self.args.latents):
            return super().loss(batch)      # the first stage is CoT
        prompt = pack(*self.prompt(batch))[0]
        ids = pack(self.thoughts(batch), column(batch.question, END), batch.answer)[0]
        h, wrote = self.states({"prompt": prompt, "written": ids}), ids != PAD
        loss = F.cross_entropy(self.model.head(h[wrote]).float(), ids[wrote])
        return loss, {"loss": loss.detach()}

    @torch.no_grad()
    def rollout(self, batch, samples, temperature=1.0, generator=None):
        if not self.count(self.args.latents):
            return super().rollout(batch, samples, temperature, generator)
        ids, room = pack(*self.prompt(batch))[0], self.args.max_think + self.args.max_answer
        cache, z, h = self.think(ids, room, samples)
        out = self.model.generate(z[:, -1:], torch.ones_like(cache.length), cache, EOS, room,
                                  temperature, generator)
        solved = [self.read(row) for row in out.tolist()]
        for s, said in zip(solved, self.model.head(h).argmax(-1).tolist()):
            s.n_think += len(said)
            latents = [f"[{word}]" for word in self.vocab.decode(said)]
            s.thoughts = " ".join(latents + [s.thoughts] * bool(s.thoughts))
        return Rollout(solved, torch.zeros_like(out[:, 0]), {
            "prompt": ids.repeat_interleave(samples, 0), "z": z, "written": out}, {})

    def thought(self, rollout):
        prompt, words, n = super().thought(rollout)
        z = rollout.acts.get("z", words[:, :0])     # in its first stage it has none
        return prompt, torch.cat([z, words], 1), n + z.shape[1]


class CODI(Coconut):
    """Distils the chain into the thoughts: one model, as teacher with the chain and as student
    with n thoughts, whose states before the answer should be alike (Eq. 3)."""
    ARGS = {"latents": (6, "n, continuous thoughts"),
            "distill": (1.0, "gamma, weight of the distance between the states"),
            "thought": (("latents", "pauses"), "pauses: the control, nothing is fed back")}

    def __init__(self, backbone, vocab, args):
        super().__init__(backbone, vocab, args)
        C = backbone.cfg.width
        self.project = nn.Sequential(nn.Linear(C, 2 * C), nn.GELU(), nn.Linear(2 * C, C))

    def schedule(self):
        return math.inf, 1      # no curriculum: all of the chain is gone from the beginning

    def latent(self, h):
        if self.args.thought == "pauses":
            return self.model.embed(torch.full_like(h[:, 0], PAUSE, dtype=torch.long))
        return self.project(h).to(h.dtype)      # under autocast, too

    def teach(self, batch):
        """Cross-entropy on the chain but for its last step, and on the answer; and the states of
        every layer at </think>, (B, C) each. The last step would be copied (paper: -12 points)."""
        more = batch.step < F.pad(batch.step, (0, 1)).amax(1, keepdim=True)  # steps that follow
        ids, part, _ = pack(*self.prompt(batch), batch.thoughts * more,
                            column(batch.question, END), batch.answer)
        with self.model.using(seen=[]):
            h = self.model(self.model.embed(ids[:, :-1]))
            close = (part[:, :-1] == CLOSE).nonzero(as_tuple=True)
            return (next_token_loss(self.model, h, ids, part > OPEN),
                    [layer[close] for layer in self.model.seen])

    def loss(self, batch):
        teacher, targets = self.teach(batch)
        ids = pack(column(batch.question, END), batch.answer)[0]            # (B, T)
        cache, z, _ = self.think(pack(*self.prompt(batch))[0], ids.shape[1])
        with self.model.using(seen=[]):
            h = self.model(torch.cat([z[:, -1:], self.model.embed(ids[:, :-1])], 1), cache)
            layers = [layer[:, 1] for layer in self.model.seen]             # at </think>
        wrote = ids != PAD
        student = F.cross_entropy(self.model.head(h[wrote]).float(), ids[wrote])
        apart = sum(F.l1_loss(mine, true.detach()) / true.detach().std()
                    for mine, true in zip(layers, targets)) / len(layers)
        return (teacher + student + self.args.distill * apart,
                {"teacher": teacher.detach(), "student": student.detach(),
                 "apart": apart.detach()})
