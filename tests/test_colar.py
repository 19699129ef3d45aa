"""CoLaR's equations against naive loops; its latent decoding against one without a cache. All in
float64, where no processor's rounding matters."""
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

import eval as evaluation
from colar import LatentHead, groups, latent_loss, merge, offsets
from data.cli import BadInput
from data.common import END, EOS, MAX_SPEED, SPECIALS, THINK, collate, speed_token
from lab import controls
from lab.latents import decoded
from method import ANSWER, CHAIN, CLOSE, OPEN, QUESTION, Rollout, Solved, pack
from model import Sampler
from recurrent import EXITS, RecurrentGPT
from tests.helpers import telling
from tests.naive import EXACT, TASK, VOCAB, batch_of, colar_and_cot, stop_some_at_once


def naive_rows(batch, c, align):
    """For each row its sequence as a list of (kind, [token ids]): groups made by Python slices."""
    for i, e in enumerate(batch.examples):
        runs = [VOCAB.encode(s) for s in e.steps]
        if not align:
            runs = [sum(runs, [])]
        chunks = [r[j:j + c[i]] for r in runs for j in range(0, len(r), c[i])]
        yield ([(QUESTION, [t]) for t in VOCAB.encode(e.question) + [speed_token(c[i])]]
               + [(OPEN, [THINK])] + [(CHAIN, g) for g in chunks] + [(CLOSE, [END])]
               + [(ANSWER, [t]) for t in VOCAB.encode(e.answer) + [EOS]])


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("pool", ["sqrt", "mean"])
def test_layout_and_merge_equal_a_loop(align, pool):
    method, _ = colar_and_cot(align=align)
    batch, c = batch_of(7), [1, 2, 3, 4, 5, 3, 2]
    ids, part, _, slot, size = method.layout(batch, torch.tensor(c)[:, None])
    z = merge(method.model.embed(ids), slot, size, pool)
    for i, row in enumerate(naive_rows(batch, c, align)):
        assert size[i, :len(row)].tolist() == [len(g) for _, g in row]
        assert [k for k in part[i].tolist() if k >= 0] == [k for k, g in row for _ in g]
        for s, (_, group) in enumerate(row):
            total = sum(method.model.embed.weight[t] for t in group)
            want = total / (len(group) if pool == "mean" else math.sqrt(len(group)))
            torch.testing.assert_close(z[i, s], want, **EXACT)
        assert not size[i, len(row):-1].any()           # no empty group inside or after the row


def test_merge_equals_a_loop():
    """Eq. (1) of two rows whose slots have 1, 3 and 2 embeddings, and 2, 4 and none."""
    e, slot = torch.randn(2, 6, 5).double(), torch.tensor([[0, 1, 1, 1, 2, 2], [0, 0, 1, 1, 1, 1]])
    size = torch.tensor([[1, 3, 2], [2, 4, 0]])
    for pool, power in (("sqrt", 0.5), ("mean", 1.0)):
        z = merge(e, slot, size, pool)
        for b in range(2):
            for s in range(3):
                mine = [e[b, t] for t in range(6) if slot[b, t] == s]
                want = sum(mine, torch.zeros(5).double()) / max(1, len(mine)) ** power
                assert torch.allclose(z[b, s], want, **EXACT), (
                    f"{pool}: the slot of {len(mine)} embeddings is not their sum, divided by "
                    f"{len(mine)}^{power} (an empty slot: zeros)")


def test_merge_keeps_the_variance_and_the_mean_does_not():
    e = torch.randn(4, 4000, 8)
    thinking = torch.ones(4, 4000, dtype=torch.bool)
    place = torch.arange(4000).expand(4, -1) % 5
    slot = groups(thinking, place)
    size = torch.zeros(4, 800, dtype=torch.long).scatter_add(1, slot, torch.ones_like(slot))
    for pool, want in (("sqrt", 1), ("mean", 1 / 5)):
        var = float(merge(e, slot, size, pool).var())
        assert abs(var / want - 1) < 0.05, (
            f"{pool}: groups of 5 embeddings of variance 1 have variance {var:.2f}, not {want}")


