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
import math
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


def at_least_float32(x):
    """x in float32 if it is in half precision, which is too coarse for a sum or an exp; else as it
    is: a model in float64 stays in float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class RMSNorm(nn.Module):
    """In float32, also of what autocast has made bfloat16."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(at_least_float32(x), x.shape[-1:], self.weight, 1e-5)


def rope_table(positions, dim, base, dtype=torch.float32):
    """cos and signed sin of rotary position embedding (Su et al. 2021), half-split as in Llama."""
    half = torch.arange(0, dim, 2, device=positions.device, dtype=dtype)        # (D/2,)
    angle = positions[..., None].to(dtype) * base ** (-half / dim)              # (..., D/2)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)                # (..., D) each


def rotate(x, cos, sin):
    """RoPE on (B, T, H, D): (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin); roll swaps halves."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


class Attention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.heads = cfg.heads
        self.qkv = nn.Linear(cfg.width, 3 * cfg.width, bias=False)
        self.out = nn.Linear(cfg.width, cfg.width, bias=False)
        self.q_norm = RMSNorm(cfg.width // cfg.heads) if cfg.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(cfg.width // cfg.heads) if cfg.qk_norm else nn.Identity()

    def forward(self, x, rope, positions, cache):
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, -1).unbind(2)   # (B, T, H, D) each
        q, k = rotate(self.q_norm(q), *rope), rotate(self.k_norm(k), *rope)
        q, k = q.to(v.dtype), k.to(v.dtype)     # under autocast they are float32, and v is not
        mask = None
        if cache is not None:
            k_all = cache.append((self, "k"), k, positions)             # (B, slots, H, D)
            v_all = cache.append((self, "v"), v, positions)
            if cache.longest:                                   # after prefill: see cached slots
                end = cache.longest + T
                k, v = k_all[:, :end], v_all[:, :end]                   # (B, end, H, D)
                mask = cache.once("mask", lambda: visible(positions, end)).to(q.dtype)
        q, k, v = (m.transpose(1, 2) for m in (q, k, v))                # (B, H, T, D)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.out(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        hidden = cfg.mlp or 32 * math.ceil(cfg.width * 8 / 3 / 32)
        self.up = nn.Linear(cfg.width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, cfg.width, bias=False)

    def forward(self, x):
        gate, value = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * value)


class Conv(nn.Module):
    """Causal depthwise convolution with a skip: y_t = x_t + sum_j w_j x_{t-j} (a "Canon layer")."""

    def __init__(self, width, size):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size, width))    # starts as the identity

    def forward(self, x, positions, cache):
        B, T, C = x.shape
        size = len(self.weight)
        if cache is not None:
            x_all = cache.append((self, "x"), x, positions)
        if cache is not None and cache.longest:                 # the inputs lie in the cache
            past, exists = cache.once(size, lambda: window(positions, size))
            x_past = x_all[cache.rows()[..., None], past]       # (B, T, size, C)
            return x + (x_past * (exists * self.weight)).sum(2)
        padded, y = F.pad(x, (0, 0, size - 1, 0)), x            # (B, size-1+T, C)
        for j, w in enumerate(self.weight):
            y = torch.addcmul(y, padded[:, size - 1 - j:size - 1 - j + T], w)
        return y


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(cfg.width), RMSNorm(cfg.width)
        self.post1 = RMSNorm(cfg.width) if cfg.sandwich else nn.Identity()
        self.post2 = RMSNorm(cfg.width) if cfg.sandwich else nn.Identity()
        self.conv1 = Conv(cfg.width, cfg.conv) if cfg.conv else None
        self.conv2 = Conv(cfg.width, cfg.conv) if cfg.conv else None
        self.attn, self.mlp = Attention(cfg), MLP(cfg)

    def forward(self, x, rope, positions, cache):
        u = self.norm1(x)
        u = self.conv1(u, positions, cache) if self.conv1 else u
        x = self.post1(x + self.attn(u, rope, positions, cache))
        u = self.norm2(x)
        u = self.conv2(u, positions, cache) if self.conv2 else u
        return self.post2(x + self.mlp(u))


class GPT(nn.Module):
    FLAGS = {}              # {name: Flag} of its own, beyond those of every run
    KNOBS = {}              # {name: Flag} of the forward pass; attributes of the same name
    COMPILED = "forward"    # the method that --compile compiles

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

    def forward(self, x, cache=None, lengths=None, layers=None):
        """Embeddings (B, T, C) -> hidden states (B, T, C), normed, ready for `self.head`.

        cache       x continues each of its rows
        lengths     (B,): how many of a row's T positions are real (all, if None). The others are
                    padding on the right: their states mean nothing. Without a cache only a backbone
                    that looks for a row's newest position needs it (recurrent.py)
        layers      a list that gets the states (B, T, C) after every layer
        """
        rope, positions = self.positions(x, cache)
        for block in self.blocks:
            x = block(x, rope, positions, cache)
            if layers is not None:
                layers.append(x)
        if cache is not None:
            cache.advance(x.shape[1], lengths)
        return self.norm(x)

    def positions(self, x, cache):
        """Returns the RoPE tables of embeddings (B, T, C) that continue a cache, two of (B or 1, T,
        1, D), and their positions (B, T)."""
        B, T, C = x.shape
        positions = torch.arange(T, device=x.device).expand(B, T)
        if cache is not None:
            cache.shared.clear()
            positions = positions + cache.lengths[:, None]
        rows = positions if cache is not None else positions[:1]    # without a cache all are alike
        dtype = torch.promote_types(x.dtype, torch.float32)
        rope = rope_table(rows, C // self.cfg.heads, self.cfg.rope_base, dtype)
        return [table[:, :, None] for table in rope], positions

    def settings(self):
        """Knobs worth a row each in the table of results."""
        return [{}]

    @contextlib.contextmanager
    def recording(self):
        """Yields a dict that at the end says what the calls inside have cost, {column: number}."""
        yield {}

    @contextlib.contextmanager
    def using(self, **knobs):
        """Changes some attributes, KNOBS above all, inside a with statement."""
        before = {name: getattr(self, name) for name in knobs}
        for name, value in knobs.items():
            setattr(self, name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def generate(self, *args, **kwargs):
        """The function `generate`; other backbones may know a faster way to the same tokens."""
        return generate(self, *args, **kwargs)


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

    def noise(self, like):
        """Standard normal numbers, of the shape of `like`."""
        return torch.randn(like.shape, generator=self.generator, device=like.device)


GREEDY = Sampler()


def last(h, lengths):
    """h (B, T, C), lengths (B,) -> (B, C): the state of each row's last real position."""
    return h[torch.arange(len(h), device=h.device), lengths - 1]


