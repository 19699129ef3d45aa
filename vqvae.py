"""Token Assorted: latent and text tokens mixed. Su et al. 2025, arXiv 2502.03275.

Stage one, `vqvae`: a VQ-VAE turns every chunk of L reasoning tokens into one of K codes.

    (1) encoder      x = f_enc(the chunk's L embeddings), a vector of D numbers
    (2) nearest code k = argmin_k |x - e_k|^2,  q = e_k
    (3) straight     the decoder gets x + sg[q - x], q with the gradient of x (sg: no gradient)
    (4) codebook     N_k <- a N_k + (1 - a) n_k,  S_k <- a S_k + (1 - a) sum of the n_k x of code k,
                     e_k = S_k / N_k: moving averages over batches, in place of |sg[x] - q|^2
    (5) loss         mean over words of -log p(chunk i | f_dec(q_1 ... q_i | question))
                     + beta * mean over dimensions of (x - sg[q])^2

Stage two, `assorted`: the leftmost m chunks of a chain give way to codes, and a language model from
scratch, with K + 2 more words, learns the mixture like any text; c_i is chunk i in words:

    sequence         question <think> <boLatent> z_1 ... z_m <eoLatent> c_{m+1} ... </think> answer
    (6) m            uniform among 0, 1/4, 1/2, 3/4 and all of the chain's chunks, rounded
    (7) loss         mean of -log p over what follows <think> in M different mixtures of a problem

At test time the model writes all of it itself. `latents` forces the mixture: 0 = text from the
beginning, n = text after n codes, many = no text unless the chain goes on after its codes.

--replace: what gives way to what. The paper's ablation, then controls with its m:
    left        the m leftmost chunks to codes (theirs)
    all         all chunks, always
    curriculum  the m leftmost, the same m for all examples, growing from 0 to all while training
    poisson     Poisson(n / 2) of the n chunks, anywhere
    random      left, but every code is drawn at random: do the codes say anything?
    delete      left, but the chunks are deleted and nothing takes their place
    pause       left, but with the word <pause> for every code: more positions, nothing to say

Differs from the paper:
 1. L is 5 and K 256, not 16 and 64 to 1,024: 16 tokens do not fit into 10 bits (an unofficial copy
    rebuilds 47% of them). A chunk holds a step or half of one; none spans two steps (--no-align).
 2. The decoder reads the question itself and then the codes; theirs, one vector g(question).
 3. The encoder sees one chunk: equal chunks have equal codes. Its size, beta and (4), done before
    (2) (in libraries, after it), are ours.
 4. The codebook starts from k-means, an unused code anew from a vector that its code fits badly.
 5. m: shares of the chain, all five in an update (--mixtures 1: one is drawn). Theirs, one of {0,
    72, 128, ... 256} tokens, covers all of a short chain or none.
 6. From scratch on every task; theirs fine-tunes a language model, but for mazes.
 7. The VQ-VAE sees reasoning alone; theirs is trained on question, reasoning and answer.

    python train.py --method assorted                       # VQ-VAE, then the language model
    python train.py --method assorted --init RUN --replace poisson      # from a vqvae run
    python eval.py RUN --latents 0,2,4,99                   # from all text to all codes
    python -m lab.codes RUN                                 # what shares a code: RUN/codes.png
    python -m lab.examples vqvae                            # one chain in five mixtures
"""
import copy
import warnings

import torch
import torch.nn as nn
import torch.nn.functional as F

from baselines import LATENTS, CoT
from colar import LATENT_SLOT, chunked
from data.cli import BadInput, Flag, unless
from data.common import END, EOS, PAD, PAUSE, THINK, collate
from method import (CHAIN, Method, Rollout, Solved, column, cross_entropy, pack, read_prompt,
                    read_thoughts, split_at, tree)
from model import GREEDY, at_least_float32