def test_merge_by_mean_is_the_mean():
    """Of groups of 2, 1 and 3."""
    e = torch.arange(12.0).double().view(1, 6, 2)
    z = merge(e, torch.tensor([[0, 0, 1, 2, 2, 2]]), torch.tensor([[2, 1, 3]]), "mean")
    want = torch.stack([e[0, :2].mean(0), e[0, 2], e[0, 3:].mean(0)])
    torch.testing.assert_close(z[0], want, **EXACT)


def test_merge_does_not_see_the_order_in_a_group():
    e, slot = torch.arange(10.0).double().view(1, 5, 2), torch.tensor([[0, 0, 0, 1, 1]])
    ways = [merge(e[:, order], slot, torch.tensor([[3, 2]]))
            for order in ([0, 1, 2, 3, 4], [2, 0, 1, 4, 3])]
    torch.testing.assert_close(*ways, **EXACT)


def test_offsets_on_a_worked_example():
    thinking = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 0]]).bool()
    step = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 0]])
    assert offsets(step, thinking, True)[0, 2:7].tolist() == [0, 1, 2, 0, 1]
    assert offsets(step, thinking, False)[0, 2:7].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("align", [True, False])
def test_offsets_of_two_rows_equal_a_loop(align):
    """Of rows whose thoughts start at different places and in different steps."""
    thinking = torch.tensor([[0, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1]]).bool()
    step = torch.tensor([[0, 0, 0, 1, 2, 0], [0, 0, 0, 0, 1, 1]])
    got = offsets(step, thinking, align)
    for b in range(2):
        place = -1
        for t in thinking[b].nonzero()[:, 0].tolist():
            new_step = align and thinking[b, t - 1] and step[b, t] != step[b, t - 1]
            place = 0 if new_step else place + 1
            assert got[b, t] == place, (
                f"align={align}: token {t} of row {b} is number {place} of its step or chain")


def test_offsets_without_align_go_through_the_chain():
    thinking = torch.tensor([[0, 0, 1, 1, 1, 0]]).bool()
    got = offsets(torch.tensor([[0, 0, 0, 1, 2, 0]]), thinking, False)[0, 2:5].tolist()
    assert got == [0, 1, 2], f"a chain of three tokens after two others has the offsets {got}"


def test_offsets_of_a_row_do_not_see_the_others():
    thinking = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 0], [0, 0, 0, 1, 1]]).bool()
    step = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]])
    together = offsets(step, thinking, True)
    for b in range(3):
        alone = offsets(step[b:b + 1], thinking[b:b + 1], True)[0]
        for t in thinking[b].nonzero()[:, 0]:
            assert together[b, t] == alone[t], (
                f"token {t} of row {b} has the offset {together[b, t]} beside other rows, and "
                f"{alone[t]} alone")


def test_offsets_of_a_chain_that_comes_first_are_its_columns():
    got = offsets(torch.zeros(1, 4).long(), torch.ones(1, 4).bool(), False)[0].tolist()
    assert got == [0, 1, 2, 3], f"four tokens of one run have the offsets {got}"


def naive_loss(method, batch, c):
    """Both terms at speeds c, one of each problem, and the entropy that the first cannot fall
    below: row by row and slot by slot."""
    ce, latent, floor, E = [], [], [], method.model.embed.weight
    for row in naive_rows(batch, c, True):
        z = torch.stack([sum(E[t] for t in g) / math.sqrt(len(g)) for _, g in row])     # (S, C)
        h = method.model(z[None])[0]
        mu, _ = method.latent_head(h)
        for s, (kind, group) in enumerate(row):
            if kind in (CHAIN, CLOSE):
                latent.append((mu[s - 1] - z[s] / method.std).pow(2).mean())
            if kind > OPEN and not (kind == CHAIN and method.args.labels == "none"):
                logp = method.model.head(h[s - 1]).log_softmax(-1)
                ce.append(-sum(logp[t] for t in group) / len(group))
                shares = [group.count(t) / len(group) for t in set(group)]
                floor.append(-sum(p * math.log(p) for p in shares))
    return torch.stack(ce).mean(), torch.stack(latent).mean(), sum(floor) / len(floor)


