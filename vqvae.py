"""Token Assorted: latent and text tokens mixed. Su et al. 2025, arXiv 2502.03275.

Stage one, `vqvae`: a VQ-VAE turns every chunk of L reasoning tokens into one of K codes.

    (1) encoder      x = f_enc(the chunk's L embeddings), a vector of D numbers
    (2) nearest code k = argmin_k |x - e_k|^2,  q = e_k
    (3) straight     the decoder gets x + sg[q - x]: forward it is q, backward the gradient of x
    (4) codebook     N_k <- g N_k + (1 - g) n_k,  S_k <- g S_k + (1 - g) sum of x with code k,
                     e_k = S_k / N_k: moving averages over batches, in place of |sg[x] - q|^2
    (5) loss         mean over words of -log p(chunk | f_dec(q_1 ... q_i | g(P)))
                     + beta * mean over dimensions of (x - sg[q])^2

Stage two, `assorted`: the leftmost m chunks of a trace give way to their codes, m drawn for every
example, and a language model from scratch, with K + 2 more words, learns the mixture like any text:

    sequence         question <think> <boLatent> z_1 ... z_m <eoLatent> c_{m+1} ... </think> answer
    (6) m            uniform among 0, 1/4, 1/2, 3/4 and all of the trace's chunks, rounded

At test time the model writes all of it itself. `latents` forces the mixture: 0 = no <boLatent> in
the beginning (so text, from a model that has learned text), n = text after n codes, many = no text
unless the chain does not end where the codes do.

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
 2. g(P), one vector there, is the question itself: the backbone reads it and then the codes.
 3. The encoder sees one chunk, so equal chunks have equal codes; its size, beta and (4) are ours.
 4. The codebook starts from k-means, and a code that nothing uses starts again from a vector that
    its own code fits badly. The paper does not say what it does.
 5. m: shares of the trace. Theirs, {0, 72, 128, ... 256} tokens, cover all of a short one or none.
 6. From scratch on every task; theirs fine-tunes a language model, but for mazes.
 7. The VQ-VAE sees reasoning alone; theirs is trained on question, reasoning and answer.

    python train.py --method assorted                       # VQ-VAE, then the language model
    python train.py --method assorted --init RUN --replace poisson      # from a vqvae run
    python eval.py RUN --latents 0,2,4,99                   # from all text to all codes
    python -m lab.codes RUN                                 # what shares a code: RUN/codes.png
"""
import copy
import warnings
from collections import Counter

import torch
import torch.nn as nn
import torch.nn.functional as F

from baselines import CoT, Method, Rollout, Solved, column, until
from data.cli import BadInput, choice
from data.common import END, EOS, PAD, PAUSE, THINK, collate, groups, offsets, pack, take
from model import Cache, last

D = 16          # numbers in a code: few, so that all of them matter to what is nearest
BETA = 0.25     # of the commitment in Eq. (5)
DECAY = 0.95    # g of Eq. (4)
DEAD = 0.05     # a code used less than this share of the average starts again
SURE = 0.75     # how likely <eoLatent> must be to end the codes before a forced number of them
MANY = 999      # more codes than any chain has


def chunked(thoughts, step, size, align):
    """Reasoning tokens and their steps, (B, T) each, -> chunks (B, n, size), PAD-filled."""
    thinking = thoughts != PAD
    if not thoughts.shape[1]:
        return thoughts.new_zeros(len(thoughts), 0, size)
    place = offsets(step, thinking, align) % size
    slot = groups(thinking, place)                                  # (B, T), rising from 0
    n = int(slot[thinking].max()) + 1 if thinking.any() else 0
    slot = torch.where(thinking, slot, n)                           # padding: to one more, cut off
    out = thoughts.new_zeros(len(thoughts), n + 1, size)
    rows = torch.arange(len(thoughts), device=thoughts.device)[:, None]
    out[rows, slot, place] = thoughts
    return out[:, :n]


