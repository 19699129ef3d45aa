"""Recurrent depth against naive loops, and its cache against a dictionary of every execution."""
import math

import pytest
import torch
import torch.nn.functional as F

import recurrent
from data.cli import BadInput
from model import GPT, Cache, Config, Sampler
from recurrent import (ON_STATES, Exit, RecurrentGPT, draw_r, kl_change, last_state, latent_change,
                       noise)

PROMPTS = [3, 7, 5]                         # tokens of each row's prompt
CALLS = [[1, 1, 1], [1, 0, 1], [0, 1, 0], [2, 2, 2]]    # real tokens per row; 0: the row pauses
TOTAL = [sum(row) for row in zip(PROMPTS, *CALLS)]
EXACT = {"atol": 1e-9, "rtol": 0}


def tiny(layers=3, conv=4, width=16, pull=1.0, block="paper", **changes):
    """In float64, and away from the identity: no test would see norms and convolutions else.

    A pull below 1 lets the states converge. block: the paper's, of RMSNorm and a gated MLP, or the
    default one.
    """
    torch.manual_seed(0)
    papers = {"norm": "rms", "mlp": "swiglu"} if block == "paper" else {}
    cfg = Config(vocab=23, layers=layers, width=width, heads=2, conv=conv, **papers)
    model = RecurrentGPT(cfg, **changes).double().eval()
    for name, p in model.named_parameters():
        if p.ndim == 1 or "conv" in name:
            torch.nn.init.normal_(p, 1.0 if p.ndim == 1 else 0.0, 0.3)
        elif name.endswith(("out.weight", "down.weight")):
            p.data *= 5
    model.adapter.weight.data[:, :width] *= pull
    return model


def some_ids(rows=3, length=max(TOTAL), seed=1):
    return torch.randint(1, 23, (rows, length), generator=torch.Generator().manual_seed(seed))


def embedded(model):
    """Embeddings of `some_ids` as a leaf that can have a gradient."""
    return model.embed(some_ids()).detach().requires_grad_()


def normed(x, norm):
    if isinstance(norm, torch.nn.LayerNorm):
        x = x - x.mean(-1, keepdim=True)
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * norm.weight


def run_block(block, x, place):
    """x = norm(x + f(norm(x))) for attention and MLP; norm(...) outside only in a sandwich."""
    u = normed(x, block.norm1)
    x = x + block.attn(block.conv1(u, place, None) if block.conv1 else u, place, None)
    x = normed(x, block.post1) if block.post1 else x
    u = normed(x, block.norm2)
    x = x + block.mlp(block.conv2(u, place, None) if block.conv2 else u)
    return normed(x, block.post2) if block.post2 else x


def naive(model, x, r, s=None, free=0):
    """Eq. (1) to (4) of embeddings x, the first `free` iterations without a gradient."""
    place = model.begin(x, None)
    e = x * math.sqrt(x.shape[-1])
    for block in model.prelude:
        e = run_block(block, e, place)
    s = model.noise_at(torch.arange(x.shape[1])).expand_as(e) if s is None else s
    s = e if model.inject == "none" else s
    for i in range(r):
        with torch.set_grad_enabled(torch.is_grad_enabled() and i >= free):
            if model.inject == "concat":
                s = torch.cat([s, e], -1) @ model.adapter.weight.T
            elif model.inject == "add":
                s = s + e
            for block in model.core:
                s = run_block(block, s, place)
    h = normed(s, model.norm)
    for block in model.coda:
        h = run_block(block, h, place)
    return normed(h, model.norm)


def spied(model):
    """[(s, core(s))] of every iteration from now on."""
    log, iteration = [], model.iteration

    def spy(s, *args):
        log.append((s, iteration(s, *args)))
        return log[-1][1]
    vars(model)["iteration"] = spy
    return log


def grads_of(model, x, h):
    """Gradients of a loss on h with respect to every parameter and x; zeros where there is none."""
    weight = torch.randn(23, generator=torch.Generator().manual_seed(2)).to(h.dtype)
    loss = (model.head(h).log_softmax(-1) * weight).sum()
    inputs = {"x": x, **dict(model.named_parameters())}
    found = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g
            for (n, p), g in zip(inputs.items(), found)}


def assert_same(got, want):
    """Of two dictionaries of gradients."""
    for name in want:
        torch.testing.assert_close(got[name], want[name], atol=1e-9, rtol=1e-9, msg=name)


# ---- the equations -------------------------------------------------------------------------------