@pytest.mark.parametrize("labels", ["all", "none"])
def test_loss_equals_a_loop(labels):
    method, _ = colar_and_cot(head="deterministic", labels=labels)
    batch, c = batch_of(6, first=50), [1, 2, 3, 4, 5, 2]
    loss, parts = method.loss(batch, torch.tensor(c)[:, None])
    ce, latent, floor = naive_loss(method, batch, c)
    torch.testing.assert_close(loss, ce + latent, **EXACT)
    want = {"ce": ce, "excess": ce - floor, "latent": latent}
    torch.testing.assert_close(parts, {name: t.detach() for name, t in want.items()}, **EXACT)


def test_the_floor_of_a_group_counts_a_repeated_word_once():
    """Steps of 6 words, 2 of them equal, at c = 1, 2, 3 and 6; a model that says exactly what a
    slot holds would have this cross-entropy."""
    method, _ = colar_and_cot()
    batch = batch_of(1)
    for e in batch.examples:
        e.steps = ["Ann has 4 4 = .".split()]
    batch = collate(batch.examples, VOCAB)
    log = math.log
    after = 3       # </think>, the answer and <eos>: slots of one word
    sixth = [1, 1, 2, 1, 1]
    for c, slots in ((1, []), (2, [[1, 1], [2], [1, 1]]), (3, [[1, 1, 1], [1, 1, 1]]),
                     (6, [sixth])):
        floor = sum(-k / sum(some) * log(k / sum(some)) for some in slots for k in some)
        parts = method.loss(batch, torch.tensor([[c]]))[1]
        n = after + (len(slots) or 6)
        assert float(parts["ce"] - parts["excess"]) == pytest.approx(floor / n, abs=1e-9)


@pytest.mark.parametrize("labels", ["all", "one"])
@torch.no_grad()
def test_excess_is_0_where_the_head_says_what_each_slot_holds(labels, monkeypatch):
    """Cross-entropy minus its floor is the KL divergence of the head from the slots' words; of one
    drawn word, in the mean over draws."""
    method, _ = colar_and_cot(labels=labels)
    batch, c = batch_of(5), torch.tensor([[2], [3], [5], [4], [1]])
    batch.examples[2].steps = ["Ann has 4 4 = .".split()]       # one drawn of 4, 4 is no coin
    batch = collate(batch.examples, VOCAB)
    told = [[VOCAB.words[t] for t in group] for row in naive_rows(batch, c[:, 0].tolist(), True)
            for kind, group in row if kind > OPEN]
    logits = torch.full((len(told), len(VOCAB)), -1e3).double()
    for row, words in zip(logits, told):
        for word in words:
            row[VOCAB.ids[word]] = math.log(words.count(word) / len(words))
    monkeypatch.setattr(method.model.head, "forward", lambda h: logits)
    torch.manual_seed(0)
    found = torch.stack([method.loss(batch, c)[1]["excess"] for _ in range(50)])
    if labels == "all":
        assert found.abs().max() < 1e-9
    else:
        assert found.std() > 1e-3 and abs(found.mean()) < 4 * found.std() / 50 ** 0.5


@pytest.mark.parametrize("conv", [0, 4])
def test_speeds_that_branch_off_one_question_are_as_if_alone(conv):
    """The loss of all speeds at once is the mean of those at each, in value and gradient, though
    the question of a problem is read but once."""
    method, _ = colar_and_cot(head="deterministic", c_train="5,1,3", conv=conv)
    batch = batch_of(6, first=50)

    def gradient(loss):
        method.zero_grad()
        loss.backward()
        return [p.grad for p in method.parameters() if p.grad is not None]
    together = method.loss(batch)[0]
    alone = sum(sum(naive_loss(method, batch, [c] * 6)[:2]) for c in (1, 3, 5)) / 3
    torch.testing.assert_close(together, alone, **EXACT)
    torch.testing.assert_close(gradient(together), gradient(alone), **EXACT)


