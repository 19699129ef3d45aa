"""The backbone: a small Llama-style decoder with a KV cache. Knows no task and no paper.

    x = embed(ids)                          or any embeddings (B, T, C)
    x = x + attention(conv(norm(x)))        RMSNorm, RoPE, causal; in every block
    x = x + mlp(conv(norm(x)))              gated: down(silu(gate) * up)
    h = norm(x);  logits = head(h)

With conv = 0 this is Llama (tests/test_model.py writes that out). The short causal convolutions,
"Canon layers" (Allen-Zhu, Physics of Language Models 4.1), let a token see its neighbours without
attention, which is meant to help look-ups; results/README.md says what they are worth here.

Sequences are padded on the right, never on the left: a causal model needs no mask for that, and a
row's positions are the same in training, in prefill and in decoding.
"""
import contextlib
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    vocab: int                  # V, number of words
    layers: int = 3
    width: int = 64             # C
    heads: int = 4              # H; the head dimension is D = C / H
    mlp: int = 0                # hidden size of the MLP; 0 = 8/3 C, up to a multiple of 32
    conv: int = 4               # width of the causal convolutions; 0 = none, a plain Llama block
    qk_norm: bool = False       # RMSNorm on queries and keys
    rope_base: float = 10000.0
    sandwich: bool = False      # RMSNorm also after each residual sum


class Cache:
    """What decoding remembers: keys and values of every layer, inputs of every convolution.

    Each row has its own length, so prompts of different lengths need no padding before their
    continuation. A row's next token is written at its own length; what padding left there before
    is overwritten, and was never seen, because a query at position p attends to slots <= p.
    """

    def __init__(self, rows, slots, device=None):
        self.length = torch.zeros(rows, dtype=torch.long, device=device)    # (B,) tokens per row
        self.slots, self.end = slots, 0     # room of a row; end >= every length, known without sync
        self.store = {}                     # (module, name) -> (B, slots, ...)
        self.shared = {}                    # what `once` has made

    def once(self, name, make):
        """make(), once in a call of the model: what all of its layers need alike."""
        if name not in self.shared:
            self.shared[name] = make()
        return self.shared[name]

    def rows(self):
        """(B, 1): indices of the rows."""
        return self.once("rows", lambda: torch.arange(len(self.length),
                                                      device=self.length.device)[:, None])

    def append(self, key, new, at):
        """Writes new (B, T, ...) at slots `at` (B, T) of the buffer `key`; returns the buffer."""
        if key not in self.store:
            self.store[key] = new.new_zeros(new.shape[0], self.slots, *new.shape[2:])
        rows = self.rows()
        if torch.is_grad_enabled():     # backward will need the buffer as it was
            self.store[key] = self.store[key].index_put((rows, at), new)
        else:
            self.store[key][rows, at] = new
        return self.store[key]

    def advance(self, T, new):
        """T positions were written, of which new (B,) per row are real (all, if None)."""
        self.length = self.length + (T if new is None else new)
        self.end += T

    def select(self, rows):
        """Keeps only the given rows (indices), e.g. those that are not finished."""
        self.length = self.length[rows]
        self.store = {key: buffer[rows] for key, buffer in self.store.items()}

    def repeat(self, h, samples):
        """Makes `samples` rows of each one, as continuations to sample; the same for h (B, ...)."""
        if samples == 1:
            return h
        rows = torch.arange(len(h), device=h.device).repeat_interleave(samples)
        self.select(rows)
        return h[rows]


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight, 1e-5)


def rope_table(positions, dim, base):
    """cos and signed sin of rotary position embedding (Su et al. 2021), half-split as in Llama."""
    freq = base ** (-torch.arange(0, dim, 2, device=positions.device) / dim)    # (D/2,)
    angle = positions[..., None].float() * freq                                 # (..., D/2)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)                # (..., D) each