def mix(chunk, code, latent, bo, eo):
    """Chunks (B, n, L) and codes (B, n), the latter where latent (B, n) -> tokens (B, T).

    A run of codes stands between the tokens bo and eo. PAD as code, bo or eo writes nothing.
    """
    if not latent.shape[1]:
        return code
    starts = latent & ~F.pad(latent, (1, -1))
    ends = latent & ~F.pad(latent, (-1, 1))
    parts = bo * starts[..., None], (code * latent)[..., None], chunk * ~latent[..., None], \
        eo * ends[..., None]
    return pack(torch.cat(parts, -1).flatten(1))[0]


class Codebook(nn.Module):
    """K vectors of D numbers that follow what is nearest to them. Eq. (2) to (4)."""

    def __init__(self, codes):
        super().__init__()
        self.register_buffer("code", torch.zeros(codes, D))         # e
        self.register_buffer("count", torch.zeros(codes))           # N
        self.register_buffer("total", torch.zeros(codes, D))        # S

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
            if not self.count.any():
                self.start(x)
            hit = F.one_hot(self.nearest(x), len(self.code)).to(x.dtype)        # (N, K)
            self.count.lerp_(hit.sum(0), 1 - DECAY)
            self.total.lerp_(hit.T @ x, 1 - DECAY)
            self.code.copy_(self.total / self.count.clamp(min=1e-6)[:, None])
            self.revive(x, self.count < DEAD * self.count.mean())

    def revive(self, x, dead):
        """Puts the codes dead (K,) on vectors of x, those far from their code the likelier."""
        n = int(dead.sum())
        if n:
            far = torch.cdist(x, self.code).amin(1).square() + 1e-9         # as in k-means++
            new = x[torch.multinomial(far, n, replacement=n > len(x))]
            self.code[dead], self.count[dead] = new, self.count.mean()
            self.total[dead] = new * self.count[dead][:, None]

    def start(self, x, rounds=10):
        """K-means on x (N, D); a mean without vectors is put on one as in `revive`."""
        self.code.copy_(x[torch.randint(len(x), (len(self.code),), device=x.device)])
        for _ in range(rounds):
            hit = F.one_hot(self.nearest(x), len(self.code)).to(x.dtype)
            self.count.copy_(hit.sum(0))
            self.total.copy_(hit.T @ x)
            self.code.copy_(self.total / self.count.clamp(min=1)[:, None])
            self.count.clamp_(min=1e-6)
            self.revive(x, self.count < 1)


def perplexity(count):
    """exp of the entropy of codes used `count` (K,) times: as how many equally used ones."""
    p = count / count.sum()
    return torch.special.entr(p).sum().exp()


