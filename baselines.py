"""What the papers compare against: a written chain, none, pause tokens, and other latent thoughts.

    cot      question <think> step words </think> answer        the model writes its steps
    nocot    question <think> </think> answer                   straight to the answer
    icot     question <think> (rest of the steps) </think> answer           arXiv 2405.14838
    pause    question <think> <pause>*n (rest) </think> answer              arXiv 2310.02226
    coconut  question <think> z_1 ... z_n (rest) </think> answer            arXiv 2412.06769
    codi     question <think> z_1 ... z_n </think> answer                   arXiv 2502.21074

    (1) curriculum   after a share p of the training s = 3p - 1, cut to [0, 1], is the share of the
                     chain that is gone, from its left (s = 1: all of it, with all n thoughts)
                         tokens   round(s longest) words + o, P(o) ~ exp(-4 o)      n s thoughts
                         steps    k = ceil(s K) steps                               n k/K thoughts
    (2) Coconut      z_{i+1} = std h_i: the last state, as the embedding that is read next
    (3) CODI         z_{i+1} = MLP(h_i);  loss = CE(teacher) + CE(student) + gamma * mean over
                     layers of |h_student - sg h_teacher| / std h_teacher at </think>
sg: no gradient. Cross-entropy is taken on all that follows what is given or fed back.

Differs from the papers:
 1. From scratch, in one run: the first third of it is CoT, in the last third the chain is gone.
    Coconut's and iCoT's optimizers start anew at every stage; here one schedule runs through.
 2. std, the embeddings' standard deviation: norms of states and embeddings differ by 1 / std.
 3. Coconut's <start> is <think>, its <end> is left out; all rows of a batch have n k/K thoughts.
 4. iCoT removes 8 tokens per epoch, and all from 39 on; Eq. (1) does it in the middle third. o is
    0 until then; theirs is drawn from the start.
 5. CODI's student and teacher share </think>, and their distance is taken there; theirs at ":".
    It is |a - b| over the blocks' outputs; theirs, smooth L1, embeddings and last norm included.
    Theirs has a LayerNorm after the MLP, C hidden units in place of 2 C, and no <eos> as target.
 6. On a recurrent backbone all that has a cache, Coconut's sequences and both of CODI's, is trained
    with r = --mean-r; the others draw their r.

    python train.py --method cot
    python train.py --method pause --pauses 6 --curriculum steps --steps 6000
    python train.py --method coconut --steps 6000       # likewise nocot, icot and codi
"""
import math
from dataclasses import replace

import torch
import torch.nn as nn
import torch.nn.functional as F

from data.cli import Flag, unless
from data.common import END, EOS, FIRST_WORD, PAD, PAUSE, THINK
from method import (CLOSE, LENGTH, OPEN, RIGHT, Method, Rollout, Solved, column, cross_entropy,
                    log_softmax, next_token_loss, pack, read_all, read_prompt, read_thoughts,
                    split_at, states_before)
from model import GREEDY, Cache

LATENTS = Flag(None, "codes before text, e.g. 0,2,999: Token Assorted; thoughts: Coconut, CODI; "
               "unless given, as the model likes, or as in training", kind=int, most=10**4)