@pytest.mark.parametrize("changes", [
    {}, {"conv": 0}, {"layers": 6}, {"parts": "2,1,3"}, {"block": "ours"},
    {"inject": "add"}, {"inject": "none"}, {"norm": "pre"}, {"norm": "pre", "inject": "add"}],
    ids=str)
@torch.no_grad()
def test_forward_equals_a_naive_loop(changes):
    """Eq. (1) to (4) in eval mode without a cache."""
    model = tiny(**changes)
    x = model.embed(some_ids())
    before = None
    for r in (1, 2, 5):
        with model.using(r=r):
            h = model(x)
        torch.testing.assert_close(h, naive(model, x, r), **EXACT)
        assert before is None or (h - before).abs().max() > 1e-3    # the iterations do something
        before = h


def test_default_is_mean_r_and_parts_are_thirds():
    """r is mean_r unless set; layers = prelude + core + coda."""
    model = tiny(layers=6, mean_r=3)
    assert [len(part) for part in (model.prelude, model.core, model.coda)] == [2, 2, 2]
    x = model.embed(some_ids())
    torch.testing.assert_close(model(x), naive(model, x, 3), **EXACT)
    assert model.adapter.weight.shape == (16, 32) and model.adapter.bias is None


@torch.no_grad()
def test_pre_norm_blocks_are_those_of_gpt():
    """norm="pre" has GPT's blocks, of the same weights and results; a sandwich norms its sums."""
    model, x = tiny(norm="pre"), torch.randn(2, 5, 16).double()
    plain = GPT(model.cfg).double().blocks[0]
    plain.load_state_dict(model.core[0].state_dict())
    place = model.begin(x, None)
    assert torch.equal(plain(x, place, None), model.core[0](x, place, None))
    block = tiny().core[0]
    torch.nn.init.ones_(block.post2.weight)
    y = block(x, place, None)
    torch.testing.assert_close(y.pow(2).mean(-1), torch.ones(2, 5).double(), atol=1e-3, rtol=0)


# ---- randomness and initialisation ---------------------------------------------------------------

def test_draw_r_has_the_quantiles_of_the_paper():
    """Eq. (5) with mean 32 and 8; "fixed" is the mean itself."""
    torch.manual_seed(0)
    r = draw_r(32, "lognormal", 200_000).double()
    p5, median, p95 = r.quantile(torch.tensor([.05, .5, .95]).double()).tolist()
    assert abs(r.mean() - 33) < .3 and abs(median - 29) <= 1 and p5 == 12 and abs(p95 - 67) <= 1
    assert abs((r <= 8).double().mean() - .014) < .002 and r.min() >= 1
    r = draw_r(8, "lognormal", 200_000).double()
    assert abs(r.mean() - 9) < .1
    p5, p95 = r.quantile(torch.tensor([.05, .95]).double()).tolist()
    assert p5 == 3 and abs(p95 - 18.5) <= .5            # P(r <= 18) is .95
    assert draw_r(8, "lognormal").shape == (1,) and draw_r(8, "lognormal").dtype == torch.long
    assert draw_r(6, "fixed", 3).tolist() == [6, 6, 6]


def test_draw_r_has_one_more_than_its_mean():
    torch.manual_seed(0)
    mean = float(draw_r(32, "lognormal", 100_000).double().mean())
    assert abs(mean - 33) < .3, f"at rbar = 32 it iterates {mean:.2f} times on average, not 33"


def test_draw_r_is_never_0():
    torch.manual_seed(0)
    least = int(draw_r(1, "lognormal", 1000).min())
    assert least == 1, f"at rbar = 1 the least of 1,000 draws is {least}"


def test_draw_r_without_sigma_is_poisson(monkeypatch):
    """Whose variance is its mean; one is added to it."""
    monkeypatch.setattr(recurrent, "SIGMA", 0)
    torch.manual_seed(0)
    var = float(draw_r(5, "lognormal", 100_000).double().var())
    assert abs(var - 5) < .2, f"at rbar = 5 and sigma = 0 the variance is {var:.2f}, not 5"


def test_draw_r_spreads_by_sigma():
    """At a large mean, where the Poisson draw adds next to nothing."""
    torch.manual_seed(0)
    sd = float(draw_r(1000, "lognormal", 100_000).double().log().std())
    assert abs(sd - .5) < .01, f"log r has a standard deviation of {sd:.2f}, not sigma = 0.5"