def rotate(x, cos, sin):
    """RoPE on (B, T, H, D): (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin); roll swaps halves."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def window(at, size):
    """Slots (B, T, size) of the last `size` tokens up to those at `at` (B, T), and (B, T, size, 1):
    1 where there is such a token, else 0."""
    past = at[..., None] - torch.arange(size, device=at.device)
    return past.clamp(min=0), (past >= 0)[..., None].float()


def visible(at, end):
    """What attention adds for the slots 0 ... end - 1 (B, 1, T, end): 0 up to `at` (B, T), -inf."""
    beyond = torch.arange(end, device=at.device) > at[..., None]
    return torch.zeros(beyond.shape, device=at.device).masked_fill(beyond, -torch.inf)[:, None]


class Conv(nn.Module):
    """Causal depthwise convolution with a skip: y_t = x_t + sum_j w_j x_{t-j} (a "Canon layer")."""

    def __init__(self, width, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size, width))    # starts as the identity

    def forward(self, x, at, cache):
        B, T, C = x.shape
        size = len(self.weight)
        if cache is not None:
            x_all = cache.append((self, "x"), x, at)
        if cache is not None and cache.end:                     # the inputs lie in the cache
            at_j, weight = cache.once(size, lambda: window(at, size))
            x_past = x_all[cache.rows()[..., None], at_j]       # (B, T, size, C)
            return x + (x_past * (weight * self.weight)).sum(2)
        padded, y = F.pad(x, (0, 0, size - 1, 0)), x            # (B, size-1+T, C)
        for j, w in enumerate(self.weight):
            y = torch.addcmul(y, padded[:, size - 1 - j:size - 1 - j + T], w)
        return y


class Attention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.heads = cfg.heads
        self.qkv = nn.Linear(cfg.width, 3 * cfg.width, bias=False)
        self.out = nn.Linear(cfg.width, cfg.width, bias=False)
        self.q_norm, self.k_norm = (
            RMSNorm(cfg.width // cfg.heads) if cfg.qk_norm else nn.Identity() for _ in "qk")

    def forward(self, x, rope, at, cache):
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, -1).unbind(2)   # (B, T, H, D) each
        q, k = rotate(self.q_norm(q), *rope), rotate(self.k_norm(k), *rope)
        mask = None
        if cache is not None:
            k_all, v_all = cache.append((self, "k"), k, at), cache.append((self, "v"), v, at)
            if cache.end:                                       # after prefill: see cached slots
                end = cache.end + T
                k, v = k_all[:, :end], v_all[:, :end]           # (B, end, H, D)
                mask = cache.once("mask", lambda: visible(at, end)).to(q.dtype)
        q, k, v = (m.transpose(1, 2) for m in (q, k, v))        # (B, H, T, D)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.out(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        hidden = cfg.mlp or -(-cfg.width * 8 // 3 // 32) * 32
        self.up = nn.Linear(cfg.width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, cfg.width, bias=False)

    def forward(self, x):
        gate, value = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * value)


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(cfg.width), RMSNorm(cfg.width)
        self.post1, self.post2 = (
            RMSNorm(cfg.width) if cfg.sandwich else nn.Identity() for _ in "12")
        self.conv1, self.conv2 = (Conv(cfg.width, cfg.conv) if cfg.conv else None for _ in "12")
        self.attn, self.mlp = Attention(cfg), MLP(cfg)

    def forward(self, x, rope, at, cache):
        u = self.norm1(x)
        u = self.conv1(u, at, cache) if self.conv1 else u
        x = self.post1(x + self.attn(u, rope, at, cache))
        u = self.norm2(x)
        u = self.conv2(u, at, cache) if self.conv2 else u
        return self.post2(x + self.mlp(u))


class GPT(nn.Module):
    ARGS = {}       # {flag: (default, help)} of its own, beyond those of train.py
    KNOBS = {}      # {setting of the forward pass: its default}; attributes of the same name
    HOT = "forward"     # what --compile compiles
    SWEEP = [{}]    # settings of these worth a row each in the results table
    seen = None     # a list: gets the states (B, T, C) after every layer
    top_k = 0       # sample only among so many of the likeliest words; 0: among all

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.embed = nn.Embedding(cfg.vocab, cfg.width)
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.layers))
        self.norm = RMSNorm(cfg.width)
        self.head = nn.Linear(cfg.width, cfg.vocab, bias=False)
        for name, p in self.named_parameters():
            if p.ndim == 2 and "conv" not in name:      # convolutions, norms: the identity at first
                out = name.endswith(("out.weight", "down.weight"))  # into the residual: smaller
                nn.init.normal_(p, std=cfg.width ** -0.5 * (0.5 if out else 1))

    def forward(self, x, cache=None, new=None):
        """Embeddings (B, T, C) -> hidden states (B, T, C), normed, ready for `self.head`.

        With a cache, x continues each row; new (B,) says how many of its T positions are real (all,
        if None). The others are padding on the right: their states mean nothing.
        """
        rope, at = self.positions(x, cache)
        for block in self.blocks:
            x = block(x, rope, at, cache)
            self.note(x)
        if cache is not None:
            cache.advance(x.shape[1], new)
        return self.norm(x)

    def note(self, x):
        """Keeps the states x (B, T, C) for whoever asked with using(seen=[])."""
        if self.seen is not None:
            self.seen.append(x)

    def positions(self, x, cache):
        """Of embeddings (B, T, C) that continue a cache: tables of RoPE, positions at (B, T)."""
        B, T, C = x.shape
        at = torch.arange(T, device=x.device).expand(B, T)
        if cache is not None:
            cache.shared.clear()
            at = at + cache.length[:, None]
        rows = at if cache is not None else at[:1]      # without a cache all rows are alike
        rope = rope_table(rows, C // self.cfg.heads, self.cfg.rope_base)
        return [t[:, :, None] for t in rope], at                        # (B or 1, T, 1, D)

    @contextlib.contextmanager
    def using(self, **knobs):
        """Changes some attributes, KNOBS above all, inside a with statement."""
        before = {name: getattr(self, name) for name in knobs}
        vars(self).update(knobs)
        try:
            yield
        finally:
            vars(self).update(before)

    def generate(self, x, new, cache, *args, **kwargs):
        """The function `generate`; other backbones may know a faster way to the same tokens."""
        return generate(self, x, new, cache, *args, **kwargs)


def sample_token(logits, temperature=0.0, generator=None, top_k=0):
    """(B, V) -> (B,): the likeliest at temperature 0, else from softmax(logits / temperature)."""
    if not temperature:
        return logits.argmax(-1)
    if top_k:
        least = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    p = (logits.float() / temperature).softmax(-1)
    return torch.multinomial(p, 1, generator=generator)[:, 0]


def last(h, new):
    """h (B, T, C), new (B,) real positions -> (B, C): the state of each row's last real one."""
    return h[torch.arange(len(h), device=h.device), new - 1]