class CoT(Method):
    """Supervised chain of thought: cross-entropy on the steps, </think>, the answer and <eos>."""
    IN_WORDS = True
    ACTIONS = {"thought": LENGTH, "token": RIGHT}
    given = OPEN        # the prompt ends with this part; all that follows is trained and generated

    def opening(self, batch):
        return column(batch.question, THINK)                                # (B, T)

    def chain(self, batch):
        return batch.chain                                               # (B, T)

    def prompt(self, batch):
        return batch.question, self.opening(batch)

    def parts(self, batch):
        return (batch.question, self.opening(batch), self.chain(batch),
                column(batch.question, END), batch.answer)

    def loss(self, batch):
        ids, part, _ = pack(*self.parts(batch))                             # (B, T)
        return next_token_loss(self.model, ids, part > self.given), {}

    @torch.no_grad()
    def rollout(self, batch, samples, sample=GREEDY):
        ids, part, _ = pack(*self.prompt(batch))
        out = self.model.generate(self.model.embed(ids), (part >= 0).sum(1), Cache(), EOS,
                                  self.room(), sample, samples)
        return Rollout([self.solved(row) for row in out.tolist()], torch.zeros_like(out[:, 0]),
                       {"prompt": ids.repeat_interleave(samples, 0), "written": out}, {})

    def room(self):
        """The most words that it writes."""
        return self.args.max_answer + (self.args.max_think if self.given == OPEN else 0)

    def states(self, acts):
        """(R, T, C): the state that predicts each word written."""
        ids = acts["written"]
        return states_before(self.model, acts["prompt"], self.model.embed(ids),
                             (ids != PAD).sum(1))

    def log_probs(self, rollout):
        """Of every word written (R, T): "thought" up to </think>, "token" after it."""
        ids = rollout.acts["written"]
        wrote = ids != PAD
        h = self.states(rollout.acts)                                       # (R, T, C)
        logp = log_softmax(self.model, h).gather(2, ids[..., None])[..., 0]
        closed = (ids == END).cumsum(1) - (ids == END).long()               # before this word
        thought = wrote & (closed == 0) & (self.given == OPEN)
        found = {"thought": (logp, thought, None), "token": (logp, wrote & ~thought, None)}
        return {kind: found[kind] for kind in self.ACTIONS}

    def thoughts_read(self, rollout):
        ids, prompt = rollout.acts["written"], rollout.acts["prompt"]
        ended = ((ids == END) | (ids == EOS)).cumsum(1)
        words = pack(torch.where(prompt == PAUSE, PAUSE, PAD), ids.masked_fill(ended > 0, PAD))[0]
        prompt = pack(prompt.masked_fill(prompt == PAUSE, PAD))[0]
        return prompt, self.model.embed(words), (words != PAD).sum(1)

    @torch.no_grad()
    def think_on(self, prompt, z):
        cache, _ = read_thoughts(self.model, prompt, z[:, :-1])
        return self.write_on(cache, z[:, -1:], self.room() - z.shape[1])

    def write_on(self, cache, x, room):
        """R of Solved: at most `room` words, written greedily after a cache and x (R, 1, C)."""
        out = self.model.generate(x, None, cache, EOS, max(1, room))[:, :room]
        return [self.solved(row) for row in out.tolist()]

    def solved(self, ids):
        """The Solved that a row of ids written, a list, spells."""
        chain, answer = split_at(split_at(ids, EOS)[0], END)
        words = self.vocab.decode(chain)
        return Solved(self.vocab.decode(answer), len(words), " ".join(words))


class NoCoT(CoT):
    """Answers at once: the same model and loss with an empty chain."""
    IN_WORDS = False
    ACTIONS = {"token": RIGHT}
    given = CLOSE

    def loss(self, batch):
        """Where a task knows them also, at each word of the question, the answer up to there."""
        ids, part, _ = pack(*self.parts(batch))                             # (B, T)
        said, known = part[:, 1:] > CLOSE, batch.prefixes != PAD
        known = F.pad(known, (0, said.shape[1] - known.shape[1]))           # (B, T-1)
        h = read_all(self.model, ids, at=said | known)                   # (N, C)
        after = said[said | known]                                          # (N,)
        loss = cross_entropy(self.model, h[after], ids[:, 1:][said])
        if known.any():
            prefixes = batch.prefixes[batch.prefixes != PAD]
            loss = loss + cross_entropy(self.model, h[~after], prefixes)
        return loss, {}

    def chain(self, batch):
        return batch.question[:, :0]                                        # (B, 0)

    def prompt(self, batch):
        return self.parts(batch)[:CLOSE + 1]

    def solved(self, ids):
        return Solved(self.vocab.decode(split_at(ids, EOS)[0]), 0, "")

    thoughts_read, think_on = Method.thoughts_read, Method.think_on     # there are none