def test_weights_start_with_the_variances_of_takase():
    """std (2/5C)^.5, into the residual divided by (2 l)^.5, l = layers executed at mean_r."""
    torch.manual_seed(0)
    model = RecurrentGPT(Config(vocab=300, layers=6, width=128), mean_r=5)
    seen, cut = [], 0.9866          # std of a normal cut at 3 sigma
    for name, p in model.named_parameters():
        if name.endswith("norm.weight") or "norm" in name or "post" in name:
            assert p.eq(1).all()
        elif "conv" in name:
            assert p.eq(0).all()
        else:
            out = name.endswith(("attn.out.weight", "mlp.down.weight"))
            want = (2 / (5 * 128)) ** .5 / ((2 * (2 + 5 * 2 + 2)) ** .5 if out else 1)
            assert abs(p.std() / (cut * want) - 1) < .02, name
            assert p.abs().max() <= 3 * want * 1.0001
            seen.append(out)
    assert sum(seen) == 12 and len(seen) == 6 * 4 + 3


def test_state_noise_is_cut_at_three_sigma():
    """Eq. (2): variance 2/5 before the cut, .624^2 after it; a generator repeats it."""
    torch.manual_seed(0)
    s = noise(100, 50, 20)
    assert s.shape == (100, 50, 20) and abs(s.std() - .624) < .004 and abs(s.mean()) < .01
    assert 1.85 < s.abs().max() <= 3 * .4 ** .5
    a = noise(9, generator=torch.Generator().manual_seed(3))
    b = noise(9, generator=torch.Generator().manual_seed(3))
    assert torch.equal(a, b) and not torch.equal(a, noise(9))


@torch.no_grad()
def test_state_noise_at_inference_belongs_to_the_position():
    """The same whatever the batch and the global seed; of its own per position and state_seed."""
    model, ids = tiny(mean_r=2), some_ids()
    h, before = model(model.embed(ids)), torch.get_rng_state()
    torch.manual_seed(77)
    torch.testing.assert_close(model(model.embed(ids[1:2, :6])), h[1:2, :6], **EXACT)
    with model.using(state_seed=1):
        other = model(model.embed(ids))
    assert (other - h).abs().amax(-1).min() > 1e-3
    assert torch.equal(model(model.embed(ids)), h)                  # and back to seed 0
    s = model.noise_at(torch.tensor([[0, 1, 5], [5, 2, recurrent.POSITIONS + 5]]))
    assert torch.equal(s[0, 2], s[1, 0]) and torch.equal(s[0, 2], s[1, 2])
    assert len({tuple(v) for v in s.view(6, 16).tolist()}) == 4
    torch.set_rng_state(before)
    with model.using(state_seed=5):
        model(model.embed(ids))
    assert torch.equal(torch.get_rng_state(), before)               # took nothing from it


def test_training_noise_is_fresh():
    """Two passes in training differ, two in eval mode do not."""
    model = tiny(sampler="fixed", mean_r=2)
    x = model.embed(some_ids())
    assert torch.equal(model(x), model(x))
    model.train()
    a, b = model(x), model(x)
    assert (a - b).abs().amax(-1).min() > 1e-3


# ---- training ------------------------------------------------------------------------------------

def trained(model, x, r, free):
    """Hidden states of a training pass and of the naive loop, with the same noise."""
    model.train()
    torch.manual_seed(5)
    h = model(x)
    torch.manual_seed(5)
    return h, naive(model, x, r, noise(*x.shape), free)


def test_backpropagation_is_truncated():
    """Eq. (6), r = 10 and k = 4: the gradients of a loop whose first 6 iterations have none."""
    model = tiny(sampler="fixed", mean_r=10, k_grad=4)
    x = embedded(model)
    h, want = trained(model, x, 10, 6)
    torch.testing.assert_close(h, want, **EXACT)
    got = grads_of(model, x, h)
    assert_same(got, grads_of(model, x, want))
    full = grads_of(model, x, trained(model, x, 10, 0)[1])
    change = {n: ((got[n] - full[n]).norm() / full[n].norm()).item()
              for n in got if not n.startswith(("embed", "head"))}
    assert all(d > 1e-6 for n, d in change.items() if n.startswith(("core", "adapter", "prelude")))
    assert all(d < 1e-9 for n, d in change.items() if n.startswith("coda"))
    assert all(got[n].any() for n in got if n.startswith(("x", "prelude")))


def test_embedding_and_every_parameter_get_a_gradient():
    """Also those that only the input e leads to, when the first iterations have no gradient."""
    model = tiny(sampler="fixed", mean_r=6, k_grad=1).train()
    model.head(model(model.embed(some_ids()))).logsumexp(-1).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("r", [1, 3, 4])
