r"""Recurrent depth: think longer by iterating one block. arXiv 2502.05171 ("Huginn").

    (1) e   = prelude(gamma x)                  gamma = sqrt C; once per token
    (2) s_0 ~ N(0, 2/5), cut at 3 sigma         noise of its own for every token
    (3) s_i = core(A [s_{i-1}; e])              i = 1..r; the input e is injected every time
    (4) h   = norm(coda(norm(s_r)))             the same norm twice
    (5) r   = 1 + Poisson(exp tau),  tau ~ N(log rbar - 1/8, 1/4)       in training, rbar = --mean-r
    (6) gradient through the last min(r, k) iterations only, so memory does not grow with r; the
        prelude has its gradient through e, which each of these reads (--inject none: through all)

The blocks are those of model.py in sandwich form: x = norm(x + f(norm(x))), which holds the scale
of s through any number of iterations. Started with the variances of Takase et al. (2312.16903).

This is a backbone: every method runs on it unchanged. At inference (`KNOBS`)
    r          iterations per token, also far beyond training
    exit       a row stops iterating when its newest token has converged: "kl", by the change in
               what it predicts, "latent", of its state, "second", of that change (2509.23314), or
               "argmax", the same word several times in a row
    threshold  of that change; 0: the default in EXITS
    share      slots of the cache that iterations share: i takes slot i mod share; 0: one each
    warm       the tokens of a call start from the last state of the call before, not from noise
    draft      iterations with which greedy decoding drafts tokens, to check them with r
    state_seed of the noise s_0, which is fixed per position: results repeat, and do not depend on
               what else is in the batch or cache

Cache. Each execution of a core block has keys and values of its own: slot i holds those of
iteration i. A token that stopped early has none for later ones; there its deepest counts
(`Slots`). With `share` a token's later iterations overwrite its earlier ones.

Differs from the paper and its code:
 1. Embeddings are not tied to the head: CoLaR freezes the embeddings.
 2. The blocks' optional convolution (model.py); no biases on queries and keys.
 3. The paper's text has a norm inside R; as in their code, only the sandwich norms are.
 4. An exit looks at the last real position of a row and stops all of the row's new positions, so a
    prompt exits as one; in theirs, batches wait for the slowest row, here rows are independent.
 5. Exits on the latent use that position, theirs the mean over positions; never at the first
    iteration.
 6. `share` counts iterations; the code's budget counts blocks.
 7. Without injection (--inject none) s_0 is e and has no noise; `warm` does nothing there.
 8. k = 4 and a rotary base of 10,000; theirs 8 and 50,000 in the large model.
 9. LayerNorm and a GELU MLP, as in model.py. Config also builds theirs, RMSNorm and a gated MLP.

    python train.py --method nocot --backbone recurrent --task permutation
    python train.py --method colar --backbone recurrent             # thinks in latents, and deeper
    python train.py --method nocot --backbone recurrent --task permutation \
        --sampler fixed --mean-r 1                                  # its twin without recurrence
    python -m lab.depth RUN                                         # what the iterations do
    python -m lab.examples recurrent                                # how far each moves the state
"""
import contextlib
import math

import torch
import torch.nn as nn

from data.cli import BadInput, Flag, choice
from model import GPT, GREEDY, NORMS, Block, Cache, Rope, at_least_float32, ends

SIGMA = 0.5         # of tau in Eq. (5)
NOISE = 0.4         # variance of s_0
POSITIONS = 1024    # after which the noise repeats
DRAFT = 4           # tokens per draft of speculative decoding
EXITS = {"kl": 5e-4, "latent": 0.03, "second": 0.03, "argmax": 5}
ON_STATES = "latent", "second"      # exits that look at the state; the others, at logits


def draw_r(mean, sampler, n=1):
    """Eq. (5): n numbers of iterations, a long tensor; "fixed": all of them `mean`."""
    if sampler == "fixed":
        return torch.full((n,), mean)
    tau = math.log(mean) - SIGMA ** 2 / 2 + SIGMA * torch.randn(n)
    return torch.poisson(tau.exp()).long() + 1


def noise(*shape, std=NOISE ** 0.5, generator=None, device=None):
    """Eq. (2): normal numbers of mean 0, cut at 3 std: their distribution function, inverted.

    What torch's own trunc_normal_ draws for a seed differs between versions of torch.
    """
    inside = math.erf(3 / 2 ** 0.5)                             # the share within 3 std
    u = 2 * torch.rand(shape, generator=generator, device=device) - 1
    return std * 2 ** 0.5 * torch.erfinv(inside * u)