def test_one_drawn_label_is_the_mean_label_in_expectation():
    method, _ = colar_and_cot(labels="one")
    batch, c = batch_of(4), torch.tensor([[2], [3], [4], [5]])
    torch.manual_seed(1)
    with torch.no_grad():
        drawn = torch.stack([method.loss(batch, c)[1]["ce"] for _ in range(400)])
        method.args.labels = "all"
        mean = method.loss(batch, c)[1]["ce"]
    error = drawn.std() / 20
    assert drawn.std() > 0.01 and abs(drawn.mean() - mean) < 4 * error


def test_at_c_1_the_lm_loss_is_that_of_cot():
    """Same tokens, same labels, but for the speed token: CoT gets it as part of its question."""
    method, parent = colar_and_cot()
    batch = batch_of(5)
    c = torch.ones(5, 1, dtype=torch.long)
    with_speed = collate([TASK.sample("train", i) for i in range(5)], VOCAB)
    with_speed.question = pack(batch.question, speed_token(c))[0]
    torch.testing.assert_close(
        method.loss(batch, c)[1]["ce"], parent.loss(with_speed)[0], **EXACT)


def test_the_latent_loss_is_of_embeddings_over_their_std():
    """Of a head that says 0 it is the mean of (z / s)^2: for twice the s, a quarter."""
    method, _ = colar_and_cot(head="deterministic")
    for p in method.latent_head.mean.parameters():
        p.data.zero_()
    losses = []
    for _ in range(2):
        losses.append(float(method.loss(batch_of(3))[1]["latent"]))
        method.std *= 2
    assert losses[1] == pytest.approx(losses[0] / 4), (
        f"the loss of a head that says 0 is {losses[0]:.4f}, and {losses[1]:.4f} at twice the s")


def test_no_word_is_predicted_from_itself():
    """<eos> is the last one, so that it is predicted and never read: its embedding can be any."""
    method, _ = colar_and_cot(head="deterministic")
    before = method.loss(batch_of(3))[0]
    method.model.embed.weight.data[EOS].normal_()
    torch.testing.assert_close(method.loss(batch_of(3))[0], before, **EXACT)


def test_latent_losses_equal_torch_distributions():
    mu, log_sigma, target = torch.randn(3, 50, 8).double()
    normal = torch.distributions.Normal(mu, log_sigma.exp())
    want = -normal.log_prob(target).mean()
    torch.testing.assert_close(latent_loss(mu, log_sigma, target, "nll").mean(), want, **EXACT)
    # soft-MSE: one draw; its expectation is (mu - t)^2 + sigma^2
    torch.manual_seed(0)
    draws = torch.stack([latent_loss(mu, log_sigma, target, "soft-mse").mean()
                         for _ in range(2000)])
    want = ((mu - target).pow(2) + log_sigma.exp().pow(2)).mean()
    assert abs(draws.mean() - want) < 4 * draws.std() / 2000 ** 0.5
    torch.testing.assert_close(latent_loss(mu, None, target, "soft-mse").mean(),
                               F.mse_loss(mu, target))


def test_soft_mse_draws_one_eps_per_number():
    """With mu = target and sigma = 1 a loss is the mean of C squares of eps: if they are drawn
    apart its variance is 2 / C; if they are all one number, it is 2."""
    torch.manual_seed(0)
    zero = torch.zeros(4000, 8).double()
    var = float(latent_loss(zero, zero, zero, "soft-mse").var())
    assert abs(var - 2 / 8) < 0.05, (
        f"the variance is {var:.2f}, not 2 / 8 = 0.25: each of the 8 numbers has an eps of its own")


def some_head(deterministic=False, sigma_min=0.1):
    """A latent head of width 4 in float64, whose LayerNorm does not have its first weights; and
    states (3, 2, 4), at which log sigma is between -2 and 2."""
    torch.manual_seed(0)
    head = LatentHead(4, deterministic, sigma_min).double()
    for p in head.parameters():
        p.data.normal_(std=0.3)
    return head, torch.randn(3, 2, 4).double()


