"""The backbone against naive references: its block and Llama written out, decoding one row without
a cache.

Two ways of computing the same are compared in float64, where no processor's rounding matters."""
import math
import warnings

import pytest
import torch
import torch.nn.functional as F

from model import GPT, Cache, Config, Conv, Rope, Sampler, ends, rotate
from method import tree
from tests.naive import EXACT


def tiny(**changes):
    torch.manual_seed(0)
    model = GPT(Config(**{"vocab": 23, "layers": 2, "width": 32, "heads": 4, **changes})).double()
    for name, p in model.named_parameters():    # away from the identity, or no test would see it
        if "norm" in name or "conv" in name:
            torch.nn.init.normal_(p, 1.0 if "norm" in name else 0.0, 0.3)
    return model


def test_dropout_is_of_what_blocks_add_and_only_in_training():
    """Of all that is added the mean over many masks stays; at 0.5 half is 0, the rest doubled."""
    plain, model = tiny(layers=1), tiny(layers=1, dropout=0.5)
    x = model.embed(torch.randint(23, (2, 9)))
    assert torch.equal(plain(x), model.eval()(x))
    model.train()
    assert not torch.equal(plain(x), model(x))
    block, place = model.blocks[0], model.begin(x, None)
    added = block.attn(block.norm1(x), place, None)
    torch.nn.init.zeros_(block.mlp.down.weight)
    kept = (block(x, place, None) - x) / added                          # (2, 9, C): 0 or 2
    torch.testing.assert_close(kept, kept.round(), atol=1e-9, rtol=0)
    assert set(kept.round().unique().tolist()) == {0, 2} and abs(kept.mean() - 1) < 0.2


LLAMA = {"norm": "rms", "mlp": "swiglu"}