class ICoT(CoT):
    """Stepwise internalisation: from the left, more and more of the chain is gone (Eq. 1)."""
    IN_WORDS = False
    FLAGS = {
        "curriculum": Flag("tokens", "what of a chain goes: token by token, step by step, or all "
                           "of it from the beginning", ("tokens", "steps", "none")),
        "stages": Flag(3, "K of --curriculum steps: the first K steps go one by one, then the rest",
                       least=1, idle=unless(curriculum=["steps"])),
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

    def chain(self, batch):
        gone, place = self.schedule()[0], batch.step_of
        if self.args.curriculum == "tokens" and gone:
            place = torch.arange(place.shape[1], device=place.device)
            more = torch.empty_like(batch.question[:, :1], dtype=torch.float)
            gone = gone + more.exponential_(4).floor()                      # (B, 1)
        return batch.chain.masked_fill(place < gone, PAD)


class Pause(ICoT):
    """n <pause> tokens to compute in, and nothing to write: the control for every latent."""
    FLAGS = ICoT.FLAGS | {
        "pauses": Flag(16, "number of <pause> tokens", least=1, most=10**4),
        "curriculum": replace(ICoT.FLAGS["curriculum"], default="none"),
    }

    def opening(self, batch):
        pauses = column(batch.question, PAUSE).expand(-1, self.count(self.args.pauses))
        return torch.cat([super().opening(batch), pauses], 1)               # (B, 1 + n)

    think_on = Method.think_on      # no pause follows from the ones before it


class Coconut(ICoT):
    """n continuous thoughts: the state at one position is the input of the next (Eq. 2)."""
    FLAGS = ICoT.FLAGS | {
        "latents": Flag(6, "n, continuous thoughts", least=1, most=10**4),
        "curriculum": replace(ICoT.FLAGS["curriculum"], default="steps"),
    }
    KNOBS = {"latents": LATENTS}

    def latent(self, h):
        """Eq. (2): a state h (B, C) -> the embedding (B, C) that is read next."""
        return h * self.model.embed.weight.detach().std()

    def thoughts(self, latents=None):
        """How many thoughts there are: `latents`, else as many as training has by now."""
        return self.count(self.args.latents) if latents is None else latents

    def think(self, cache, h, n):
        """Goes on from h (R, C), the last states of what a cache holds. Returns n thoughts
        (R, n, C), of which the last is not read yet, and the states that each was made of."""
        z, states = [self.latent(h)], [h]
        while len(z) < n:
            states.append(self.model(z[-1][:, None], cache)[:, 0])
            z.append(self.latent(states[-1]))
        return torch.stack(z, 1), torch.stack(states, 1)

    def states(self, acts):
        """(R, T, C): the state that predicts each word written after the thoughts."""
        n = acts["z"].shape[1] if "z" in acts else self.thoughts()
        if not n:
            return super().states(acts)
        cache, h = read_prompt(self.model, acts["prompt"])
        return self.go_on(cache, self.think(cache, h, n)[0], acts["written"])

    def go_on(self, cache, z, ids, layers=None):
        """(R, T, C): the states after the last thought of z (R, n, C) and after each of ids (R, T)
        but the last. layers: as in GPT.forward."""
        x = torch.cat([z[:, -1:], self.model.embed(ids[:, :-1])], 1)        # (R, T, C)
        return self.model(x, cache, (ids != PAD).sum(1), layers)

    def loss(self, batch):
        if not self.thoughts():
            return super().loss(batch)      # the first stage is CoT
        prompt = pack(*self.prompt(batch))[0]
        ids = pack(self.chain(batch), column(batch.question, END), batch.answer)[0]
        h, wrote = self.states({"prompt": prompt, "written": ids}), ids != PAD
        return cross_entropy(self.model, h[wrote], ids[wrote]), {}

    @torch.no_grad()
    def rollout(self, batch, samples, sample=GREEDY, latents=None):
        n = self.thoughts(latents)
        if not n:
            found = super().rollout(batch, samples, sample)
            found.acts["z"] = self.model.embed(found.acts["written"][:, :0])        # (R, 0, C)
            return found
        ids = pack(*self.prompt(batch))[0]
        cache, h = read_prompt(self.model, ids)
        z, h = self.think(cache, cache.repeat(h, samples), n)
        out = self.model.generate(z[:, -1:], None, cache, EOS, self.room(), sample)
        solved = [self.solved(row) for row in out.tolist()]
        words = FIRST_WORD + self.model.head(h)[..., FIRST_WORD:].argmax(-1)        # (R, n)
        for s, said in zip(solved, words.tolist()):
            s.n_think += len(said)
            latents = [f"[{word}]" for word in self.vocab.decode(said)]
            s.thoughts = " ".join(filter(None, [*latents, s.thoughts]))
        return Rollout(solved, torch.zeros_like(out[:, 0]), {
            "prompt": ids.repeat_interleave(samples, 0), "z": z, "written": out}, {})

    def thoughts_read(self, rollout):
        prompt, words, n = super().thoughts_read(rollout)
        z = rollout.acts["z"]
        return prompt, torch.cat([z, words], 1), n + z.shape[1]

    @torch.no_grad()
    def think_on(self, prompt, z, latents=None):
        left = self.thoughts(latents) - z.shape[1]      # below 0: words that follow them
        cache, last = read_thoughts(self.model, prompt, z[:, :-1])[0], z[:, -1:]
        for _ in range(left):
            last = self.latent(self.model(last, cache)[:, 0])[:, None]              # (R, 1, C)
        solved = self.write_on(cache, last, self.room() + min(0, left))
        for s in solved:
            s.n_think += max(0, left)
        return solved


class CODI(Coconut):
    """Distils the chain into the thoughts: one model, as teacher with the chain and as student
    with n thoughts, whose states before the answer should agree (Eq. 3).

    The prompt is read once: the teacher reads it with what follows, and the student goes on from
    the keys and values that this leaves of it."""
    FLAGS = {
        "latents": Coconut.FLAGS["latents"],
        "distill": Flag(1.0, "gamma, weight of the distance between the states"),
    }

    def __init__(self, backbone, vocab, args):
        super().__init__(backbone, vocab, args)
        C = backbone.cfg.width
        self.project = nn.Sequential(nn.Linear(C, 2 * C), nn.GELU(), nn.Linear(2 * C, C))

    def schedule(self):
        return math.inf, 1      # no curriculum: all of the chain is gone from the beginning

    chain = NoCoT.chain

    def latent(self, h):
        return self.project(h).to(h.dtype)      # under autocast, too

    def teach(self, batch, cache):
        """Reads prompt, chain and answer, but not the chain's last step, which would be copied
        (paper: -12 points). The cache gets all of it. Returns the cross-entropy; the states that
        the prompts end with, (B, C); and the states at </think>, (B, C) of every layer."""
        final = F.pad(batch.step_of, (0, 1)).amax(1, keepdim=True)          # (B, 1)
        ids, part, _ = pack(*self.prompt(batch), batch.chain.masked_fill(batch.step_of == final, 0),
                            column(batch.question, END), batch.answer)
        at, layers = part[:, 1:] > OPEN, []         # (B, T-1): where the next word is predicted
        h = read_all(self.model, ids, cache, layers, at)                    # (N, C)
        read = part[:, :-1][at]         # (N,): the parts that these states stand at
        return (cross_entropy(self.model, h, ids[:, 1:][at]), h[read == OPEN],
                [layer[read == CLOSE] for layer in layers])

    def learn(self, batch, cache, h, targets):
        """Thinks and answers after a cache of the prompts and their last states h (B, C). Returns
        the cross-entropy, and the distance at </think> to targets, (B, C) of every layer."""
        ids = pack(column(batch.question, END), batch.answer)[0]            # (B, T)
        z, layers = self.think(cache, h, self.thoughts())[0], []
        h = self.go_on(cache, z, ids, layers)                               # (B, T, C)
        said = ids != PAD
        apart = sum(F.l1_loss(layer[:, 1], true.detach()) / true.detach().std()     # at </think>
                    for layer, true in zip(layers, targets)) / len(layers)
        return cross_entropy(self.model, h[said], ids[said]), apart

    def loss(self, batch):
        cache = Cache()
        teacher, h, targets = self.teach(batch, cache)
        cache.keep_first((batch.question != PAD).sum(1) + 1)                # up to <think>
        student, apart = self.learn(batch, cache, h, targets)
        return (teacher + student + self.args.distill * apart,
                {"teacher": teacher.detach(), "student": student.detach(),
                 "apart": apart.detach()})