@pytest.mark.parametrize("deterministic", [False, True])
@torch.no_grad()
def test_latent_head_equals_a_loop(deterministic):
    """Eq. (2) with lists of numbers, one state at a time."""
    def linear(layer, x):
        return [sum(w * v for w, v in zip(row, x)) + b
                for row, b in zip(layer.weight.tolist(), layer.bias.tolist())]

    def layer_norm(layer, x):
        mean = sum(x) / len(x)
        sd = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + layer.eps)
        return [w * (v - mean) / sd + b
                for w, v, b in zip(layer.weight.tolist(), x, layer.bias.tolist())]
    head, h = some_head(deterministic)
    first, _, second, norm = head.body
    mu, log_sigma = head(h)
    assert (log_sigma is None) == deterministic, "a deterministic head, and it alone, has no sigma"
    for b, t in itertools.product(range(3), range(2)):
        u = [x * (1 + math.erf(x / 2 ** 0.5)) / 2 for x in linear(first, h[b, t].tolist())]
        u = layer_norm(norm, linear(second, u))
        for i, want in enumerate(linear(head.mean, u)):
            assert abs(mu[b, t, i] - want) < 1e-9, (
                f"mu is {mu[b, t, i]:.4f}, not {want:.4f}: the layer `mean` of what `body` makes")
        for i, want in enumerate([] if deterministic else linear(head.log_std, u)):
            assert -2 < want < 2 and abs(log_sigma[b, t, i] - want) < 1e-9, (
                f"log sigma is {log_sigma[b, t, i]:.4f}, not {want:.4f}: the layer `log_std`")


@torch.no_grad()
def test_latent_head_keeps_sigma_within_its_bounds():
    """sigma_min <= sigma <= e^2, whatever the layer says; in between it is what it says."""
    head, h = some_head(sigma_min=0.05)
    head.log_std.weight.data.zero_()
    for bias, want in ((-9.0, math.log(0.05)), (-2.0, -2.0), (1.5, 1.5), (9.0, 2.0)):
        head.log_std.bias.data.fill_(bias)
        got = float(head(h)[1][0, 0, 0])
        assert abs(got - want) < 1e-9, (
            f"the layer says log sigma = {bias}; the head has to return {want:.3f}, not {got:.3f}")


def test_gradients_reach_everything_but_the_embeddings():
    method, _ = colar_and_cot()
    method.loss(batch_of(4))[0].backward()
    for name, p in method.named_parameters():
        if name == "model.embed.weight":
            assert p.grad is None
        else:
            assert p.grad is not None and p.grad.abs().sum() > 0, name


def naive_solve(method, e, c):
    """Thinks and answers without a cache, one problem at a time."""
    E = method.model.embed.weight
    x = E[torch.tensor(VOCAB.encode(e.question) + [speed_token(c), THINK])]
    n = 0
    while n < min(method.args.max_think, 2 * math.ceil(method.args.max_think / c)):
        h = method.model(x[None])[0, -1]
        if method.model.head(h).argmax() == END:
            break
        mu, _ = method.latent_head(h)
        x, n = torch.cat([x, (mu * method.std)[None]]), n + 1
    x, answer = torch.cat([x, E[END][None]]), []
    while len(answer) < method.args.max_answer and EOS not in answer:
        logits = method.model.head(method.model(x[None])[0, -1])
        answer.append(int(logits[1:].argmax()) + 1)             # never 0, the padding
        x = torch.cat([x, E[answer[-1]][None]])
    return VOCAB.decode(answer[:answer.index(EOS)] if EOS in answer else answer), n


def test_solve_equals_a_loop_without_cache():
    """Rows stop at different times, some of them before the first latent."""
    (method, _), batch = colar_and_cot(), batch_of(12)
    with torch.no_grad():
        for c in (1, 2, 5):
            stop_some_at_once(method, batch, c)
            want = [naive_solve(method, e, c) for e in batch.examples]
            assert min(n for _, n in want) == 0 < max(n for _, n in want)
            assert [(s.answer, s.n_think) for s in method.solve(batch, c=c)] == want