def test_few_iterations_are_fully_backpropagated(r):
    """r <= k: the gradients of the whole loop."""
    model = tiny(sampler="fixed", mean_r=r, k_grad=4)
    x = embedded(model)
    h, want = trained(model, x, r, 0)
    assert_same(grads_of(model, x, h), grads_of(model, x, want))


def test_more_iterations_than_the_mean(monkeypatch):
    """A draw of r = 20 at mean 4 and k = 2: states and gradients of the loop."""
    model = tiny(mean_r=4, k_grad=2)
    monkeypatch.setattr(recurrent, "draw_r", lambda mean, sampler, n=1: torch.full((n,), 20))
    x = embedded(model)
    h, want = trained(model, x, 20, 18)
    torch.testing.assert_close(h, want, **EXACT)
    assert_same(grads_of(model, x, h), grads_of(model, x, want))


def test_weights_have_gradients_under_autocast(monkeypatch):
    """The autocast trap: low-precision weights made under no_grad have no graph."""
    model, ids, grads = tiny(sampler="fixed", mean_r=6, k_grad=2).float().train(), some_ids(), []
    events, iteration, clear = [], model.iteration, torch.clear_autocast_cache
    monkeypatch.setattr(model, "iteration", lambda *args: events.append(
        torch.is_grad_enabled()) or iteration(*args))
    monkeypatch.setattr(torch, "clear_autocast_cache", lambda: events.append("clear") or clear())
    for low in (False, True):
        torch.manual_seed(5)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            h = model(model.embed(ids))
            loss = F.cross_entropy(model.head(h).float().flatten(0, 1), ids.flatten())
        loss.backward()
        grads.append({n: p.grad for n, p in model.named_parameters()})
    assert [e for e in events if e != "clear"] == 2 * ([False] * 4 + [True] * 2)
    assert events[-events[::-1].index(False)] == "clear"    # torch before 2.13 needs it there
    for name, want in grads[0].items():
        got = grads[1][name]
        assert got is not None and got.any(), name
        assert F.cosine_similarity(got.flatten(), want.flatten(), dim=0) > .98, name


def test_memory_does_not_grow_with_r():
    """Bytes saved for the backward pass at r = 4, 16, 64 with k = 4; at k = 8 there are more."""
    def saved(mean_r, k_grad):
        model, total = tiny(sampler="fixed", mean_r=mean_r, k_grad=k_grad).train(), []

        def pack(t):
            total.append(t.numel() * t.element_size())
            return t
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            model(model.embed(some_ids()))
        return sum(total)
    few = saved(4, 4)
    assert few <= saved(16, 4) < 1.02 * few and few <= saved(64, 4) < 1.02 * few
    assert saved(16, 8) > 1.2 * few


@torch.no_grad()
def test_many_iterations_stay_finite():
    """r = 64 far beyond the mean: the sandwich holds the scale of s, and s converges if a state
    has little say in the next one."""
    torch.manual_seed(0)
    model = RecurrentGPT(Config(vocab=23, width=64), mean_r=4).double().eval()
    model.adapter.weight.data[:, :64] *= .1
    log = spied(model)
    with model.using(r=64):
        h = model(model.embed(some_ids()))
    states = [s for _, s in log]
    assert len(states) == 64 and h.isfinite().all()
    for s in states + [h]:
        torch.testing.assert_close(s.pow(2).mean(-1), torch.ones(3, 11).double(), atol=1e-3, rtol=0)
    assert latent_change(states[-2], states[-1]).max() < .1 * latent_change(*states[:2]).max()


# ---- the cache -----------------------------------------------------------------------------------

class Dicts:
    """Slots, naively: everything each token ever wrote, as {(row, column, key): {i: value}}."""

    def __init__(self, cache, i, share, active):
        self.i, self.share, self.end = i, share, cache.end
        self.newest = cache.newest
        self.written = vars(cache).setdefault("written", {})
        self.active = [True] * len(cache.lengths) if active is None else active[:, 0].tolist()

    def append(self, key, new):
        B, H, T, D = new.shape
        for b in range(B):
            for t in range(T):
                runs = self.written.setdefault((b, self.end + t, key), {})
                if self.i == 0:
                    runs.clear()
                if self.active[b]:
                    runs[self.i] = new[b, :, t]
        buffer = new.new_zeros(B, H, self.end + T, D)
        for (b, column, other), runs in self.written.items():
            if other == key:
                buffer[b, :, column] = self.read(runs)
        return buffer

    def read(self, runs):
        """A token as seen in iteration i: its latest execution of that residue, or one before."""
        if not self.share:
            return runs[max(j for j in runs if j <= self.i)]
        for slot in range(self.i % self.share, -1, -1):
            same = [j for j in runs if j % self.share == slot]
            if same:
                return runs[max(same)]

    @staticmethod
    def settle(cache, n, T):
        pass