D = 16          # numbers in a code: few, so that all of them matter to what is nearest
COMMITMENT_WEIGHT = 0.25        # beta of Eq. (5)
EMA_DECAY = 0.95                # a of Eq. (4)
DEAD_CODE_THRESHOLD = 0.05      # a code used less than this share of the average starts again
SURE = 0.75     # how likely <eoLatent> must be to end the codes before a forced number of them
MANY = 999      # more codes than any chain has


def mix(chunk, code, latent, bo, eo):
    """Chunks (B, n, L) and codes (B, n), the latter where latent (B, n) -> tokens (B, T).

    A run of codes stands between the tokens bo and eo. PAD as code, bo or eo writes nothing.
    """
    if not latent.shape[1]:
        return chunk.flatten(1)                                     # (B, 0)
    starts = latent & ~F.pad(latent, (1, -1))
    ends = latent & ~F.pad(latent, (-1, 1))
    parts = [torch.where(starts, bo, PAD)[..., None],           # (B, n, 1)
             torch.where(latent, code, PAD)[..., None],         # (B, n, 1)
             chunk.masked_fill(latent[..., None], PAD),         # (B, n, L)
             torch.where(ends, eo, PAD)[..., None]]             # (B, n, 1)
    return pack(torch.cat(parts, -1).flatten(1))[0]


class Codebook(nn.Module):
    """K vectors of D numbers that follow what is nearest to them. Eq. (2) to (4)."""

    def __init__(self, codes):
        super().__init__()
        self.register_buffer("code", torch.zeros(codes, D))             # e
        self.register_buffer("cluster_size", torch.zeros(codes))        # N
        self.register_buffer("embed_sum", torch.zeros(codes, D))        # S

    def nearest(self, x):
        """Eq. (2): x (N, D) -> k (N,)."""
        return torch.cdist(x, self.code).argmin(1)

    def forward(self, x):
        """x (N, D) -> k (N,), q (N, D) with the gradient of x (Eq. 3), and the commitment."""
        k = self.nearest(x)
        q = self.code[k]
        return k, x + (q - x).detach(), F.mse_loss(x, q)

    @torch.no_grad()
    def update(self, x):
        """Eq. (4) on one batch x (N, D), in full precision; then dead codes start again."""
        with torch.autocast(x.device.type, enabled=False):
            if not self.cluster_size.any():
                self.kmeans_init(x)
            hit = F.one_hot(self.nearest(x), len(self.code)).to(x.dtype)        # (N, K)
            self.cluster_size.lerp_(hit.sum(0), 1 - EMA_DECAY)
            self.embed_sum.lerp_(hit.T @ x, 1 - EMA_DECAY)
            self.code.copy_(self.embed_sum / self.cluster_size.clamp(min=1e-6)[:, None])
            least = DEAD_CODE_THRESHOLD * self.cluster_size.mean()
            self.replace_dead_codes(x, self.cluster_size < least)

    def replace_dead_codes(self, x, dead):
        """Puts the codes dead (K,) on vectors of x, preferring those far from their code."""
        n = int(dead.sum())
        if n:
            far = torch.cdist(x, self.code).amin(1).square() + 1e-9         # as in k-means++
            new = x[torch.multinomial(far, n, replacement=n > len(x))]
            self.code[dead], self.cluster_size[dead] = new, self.cluster_size.mean()
            self.embed_sum[dead] = new * self.cluster_size[dead][:, None]

    def kmeans_init(self, x, rounds=10):
        """K-means on x (N, D); a mean without vectors is put on one as in `replace_dead_codes`."""
        self.code.copy_(x[torch.randint(len(x), (len(self.code),), device=x.device)])
        for _ in range(rounds):
            hit = F.one_hot(self.nearest(x), len(self.code)).to(x.dtype)
            self.cluster_size.copy_(hit.sum(0))
            self.embed_sum.copy_(hit.T @ x)
            self.code.copy_(self.embed_sum / self.cluster_size.clamp(min=1)[:, None])
            self.cluster_size.clamp_(min=1e-6)
            self.replace_dead_codes(x, self.cluster_size < 1)