def test_a_chain_that_does_not_stop_is_shown_in_part(monkeypatch):
    """Twice as many thoughts as the true chain has words, and ten more; never half a thought."""
    (method, _), examples = colar_and_cot(), batch_of(1).examples
    most = 10 + 2 * sum(map(len, examples[0].steps))
    for n, shown in ((most, ["[a b]"] * most), (most + 1, ["[a b]"] * most + ["..."])):
        monkeypatch.setattr(evaluation, "solve_all", lambda *args, **knobs: [
            Solved([], n, thoughts=" ".join(["[a b]"] * n))])
        text = evaluation.show(method, TASK, examples, c=2)
        assert f"thoughts    {' '.join(shown)}   [{n} steps]" in text.splitlines()


@pytest.mark.parametrize("most", [False, True])
@torch.no_grad()
def test_an_empty_chain_works_everywhere(most, monkeypatch, capsys):
    """Some rows think nothing, or all of them do: solving, showing, reading, the interventions."""
    (method, _), batch = colar_and_cot(), batch_of(1 if most else 6)
    stop_some_at_once(method, batch, 2, most)
    examples = batch.examples
    rollout = method.rollout(batch, 1, c=2)
    count = rollout.acts["n_think"].tolist()
    assert count[0] == 0 and rollout.acts["stopped"][0] and any(count) != most
    assert [len(row) for row in method.latent_words(rollout)] == count
    solved = evaluation.solve_all(method, examples, c=2)
    assert [s.thoughts.count("[") for s in solved] == [s.n_think for s in solved] == count
    assert "(none)   [0 steps]" in evaluation.show(method, TASK, examples, c=2)
    assert 0 <= decoded(method, examples, {"c": 2}) < 1
    monkeypatch.setattr(evaluation, "BATCH", 1)     # batches with and without thoughts
    prompt, z, n = controls.think(method, examples, c=2)
    assert n.tolist() == count and z.shape[1] == max(count)
    assert controls.answers(method, prompt, z, n) == [s.answer for s in solved]
    for change in controls.INTERVENTIONS.values():
        changed = change(z, n, torch.Generator().manual_seed(0))
        assert len(controls.answers(method, prompt, *changed)) == len(examples)
    if most:
        with pytest.raises(BadInput, match="thinks nothing"):
            controls.examine("it", method, TASK, examples * 2, [{"c": 2}])
    else:
        rows = controls.examine("it", method, TASK, examples, [{"c": 2}])
        assert rows[0]["steps"] == pytest.approx(sum(count) / 6) and rows[0]["same"] == 1


def test_a_chain_without_steps_has_no_groups():
    (method, _), batch = colar_and_cot(), batch_of(1)
    batch.examples[0].steps = []
    assert method.true_groups(batch.examples[0], 3) == []


@pytest.mark.parametrize("kind", EXITS)
@torch.no_grad()
def test_loss_with_an_exit_does_not_see_padding(kind):
    """Both terms of a batch are the means over its rows alone, weighed by what each predicts."""
    method, _ = colar_and_cot(lambda cfg: RecurrentGPT(cfg, mean_r=9), head="deterministic")
    method.eval()
    batch, c = batch_of(6), torch.tensor([[2], [3], [2], [3], [2], [3]])
    limit = telling(method, kind, lambda: method.loss(batch, c))
    with method.model.using(exit=kind, threshold=limit):
        together = method.loss(batch, c)[1]
        alone = [method.loss(collate([e], VOCAB), c[i:i + 1])[1]
                 for i, e in enumerate(batch.examples)]
    kinds = [[kind for kind, _ in row] for row in naive_rows(batch, c[:, 0].tolist(), True)]
    for name, counted in (("ce", (CHAIN, CLOSE, ANSWER)), ("latent", (CHAIN, CLOSE))):
        n = [sum(map(row.count, counted)) for row in kinds]
        want = sum(k * parts[name] for k, parts in zip(n, alone)) / sum(n)
        torch.testing.assert_close(together[name], want, **EXACT)