class VQVAE(Method):
    """Learns codes for the chunks of a trace. To `solve` is to rebuild the trace from its codes."""
    ARGS = {
        "chunk": (5, "L, the most tokens in a chunk"),
        "codes": (256, "K, the number of codes"),
        "align": (True, "cut chunks at step boundaries; off: through the whole trace (the paper)"),
    }
    ALONE = True        # Eq. (4) is no gradient

    def __init__(self, backbone, vocab, args):
        super().__init__(backbone, vocab, args)
        C, L = backbone.cfg.width, args.chunk
        self.encoder = nn.Sequential(nn.Linear(L * C, 4 * C), nn.GELU(), nn.Linear(4 * C, D),
                                     nn.LayerNorm(D, elementwise_affine=False))
        self.book = Codebook(args.codes)
        self.enter = nn.Linear(D, C)        # from a code to the backbone
        self.leave = nn.Sequential(nn.Linear(C, L * C), nn.GELU(), nn.Unflatten(-1, (L, C)),
                                   nn.Linear(C, C))
        self.warned = False

    @staticmethod
    def words(args):
        """The language model's additional words: <boLatent>, <eoLatent> and the codes."""
        return ["<boLatent>", "<eoLatent>", *(f"<z{k}>" for k in range(args.codes))]

    def chunks(self, batch):
        return chunked(batch.thoughts, batch.step, self.args.chunk, self.args.align)  # (B, n, L)

    def encode(self, chunk):
        """Eq. (1): chunks (N, L) -> x (N, D)."""
        x = self.encoder(self.model.embed(chunk).flatten(-2))
        return x.to(self.book.code.dtype)       # under autocast, too

    @torch.no_grad()
    def codes(self, batch):
        """Chunks (B, n, L) and their codes (B, n), the latter meaningless where a row has none."""
        chunk = self.chunks(batch)
        return chunk, self.book.nearest(self.encode(chunk.flatten(0, 1))).view(chunk.shape[:2])

    def decode(self, question, there, q):
        """f_dec of Eq. (5): question (B, T), which codes each row has, there (B, n), and all of
        them, q (N, D) -> logits (N, L, V) of their chunks."""
        ids, part, _ = pack(question, column(question, THINK), PAUSE * there)
        at = (part == 2)[..., None]
        x = self.model.embed(ids)
        h = self.model(x.masked_scatter(at, self.enter(q).to(x.dtype)))
        return self.model.head(self.leave(h[at[..., 0]])).float()

    def loss(self, batch):
        chunk = self.chunks(batch)
        there = chunk.any(-1)                                       # (B, n)
        if not there.any():
            raise BadInput("a batch without a reasoning step: there is nothing to make codes of")
        words = chunk[there]                                        # (N, L)
        x = self.encode(words)
        if self.training:
            self.book.update(x.detach())
        k, q, commitment = self.book(x)
        logits = self.decode(batch.question, there, q)
        ce = F.cross_entropy(logits.flatten(0, 1), words.flatten())     # <pad> ends short chunks
        rebuilt = (logits.argmax(-1) == words)[words != PAD].float().mean()
        size = perplexity(self.book.count) if self.training else perplexity(k.bincount().float())
        self.warn(size)
        return ce + BETA * commitment, {"ce": ce.detach(), "commitment": commitment.detach(),
                                        "rebuilt": rebuilt, "perplexity": size,
                                        "used": k.unique().numel() / self.args.codes}

    def warn(self, size):
        if 0.1 < self.progress < 1 and not self.warned and size < 0.1 * self.args.codes:
            self.warned = True
            warnings.warn(f"the codes collapse: {self.args.codes} of them are used like "
                          f"{float(size):.0f}; fewer --codes, or smaller --chunk, may help")

    @torch.no_grad()
    def solve(self, batch, temperature=0.0, generator=None):
        chunk, code = self.codes(batch)
        there = chunk.any(-1)
        logits = self.decode(batch.question, there, self.book.code[code[there]])
        words = torch.zeros_like(chunk).masked_scatter(there[..., None], logits.argmax(-1))
        words = words.where(chunk != PAD, -1).flatten(1).tolist()
        return [Solved(self.vocab.decode([i for i in row if i >= 0]), int(t.sum()),
                       " ".join(f"<z{i}>" for i in c[t].tolist()), c[t].tolist())
                for row, c, t in zip(words, code, there)]

    @staticmethod
    def target(example):
        return sum(example.steps, [])

    def right(self, task, example, solved):
        return solved.answer == self.target(example)

    def extras(self, examples, solved):
        """Of a row of results: words rebuilt, also from mixed codes, codes in use, perplexity."""
        if not any(s.latents for s in solved):      # problems without steps
            return {}
        pairs = [w == v for e, s in zip(examples, solved) for w, v in zip(s.answer, self.target(e))]
        count = torch.tensor([k for s in solved for k in s.latents]).bincount(
            minlength=self.args.codes).float()
        return {"rebuilt": sum(pairs) / len(pairs), "mixed": survey(self, examples)[2],
                "used": float((count > 0).float().mean()), "perplexity": float(perplexity(count))}