def reference(model, ids):
    """Ours or Llama 2, word for word, for one sequence: loops over layers, heads and positions."""
    cfg, w = model.cfg, model.state_dict()

    def norm(x, weight):
        if cfg.norm == "layer":
            x = x - x.mean(-1, keepdim=True)
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * weight

    def mlp(x, up, down):
        if cfg.mlp == "swiglu":
            gate, value = (x @ up.T).chunk(2, -1)
            return (gate * gate.sigmoid() * value) @ down.T
        x = x @ up.T
        return (x * (1 + torch.erf(x / math.sqrt(2))) / 2) @ down.T

    x = w["embed.weight"][ids]                                          # (T, C)
    T, C = x.shape
    D = C // cfg.heads
    for i in range(cfg.layers):
        p = f"blocks.{i}."
        q, k, v = (norm(x, w[p + "norm1.weight"]) @ w[p + "attn.qkv.weight"].T).split(C, -1)
        out = torch.zeros_like(x)
        for h in range(cfg.heads):
            s = slice(h * D, (h + 1) * D)
            qh, kh = q[:, s].clone(), k[:, s].clone()
            for t in range(T):
                for j in range(D // 2):
                    angle = t * cfg.rope_base ** (-2 * j / D)
                    for m in (qh, kh):
                        a, b = m[t, j].item(), m[t, j + D // 2].item()
                        m[t, j] = a * math.cos(angle) - b * math.sin(angle)
                        m[t, j + D // 2] = b * math.cos(angle) + a * math.sin(angle)
            for t in range(T):
                score = (kh[:t + 1] @ qh[t] / math.sqrt(D)).softmax(0)
                out[t, s] = score @ v[:t + 1, s]
        x = x + out @ w[p + "attn.out.weight"].T
        u = norm(x, w[p + "norm2.weight"])
        x = x + mlp(u, w[p + "mlp.up.weight"], w[p + "mlp.down.weight"])
    return norm(x, w["norm.weight"]) @ w["head.weight"].T               # (T, V)


@pytest.mark.parametrize("changes", [{}, LLAMA], ids=["ours", "llama"])
def test_equals_the_reference(changes):
    model, ids = tiny(**changes), torch.randint(23, (2, 9))
    ours = model.head(model(model.embed(ids)))                          # (2, 9, 23)
    for row in range(2):
        torch.testing.assert_close(ours[row], reference(model, ids[row]), **EXACT)


def test_convolution_equals_a_loop():
    conv, x = Conv(5, 4).double(), torch.randn(2, 7, 5).double()
    torch.nn.init.normal_(conv.weight)
    y = conv(x, GPT(Config(9, width=8)).begin(x, None), None)
    for b in range(2):
        for t in range(7):
            want = x[b, t] + sum(conv.weight[j] * x[b, t - j] for j in range(4) if t >= j)
            torch.testing.assert_close(y[b, t], want, **EXACT)


@pytest.mark.parametrize("conv", [0, 4])
@torch.no_grad()
def test_texts_that_branch_off_one_are_as_if_alone(conv):
    """A row's common part, of 2 to 6 tokens, then three texts of their own; padding at the end."""
    model, C = tiny(conv=conv), 32
    common, sizes = [6, 2], [[1, 3, 2], [4, 2, 3]]
    starts = [torch.randn(n, C).double() for n in common]
    texts = [[torch.randn(n, C).double() for n in row] for row in sizes]
    rows = [torch.cat([start, *row]) for start, row in zip(starts, texts)]
    x = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    branch = torch.full(x.shape[:2], -1)
    for i, row in enumerate(sizes):
        of = [0] * common[i] + [k + 1 for k, n in enumerate(row) for _ in range(n)]
        branch[i, :len(of)] = torch.tensor(of)
    h = model(x, tree=tree(branch))
    for i, row in enumerate(texts):
        end = common[i]
        for text in row:
            start, end = end, end + len(text)
            alone = model(torch.cat([starts[i], text])[None])[0]
            torch.testing.assert_close(h[i, start:end], alone[common[i]:], **EXACT)
    torch.testing.assert_close(h[0, :6], model(starts[0][None])[0], **EXACT)


def test_rope_depends_on_distance_only():
    q, k = torch.ones(2, 1, 1, 1, 16).double()

    def score(m, n):
        (a, b), (c, d) = (Rope(16, 100.0)(q, slice(t, t + 1), t + 1) for t in (m, n))
        return (rotate(q, a, b) * rotate(k, c, d)).sum()
    torch.testing.assert_close(score(5, 2), score(13, 10), **EXACT)
    assert abs(score(5, 2) - score(5, 3)) > 1


def turned(x, angle):
    """x (T, D) rotated, all pairs by the same angle, with tables as those of Rope."""
    half = torch.full((x.shape[1] // 2,), angle, dtype=torch.double)
    return rotate(x[None, :, None], torch.cat([half.cos(), half.cos()]),
                  torch.cat([-half.sin(), half.sin()]))[0, :, 0]


def test_rotate_keeps_the_norm():
    torch.manual_seed(0)
    x = torch.randn(5, 8).double()
    torch.testing.assert_close(turned(x, 0.3).norm(dim=1), x.norm(dim=1), **EXACT)


def test_half_a_turn_changes_the_sign():
    torch.manual_seed(0)
    x = torch.randn(5, 8).double()
    torch.testing.assert_close(turned(x, math.pi), -x, **EXACT)


def test_rotate_mixes_only_numbers_half_a_row_apart():
    met = turned(torch.eye(8).double(), 0.3).nonzero().tolist()
    assert all((i - j) % 4 == 0 for i, j in met), f"of 8 numbers these meet: {met}"


@pytest.mark.parametrize("changes", [{}, {"conv": 4}, {"conv": 4, "qk_norm": True}, LLAMA], ids=str)
def test_causal_and_blind_to_padding(changes):
    model, ids = tiny(**changes), torch.randint(1, 23, (1, 10))
    h = model(model.embed(ids))
    other = ids.clone()
    other[0, 6] = (other[0, 6] + 1) % 23
    changed = model(model.embed(other))
    torch.testing.assert_close(h[:, :6], changed[:, :6], **EXACT)
    assert (h[:, 6:] - changed[:, 6:]).abs().amax(-1).min() > 1e-3      # and it does look back
    padded = torch.cat([ids, torch.zeros(1, 4, dtype=torch.long)], 1)
    torch.testing.assert_close(model(model.embed(padded))[:, :10], h, **EXACT)


@pytest.mark.parametrize("changes", [{}, {"conv": 4}, {"conv": 4, "qk_norm": True}, LLAMA], ids=str)
def test_cache_equals_no_cache_for_ragged_rows(changes):
    """Rows of 3, 7 and 5 tokens continue by 1 and by 2 tokens; one row pauses on the way."""
    model = tiny(**changes)
    rows = [torch.randint(1, 23, (n + 3,)) for n in (3, 7, 5)]
    lengths = torch.tensor([3, 7, 5])
    prompt = torch.zeros(3, 7, dtype=torch.long)
    for i, n in enumerate(lengths):
        prompt[i, :n] = rows[i][:n]
    cache = Cache()
    state = [model(model.embed(prompt), cache, lengths, at=ends(prompt, lengths))]
    one = torch.stack([r[n] for r, n in zip(rows, lengths)])[:, None]
    state.append(model(model.embed(one), cache, torch.tensor([1, 0, 1]))[:, -1])    # row 1 pauses
    state.append(model(model.embed(one), cache, torch.tensor([0, 1, 0]))[:, -1])    # and goes on
    two = torch.stack([r[n + 1:n + 3] for r, n in zip(rows, lengths)])
    state.append(model(model.embed(two), cache)[:, -1])
    assert cache.lengths.tolist() == [6, 10, 8]
    for i, n in enumerate(lengths):
        whole = model(model.embed(rows[i][None]))[0]
        torch.testing.assert_close(state[0][i], whole[n - 1], **EXACT)
        torch.testing.assert_close(state[2 if i == 1 else 1][i], whole[n], **EXACT)
        torch.testing.assert_close(state[3][i], whole[n + 2], **EXACT)


def test_cache_with_rows_shorter_than_the_convolution():
    model, lengths = tiny(conv=8), torch.tensor([2, 9])
    ids = torch.randint(1, 23, (2, 10))
    cache = Cache()
    model(model.embed(ids[:, :9]), cache, lengths)
    h = model(model.embed(ids[:, 9:]), cache)[:, 0]
    for i, n in enumerate(lengths):
        row = torch.cat([ids[i, :n], ids[i, 9:]])[None]
        torch.testing.assert_close(h[i], model(model.embed(row))[0, -1], **EXACT)


def greedy_without_cache(model, ids, stop, max_new):
    ids = list(ids)
    new = []
    while len(new) < max_new and stop not in new:
        logits = model.head(model(model.embed(torch.tensor([ids + new]))))[0, -1]
        new.append(int(logits[1:].argmax()) + 1)        # never 0, the padding
    return new


@pytest.mark.parametrize("conv", [0, 4])
def test_generate_batched_equals_one_by_one_without_cache(conv):
    model, max_new = tiny(conv=conv), 12
    prompts = [torch.randint(1, 23, (n,)).tolist() for n in (2, 9, 5, 5, 3, 7, 4, 6)]
    free = [greedy_without_cache(model, p, -1, max_new) for p in prompts]
    # a word at which the rows stop at the most different times
    stop = max(range(1, 23), key=lambda word: len({(row + [word]).index(word) for row in free}))
    want = [greedy_without_cache(model, p, stop, max_new) for p in prompts]
    assert len({len(w) for w in want}) > 1
    lengths = torch.tensor([len(p) for p in prompts])
    ids = torch.zeros(len(prompts), 9, dtype=torch.long)
    for i, p in enumerate(prompts):
        ids[i, :len(p)] = torch.tensor(p)
    out = model.generate(model.embed(ids), lengths, Cache(), stop, max_new)
    for row, w in zip(out.tolist(), want):
        assert row[:len(w)] == w and not any(row[len(w):])


def test_training_can_use_what_decoding_made():
    """RoPE's tables and the ids, which the backward pass needs; oneDNN is as it was."""
    model, ids = tiny(), torch.randint(1, 23, (2, 5))
    out = model.generate(model.embed(ids), None, Cache(), -1, 4)
    assert out.shape == (2, 4) and torch.backends.mkldnn.enabled
    loss = model.head(model(model.embed(out))).logsumexp(-1).sum()
    got = torch.autograd.grad(loss, list(model.parameters()))
    fresh = tiny()
    loss = fresh.head(fresh(fresh.embed(out))).logsumexp(-1).sum()
    for a, b in zip(got, torch.autograd.grad(loss, list(fresh.parameters()))):
        torch.testing.assert_close(a, b, **EXACT)


def test_sampling_follows_the_softmax_and_the_generator():
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0]).expand(20000, 4)

    def draw(**changes):
        return Sampler(0.5, generator=torch.Generator().manual_seed(1), **changes)(logits)
    share = torch.bincount(draw(), minlength=4) / 20000
    torch.testing.assert_close(share, (logits[0] / 0.5).softmax(0), atol=0.01, rtol=0)
    assert torch.equal(draw(), draw())
    assert Sampler()(logits).unique().tolist() == [2]
    best = torch.bincount(draw(top_k=2), minlength=4) / 20000
    want = torch.tensor([0, 1, 2, 0]).float() / 0.5
    torch.testing.assert_close(best[1:3], want[1:3].softmax(0), atol=0.01, rtol=0)
    assert best[0] == best[3] == 0


def test_rope_tables_grow_and_follow_the_dtype():
    rope, x = Rope(8, 100.0), torch.zeros(1).double()
    short = rope(x, slice(3, 5), 5)
    assert len(rope.cos) < 3000
    long = rope(x, slice(0, 3000), 3000)
    for a, b in zip(short, long):
        torch.testing.assert_close(a, b[3:5], **EXACT)
    rows = torch.tensor([[3, 4], [2990, 2991]])
    for a, b in zip(rope(x, rows, 2992), long):
        torch.testing.assert_close(a, b[rows], **EXACT)
    assert rope(x.float(), slice(0, 3), 3)[0].dtype == torch.float32


@pytest.mark.parametrize("qk_norm", [False, True])
def test_attention_has_one_dtype_under_autocast(qk_norm, monkeypatch):
    """Queries, keys, values and what the cache keeps of them, and no norm of mixed dtypes, which
    torch warns of and takes a slow way for. Close to float32: bfloat16 has 8 bits."""
    model, ids = tiny(qk_norm=qk_norm).float(), torch.randint(1, 23, (3, 9))
    attend, seen = F.scaled_dot_product_attention, []

    def spy(q, k, v, **rest):
        seen.append((q.dtype, k.dtype, v.dtype))
        return attend(q, k, v, **rest)
    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    with torch.autocast("cpu", torch.bfloat16), warnings.catch_warnings():
        warnings.simplefilter("error")
        low, cache = model(model.embed(ids)), Cache()
        low.sum().backward()
        with torch.no_grad():
            parts = model(model.embed(ids[:, :5]), cache), model(model.embed(ids[:, 5:]), cache)
    assert len(seen) == 3 * 2 and {dtype for some in seen for dtype in some} == {torch.bfloat16}
    assert {buffer.dtype for (_, name), buffer in cache.store.items() if name in "kv"} == {
        torch.bfloat16}
    want = model(model.embed(ids))
    for h in (low, torch.cat(parts, 1)):
        assert h.dtype == torch.float32 and (h - want).norm() < 0.05 * want.norm()


def test_every_parameter_gets_a_gradient():
    model = tiny(qk_norm=True)
    model.head(model(model.embed(torch.randint(23, (2, 8))))).logsumexp(-1).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