@torch.no_grad()
def decode(model, ids, rs=None, rows=slice(None), calls=CALLS, **knobs):
    """The prompts and then `calls` through a cache: hidden states (B, T, C), 0 where not reached.

    rs: iterations of each call.
    """
    calls = torch.tensor([PROMPTS, *calls])[:, rows]
    ids, B = ids[rows], calls.shape[1]
    cache, h = Cache(), torch.zeros(*ids.shape, model.cfg.width).double()
    for new, r in zip(calls, rs or [model.r] * len(calls)):
        places = (cache.lengths[:, None] if cache.end else 0) + torch.arange(
            max(1, int(new.max()))).expand(B, -1)
        x = model.embed(ids.gather(1, places.clamp(max=ids.shape[1] - 1)))
        with model.using(r=r, **knobs):
            out = model(x, cache, new)
        for b, n in enumerate(new.tolist()):
            h[b, places[b, :n]] = out[b, :n]
    assert cache.lengths.tolist() == calls.sum(0).tolist()
    return h


def naively(monkeypatch, *args, **knobs):
    """`decode` on dictionaries."""
    with monkeypatch.context() as patch:
        patch.setattr(recurrent, "Slots", Dicts)
        return decode(*args, **knobs)


@pytest.mark.parametrize("changes", [
    {}, {"conv": 0}, {"layers": 6}, {"inject": "add"}, {"inject": "none"}], ids=str)
def test_cache_equals_no_cache_for_ragged_rows(changes, monkeypatch):
    """Prefill, single tokens, pauses, a pair of tokens; and so do the next tests' dictionaries."""
    model, ids = tiny(**changes), some_ids()
    for r in (1, 2, 5):
        with model.using(r=r), torch.no_grad():
            whole = model(model.embed(ids))
        ways = [decode(model, ids, [r] * 5)]
        ways += [naively(monkeypatch, model, ids, [r] * 5)] if r == 5 else []
        for h in ways:
            for b, n in enumerate(TOTAL):
                torch.testing.assert_close(h[b, :n], whole[b, :n], **EXACT)


def test_gradients_through_a_cache_equal_those_without():
    """Prompt and continuation in two calls, as rl.py does; truncated like in training."""
    model = tiny(mean_r=6, k_grad=2)
    x = embedded(model)
    cache = Cache()
    h = torch.cat([model(x[:, :5], cache), model(x[:, 5:], cache)], 1)
    got = grads_of(model, x, h)
    assert_same(got, grads_of(model, x, naive(model, x, 6, free=4)))


def test_without_input_all_iterations_have_a_gradient_through_a_cache():
    """--inject none: the question enters by s_0 alone."""
    model = tiny(mean_r=6, k_grad=2, inject="none")
    x = embedded(model)
    got = grads_of(model, x, model(x, Cache()))
    assert_same(got, grads_of(model, x, naive(model, x, 6, free=0)))


@pytest.mark.parametrize("share", [1, 2, 3])
@pytest.mark.parametrize("changes", [{}, {"layers": 6, "conv": 0}], ids=str)
def test_shared_slots_equal_the_dictionaries(changes, share, monkeypatch):
    """Iteration i reads the latest execution whose number is i modulo share; prefill is as ever."""
    model, ids = tiny(**changes), some_ids()
    plain = decode(model, ids, [5] * 5)
    h = decode(model, ids, [5] * 5, share=share)
    torch.testing.assert_close(h, naively(monkeypatch, model, ids, [5] * 5, share=share), **EXACT)
    for b, n in enumerate(PROMPTS):
        torch.testing.assert_close(h[b, :n], plain[b, :n], **EXACT)
        assert (h[b, n:TOTAL[b]] - plain[b, n:TOTAL[b]]).abs().amax(-1).min() > 1e-6


@torch.no_grad()
def test_sharing_keeps_the_cache_small():
    """Buffers of the core: as many as iterations, or as slots to share."""
    model, x = tiny(), tiny().embed(some_ids())
    for share, want in ((0, 7), (1, 1), (3, 3)):
        cache = Cache()
        with model.using(r=7, share=share):
            model(x, cache)
        kept = [key for key in cache.store if key[0] == (model.core[0].attn, "k")]
        assert len(kept) == want