class Assorted(CoT):
    """Writes codes for the first part of its chain and words for the rest."""
    ARGS = VQVAE.ARGS | {
        "replace": (("left", "all", "curriculum", "poisson", "random", "delete", "pause"),
                    "which chunks give way to what: see the top of vqvae.py")}
    PARENT = "vqvae"
    words = VQVAE.words

    def __init__(self, backbone, vocab, args):
        super().__init__(backbone, vocab, args)
        self.vqvae = VQVAE(copy.deepcopy(backbone), vocab, args).requires_grad_(False)
        self.bo, self.eo, self.first = (vocab.ids[w] for w in ("<boLatent>", "<eoLatent>", "<z0>"))
        options = range(self.first, len(vocab)) if args.replace != "pause" else [PAUSE]
        self.register_buffer("options", torch.tensor(options), persistent=False)
        self.SWEEP = [{}] if args.replace == "delete" else [{}, {"latents": 0}, {"latents": MANY}]

    def start_from(self, parent):
        """Takes over the codes; the language model itself starts from scratch."""
        self.vqvae.load_state_dict(parent.state_dict())

    def latent(self, there):
        """Which of the chunks, there (B, n), give way: (B, n)."""
        n = there.sum(1, keepdim=True)                                          # (B, 1)
        place = torch.arange(there.shape[1], device=there.device).expand_as(there)
        share = torch.randint(5, n.shape, device=n.device) / 4                  # Eq. (6)
        if self.args.replace == "all":
            share = torch.ones_like(share)
        elif self.args.replace == "curriculum":
            share = torch.full_like(share, min(1, int(6 * self.progress) / 4))  # a third: all
        m = (share * n).round()
        if self.args.replace == "poisson":
            m = torch.poisson((n / 2).cpu()).to(n.device)       # MPS has none
            place = torch.rand(there.shape, device=n.device).masked_fill(~there, 2)
            place = place.argsort()                                             # a random order
        return there & (place < m)

    def thoughts(self, batch):
        chunk, code = self.vqvae.codes(batch)
        latent, replace = self.latent(chunk.any(-1)), self.args.replace
        if replace == "delete":
            return mix(chunk, PAD, latent, PAD, PAD)
        if replace == "random":
            code = torch.randint_like(code, self.args.codes)
        code = torch.full_like(code, PAUSE) if replace == "pause" else self.first + code
        return mix(chunk, code, latent, self.bo, self.eo)

    def solve(self, batch, temperature=0.0, generator=None, latents=None):
        solved = self.rollout(batch, 1, temperature, generator, latents).solved
        self.spell(batch, solved)
        return solved

    @torch.no_grad()
    def rollout(self, batch, samples, temperature=1.0, generator=None, latents=None):
        if latents is None:     # the model itself decides what is latent
            return super().rollout(batch, samples, temperature, generator)
        if self.args.replace == "delete":
            raise BadInput("latents: with --replace delete there are none")
        ids, part, _ = pack(*self.prompt(batch))
        new, room = (part >= 0).sum(1), self.args.max_think + self.args.max_answer
        most = min(latents, self.args.max_think // 2)   # as many as the longest chain has words
        cache = Cache(len(ids), ids.shape[1] + most + 2 + room, ids.device)
        h = last(self.model(self.model.embed(ids), cache, new), new)            # (B, C)
        h = cache.repeat(h, samples)                                            # (R, C)
        one = torch.ones_like(cache.length)
        if most:
            begin = torch.cat([self.bo * one[:, None],
                               self.think(h, cache, most, temperature, generator)], 1)
            then = self.eo * one
        else:
            logits = self.model.head(h)
            logits[:, [PAD, self.bo]] = -torch.inf      # any word but those
            then, begin = self.sample(logits, temperature, generator), one[:, None][:, :0]
        out = self.model.generate(self.model.embed(then)[:, None], one, cache, EOS, room,
                                  temperature, generator)
        out = pack(begin, then[:, None], out)[0]                                # (R, T)
        return Rollout([self.read(row) for row in out.tolist()], torch.zeros_like(one),
                       {"prompt": ids.repeat_interleave(samples, 0), "written": out}, {})

    def think(self, h, cache, most, temperature, generator):
        """Writes <boLatent> after h (R, C) and codes (R, <= most), PAD after a row's last one.

        A row that is done stays in the batch, but its cache no longer grows.
        """
        x, out = torch.full_like(cache.length, self.bo), []
        done = torch.zeros_like(x).bool()
        while True:
            h = self.model(self.model.embed(x)[:, None], cache, (~done).long())[:, 0]
            logits = self.model.head(h).float()
            done = done | (logits.softmax(-1)[:, self.eo] > SURE)
            if len(out) == most or done.all():
                return torch.stack(out, 1) if out else done[:, None][:, :0].long()
            x = self.options[self.sample(logits[:, self.options], temperature, generator)]
            out.append(x.masked_fill(done, PAD))

    def read(self, row):
        solved = super().read(row)
        codes = [i - self.first for i in until(row, END)[0] if i >= self.first]
        return Solved(solved.answer, solved.n_think, solved.thoughts, codes)

    @torch.no_grad()
    def spell(self, batch, solved):
        """Writes into every Solved of a batch what words its codes stand for."""
        count = torch.tensor([len(s.latents) for s in solved], device=batch.question.device)
        there = torch.arange(int(count.max()), device=count.device) < count[:, None]    # (B, n)
        codes = torch.tensor([k for s in solved for k in s.latents], device=count.device)
        words = []
        if len(codes):
            logits = self.vqvae.decode(batch.question, there, self.vqvae.book.code[codes])
            words = [self.vocab.decode(until(row, PAD)[0]) for row in logits.argmax(-1).tolist()]
        words = iter(words)
        for s in solved:
            s.latents = [next(words) for _ in s.latents]
            mine = iter(s.latents)
            s.thoughts = " ".join(f"[{' '.join(next(mine))}]" if w[:2] == "<z" else w
                                  for w in s.thoughts.split())

    def extras(self, examples, solved):
        """Of a row of results: the share of codes that stand for the true chunk at their place."""
        if self.args.replace in ("poisson", "delete", "pause"):
            return {}
        pairs = [latent == true for e, s in zip(examples, solved)
                 for latent, true in zip(s.latents, self.groups_of(e))]
        return {"decoded": sum(pairs) / len(pairs)} if pairs else {}

    def groups_of(self, example, latents=None):
        chunk = self.vqvae.chunks(collate([example], self.vocab))[0]
        return [self.vocab.decode(until(row, PAD)[0]) for row in chunk.tolist()]


@torch.no_grad()
def survey(vqvae, examples):
    """{code: Counter of the chunks that it stands for}, and the share of words that are rebuilt
    from the codes and, as a control, from codes that have changed places: what the question and
    grammar alone give away."""
    training = vqvae.training
    batch = collate(examples, vqvae.vocab).to(vqvae.book.code.device)
    chunk, code = vqvae.eval().codes(batch)
    there = chunk.any(-1)                                                   # (B, n)
    words, code, found = chunk[there], code[there], {}                      # (N, L), (N,)
    for k, row in zip(code.tolist(), words.tolist()):
        text = " ".join(vqvae.vocab.decode(until(row, PAD)[0]))
        found.setdefault(k, Counter())[text] += 1

    def rebuilt(code):
        logits = vqvae.decode(batch.question, there, vqvae.book.code[code])
        return float((logits.argmax(-1) == words)[words != PAD].float().mean())
    mixed = code[torch.randperm(len(code), generator=torch.Generator().manual_seed(0))]
    shares = rebuilt(code), rebuilt(mixed)
    vqvae.train(training)
    return found, *shares