@torch.no_grad()
def generate(model, x, lengths, cache, stop, max_new, sample=GREEDY, samples=1):
    """Decodes each row until it writes `stop`, at most max_new tokens.

    x (B, T, C): embeddings that continue `cache`, of which lengths (B,) per row are real. Each is
    continued `samples` times. Rows that have stopped leave the batch as soon as they are a quarter
    of it. Uses up the cache. Returns ids (B samples, <= max_new), 0 after `stop`.
    """
    h = cache.repeat(last(model(x, cache, lengths), lengths), samples)      # (R, C)
    out = torch.zeros(len(h), max_new, dtype=torch.long, device=x.device)
    rows = torch.arange(len(h), device=x.device)                # the rows still in the batch
    done = torch.zeros(len(h), dtype=torch.bool, device=x.device)
    for t in range(max_new):
        logits = model.head(h)                                  # (R, V)
        logits[:, 0] = -torch.inf       # 0 is what follows `stop`: it cannot be written
        token = sample(logits).masked_fill(done, 0)             # (R,)
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


# ---- the cache -----------------------------------------------------------------------------------

class Cache:
    """What decoding remembers: keys and values of every layer, inputs of every convolution.

    Each row has its own length, so prompts of different lengths need no padding before their
    continuation. A row's next token is written at its own length; what padding left there before
    is overwritten, and was never seen, because a query at position p attends to slots <= p.
    """

    def __init__(self, rows, slots, device=None):
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)   # (B,) tokens per row
        self.slots = slots      # room of a row
        self.longest = 0        # at least every length; known without asking a GPU
        self.store = {}         # (module, name) -> (B, slots, ...)
        self.shared = {}        # what `once` has made

    def once(self, name, make):
        """make(), once in a call of the model: what all of its layers need alike."""
        if name not in self.shared:
            self.shared[name] = make()
        return self.shared[name]

    def rows(self):
        """(B, 1): indices of the rows."""
        return self.once("rows", lambda: torch.arange(len(self.lengths),
                                                      device=self.lengths.device)[:, None])

    def append(self, key, new, positions):
        """Writes new (B, T, ...) at slots `positions` (B, T) of a buffer; returns the buffer."""
        if key not in self.store:
            self.store[key] = new.new_zeros(new.shape[0], self.slots, *new.shape[2:])
        if torch.is_grad_enabled():     # backward will need the buffer as it was
            self.store[key] = self.store[key].index_put((self.rows(), positions), new)
        else:
            self.store[key][self.rows(), positions] = new
        return self.store[key]

    def advance(self, T, lengths):
        """T positions were written, of which lengths (B,) per row are real (all, if None)."""
        self.lengths = self.lengths + (T if lengths is None else lengths)
        self.longest += T

    def select(self, rows):
        """Keeps only the given rows (indices), e.g. those that are not finished."""
        self.lengths = self.lengths[rows]
        self.store = {key: buffer[rows] for key, buffer in self.store.items()}

    def repeat(self, h, samples):
        """Makes `samples` rows of each one, as continuations to sample; the same for h (B, ...)."""
        if samples == 1:
            return h
        rows = torch.arange(len(h), device=h.device).repeat_interleave(samples)
        self.select(rows)
        return h[rows]


def window(positions, size):
    """Slots (B, T, size) of the last `size` tokens up to those at `positions` (B, T), and
    (B, T, size, 1): 1 where there is such a token, else 0."""
    past = positions[..., None] - torch.arange(size, device=positions.device)
    return past.clamp(min=0), (past >= 0)[..., None].float()


def visible(positions, end):
    """What attention adds for the slots 0 ... end - 1 (B, 1, T, end): 0 up to the position of each
    query (B, T), -inf beyond it."""
    beyond = torch.arange(end, device=positions.device) > positions[..., None]
    return torch.zeros(beyond.shape, device=beyond.device).masked_fill(
        beyond, -torch.inf)[:, None]