@pytest.mark.parametrize("share", [0, 1, 3])
@pytest.mark.parametrize("rs", [[2, 5, 1, 5, 3], [5, 2, 7, 1, 5], [1, 1, 6, 6, 2]], ids=str)
def test_missing_slots_are_the_deepest_before(rs, share, monkeypatch):
    """Tokens of few iterations between tokens of many, against the dictionaries."""
    model, ids = tiny(), some_ids()
    h = decode(model, ids, rs, share=share)
    torch.testing.assert_close(h, naively(monkeypatch, model, ids, rs, share=share), **EXACT)
    if not share:
        same = decode(model, ids, [7] * 5)
        assert (h - same).abs().max() > 1e-3


@pytest.mark.parametrize("kind, threshold, share", [
    ("latent", .1, 0), ("latent", .1, 2), ("second", .2, 0), ("kl", .01, 0), ("argmax", 3, 2)])
def test_rows_exit_as_if_alone(kind, threshold, share, monkeypatch):
    """Steps and states in a batch are those of each row alone and of the dictionaries."""
    model, ids = tiny(pull=.5), some_ids()
    model.head.weight.data *= 3
    knobs = {"exit": kind, "threshold": threshold, "share": share, "taken": []}
    h, rs = decode(model, ids, [9] * 5, **knobs), [9] * 5
    steps = torch.stack(knobs["taken"])                             # (calls, 3)
    assert len(steps[0].unique()) > 1 and len(steps.unique()) > 3 and steps.min() < 9
    torch.testing.assert_close(h, naively(monkeypatch, model, ids, rs, **knobs), **EXACT)
    assert torch.equal(torch.stack(knobs["taken"][5:]), steps)
    for b in range(3):
        alone = {**knobs, "taken": []}
        torch.testing.assert_close(
            decode(model, ids, rs, slice(b, b + 1), **alone), h[b:b + 1], **EXACT)
        for call, new in enumerate([PROMPTS, *CALLS]):      # a pause has no newest token
            assert not new[b] or alone["taken"][call].item() == steps[call, b]


# ---- exits ---------------------------------------------------------------------------------------

def test_changes_equal_their_definitions():
    """KL against torch.distributions, the latent's change by hand."""
    before, after = torch.randn(2, 4, 7).double()
    p, q = (torch.distributions.Categorical(logits=m) for m in (before, after))
    want = torch.distributions.kl_divergence(p, q)
    torch.testing.assert_close(kl_change(before, after), want, **EXACT)
    a, b = torch.tensor([[3., 4], [0, 2]]), torch.tensor([[0., 4], [0, 5]])
    torch.testing.assert_close(latent_change(a, b), torch.tensor([.75, .6]))


def test_a_kl_is_never_negative():
    torch.manual_seed(0)
    found = kl_change(*torch.randn(2, 50, 7).double())
    assert found.min() >= 0, f"the least of 50 is {found.min():.3f}"


def test_a_kl_does_not_see_a_constant_in_the_logits():
    torch.manual_seed(0)
    before, after = torch.randn(2, 4, 7).double()
    torch.testing.assert_close(kl_change(before + 3, after - 1), kl_change(before, after), **EXACT)


def test_a_kl_of_two_words_by_hand():
    """Of 0.8 and 0.2 to 0.2 and 0.8: 0.8 log 4 - 0.2 log 4, in either direction."""
    logits = torch.tensor([[.8, .2]], dtype=torch.double).log()
    found, want = float(kl_change(logits, logits.flip(1))), .6 * math.log(4)
    assert abs(found - want) < 1e-9, f"{found:.4f}, not {want:.4f}"


def test_last_state_is_that_of_the_last_real_position():
    """All positions are real if `lengths` is None; a row without any gives its first one."""
    s = torch.arange(12.).view(3, 4, 1)
    assert last_state(s, torch.tensor([1, 4, 0])).tolist() == [[0], [7], [8]]
    assert last_state(s, None).tolist() == [[3], [7], [11]]


def fed(exit_, calls):
    """What it says of the rows at every call."""
    return [exit_(torch.tensor(now)).tolist() for now in calls]


def test_exit_on_the_latent():
    """Stops where |s_i - s_{i-1}| < t |s_i|, not before the second state."""
    states = [[[1., 0], [4, 0]], [[2., 0], [4, 1]], [[2., .1], [0, 4]], [[2., .1], [0, 4.5]]]
    assert fed(Exit("latent", .3), states) == [
        [False, False], [False, True], [True, False], [True, True]]


