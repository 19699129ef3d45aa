"""The backbone: a small decoder with a KV cache. Knows no task and no paper.

    x = embed(ids)                          or any embeddings (B, T, C)
    x = x + attention(norm(x))              causal, RoPE; in every block
    x = x + mlp(norm(x))                    down(gelu(up))
    h = norm(x);  logits = head(h)

This is nanoGPT's block with rotary positions in place of learned ones. Config also builds Llama's
(RMSNorm, a gated MLP), which the parity tests compare. With conv = k each norm is followed by a
short causal convolution, a "Canon layer" (Allen-Zhu, Physics of Language Models 4.1): a token sees
the k - 1 before it without attention, which is what some tasks need to find a look-up.

Sequences are padded on the right, never on the left: a causal model needs no mask for that, and a
row's positions are the same in training, in prefill and in decoding.
"""
import contextlib
import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    vocab: int                  # V, number of words
    layers: int = 3
    width: int = 64             # C
    heads: int = 4              # H; the head dimension is D = C / H
    conv: int = 0               # width of the causal convolutions; 0 = none
    dropout: float = 0.0        # dropped share of what is added to the residual stream
    norm: str = "layer"         # of NORMS
    mlp: str = "gelu"           # or "swiglu"
    qk_norm: bool = False       # norm on queries and keys
    rope_base: float = 10000.0
    sandwich: bool = False      # norm also after each residual sum


def at_least_float32(x):
    """x in float32 if it is in half precision, which is too coarse for a sum or an exp; else as it
    is: a model in float64 stays in float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class RMSNorm(nn.RMSNorm):
    """Llama's. In float32, also of what autocast has made bfloat16."""

    def forward(self, x):
        return super().forward(at_least_float32(x))


NORMS = {"layer": partial(nn.LayerNorm, bias=False), "rms": partial(RMSNorm, eps=1e-5)}


class Rope:
    """Rotary position embedding (Su et al. 2021), half-split as in Llama: two tables, which grow
    when a sequence is longer than all before it."""

    def __init__(self, dim, base):
        self.dim, self.base = dim, base                 # D
        self.cos = self.sin = torch.zeros(0, 1, dim)    # (positions, 1, D); 1: all heads

    def __call__(self, x, positions, end):
        """cos and signed sin, (T, 1, D) or (B, T, 1, D), in the precision of x and on its device,
        at `positions`: a slice, or (B, T) if rows differ. All of them are below `end`."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        if len(self.cos) < end or (self.cos.dtype, self.cos.device) != (dtype, x.device):
            with torch.inference_mode(False):   # training may use what decoding has made
                place = torch.arange(max(256, 2 * end), device=x.device, dtype=dtype)
                half = torch.arange(0, self.dim, 2, device=x.device, dtype=dtype)
                angle = place[:, None, None] * self.base ** (-half / self.dim)
                self.cos = torch.cat([angle.cos(), angle.cos()], -1)
                self.sin = torch.cat([-angle.sin(), angle.sin()], -1)
        return self.cos[positions], self.sin[positions]


def rotate(x, cos, sin):
    """RoPE on (B, T, H, D): (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin); `sin` has the minus."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


class Place(NamedTuple):
    """Where the T tokens of a call stand: the same for all blocks."""
    positions: torch.Tensor         # (B, T), or a slice if all rows have the same
    rope: tuple                     # cos and sin there, (T, 1, D) or (B, T, 1, D)
    mask: torch.Tensor = None       # added to scores, (B or 1, 1, T, columns); None: causal
    parent: torch.Tensor = None     # (B, T): index of the token before; None: each index less 1