@torch.no_grad()
def generate(model, x, new, cache, stop, max_new, temperature=0.0, generator=None, samples=1):
    """Decodes each row until it writes `stop`, at most max_new tokens.

    x (B, T, C): embeddings that continue `cache`, of which new (B,) per row are real. Each is
    continued `samples` times. Rows that have stopped leave the batch as soon as they are a quarter
    of it. Uses up the cache. Returns ids (B samples, <= max_new), 0 after `stop`.
    """
    h = cache.repeat(last(model(x, cache, new), new), samples)  # (R, C)
    out = torch.zeros(len(h), max_new, dtype=torch.long, device=x.device)
    rows = torch.arange(len(h), device=x.device)                # the rows still in the batch
    done = torch.zeros(len(h), dtype=torch.bool, device=x.device)
    for t in range(max_new):
        logits = model.head(h)                                  # (R, V)
        logits[:, 0] = -torch.inf       # 0 is what follows `stop`: it cannot be written
        token = sample_token(logits, temperature, generator, model.top_k).masked_fill(done, 0)
        out[rows, t] = token
        done = done | (token == stop)
        finished = int(done.sum())
        if finished == len(rows) or t == max_new - 1:
            break
        if finished * 4 >= len(rows):
            keep = (~done).nonzero()[:, 0]
            rows, token, done = rows[keep], token[keep], done[keep]
            cache.select(keep)
        h = model(model.embed(token)[:, None], cache, (~done).long())[:, 0]
    return out[:, :t + 1]