def test_exit_on_the_second_difference():
    """Stops when |s_i - 2 s_{i-1} + s_{i-2}| < t |s_i| twice in a row; a steady drift is none."""
    states = [[[1., 0], [1, 0]], [[2., 0], [2, 0]], [[3., 0], [2, 0]], [[4., 0], [2, 0]],
              [[5., 2], [2, 0]]]      # before the first, s = 0
    assert fed(Exit("second", .2), states) == [
        [False, False], [False, False], [True, False], [True, False], [False, True]]


def test_exit_on_kl():
    """Stops where KL(p_{i-1} || p_i) < t; before the first, every word is equally likely."""
    p = [[.5, .5], [.6, .4], [.9, .1], [.9, .1], [.2, .8]]
    logits = [[[math.log(a), math.log(b)], [math.log(b) + 5, math.log(a) + 5]] for a, b in p]
    kls = [sum(x * math.log(x / y) for x, y in zip(a, b)) for a, b in zip([[.5, .5]] + p, p)]
    want = [[kl < .1] * 2 for kl in kls]
    assert fed(Exit("kl", .1), logits) == want and want[1:3] == [[True] * 2, [False] * 2]
    back = sum(x * math.log(x / y) for x, y in zip(p[2], p[1]))
    between = (kls[2] + back) / 2           # tells KL(p || q) from KL(q || p)
    assert fed(Exit("kl", between), logits)[2] == [kls[2] < back] * 2


def test_exit_on_the_same_word():
    """Stops when three iterations in a row have had the likeliest word of the one before: at the
    fourth with the same word, as in the official code."""
    words = [[1, 2], [1, 3], [1, 3], [1, 3], [2, 3], [2, 1]]
    logits = [F.one_hot(torch.tensor(w), 4).float().tolist() for w in words]
    assert fed(Exit("argmax", 3), logits) == [
        [False, False], [False, False], [False, False], [True, False], [False, True],
        [False, False]]


def test_defaults_and_unknown_exits():
    """Threshold 0 is that of EXITS; an unknown name is the user's mistake, whatever threshold."""
    assert [Exit(kind, 0).limit for kind in ("kl", "latent", "second", "argmax")] == [
        5e-4, .03, .03, 5]
    for threshold in (0, .1):
        with pytest.raises(BadInput, match="unknown exit 'latnet' .nearest: latent"):
            Exit("latnet", threshold)


@torch.no_grad()
def test_taken_records_the_steps_of_every_call():
    """Without an exit r, with one the first iteration that says stop, at most r."""
    model, x = tiny(mean_r=4), tiny().embed(some_ids())
    with model.using(taken=[]):
        model(x)
        with model.using(r=2):
            model(x[:2])
        with model.using(exit="latent", threshold=1e-9):
            model(x)
        with model.using(exit="latent", threshold=1.1):             # the first change is 1
            model(x)
        with model.using(exit="argmax", threshold=3):
            taken = [t.tolist() for t in model.taken]
    assert taken == [[4] * 3, [2] * 2, [4] * 3, [1] * 3] and model.taken is None


@pytest.mark.parametrize("kind, threshold", [
    ("latent", .1), ("second", .2), ("kl", .01), ("argmax", 3)])
@torch.no_grad()
def test_exit_looks_at_what_fewer_iterations_say(kind, threshold):
    """Rows stop at the first r at which the newest token's state or prediction has converged."""
    model, x, new = tiny(pull=.5), tiny().embed(some_ids()), torch.tensor(PROMPTS)
    log, seen = spied(model), []
    exits = {"exit": kind, "threshold": threshold, "taken": []}
    for r in range(1, 9):
        cache = Cache()
        with model.using(r=8):
            model(x[:, :7], cache, new)
        with model.using(r=r):
            h = model(x[:, 7:8], cache)
        seen.append(log[-1][1][:, 0] if kind in ON_STATES else model.head(h)[:, 0])
    cache = Cache()
    with model.using(r=8):
        model(x[:, :7], cache, new)
        with model.using(**exits):
            model(x[:, 7:8], cache)
    done = Exit(kind, threshold)
    stops = torch.stack([done(now) for now in seen] + [torch.ones(3).bool()])
    want = (stops.long().argmax(0) + 1).clamp(max=8)
    assert torch.equal(exits["taken"][0], want) and len(want.unique()) > 1


# ---- warm starts ---------------------------------------------------------------------------------