def perplexity(count):
    """exp of the entropy of codes used `count` (K,) times: at most K."""
    return torch.special.entr(count / count.sum()).sum().exp()


def share_of(hits):
    """The share of hits (...) that are true; 0 of none."""
    return hits.sum() / max(1, hits.numel())


class VQVAE(Method):
    """Learns codes for the chunks of a chain. To `solve` is to rebuild the chain from its codes."""
    FLAGS = {
        "chunk": Flag(5, "L, the most tokens in a chunk", least=1, most=10**4),
        "codes": Flag(256, "K, the number of codes", least=1, most=2**20),
        "align": Flag(True, "cut chunks at step boundaries; off: through all of a chain (paper)"),
    }
    ALONE = True        # Eq. (4) is no gradient

    def __init__(self, backbone, vocab, args):
        super().__init__(backbone, vocab, args)
        C, L = backbone.cfg.width, args.chunk
        self.encoder = nn.Sequential(nn.Linear(L * C, 4 * C), nn.GELU(), nn.Linear(4 * C, D),
                                     nn.LayerNorm(D, elementwise_affine=False))
        self.codebook = Codebook(args.codes)
        self.code_to_model = nn.Linear(D, C)
        self.model_to_chunk = nn.Sequential(nn.Linear(C, L * C), nn.GELU(),
                                            nn.Unflatten(-1, (L, C)), nn.Linear(C, C))
        self.warned = False

    @staticmethod
    def words(args):
        """The language model's additional words: <boLatent>, <eoLatent> and the codes."""
        return ["<boLatent>", "<eoLatent>", *(f"<z{k}>" for k in range(args.codes))]

    def chunks(self, batch):
        return chunked(batch.chain, batch.step_of, self.args.chunk, self.args.align)  # (B, n, L)

    def encode(self, chunk):
        """Eq. (1): chunks (N, L) -> x (N, D), in full precision under autocast, too."""
        return self.encoder(self.model.embed(chunk).flatten(-2)).to(self.codebook.code.dtype)

    @torch.no_grad()
    def codes(self, batch):
        """Chunks (B, n, L) and their codes (B, n), the latter meaningless where a row has none."""
        chunk = self.chunks(batch)
        return chunk, self.codebook.nearest(self.encode(chunk.flatten(0, 1))).view(chunk.shape[:2])

    def decode(self, question, has_chunk, q):
        """f_dec of Eq. (5): question (B, T), which codes each row has, has_chunk (B, n), and all of
        them, q (N, D) -> logits (N, L, V) of their chunks."""
        ids, part, _ = pack(question, column(question, THINK),
                            torch.where(has_chunk, LATENT_SLOT, PAD))
        latent = part == CHAIN                                              # (B, T)
        x = self.model.embed(ids)
        x = x.masked_scatter(latent[..., None], self.code_to_model(q).to(x.dtype))
        h = self.model(x, None, (part >= 0).sum(1))                         # (B, T, C)
        return at_least_float32(self.model.head(self.model_to_chunk(h[latent])))

    def loss(self, batch):
        chunk = self.chunks(batch)
        has_chunk = chunk.any(-1)                                   # (B, n)
        if not has_chunk.any():     # no reasoning step in the batch: every gradient is 0
            return sum(0 * p.sum() for p in self.parameters()), {}
        words = chunk[has_chunk]                                    # (N, L)
        x = self.encode(words)
        if self.training:
            self.codebook.update(x.detach())
        k, q, commitment = self.codebook(x)
        logits = self.decode(batch.question, has_chunk, q)
        ce = F.cross_entropy(logits.flatten(0, 1), words.flatten())     # <pad> ends short chunks
        rebuilt = share_of((logits.argmax(-1) == words)[words != PAD])
        size = perplexity(self.codebook.cluster_size if self.training else k.bincount().float())
        if 0.1 < self.progress < 1 and not self.warned and size < 0.1 * self.args.codes:
            self.warned = True
            warnings.warn(f"the codes collapse: {self.args.codes} of them are used like "
                          f"{float(size):.0f}; fewer --codes, or smaller --chunk, may help")
        return ce + COMMITMENT_WEIGHT * commitment, {
            "ce": ce.detach(), "commitment": commitment.detach(), "rebuilt": rebuilt,
            "perplexity": size, "used": k.unique().numel() / self.args.codes}

    @torch.no_grad()
    def solve(self, batch, sample=GREEDY):
        chunk, code = self.codes(batch)
        has_chunk = chunk.any(-1)
        logits = self.decode(batch.question, has_chunk, self.codebook.code[code[has_chunk]])
        words = torch.zeros_like(chunk).masked_scatter(has_chunk[..., None], logits.argmax(-1))
        words = words.where(chunk != PAD, -1).flatten(1).tolist()
        return [Solved(self.vocab.decode([i for i in row if i >= 0]), int(t.sum()),
                       " ".join(f"<z{i}>" for i in c[t].tolist()), c[t].tolist())
                for row, c, t in zip(words, code, has_chunk)]

    @staticmethod
    def target(example):
        return sum(example.steps, [])

    def right(self, task, example, solved):
        return solved.answer == self.target(example)

    @torch.no_grad()
    def rebuilt(self, examples):
        """The shares of words that are rebuilt from the codes and, as a control, from codes that
        have changed places: what question and grammar alone give away. Both 0 if no word is."""
        training = self.training
        batch = collate(examples, self.vocab).to(self.codebook.code.device)
        chunk, code = self.eval().codes(batch)
        has_chunk = chunk.any(-1)                                               # (B, n)
        words, code = chunk[has_chunk], code[has_chunk]                         # (N, L), (N,)
        order = torch.randperm(len(code), generator=torch.Generator().manual_seed(0))
        logits = [self.decode(batch.question, has_chunk, self.codebook.code[k])
                  for k in (code, code[order])]                                 # (N, L, V) each
        self.train(training)
        return [float(share_of((x.argmax(-1) == words)[words != PAD])) for x in logits]

    def extras(self, examples, solved):
        """Of a row of results: words rebuilt, also from mixed codes, codes in use, perplexity."""
        if not any(s.latents for s in solved):      # problems without steps
            return {}
        pairs = [w == v for e, s in zip(examples, solved) for w, v in zip(s.answer, self.target(e))]
        count = torch.tensor([k for s in solved for k in s.latents]).bincount(
            minlength=self.args.codes).float()
        return {"rebuilt": sum(pairs) / len(pairs), "mixed": self.rebuilt(examples)[1],
                "used": float((count > 0).float().mean()), "perplexity": float(perplexity(count))}