@pytest.mark.parametrize("align", [True, False])
def test_true_groups_are_those_of_the_layout(align):
    method, _ = colar_and_cot(align=align)
    for i in range(5):
        e = TASK.sample("train", i)
        row = next(naive_rows(collate([e], VOCAB), [3], align))
        assert method.true_groups(e, 3) == [VOCAB.decode(g) for k, g in row if k == CHAIN]


def test_latents_are_read_by_their_nearest_words(monkeypatch):
    """The true merged latents of c = 1 read as the chain itself, other problems' do not."""
    method, _ = colar_and_cot()
    examples = [TASK.sample("train", i) for i in range(6)]

    def thinks(order):
        chains = [examples[i].steps for i in order]
        ids = [VOCAB.encode(sum(steps, [])) for steps in chains]
        n = torch.tensor([len(row) for row in ids])
        z = torch.zeros(6, int(n.max()), 32).double()
        for row, t in zip(z, ids):
            row[:len(t)] = method.model.embed.weight[torch.tensor(t)] / method.std
        acts = {"c": torch.ones(6, dtype=torch.long), "z": z.detach(), "n_think": n}
        monkeypatch.setattr(method, "rollout", lambda *a, **k: Rollout([], None, acts, {}))
        return decoded(method, examples, {"c": 1})
    assert thinks(range(6)) == 1 and thinks([1, 2, 3, 4, 5, 0]) < 0.8


def test_latents_are_read_as_words_that_a_chain_can_hold():
    """Those nearest by cosine; none of them <eos>, <x6> or the like, though that were nearest."""
    method, _ = colar_and_cot()
    E = method.model.embed.weight.detach()
    c = torch.tensor([2, 3])
    z = E[:4].view(2, 2, 32) + 0.1 * E[40:44].view(2, 2, 32)         # specials, nearly
    acts = {"c": c, "z": z, "n_think": torch.tensor([2, 1])}
    found = method.latent_words(Rollout([], None, acts, {}))
    assert [[len(words) for words in row] for row in found] == [[2, 2], [3]]
    for row, z_row, k in zip(found, z, c.tolist()):
        for words, x in zip(row, z_row):
            near = F.cosine_similarity(x[None], E[len(SPECIALS):], dim=1).tolist()
            near = sorted(range(len(near)), key=lambda i: -near[i])[:k]
            assert words == [VOCAB.words[len(SPECIALS) + i] for i in near]


def test_temperature_needs_sigma_and_follows_the_generator():
    method, _ = colar_and_cot()
    batch = batch_of(3)

    def draw(seed):
        sample = Sampler(1.0, generator=torch.Generator().manual_seed(seed))
        return [s.thoughts for s in method.solve(batch, sample, c=2)]
    assert draw(1) == draw(1) != draw(2)


def test_c_without_a_speed_token_is_refused():
    method, _ = colar_and_cot()
    with pytest.raises(BadInput, match="--c 10: must be at most 9"):
        method.solve(batch_of(1), c=10)


def test_training_draws_the_factors_it_is_told_to():
    method, _ = colar_and_cot(c_train="1,3", c_per="example")
    assert set(method.draw_c(batch_of(40))[:, 0].tolist()) == {1, 3}
    method.args.c_per = "batch"
    drawn = [method.draw_c(batch_of(4)) for _ in range(20)]
    assert {tuple(c[:, 0].tolist()) for c in drawn} == {(1,) * 4, (3,) * 4}
    assert all(c.shape == (4, 1) for c in drawn)
    assert method.settings() == [{"c": 1}, {"c": 3}]


def test_a_factor_that_is_given_twice_is_trained_once():
    method, _ = colar_and_cot(c_train="3,1,3")
    assert method.settings() == [{"c": 3}, {"c": 1}] and method.branches == 2


def test_speed_tokens_on_a_line_keep_the_ends_and_the_order():
    method, parent = colar_and_cot(dial="line")
    speeds = speed_token(torch.arange(1, MAX_SPEED + 1))
    line, words = (m.model.embed.weight[speeds] for m in (method, parent))
    torch.testing.assert_close(line[[0, 8]], words[[0, 8]])
    torch.testing.assert_close(line[2], 0.75 * words[0] + 0.25 * words[8])