@torch.no_grad()
def test_warm_tokens_start_from_the_last_state():
    """The first state of a decoded token is the last one of the token before it, of its row."""
    model, ids, new = tiny(mean_r=3), some_ids(), torch.tensor(PROMPTS)
    log, cache = spied(model), Cache()
    with model.using(warm=True):
        model(model.embed(ids[:, :7]), cache, new)
        model(model.embed(ids[:, 7:8]), cache)
        model(model.embed(ids[:, 8:9]), cache)
    table = model.noise_at(torch.arange(recurrent.POSITIONS))
    assert len(log) == 9 and torch.equal(log[0][0], table[:7].expand(3, 7, 16))
    assert torch.equal(log[3][0][:, 0], log[2][1][torch.arange(3), new - 1])
    assert torch.equal(log[6][0], log[5][1])
    log.clear()
    model(model.embed(ids[:, 9:10]), cache)                         # without warm: noise again
    assert torch.equal(log[0][0][:, 0], table[new + 2])


@torch.no_grad()
def test_warm_rows_keep_their_state_while_they_pause():
    """A pause (a length of 0) writes nothing that lasts, so the next token starts as without it."""
    model, ids, ways = tiny(mean_r=3), some_ids(), []
    for pause in (False, True):
        cache = Cache()
        with model.using(warm=True):
            model(model.embed(ids[:, :5]), cache)
            if pause:
                model(model.embed(ids[:, 8:9]), cache, torch.zeros(3, dtype=torch.long))
            ways.append(model(model.embed(ids[:, 5:6]), cache))
    torch.testing.assert_close(ways[1], ways[0], **EXACT)


# ---- speculative decoding ------------------------------------------------------------------------

LENGTHS = [2, 9, 5, 3, 7]


def continued(model, max_new, stop, **knobs):
    """Words written after ragged prompts, filled up with 0, and the number of deep calls."""
    lengths, calls, forward = torch.tensor(LENGTHS), [], model.forward
    ids = some_ids(5, 9, seed=3) * (torch.arange(9) < lengths[:, None])

    def spy(*args, **more):
        calls.append(model.drafting)
        assert model.r == (model.draft if model.drafting else 6)
        return forward(*args, **more)
    vars(model)["forward"] = spy
    with model.using(r=6, **knobs):
        out = model.generate(model.embed(ids), lengths, Cache(), stop, max_new)
    del vars(model)["forward"]
    return F.pad(out, (0, max_new - out.shape[1])), calls.count(False)


@pytest.mark.parametrize("stops", [False, True])
@torch.no_grad()
def test_speculation_writes_the_words_of_greedy_decoding(stops):
    """Ragged prompts, rows that stop and rows that reach max_new, in fewer deep calls."""
    model = tiny(pull=.5)
    model.head.weight.data[0] = 2 * model.head.weight[8]    # likely, but no word
    stop, (free, calls) = -1, continued(model, 12, -1)
    assert calls == 12 and len(free.unique()) > 2
    if stops:       # a word that some rows write before the end, and some do not
        share = {word: (free[:, :11] == word).any(1).double().mean() for word in range(1, 23)}
        stop = next(word for word in share if 0 < share[word] < 1)
    want, calls = continued(model, 12, stop)
    assert calls == 12 and (want.min() == 0) == stops
    for draft in (1, 2, 6):
        out, deep = continued(model, 12, stop, draft=draft)
        assert torch.equal(out, want) and deep <= calls
        assert deep < calls or draft == 1
    assert deep == 1 + math.ceil(11 / recurrent.DRAFT)      # drafts as deep as the check: all agree
    assert model.r == 8 and not model.drafting and not model.draft


@pytest.mark.parametrize("max_new", [1, 2, 5])
@torch.no_grad()
def test_speculation_of_few_words(max_new):
    """max_new below, at and beyond the length of a draft."""
    model = tiny(pull=.5)
    want = continued(model, max_new, -1)[0]
    assert torch.equal(continued(model, max_new, -1, draft=2)[0], want)


@torch.no_grad()
def test_sampling_does_not_speculate():
    """At a temperature, or with several samples, `draft` changes nothing."""
    model, lengths, stop = tiny(), torch.tensor([4, 4]), -1
    x = model.embed(some_ids(2, 4))
    for temperature, samples in ((1.0, 1), (0.0, 2)):
        ways = []
        for draft in (0, 2):
            sample = Sampler(temperature, generator=torch.Generator().manual_seed(1))
            with model.using(r=3, draft=draft):
                ways.append(model.generate(x, lengths, Cache(), stop, 6, sample, samples))
        with model.using(r=3):
            sample = Sampler(temperature, generator=torch.Generator().manual_seed(1))
            ways.append(GPT.generate(model, x, lengths, Cache(), stop, 6, sample, samples))
        assert torch.equal(ways[0], ways[1]) and torch.equal(ways[0], ways[2])