class Attention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.heads = cfg.heads
        self.qkv = nn.Linear(cfg.width, 3 * cfg.width, bias=False)
        self.out = nn.Linear(cfg.width, cfg.width, bias=False)
        norm = NORMS[cfg.norm]
        self.q_norm = norm(cfg.width // cfg.heads) if cfg.qk_norm else None
        self.k_norm = norm(cfg.width // cfg.heads) if cfg.qk_norm else None

    def forward(self, x, place, cache):
        B, T, C = x.shape
        H, D = self.heads, C // self.heads
        qk, v = self.qkv(x).view(B, T, 3 * H, D).split_with_sizes([2 * H, H], 2)
        if self.q_norm:
            q, k = qk.chunk(2, 2)
            qk = torch.cat([self.q_norm(q), self.k_norm(k)], 2)
        qk = rotate(qk, *place.rope).to(v.dtype)   # under autocast v is not float32
        q, k = qk.transpose(1, 2).chunk(2, 1)                               # (B, H, T, D)
        v = v.transpose(1, 2)
        if cache is not None:
            k = cache.append((self, "k"), k)                                # (B, H, end + T, D)
            v = cache.append((self, "v"), v)
        causal = place.mask is None and T > 1   # a single query sees all that is there
        mask = None if place.mask is None else place.mask.to(q.dtype)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.out(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    """GPT-2's, hidden size 4 C; or Llama's gated one (SwiGLU), 8/3 C, up to a multiple of 32."""

    def __init__(self, cfg):
        super().__init__()
        self.gated = {"gelu": False, "swiglu": True}[cfg.mlp]
        hidden = 32 * math.ceil(cfg.width * 8 / 3 / 32) if self.gated else 4 * cfg.width
        self.up = nn.Linear(cfg.width, 2 * hidden if self.gated else hidden, bias=False)
        self.down = nn.Linear(hidden, cfg.width, bias=False)

    def forward(self, x):
        if not self.gated:
            return self.down(F.gelu(self.up(x)))
        gate, value = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * value)


class Conv(nn.Module):
    """Causal depthwise convolution with a skip: y_t = x_t + sum_j w_j x_{t-j} (a "Canon layer")."""

    def __init__(self, width, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size, width))    # starts as the identity

    def forward(self, x, place, cache):
        y = before = x
        if place.parent is not None:        # (B, T): the token before is that of another index
            index = (place.parent + 1)[..., None].expand_as(x)
            for w in self.weight:
                y = torch.addcmul(y, before, w)
                before = F.pad(before, (0, 0, 1, 0)).gather(1, index)   # column 0 is nothing
            return y
        T, past = x.shape[1], len(self.weight) - 1
        if cache is None:
            padded = F.pad(x, (0, 0, past, 0))                  # (B, past + T, C)
        else:
            seen = cache.append((self, "x"), x[:, None])[:, 0]  # (B, end + T, C)
            padded = torch.cat([cache.newest(seen, past), x], 1)
        for j, w in enumerate(self.weight):
            y = torch.addcmul(y, padded[:, past - j:past - j + T], w)
        return y


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        norm = NORMS[cfg.norm]
        self.norm1, self.norm2 = norm(cfg.width), norm(cfg.width)
        self.post1 = norm(cfg.width) if cfg.sandwich else None
        self.post2 = norm(cfg.width) if cfg.sandwich else None
        self.conv1 = Conv(cfg.width, cfg.conv) if cfg.conv else None
        self.conv2 = Conv(cfg.width, cfg.conv) if cfg.conv else None
        self.attn, self.mlp = Attention(cfg), MLP(cfg)
        self.dropout = nn.Dropout(cfg.dropout)

    def forward(self, x, place, cache, at=None):
        """(B, T, C) -> (B, T, C), or with `at`, as in GPT.forward, (N, C)."""
        u = self.norm1(x)
        u = self.conv1(u, place, cache) if self.conv1 else u
        x = x + self.dropout(self.attn(u, place, cache))
        x = self.post1(x) if self.post1 else x
        u = self.norm2(x)
        u = self.conv2(u, place, cache) if self.conv2 else u
        if at is not None:      # from here on no position needs another one
            x, u = x[at], u[at]                                             # (N, C)
        x = x + self.dropout(self.mlp(u))
        return self.post2(x) if self.post2 else x


@contextlib.contextmanager
def changed(thing, **values):
    """Gives attributes of `thing` other values inside a with statement."""
    before = {name: getattr(thing, name) for name in values}
    try:
        for name, value in values.items():
            setattr(thing, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(thing, name, value)


class GPT(nn.Module):
    FLAGS = {}              # {name: Flag} of its own, beyond those of every run
    KNOBS = {}              # {name: Flag} of the forward pass; attributes of the same name
    COMPILED = "forward"    # the method that --compile compiles

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.embed = nn.Embedding(cfg.vocab, cfg.width)
        self.rope = Rope(cfg.width // cfg.heads, cfg.rope_base)
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.layers))
        self.norm = NORMS[cfg.norm](cfg.width)
        self.head = nn.Linear(cfg.width, cfg.vocab, bias=False)
        for name, p in self.named_parameters():
            if p.ndim == 2 and "conv" not in name:      # convolutions, norms: the identity at first
                out = name.endswith(("out.weight", "down.weight"))  # into the residual: smaller
                nn.init.normal_(p, std=cfg.width ** -0.5 * (0.5 if out else 1))

    def forward(self, x, cache=None, lengths=None, layers=None, tree=None, at=None):
        """Embeddings (B, T, C) -> hidden states (B, T, C), normed, ready for `self.head`.

        cache       x continues each of its rows
        lengths     (B,): how many of a row's T positions are real (all, if None). The others are
                    padding: their states mean nothing. Without a cache only recurrent.py asks
        layers      a list that gets the states (B, T, C) after every layer; with `at`, (N, C)
        tree        where several texts branch off a common one in a row: Tree of method.py
        at          the N positions whose states are wanted, a mask (B, T) or their rows and columns
                    (N,) each: it returns these alone, (N, C), and the last MLP computes no others
        """
        T, place = x.shape[1], self.begin(x, cache, tree)
        for block in self.blocks:
            final = block is self.blocks[-1]
            x = block(x, place, cache, at if final else None)
            if layers is not None:
                layers.append(x if at is None or final else x[at])
        if cache is not None:
            cache.advance(T, lengths)
        return self.norm(x)

    def begin(self, x, cache, tree=None):
        """Readies the cache for embeddings x (B, T, C). Returns their Place."""
        T = end = x.shape[1]
        positions, sees, parent = tree or (slice(0, T), None, None)
        if cache is not None:
            positions, sees = cache.begin(x)
            end += cache.end
        mask = None if sees is None else x.new_zeros(sees.shape).masked_fill(~sees, -torch.inf)
        return Place(positions, self.rope(x, positions, end), mask, parent)

    def settings(self):
        """Knobs worth a row each in the table of results."""
        return [{}]

    @contextlib.contextmanager
    def recording(self):
        """Yields a dict that at the end says what the calls inside have cost, {column: number}."""
        yield {}

    using = changed         # attributes of the model, KNOBS above all

    def generate(self, x, lengths, cache, stop, max_new, sample=None, samples=1):
        """Decodes each row until it writes `stop`, at most max_new tokens.

        x (B, T, C): embeddings that continue `cache`, of which lengths (B,) per row are real (None:
        all). Each row is continued `samples` times. sample: a Sampler; None: greedy. Rows that have
        stopped leave as soon as they are a quarter of the batch. Uses up the cache. Returns ids
        (B samples, <= max_new), 0 after `stop`.
        """
        sample = sample or GREEDY
        # Most of a token's time goes into calling operations, so each should be cheap to call:
        # inference_mode is a leaner no_grad, and a GELU of few numbers is faster without oneDNN.
        with torch.inference_mode(), changed(torch.backends.mkldnn, enabled=False):
            h = self(x, cache, lengths, at=ends(x, lengths))                    # (B, C)
            h = cache.repeat(h, samples)                                        # (R, C)
            out = torch.zeros(len(h), max_new, dtype=torch.long, device=x.device)
            rows = torch.arange(len(h), device=x.device)        # those still in the batch, and
            written = []                                        # what they wrote since rows left it
            done = torch.zeros_like(rows, dtype=torch.bool)
            for t in range(1, max_new + 1):
                logits = self.head(h)                               # (R, V)
                logits[:, 0] = -torch.inf   # 0 is what follows `stop`: it cannot be written
                token = sample(logits)                              # (R,)
                written.append(token)
                done = done | (token == stop)
                finished = int(done.sum())
                over = finished == len(rows) or t == max_new
                if over or finished * 4 >= len(rows):
                    out[rows, t - len(written):t] = torch.stack(written, 1)
                    keep = (~done).nonzero()[:, 0]
                    rows, token, done, written = rows[keep], token[keep], done[keep], []
                    if over:
                        break
                    cache.select(keep)
                h = self(self.embed(token)[:, None], cache)[:, 0]
        out = out[:, :t].clone()    # a normal tensor, which training may use
        ended = (out == stop).cumsum(1) - (out == stop).long()
        return out.masked_fill(ended > 0, 0)


# ---- decoding ------------------------------------------------------------------------------------

@dataclass
class Sampler:
    """How to choose a token: the likeliest at temperature 0, else from softmax(logits /
    temperature), of the top_k likeliest only (0: of all). generator: one of the logits' device."""
    temperature: float = 0.0
    top_k: int = 0
    generator: torch.Generator = None

    def __call__(self, logits):
        """(B, V) -> (B,)."""
        if not self.temperature:
            return logits.argmax(-1)
        if self.top_k:
            least = logits.topk(min(self.top_k, logits.shape[-1])).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        p = (at_least_float32(logits) / self.temperature).softmax(-1)
        if logits.device.type == "cpu" and not p.isfinite().all():      # a GPU would have to wait
            raise FloatingPointError("nothing can be sampled: the model's probabilities are nan")
        return torch.multinomial(p, 1, generator=self.generator)[:, 0]


GREEDY = Sampler()


def ends(x, lengths):
    """Rows and columns (B,) of each row's last real position in x (B, T, ...); lengths (B,): how
    many are real; None: all of T."""
    rows = torch.arange(len(x), device=x.device)
    return rows, (torch.full_like(rows, x.shape[1]) if lengths is None else lengths) - 1


# ---- the cache -----------------------------------------------------------------------------------

class Cache:
    """What decoding remembers: keys and values of every layer, inputs of every convolution.

    A call writes its T positions into the same T columns of all rows, so no row needs a scatter.
    Rows have lengths of their own: where a column holds no token of a row (the padding of its
    prompt, or what it was fed after its end) it is hidden from the row's later queries. A row's
    positions, which RoPE turns by, count its own tokens alone.
    """
    ROOM = 64       # columns that a buffer grows by, at least

    def __init__(self):
        self.store = {}         # (module, name) -> (B, H, columns, D)
        self.end = 0            # columns written
        self.lengths = 0        # (B,): tokens of each row
        self.real = None        # (B, end): is it a token of the row? None: all are
        self.state = None       # (B, 1, C): where a recurrent backbone goes on, if it is `warm`

    def begin(self, x):
        """Readies it for embeddings x (B, T, C). Returns their positions, a slice or (B, T), and
        the columns that each may look at, (B or 1, 1, T, end + T); None: all before it."""
        B, T, _ = x.shape
        if not self.end:
            self.lengths = torch.zeros(B, dtype=torch.long, device=x.device)
        positions, past = slice(self.end, self.end + T), self.real
        if past is not None:
            positions = self.lengths[:, None] + torch.arange(T, device=x.device)
        elif self.end and T > 1:
            past = torch.ones(1, self.end, dtype=torch.bool, device=x.device)
        else:
            return positions, None
        sees = F.pad(past, (0, T), value=True)[:, None, None]
        return positions, sees & sees.new_ones(T, self.end + T).tril(self.end)

    def append(self, key, new):
        """Writes new (B, H, T, D) behind a buffer's columns. Returns all: (B, H, end + T, D)."""
        old, end = self.store.get(key), self.end + new.shape[2]
        if torch.is_grad_enabled():     # backward will need the old ones as they were
            self.store[key] = new if old is None else torch.cat([old[:, :, :self.end], new], 2)
            return self.store[key]
        if old is None or old.shape[2] < end:
            B, H, _, D = new.shape
            self.store[key] = new.new_empty(B, H, end + max(self.ROOM, end // 2), D)
            if old is not None:
                self.store[key][:, :, :self.end] = old[:, :, :self.end]
        buffer = self.store[key]
        buffer[:, :, self.end:end] = new
        return buffer[:, :, :end]

    def newest(self, seen, n):
        """seen (B, end + T, C) -> (B, n, C): what it has of each row's last n tokens before this
        call; 0 where a row has fewer."""
        if self.real is None:
            newest = seen[:, max(0, self.end - n):self.end]
            return F.pad(newest, (0, 0, n - newest.shape[1], 0))
        column = torch.arange(self.end, device=seen.device).expand(len(seen), -1)
        column = column.masked_fill(~self.real, -1)
        column = F.pad(column, (n, 0), value=-1).topk(n).values.flip(1)             # (B, n)
        newest = seen.gather(1, column.clamp(min=0)[..., None].expand(-1, -1, seen.shape[2]))
        return newest * (column >= 0)[..., None]

    def advance(self, T, lengths=None):
        """T positions were written, of which lengths (B,) per row are real (all, if None)."""
        if self.real is None and lengths is not None and bool((lengths < T).any()):
            self.real = lengths.new_ones(len(lengths), self.end).bool()
        if self.real is not None:
            new = self.real.new_ones(len(self.real), T)
            if lengths is not None:
                new = torch.arange(T, device=lengths.device) < lengths[:, None]
            self.real = torch.cat([self.real, new], 1)
        self.end += T
        self.lengths = self.lengths + (T if lengths is None else lengths)

    def here(self):
        """Where the cache ends, for `back_to`."""
        return self.end, self.lengths, self.real

    def back_to(self, here):
        """Forgets what was written since `here`."""
        self.end, self.lengths, self.real = here

    def keep_first(self, lengths):
        """Of what a single call has written, keeps each row's first lengths (B,) tokens."""
        self.back_to((0, torch.zeros_like(lengths), None))
        self.advance(int(lengths.max()), lengths)

    def select(self, rows):
        """Keeps only the given rows (indices), e.g. those that are not finished."""
        self.lengths = self.lengths[rows]
        self.real = None if self.real is None else self.real[rows]
        self.state = None if self.state is None else self.state[rows]
        self.store = {key: buffer[rows] for key, buffer in self.store.items()}

    def repeat(self, h, samples):
        """Makes `samples` rows of each one, as continuations to sample; the same for h (B, ...)."""
        if samples == 1:
            return h
        rows = torch.arange(len(h), device=h.device).repeat_interleave(samples)
        self.select(rows)
        return h[rows]