def part_sizes(parts, layers):
    """--parts and --layers -> the numbers of blocks of prelude, core and coda."""
    if not parts:
        if layers % 3 and layers > 2:
            raise BadInput(f"--layers {layers}: a recurrent backbone has three equal parts, unless "
                           "--parts says otherwise")
        return [max(1, layers // 3)] * 3        # sizes nano and mini have fewer than three
    sizes = [int(n) if n.isdecimal() else 0 for n in parts.split(",")]
    if len(sizes) != 3 or not 1 <= min(sizes) <= max(sizes) <= 1000:
        raise BadInput(f"--parts {parts}: not three numbers of blocks, e.g. 1,4,1")
    return sizes


class RecurrentGPT(GPT):
    FLAGS = {
        "mean_r": Flag(8, "rbar of Eq. (5): training iterates rbar + 1 times on average (fixed: "
                       "rbar), tests rbar times unless told", least=1, most=10**4),
        "k_grad": Flag(4, "last iterations that have a gradient", least=1),
        "sampler": Flag("lognormal", "of r in training: log-normal Poisson, or always the mean "
                        "(fixed)", ("lognormal", "fixed")),
        "norm": Flag("sandwich", "norms around the residual sum, or only before (a failed run of "
                     "the paper)", ("sandwich", "pre")),
        "inject": Flag("concat", "how e enters: A [s; e], s + e (another failed run), or only as "
                       "s_0", ("concat", "add", "none")),
        "parts": Flag("", "blocks of prelude, core and coda, e.g. 1,4,1; '': a third of --layers "
                      "each"),
    }
    KNOBS = {
        "r": Flag(None, "iterations of a recurrent backbone, e.g. 1,4,16; unless given, rbar",
                  kind=int, least=1, most=10**4),
        "exit": Flag("none", "when a row stops iterating", ("none", *EXITS)),
        "threshold": Flag(0.0, "of the exit; 0: the default of its kind"),
        "share": Flag(0, "slots of its cache that iterations share; 0: one each"),
        "warm": Flag(False, "start from the state of the call before, not from noise"),
        "draft": Flag(0, "iterations of a draft, to decode speculatively; 0: none", most=10**4),
        "state_seed": Flag(0, "of the noise s_0"),
    }
    COMPILED = "iteration"  # not forward: its number of iterations changes from call to call

    def __init__(self, cfg, mean_r=8, k_grad=4, sampler="lognormal", norm="sandwich",
                 inject="concat", parts=""):
        nn.Module.__init__(self)
        self.cfg, self.mean_r, self.k_grad, self.sampler = cfg, mean_r, k_grad, sampler
        self.inject = inject
        cfg.sandwich = norm == "sandwich"
        sizes = part_sizes(parts, cfg.layers)
        self.embed = nn.Embedding(cfg.vocab, cfg.width)
        self.rope = Rope(cfg.width // cfg.heads, cfg.rope_base)
        self.prelude, self.core, self.coda = (
            nn.ModuleList(Block(cfg) for _ in range(n)) for n in sizes)
        self.adapter = nn.Linear(2 * cfg.width, cfg.width, bias=False)      # A of Eq. (3)
        self.norm = NORMS[cfg.norm](cfg.width)
        self.head = nn.Linear(cfg.width, cfg.vocab, bias=False)
        executed = sizes[0] + sizes[1] * mean_r + sizes[2]      # layers
        for name, p in self.named_parameters():
            if p.ndim == 2 and "conv" not in name:      # variance 2 / 5C; into the residual: less
                out = name.endswith(("out.weight", "down.weight"))
                std = (NOISE / cfg.width / (2 * executed if out else 1)) ** 0.5
                p.data.copy_(noise(*p.shape, std=std))
        for name, flag in self.KNOBS.items():
            setattr(self, name, flag.default)
        self.r = mean_r
        self.tables = {}            # of noise_at
        self.taken = None           # a list: gets the iterations (B,) of every call; 0: no token
        self.trace = None           # a list: gets the newest token's state (B, C), every iteration
        self.drafting = False       # what is written to the cache will be overwritten

    def settings(self):
        return [{"r": r} for r in (1, 2, 4, 8, 16, 32)]

    @contextlib.contextmanager
    def recording(self):
        found, cache = {}, Cache()
        with self.using(taken=[]):
            yield found
            taken = torch.cat(self.taken)
        with self.using(exit="none"), torch.no_grad():
            self(self.embed.weight[:1, None], cache)                    # one token: (1, 1, C)
        found["cache"] = sum(buffer[:, :, :1].numel() for buffer in cache.store.values())
        if not self.draft:      # whose calls are of several tokens or thrown away
            found["iterations"] = float(taken[taken > 0].float().mean())

    def forward(self, x, cache=None, lengths=None, layers=None, tree=None, at=None):
        """As GPT.forward. In training and without a cache r is drawn, else it is self.r. `layers`
        gets what prelude, core and coda make."""
        place = self.begin(x, cache, tree)
        e = x * self.cfg.width ** 0.5
        for block in self.prelude:
            e = block(e, place, cache)                                  # (B, T, C)
        s = self.first_state(e, place, cache)
        s = self.iterate(s, e, place, cache, lengths)
        h = self.read_out(s, place, cache, at)
        if cache is not None:
            if self.warm:
                newest = last_state(s, lengths)[:, None]                # (B, 1, C)
                if lengths is not None and cache.end:   # a row without a new token keeps its old
                    newest = torch.where((lengths > 0)[:, None, None], newest, cache.state)
                cache.state = newest
            cache.advance(x.shape[1], lengths)
        if layers is not None:
            layers += (e, s, h) if at is None else (e[at], s[at], h)        # (N, C) each
        return h

    def first_state(self, e, place, cache):
        """s_0: fresh noise in training; else that of its position, or the last token's state."""
        if self.inject == "none":
            return e
        if self.training and cache is None:
            return noise(*e.shape, device=e.device)
        if self.warm and cache is not None and cache.end:
            return cache.state.expand_as(e)
        positions = place.positions
        if isinstance(positions, slice):
            positions = torch.arange(positions.start, positions.stop, device=e.device)[None]
        return self.noise_at(positions).expand_as(e)                        # of (1 or B, T)

    def noise_at(self, positions):
        """s_0 at positions (...): (..., C), of a table made once per seed and device."""
        key = self.state_seed, positions.device
        if key not in self.tables:
            generator = torch.Generator().manual_seed(self.state_seed)
            table = noise(POSITIONS, self.cfg.width, generator=generator)
            self.tables = {key: table.to(positions.device)}
        return self.tables[key][positions % POSITIONS]

    def iteration(self, s, e, place, cache=None):
        """Eq. (3)."""
        if self.inject == "concat":
            s = self.adapter(torch.cat([s, e], -1)).to(e.dtype)     # else autocast's: few bits
        elif self.inject == "add":
            s = s + e
        for block in self.core:
            s = block(s, place, cache)
        return s

    def read_out(self, s, place, cache=None, at=None):
        """Eq. (4): states (B, T, C) -> hidden states, ready for the head; at: as in forward."""
        s = self.norm(s)
        for block in self.coda:
            s = block(s, place, cache, at if block is self.coda[-1] else None)
        return self.norm(s)

    def iterate(self, s, e, place, cache, lengths):
        """Eq. (3), (5) and (6): r iterations, or per row fewer if `exit` says so."""
        r = self.r
        if self.training and cache is None:
            r = int(draw_r(self.mean_r, self.sampler))
        # iterations without a gradient: none without injection, where s_0 alone has e
        free = 0 if self.inject == "none" else max(0, r - self.k_grad)
        steps, active = torch.full((len(s),), r, device=s.device), None
        done = Exit(self.exit, self.threshold) if self.exit != "none" else None
        for i in range(r):
            if i == free and torch.is_grad_enabled():
                torch.clear_autocast_cache()    # weights in it may have no graph
            with torch.set_grad_enabled(torch.is_grad_enabled() and i >= free):
                slots = cache and Slots(cache, i, self.share, active)
                after = self.iteration(s, e, place, slots)
            s = after if active is None else torch.where(active[..., None], after, s)
            if self.trace is not None:
                self.trace.append(last_state(s, lengths))
            if done is None:
                continue
            if self.exit in ON_STATES:
                look = last_state(s, lengths)                                       # (B, C)
            else:
                look = self.head(last_state(self.read_out(s, place, cache), lengths))   # (B, V)
            stop = done(look)[:, None]                                              # (B, 1)
            if active is None:
                active = torch.ones_like(stop) if lengths is None else (lengths > 0)[:, None]
            steps = torch.where((active & stop)[:, 0], i + 1, steps)
            active = active & ~stop
            if not active.any():
                break
        if cache is not None and not self.drafting:
            Slots.settle(cache, i + 1, s.shape[1])
        if self.taken is not None:
            self.taken.append(steps if lengths is None else steps * (lengths > 0))
        return s

    def generate(self, x, lengths, cache, stop, max_new, sample=None, samples=1):
        if self.draft and (self.exit != "none" or self.share or self.warm):
            raise BadInput("--draft goes with neither --exit, --share nor --warm: tokens checked "
                           "together would see another cache than tokens written one by one")
        if self.draft and not (sample or GREEDY).temperature and samples == 1:
            return speculate(self, x, lengths, cache, stop, max_new)
        return super().generate(x, lengths, cache, stop, max_new, sample, samples)


# ---- inference: exits, slots of the cache, speculation -------------------------------------------

def latent_change(before, after):
    """|s_i - s_{i-1}| / |s_i| of states (B, C) -> (B,)."""
    return (after - before).norm(dim=-1) / after.norm(dim=-1)


def kl_change(before, after):
    """KL(p_{i-1} || p_i) of logits (B, V) -> (B,)."""
    p, q = (at_least_float32(logits).log_softmax(-1) for logits in (before, after))
    return (p.exp() * (p - q)).sum(-1)


def last_state(s, lengths):
    """s (B, T, C) -> (B, C) at each row's last real position; its first one if it has none."""
    return s[ends(s, None if lengths is None else lengths.clamp(min=1))]


class Exit:
    """Says after each iteration which rows have converged."""

    def __init__(self, kind, threshold):
        default = choice(kind, EXITS, "exit")
        self.limit = threshold or default
        self.kind, self.before, self.change, self.same = kind, None, 0, 0

    def __call__(self, now):
        """now: the newest token's state (B, C) for ON_STATES, else its logits (B, V) -> (B,)."""
        before, self.before = self.before, now
        if before is None:
            before = torch.zeros_like(now)      # as logits: every word is equally likely
        if self.kind == "latent":
            return latent_change(before, now) < self.limit
        if self.kind == "kl":
            return kl_change(before, now) < self.limit
        if self.kind == "second":
            last, self.change = self.change, now - before
            still = (self.change - last).norm(dim=-1) / now.norm(dim=-1) < self.limit
        else:
            still = now.argmax(-1) == before.argmax(-1)
        self.same = torch.where(still, self.same + 1, 0)        # iterations in a row
        return self.same >= (2 if self.kind == "second" else self.limit)


class Slots(Cache):
    """The cache as the core sees it in iteration i; the interface of Cache that blocks use.

    Slot i of a token holds its keys and values of iteration i or, if it stopped before, those of
    its last one. active (B, 1): the rows that have not stopped.
    """

    def __init__(self, cache, i, share, active):
        self.cache, self.newest, self.active = cache, cache.newest, active
        self.slot, self.again = (i % share, i >= share) if share else (i, False)

    def append(self, key, new):
        """As Cache.append, in this iteration's slot. A row that has stopped repeats what it wrote
        last: in the slot before or, once the slots come round again (`share`), in this one."""
        store, own, before = self.cache.store, (key, self.slot), (key, self.slot - 1)
        if self.slot and own not in store:
            store[own] = store[before].clone()          # no token has been here yet
        if self.active is not None:
            columns = slice(self.cache.end, self.cache.end + new.shape[2])
            old = store[own if self.again else before][:, :, columns]
            new = torch.where(self.active[..., None, None], new, old)
        return self.cache.append(own, new)

    @staticmethod
    def settle(cache, n, T):
        """After n iterations of T new tokens: deeper slots get what the last one has."""
        slots = [key for key in cache.store if isinstance(key[1], int)]     # of the core
        for key, slot in [key for key in slots if key[1] >= n]:
            cache.append((key, slot), cache.store[key, n - 1][:, :, cache.end:cache.end + T])


@torch.no_grad()
def speculate(model, x, lengths, cache, stop, max_new):
    """Greedy decoding by self-speculation: the tokens of `generate`, in fewer deep calls.

    DRAFT tokens are written with `draft` iterations; then the cache is rolled back and one call
    over all of them, with r iterations, says what r would have written at each. A row keeps
    the words up to and with the first on which they differ.
    """
    def likeliest(h):
        logits = model.head(h)
        logits[..., 0] = -torch.inf     # as in `generate`
        return logits.argmax(-1)
    token = likeliest(model(x, cache, lengths, at=ends(x, lengths)))     # (B,)
    out = token.new_zeros(len(token), max_new + DRAFT)
    out[:, 0], count = token, torch.ones_like(token)
    spot, going = torch.arange(DRAFT, device=x.device), count < max_new
    going &= token != stop
    while going.any():
        start, drafted = cache.here(), [token]
        with model.using(r=model.draft, drafting=True):
            for _ in range(DRAFT):
                h = model(model.embed(drafted[-1])[:, None], cache)
                drafted.append(likeliest(h[:, 0]))
        cache.back_to(start)
        fed, drafted = torch.stack(drafted[:-1], 1), torch.stack(drafted[1:], 1)    # (B, DRAFT)
        deep = likeliest(model(model.embed(fed), cache))
        agreed = (drafted == deep).long().cumprod(1).sum(1)
        n = torch.minimum(agreed + 1, max_new - count).clamp(max=DRAFT) * going     # words kept
        cache.back_to(start)
        cache.advance(int(n.max()), n)
        kept = torch.where(spot < n[:, None], deep, 0)
        out.scatter_(1, count[:, None] + spot, kept)
        token = torch.where(going, deep.gather(1, (n - 1).clamp(min=0)[:, None])[:, 0], token)
        count = count + n
        going &= (count < max_new) & ~(kept == stop).any(1)
    out = out[:, :max_new]
    ended = (out == stop).long().cumsum(1) - (out == stop).long()
    return out.masked_fill(ended > 0, 0)[:, :int(count.max())]
