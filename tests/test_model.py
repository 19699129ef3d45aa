"""The backbone against naive references: Llama written out, decoding one row without a cache."""
import math

import pytest
import torch

from model import GPT, Cache, Config, Conv, generate, last, rope_table, rotate, sample_token

torch.manual_seed(0)


def tiny(**changes):
    torch.manual_seed(0)
    model = GPT(Config(**{"vocab": 23, "layers": 2, "width": 32, "heads": 4, **changes}))
    for name, p in model.named_parameters():    # away from the identity, or no test would see it
        if "norm" in name or "conv" in name:
            torch.nn.init.normal_(p, 1.0 if "norm" in name else 0.0, 0.3)
    return model


def llama(model, ids):
    """Llama 2, word for word, for one sequence: loops over layers, heads and positions."""
    cfg, w = model.cfg, {k: v.detach().double() for k, v in model.state_dict().items()}

    def norm(x, weight):
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * weight

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
        gate, up = (norm(x, w[p + "norm2.weight"]) @ w[p + "mlp.up.weight"].T).chunk(2, -1)
        x = x + (gate * gate.sigmoid() * up) @ w[p + "mlp.down.weight"].T
    return norm(x, w["norm.weight"]) @ w["head.weight"].T               # (T, V)


def test_equals_a_llama_reference():
    model, ids = tiny(conv=0), torch.randint(23, (2, 9))
    ours = model.head(model(model.embed(ids)))                          # (2, 9, 23)
    for row in range(2):
        torch.testing.assert_close(ours[row].double(), llama(model, ids[row]), atol=1e-4, rtol=1e-4)


def test_convolution_equals_a_loop():
    conv, x = Conv(5, 4), torch.randn(2, 7, 5)
    torch.nn.init.normal_(conv.weight)
    y = conv(x, None, None)
    for b in range(2):
        for t in range(7):
            want = x[b, t] + sum(conv.weight[j] * x[b, t - j] for j in range(4) if t >= j)
            torch.testing.assert_close(y[b, t], want)


def test_rope_depends_on_distance_only():
    q, k = torch.randn(2, 1, 1, 1, 16)

    def score(m, n):
        (a, b), (c, d) = (rope_table(torch.tensor([t]), 16, 100.0) for t in (m, n))
        return (rotate(q, a, b) * rotate(k, c, d)).sum()
    torch.testing.assert_close(score(5, 2), score(13, 10), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(score(5, 2), score(5, 3), atol=1e-3)


@pytest.mark.parametrize("changes", [{}, {"conv": 0}, {"qk_norm": True}], ids=str)
def test_causal_and_blind_to_padding(changes):
    model, ids = tiny(**changes), torch.randint(1, 23, (1, 10))
    h = model(model.embed(ids))
    other = ids.clone()
    other[0, 6] = (other[0, 6] + 1) % 23
    changed = model(model.embed(other))
    torch.testing.assert_close(h[:, :6], changed[:, :6])
    assert (h[:, 6:] - changed[:, 6:]).abs().amax(-1).min() > 1e-3      # and it does look back
    padded = torch.cat([ids, torch.zeros(1, 4, dtype=torch.long)], 1)
    torch.testing.assert_close(model(model.embed(padded))[:, :10], h, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"conv": 0}, {"qk_norm": True}], ids=str)
def test_cache_equals_no_cache_for_ragged_rows(changes):
    """Rows of 3, 7 and 5 tokens continue by 1 and by 2 tokens; one row pauses on the way."""
    model = tiny(**changes)
    rows = [torch.randint(1, 23, (n + 3,)) for n in (3, 7, 5)]
    lengths = torch.tensor([3, 7, 5])
    prompt = torch.zeros(3, 7, dtype=torch.long)
    for i, n in enumerate(lengths):
        prompt[i, :n] = rows[i][:n]
    cache = Cache(3, 16)
    state = [last(model(model.embed(prompt), cache, lengths), lengths)]
    one = torch.stack([r[n] for r, n in zip(rows, lengths)])[:, None]
    state.append(model(model.embed(one), cache, torch.tensor([1, 0, 1]))[:, -1])    # row 1 pauses
    state.append(model(model.embed(one), cache, torch.tensor([0, 1, 0]))[:, -1])    # and goes on
    two = torch.stack([r[n + 1:n + 3] for r, n in zip(rows, lengths)])
    state.append(model(model.embed(two), cache)[:, -1])
    assert cache.length.tolist() == [6, 10, 8]
    for i, n in enumerate(lengths):
        whole = model(model.embed(rows[i][None]))[0]
        torch.testing.assert_close(state[0][i], whole[n - 1], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(state[2 if i == 1 else 1][i], whole[n], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(state[3][i], whole[n + 2], atol=1e-5, rtol=1e-5)


def test_cache_with_rows_shorter_than_the_convolution():
    model, lengths = tiny(conv=8), torch.tensor([2, 9])
    ids = torch.randint(1, 23, (2, 10))
    cache = Cache(2, 12)
    model(model.embed(ids[:, :9]), cache, lengths)
    h = model(model.embed(ids[:, 9:]), cache)[:, 0]
    for i, n in enumerate(lengths):
        row = torch.cat([ids[i, :n], ids[i, 9:]])[None]
        torch.testing.assert_close(h[i], model(model.embed(row))[0, -1], atol=1e-5, rtol=1e-5)


def greedy_without_cache(model, ids, stop, max_new):
    ids = list(ids)
    new = []
    while len(new) < max_new and stop not in new:
        logits = model.head(model(model.embed(torch.tensor([ids + new]))))[0, -1]
        new.append(int(logits[1:].argmax()) + 1)        # never 0, the padding
    return new


def test_generate_batched_equals_one_by_one_without_cache():
    model, stop, max_new = tiny(), 4, 12
    prompts = [torch.randint(1, 23, (n,)).tolist() for n in (2, 9, 5, 5, 3, 7, 4, 6)]
    want = [greedy_without_cache(model, p, stop, max_new) for p in prompts]
    assert len({len(w) for w in want}) > 1, "rows must stop at different times for a test to bite"
    lengths = torch.tensor([len(p) for p in prompts])
    ids = torch.zeros(len(prompts), 9, dtype=torch.long)
    for i, p in enumerate(prompts):
        ids[i, :len(p)] = torch.tensor(p)
    out = generate(model, model.embed(ids), lengths, Cache(len(ids), 9 + max_new), stop, max_new)
    for row, w in zip(out.tolist(), want):
        assert row[:len(w)] == w and not any(row[len(w):])


def test_sampling_follows_the_softmax_and_the_generator():
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0]).expand(20000, 4)
    draw = sample_token(logits, 0.5, torch.Generator().manual_seed(1))
    share = torch.bincount(draw, minlength=4) / 20000
    torch.testing.assert_close(share, (logits[0] / 0.5).softmax(0), atol=0.01, rtol=0)
    assert torch.equal(draw, sample_token(logits, 0.5, torch.Generator().manual_seed(1)))
    assert sample_token(logits).unique().tolist() == [2]
    best = torch.bincount(sample_token(logits, 0.5, top_k=2), minlength=4) / 20000
    want = torch.tensor([0, 1, 2, 0]).float() / 0.5
    torch.testing.assert_close(best[1:3], want[1:3].softmax(0), atol=0.01, rtol=0)
    assert best[0] == best[3] == 0


def test_every_parameter_gets_a_gradient():
    model = tiny(qk_norm=True)
    model.head(model(model.embed(torch.randint(23, (2, 8))))).logsumexp(-1).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