class Assorted(CoT):
    """Writes codes for the first part of its chain and words for the rest."""
    IN_WORDS = False
    FLAGS = VQVAE.FLAGS | {
        "replace": Flag("left", "which chunks give way to what: see the top of vqvae.py",
                        ("left", "all", "curriculum", "poisson", "random", "delete", "pause")),
        "mixtures": Flag(5, "M, mixtures of a problem in an update; paper: 1", least=1, most=5,
                         idle=unless(replace=["left", "poisson", "random", "delete", "pause"])),
    }
    KNOBS = {"latents": LATENTS}
    PARENT = "vqvae"
    words = VQVAE.words

    def __init__(self, backbone, vocab, args):
        super().__init__(backbone, vocab, args)
        self.vqvae = VQVAE(copy.deepcopy(backbone), vocab, args).requires_grad_(False)
        self.bo, self.eo, self.first = (vocab.ids[w] for w in ("<boLatent>", "<eoLatent>", "<z0>"))
        options = range(self.first, len(vocab)) if args.replace != "pause" else [PAUSE]
        self.register_buffer("options", torch.tensor(options), persistent=False)
        self.branches = 1 if args.replace in ("all", "curriculum") else args.mixtures   # all equal

    def settings(self):
        return [{}] if self.args.replace == "delete" else [{"latents": 0}, {"latents": MANY}, {}]

    def shown(self):
        return {}

    def reinforceable(self, latents=None):
        if latents is not None:
            raise BadInput("--latents: what the model is made to write is no choice to reinforce")
        return self.ACTIONS

    def start_from(self, parent):
        """Takes over the codes; the language model itself starts from scratch."""
        self.vqvae.load_state_dict(parent.state_dict())

    def latent(self, has_chunk, mixtures=1):
        """Which chunks of M mixtures of each problem, has_chunk (B M, n), give way: (B M, n)."""
        n = has_chunk.sum(1, keepdim=True)                                      # (B M, 1)
        place = torch.arange(has_chunk.shape[1], device=n.device).expand_as(has_chunk)
        draw = torch.rand(len(n) // mixtures, 5, device=n.device).argsort(1)    # (B, 5)
        share = draw[:, :mixtures].reshape(-1, 1) / 4                           # Eq. (6)
        if self.args.replace == "all":
            share = torch.ones_like(share)
        elif self.args.replace == "curriculum":
            share = torch.full_like(share, min(1, int(6 * self.progress) / 4))  # a third: all
        m = (share * n).round()
        if self.args.replace == "poisson":
            m = torch.poisson((n / 2).cpu()).to(n.device)       # MPS has none
            place = torch.rand(has_chunk.shape, device=n.device).masked_fill(~has_chunk, 2)
            place = place.argsort()                                             # a random order
        return has_chunk & (place < m)

    def chain(self, batch, mixtures=1):
        """(B M, T): M mixtures of each chain, those of a problem after each other."""
        chunk, code = (t.repeat_interleave(mixtures, 0) for t in self.vqvae.codes(batch))
        latent, replace = self.latent(chunk.any(-1), mixtures), self.args.replace
        if replace == "delete":
            return mix(chunk, PAD, latent, PAD, PAD)
        if replace == "random":
            code = torch.randint_like(code, self.args.codes)
        code = torch.full_like(code, PAUSE) if replace == "pause" else self.first + code
        return mix(chunk, code, latent, self.bo, self.eo)

    def loss(self, batch):
        """Eq. (7). A row is a prompt, which is read once, and the M mixtures that branch off it."""
        B, M = len(batch.question), self.branches
        chain, answer = self.chain(batch, M), batch.answer.repeat_interleave(M, 0)
        written = pack(chain, column(answer, END), answer)[0]               # (B M, S)
        read = written.masked_fill(written == EOS, PAD).view(B, M, -1)      # nothing follows <eos>
        ids, branch, _ = pack(torch.cat(self.prompt(batch), 1), *read.unbind(1))    # (B, T) each
        opens, lengths = ids == THINK, (branch >= 0).sum(1)
        at, shape = opens | (branch > 0), tree(branch) if M > 1 else None
        h = self.model(self.model.embed(ids), None, lengths, at=at, tree=shape)     # (N, C)
        first, opens = written[:, 0], opens[at]         # each mixture's first word: after <think>
        h = torch.cat([h[opens].repeat_interleave(M, 0), h[~opens]])
        words = torch.cat([first, written[:, 1:][written[:, 1:] != PAD]])
        return cross_entropy(self.model, h, words), {}

    @torch.no_grad()
    def solve(self, batch, sample=GREEDY, latents=None):
        """One sample of `rollout`, with the words that each code stands for in its place."""
        solved = super().solve(batch, sample, latents=latents)
        count = torch.tensor([len(s.latents) for s in solved], device=batch.question.device)
        has_code = torch.arange(int(count.max()), device=count.device) < count[:, None]     # (B, n)
        codes = torch.tensor([k for s in solved for k in s.latents], device=count.device)
        if not len(codes):
            return solved
        logits = self.vqvae.decode(batch.question, has_code, self.vqvae.codebook.code[codes])
        texts = (self.vocab.decode(split_at(row, PAD)[0]) for row in logits.argmax(-1).tolist())
        for s in solved:
            s.latents = [next(texts) for _ in s.latents]
            said = iter(s.latents)
            s.thoughts = " ".join(f"[{' '.join(next(said))}]" if self.vocab.ids[w] >= self.first
                                  else w for w in s.thoughts.split())
        return solved

    @torch.no_grad()
    def rollout(self, batch, samples, sample=GREEDY, latents=None):
        if latents is None:     # the model itself decides what is latent
            return super().rollout(batch, samples, sample)
        if self.args.replace == "delete":
            raise BadInput("--latents: with --replace delete there are none")
        ids = pack(*self.prompt(batch))[0]
        most = min(latents, self.args.max_think // 2)   # as many as the longest chain has words
        cache, h = read_prompt(self.model, ids)
        h = cache.repeat(h, samples)                                            # (R, C)
        begin = column(cache.lengths[:, None], self.bo)[:, :most]               # (R, 1), or (R, 0)
        if most:
            h = self.model(self.model.embed(begin), cache)[:, 0]
        coded = begin.any(1)                                                    # (R,)
        out = self.write(h, cache, coded, most, self.room(), sample, never=self.bo)
        out = torch.cat([begin, out], 1)[:, :self.room()]                       # (R, T)
        return Rollout([self.solved(row) for row in out.tolist()], torch.zeros_like(out[:, 0]),
                       {"prompt": ids.repeat_interleave(samples, 0), "written": out}, {})

    @torch.no_grad()
    def think_on(self, prompt, z, latents=None):
        if not latents:     # from the first word on it writes as it likes
            return super().think_on(prompt, z)
        n, (cache, h) = z.shape[1], read_thoughts(self.model, prompt, z)
        coded = ~(z == self.model.embed.weight[self.eo]).all(-1).any(1)         # no <eoLatent> yet
        codes = min(latents, self.args.max_think // 2) + 1 - n      # left: the first is <boLatent>
        out = self.write(h[:, -1], cache, coded, codes, self.room() - n, GREEDY)
        return [self.solved(row) for row in out.tolist()]

    def write(self, h, cache, coded, most, room, sample, never=PAD):
        """Goes on from h (R, C), the last states of what a cache holds: where coded (R,), with
        `most` codes at most and <eoLatent>; elsewhere with any word but `never`; then as the model
        likes. Returns ids (R, <= room). The cache of a row that waits for others does not grow."""
        logits, done, codes = self.model.head(h), ~coded, []
        logits[:, [PAD, never]] = -torch.inf
        for _ in range(most):
            now = at_least_float32(self.model.head(h))
            done = done | (now.softmax(-1)[:, self.eo] > SURE)
            if done.all():
                break
            x = self.options[sample(now[:, self.options])]
            codes.append(x.masked_fill(done, PAD)[:, None])
            going = (~done).long() if done.any() else None                      # (R,)
            h = self.model(self.model.embed(x)[:, None], cache, going)[:, 0]
        then = sample(logits).masked_fill(coded, self.eo)[:, None]              # (R, 1)
        out = self.model.generate(self.model.embed(then), None, cache, EOS, max(1, room), sample)
        out = out.masked_fill(then == EOS, PAD)         # nothing follows <eos>
        return pack(*codes, then, out)[0][:, :room]

    def solved(self, ids):
        solved = super().solved(ids)
        codes = [i - self.first for i in split_at(ids, END)[0] if i >= self.first]
        return Solved(solved.answer, solved.n_think, solved.thoughts, codes)

    def extras(self, examples, solved):
        """Of a row of results: the share of codes that stand for the true chunk at their place."""
        if self.args.replace in ("poisson", "delete", "pause"):
            return {}
        pairs = [latent == true for e, s in zip(examples, solved)
                 for latent, true in zip(s.latents, self.true_groups(e))]
        return {"decoded": sum(pairs) / len(pairs)} if pairs else {}

    def true_groups(self, example, latents=None):
        chunk = self.vqvae.chunks(collate([example], self.vocab))[0]
        return [self.vocab.decode(split_at(row, PAD)[0]) for row in chunk.tolist()]
