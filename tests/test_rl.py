"""GRPO's equations against naive loops, its log-probabilities against decoding, and its loop.

In float64, where two ways of computing the same are compared: a chain of latents makes rounding
grow."""
import math
import os
import shutil
import signal
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

import rl
import runs
import train
from data import checkpoint, script
from data.arithmetic import Arithmetic
from data.common import END, EOS, PAD, THINK, collate, speed_token
from lab import tables
from method import LENGTH, OPTION, RIGHT, Rollout, Solved
from model import Sampler
from tests.helpers import NANO, fails, log, run, same, small, untimed
from tests.naive import EXACT, TASK, VOCAB, batch_of, colar_and_cot, stop_some_at_once

SAMPLED = Sampler(1.0)


def restless(name="colar", **changes):
    """An untrained CoLaR, or the CoT it starts from, whose rollouts end at different times: in a
    mean state </think> and <eos> are e^2 times as likely as other words."""
    colar, cot = colar_and_cot(sigma_min=0.3, **changes)
    for method in (colar, cot):
        with torch.no_grad():
            h = method.model(method.model.embed(batch_of(8).question)).flatten(0, 1).mean(0)
        method.model.head.weight.data[[END, EOS]] += 2 * h / (h @ h)
    return {"colar": colar, "cot": cot}[name]


# ---- the equations -------------------------------------------------------------------------------

def test_advantages_equal_a_loop():
    torch.manual_seed(0)
    reward = torch.cat([torch.tensor([[1., 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [.5, 0, 0, 0]]),
                        torch.rand(20, 4).round(decimals=1)]).double()
    option = torch.randint(2, reward.shape)
    option[:4] = 0
    for got, row, mine in zip(rl.advantages(reward, option), reward.tolist(), option.tolist()):
        for i in range(4):
            group = [r for r, o in zip(row, mine) if o == mine[i]]
            mean = sum(group) / len(group)
            sd = math.sqrt(sum((r - mean) ** 2 for r in group) / max(1, len(group) - 1))
            want = (row[i] - mean) / sd if sd else 0.0
            assert abs(got[i] - want) < 1e-6        # 1e-8 is added to the divisor


def test_advantages_of_a_group_have_mean_0_and_std_1():
    torch.manual_seed(0)
    got = rl.advantages(torch.rand(5, 6).double(), torch.zeros(5, 6))
    assert torch.allclose(got.mean(1), torch.zeros(5).double())
    assert torch.allclose(got.std(1), torch.ones(5).double())


def test_advantages_do_not_depend_on_the_scale_of_a_reward():
    torch.manual_seed(0)
    reward, option = torch.rand(5, 6).double(), torch.zeros(5, 6)
    assert torch.allclose(rl.advantages(reward, option), rl.advantages(10 * reward, option))


def test_advantages_are_0_where_all_rewards_are_equal():
    """Whose mean is another number than they, by rounding: 1e-8 beside 1e-8 is no small one."""
    for n in range(2, 12):
        reward = torch.linspace(0.01, 1, 50)[:, None].expand(-1, n)
        worst = float(rl.advantages(reward, torch.zeros_like(reward)).abs().max())
        assert worst < 1e-6, f"of {n} equal rewards one has an advantage of {worst:.2g}"


def test_advantages_of_an_option_do_not_depend_on_another():
    torch.manual_seed(0)
    reward, option = torch.rand(5, 6).double(), torch.tensor([0, 1, 0, 1, 0, 0]).expand(5, -1)
    higher = reward + 3 * (option == 1)
    assert torch.allclose(rl.advantages(reward, option), rl.advantages(higher, option))


def loss_of(logp, old, mask, A, average=True):
    """Eq. (4) of a single kind of action: the loss without a KL, and the share that is clipped."""
    config = {"eps": 0.2, "average": average, "kl_penalty": 0.0}
    loss, parts = rl.objective({"word": (logp, mask, None)}, {"word": (old, mask, None)},
                               {"word": (old, mask, None)}, {"word": A}, config)
    return loss, parts["clip word"]


def naive_gain(logp, old, mask, A, average):
    """The mean gain of a kind of action, one action at a time; and the share that is clipped."""
    per_row, clipped = [], 0
    for i in range(len(A)):
        gains = []
        for t in range(mask.shape[1]):
            if mask[i, t]:
                rho = math.exp(logp[i, t] - old[i, t])
                bounded = min(max(rho, 0.8), 1.2)
                clipped += rho != bounded
                gains.append(min(rho * A[i].item(), bounded * A[i].item()))
        n = len(gains) if average else mask.sum().item() / len(A)
        per_row.append(sum(gains) / max(n, 1))
    return sum(per_row) / len(A), clipped / mask.sum().item()


def some_actions(T):
    """Log-probabilities (6, T) now, before and at the start, their mask and 6 advantages."""
    now, old, start = torch.randn(3, 6, T).double()
    mask = torch.rand(6, T) > 0.4
    mask[2] = False                         # a rollout without such an action
    return now, old, start, mask, torch.randn(6).double()


@pytest.mark.parametrize("average", [True, False])
def test_objective_equals_a_loop(average):
    """Eq. (3) and (4), the sum over the kinds that are learned from; the KL over all kinds."""
    torch.manual_seed(0)
    kinds = {"stop": some_actions(9), "word": some_actions(5), "speed": some_actions(1)}
    now, old, start = ({kind: (acts[i], acts[3], None) for kind, acts in kinds.items()}
                       for i in range(3))
    advantage = {kind: kinds[kind][4] for kind in ("stop", "word")}
    config = {"eps": 0.2, "average": average, "kl_penalty": 0.3}
    loss, parts = rl.objective(now, old, start, advantage, config)
    want = kl = 0
    for kind, (logp, before, first, mask, A) in kinds.items():
        x = [math.exp(first[i, t] - logp[i, t]) for i, t in mask.nonzero().tolist()]
        kl += sum(y - 1 - math.log(y) for y in x) / len(x)
        if kind != "speed":
            gain, clipped = naive_gain(logp, before, mask, A, average)
            want -= gain
            assert parts[f"clip {kind}"].item() == pytest.approx(clipped)
    assert parts["kl"].item() == pytest.approx(kl) and "clip speed" not in parts
    assert loss.item() == pytest.approx(want + 0.3 * kl)


def loss_at(ratio, A):
    """The loss of a single action at p / p_old = ratio and this advantage; it is clipped at 0.8 and
    1.2."""
    logp = torch.tensor([[math.log(ratio)]]).double()
    mask = torch.ones(1, 1).bool()
    return float(loss_of(logp, torch.zeros_like(logp), mask, torch.tensor([A]).double())[0])


def test_at_the_old_policy_the_loss_is_minus_the_advantage():
    for A in (2.0, -3.0):
        assert loss_at(1.0, A) == pytest.approx(-A)


def test_a_ratio_near_1_multiplies_the_advantage():
    for ratio in (1.1, 0.9):
        loss = loss_at(ratio, 2.0)
        assert loss == pytest.approx(-2 * ratio), (
            f"at p / p_old = {ratio} and A = 2 the loss is {loss:.3f}")


def test_what_is_wrong_and_got_likelier_counts_in_full():
    loss = loss_at(2.0, -1.0)
    assert loss == pytest.approx(2), f"at p / p_old = 2 and A = -1 the loss is {loss:.3f}"


@pytest.mark.parametrize("average", [True, False])
def test_padding_changes_no_objective(average):
    torch.manual_seed(0)
    now, old, _, mask, A = some_actions(9)
    more = torch.ones(6, 3).double()
    padded = [torch.cat([now, 2 * more], 1), torch.cat([old, more], 1),
              torch.cat([mask, torch.zeros(6, 3).bool()], 1)]
    found, want = loss_of(*padded, A, average)[0], loss_of(now, old, mask, A, average)[0]
    torch.testing.assert_close(found, want, **EXACT)


def test_averaging_weighs_a_short_right_chain_more():
    logp = torch.zeros(2, 4, requires_grad=True)
    mask = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]]).bool()
    for average, ratio in ((True, 4.0), (False, 1.0)):
        loss, _ = loss_of(logp, torch.zeros(2, 4), mask, torch.ones(2), average)
        g, = torch.autograd.grad(loss, logp)
        assert g[0, 0] / g[1, 0] == ratio


def test_a_clipped_ratio_and_a_zero_advantage_have_no_gradient():
    logp = torch.tensor([[0.5], [-0.5], [0.5], [0.0]], requires_grad=True)
    A = torch.tensor([1.0, -1.0, -1.0, 0.0])        # beyond 1.2 up, below 0.8 down: clipped
    loss, share = loss_of(logp, torch.zeros(4, 1), torch.ones(4, 1).bool(), A)
    loss.backward()
    assert logp.grad[0] == logp.grad[1] == logp.grad[3] == 0 and logp.grad[2] > 0
    assert share == 3 / 4


def test_kl_is_zero_at_the_start_and_close_to_the_true_one():
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 50)
    p, q = x.log_softmax(0), (-x).log_softmax(0)
    a = torch.multinomial(p.exp(), 200000, replacement=True)[None]
    mask = torch.ones_like(a).bool()
    now, start = {"x": (p[a], mask, None)}, {"x": (q[a], mask, None)}
    assert rl.kl_to_start(now, now) == 0
    want = (p.exp() * (p - q)).sum()
    assert abs(rl.kl_to_start(now, start) / want - 1) < 0.05


def test_kl_of_latents_is_that_of_gaussians():
    mu, mu0, log_sigma = torch.randn(3, 7, 5).double()
    now, start = (torch.distributions.Normal(m, log_sigma.exp()) for m in (mu, mu0))
    want = ((mu - mu0).pow(2) / (2 * (2 * log_sigma).exp())).mean()
    got = rl.kl_to_start({"z": (None, None, now)}, {"z": (None, None, start)})
    torch.testing.assert_close(got, want, **EXACT)


def test_the_kl_penalty_pulls_the_policy_back():
    """Away from the start and with nothing to win, the penalty alone shrinks the KL."""
    torch.manual_seed(0)
    method = restless()
    training = grpo(method, lambda e, words: True, length_penalty=1.0, kl_penalty=1.0,
                    lr=1e-3)
    training.actions = {"speed": OPTION}        # of which there is none at a fixed speed
    for p in method.latent_head.parameters():
        p.data += 0.05 * torch.randn_like(p)
    seen = [float(training.update([batch_of(4)])["kl"]) for _ in range(15)]
    assert seen[-1] < 0.5 * seen[0]


# ---- log-probabilities ---------------------------------------------------------------------------

@pytest.mark.parametrize("c, thoughtless", [(3, ""), ("auto", ""), (3, "some"), (3, "all")])
def test_log_probs_of_colar_equal_a_loop(c, thoughtless):
    """Every action scored one at a time, from a sequence built by hand, without cache or batch.
    Also where some rollouts, or all of them, have no thought."""
    method = restless(c_train="2,3,5")
    batch = batch_of(1 if thoughtless == "all" else 4)
    if thoughtless:
        stop_some_at_once(method, batch, c, thoughtless == "all")
    torch.manual_seed(1)
    rollout = method.rollout(batch, 3, SAMPLED, c=c)
    acts, E = rollout.acts, method.model.embed.weight
    counts = {s.n_think for s in rollout.solved}
    assert counts == {0} if thoughtless == "all" else len(counts) > 1
    assert not thoughtless or 0 in counts
    scored = method.log_probs(rollout)
    for r in range(len(rollout.solved)):
        question = VOCAB.encode(TASK.sample("train", r // 3).question)
        speed, n = int(acts["c"][r]), int(acts["n_think"][r])
        z = acts["z"][r, :n]
        answer = [t for t in acts["answer"][r].tolist() if t]
        x = torch.cat([E[torch.tensor(question + [speed_token(speed), THINK])], z * method.std,
                       E[torch.tensor([END] + answer)]])
        h = method.model(x[None])[0]
        logp = method.model.head(h).log_softmax(-1)
        at = len(question) + 1                      # position of <think>
        mu, log_sigma = method.latent_head(h[at:at + n])
        normal = torch.distributions.Normal(mu, log_sigma.exp())
        stop = logp[at:at + n + 1, END]             # before the first latent and after each
        on = torch.log1p(-stop.exp().clamp(max=1 - 1e-6))
        if acts["stopped"][r]:
            on[-1] = stop[-1]
        want = {"latent": normal.log_prob(z).mean(-1), "stop": on,
                "token": torch.stack([logp[at + n + 1 + i, t] for i, t in enumerate(answer)])}
        speeds = logp[at - 2, speed_token(torch.tensor([2, 3, 5]))].log_softmax(-1)
        want["speed"] = speeds[[2, 3, 5].index(speed)][None][:int(c == "auto")]
        assert want.keys() == scored.keys()
        for kind, (lp, mask, *_) in scored.items():
            torch.testing.assert_close(lp[r][mask[r]], want[kind], **EXACT)


def test_log_probs_of_cot_equal_a_loop():
    method = restless("cot")
    torch.manual_seed(1)
    rollout = method.rollout(batch_of(4), 3, SAMPLED)
    scored = method.log_probs(rollout)
    lengths = set()
    for r in range(12):
        prompt = VOCAB.encode(TASK.sample("train", r // 3).question) + [THINK]
        written = rollout.acts["written"][r].tolist()
        written = written[:written.index(EOS) + 1] if EOS in written else written
        logp = method.model.head(method.model(method.model.embed(torch.tensor([prompt + written]))))
        logp = logp[0].log_softmax(-1)
        each = torch.stack([logp[len(prompt) - 1 + i, t] for i, t in enumerate(written)])
        cut = written.index(END) if END in written else len(written)
        lengths.add(cut)
        real = torch.tensor(written) != PAD
        for kind, mine in (("thought", slice(0, cut + 1)), ("token", slice(cut + 1, None))):
            lp, mask, _ = scored[kind]
            want = each[mine][real[mine]]
            torch.testing.assert_close(lp[r][mask[r]], want, **EXACT)
    assert len(lengths) > 1


@pytest.mark.parametrize("name", [n for n, m in runs.METHODS.items() if m.ACTIONS])
def test_every_method_can_be_reinforced(name):
    """A new entry of METHODS that can be rolled out is scored for all it wrote, and updated."""
    _, task, method = small(name, "arithmetic")
    method.args.max_think, method.args.max_answer = 20, 30      # so that rewards differ
    torch.manual_seed(0)
    batch = collate([task.sample("train", i) for i in range(4)], method.vocab)
    rollout = method.rollout(batch, 3, SAMPLED)
    scored = method.log_probs(rollout)
    assert scored.keys() == method.ACTIONS.keys()
    for logp, mask, *_ in scored.values():
        assert logp.shape == mask.shape and logp[mask].isfinite().all()
    words = sum(len(s.answer) for s in rollout.solved)
    assert scored["token"][1].sum() >= words            # and an <eos> where there is one
    training = grpo(method, lambda e, words: len(words) % 2, length_penalty=0.5)
    before = [p.clone() for p in method.parameters()]
    assert "kl" in training.update([batch])
    assert any(not torch.equal(a, b) for a, b in zip(before, method.parameters()))


@pytest.mark.parametrize("name, chain", [("colar", "z"), ("cot", "written")])
def test_every_rollout_answers_its_own_question(name, chain):
    """Without noise the G rollouts of a question are one and the same; with it they differ."""
    method = restless(name)
    one, many = (method.rollout(batch_of(4), n) for n in (1, 3))
    for act, t in one.acts.items():
        torch.testing.assert_close(many.acts[act], t.repeat_interleave(3, 0), **EXACT)
    torch.manual_seed(0)
    chains = method.rollout(batch_of(4), 3, SAMPLED).acts[chain]
    assert all(len(three.unique(dim=0)) > 1 for three in chains.split(3))


def test_no_gradient_into_the_sampled_latents():
    """The gradient of log N(z; mu, sigma) by mu is that of a constant z: (z - mu) / sigma^2 / C."""
    method = restless()
    rollout = method.rollout(batch_of(2), 2, SAMPLED, c=3)
    assert not any(t.requires_grad for t in rollout.acts.values())
    head, seen = method.latent_head.forward, {}

    def watch(h):
        seen["mu"], seen["log_sigma"] = head(h)
        seen["mu"].retain_grad()
        return seen["mu"], seen["log_sigma"]
    method.latent_head.forward = watch
    lp, mask, _ = method.log_probs(rollout)["latent"]
    lp[mask].sum().backward()
    n = rollout.acts["n_think"]
    z = torch.cat([z[:k] for z, k in zip(rollout.acts["z"], n.tolist())])
    want = (z - seen["mu"]) / (2 * seen["log_sigma"]).exp() / z.shape[1]
    torch.testing.assert_close(seen["mu"].grad, want.detach(), **EXACT)


# ---- the update ----------------------------------------------------------------------------------

CONFIG = {"samples": 8, "minibatch": 1000, "kl_penalty": 0.0, "eps": 0.2, "average": True,
          "length_penalty": 0.0, "learn": "", "lr": 3e-3, "weight_decay": 0.0, "ema": 0.0,
          "optimizer": "adamw", "steps": 1000, "warmup": 1, "decay": 0.1, "grad_clip": 1.0}


def grpo(method, check=lambda example, words: words == ["right"], **changes):
    """GRPO with check(example, words) as the rule for what is right."""
    knobs = {"c": 2} if "c" in method.KNOBS else {}
    config = {**CONFIG, "knobs": knobs, **changes}
    return rl.GRPO(method, SimpleNamespace(check=check), config, torch.device("cpu"),
                   torch.float32)


def reward(method, wins):
    """Makes the answers of a method's rollouts ["right"] where wins(rollout) says so, (R,)."""
    rollout = method.rollout

    def told(*args, **knobs):
        found = rollout(*args, **knobs)
        for solved, won in zip(found.solved, wins(found).tolist(), strict=True):
            solved.answer = ["right"] if won else ["wrong"]
        return found
    method.rollout = told


def every_other(rollout):
    return torch.arange(len(rollout.solved)) % 2


def test_it_steps_with_adamw_whatever_the_run_was_trained_with():
    method, _ = colar_and_cot()
    [optimizer] = grpo(method, optimizer="muon", weight_decay=0.1).optimizers
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.01}


def updated(training, batch, monkeypatch):
    """The rollouts that an update learns from, and their advantages {kind of action: (R,)}."""
    seen = []
    monkeypatch.setattr(training, "policy_update", lambda minibatches: seen.extend(minibatches)
                        or {})
    training.update([batch])
    (rollout, advantage), = seen
    return rollout, advantage


@pytest.mark.parametrize("name", ["colar", "cot"])
def test_reward_rises_on_a_bandit(name):
    """Any question; right is an answer that begins with one of the rarer words, of which less than
    half of the answers do at first. Sampled reward goes up."""
    method = restless(name)
    method.args.max_think = 10
    torch.manual_seed(0)
    training = grpo(method, lambda e, words: bool(words) and words[0] in rare, minibatch=16,
                    lr=1e-2)
    said = method.rollout(batch_of(4), 64, SAMPLED, **training.knobs).solved
    said, rare, share = Counter(s.answer[0] for s in said if s.answer), set(VOCAB.words), 0
    for word, n in said.most_common():      # the commonest are wrong
        if share < 0.55:
            rare.remove(word)
            share += n / said.total()
    rewards = [float(training.update([batch_of(4)])["reward"]) for _ in range(30)]
    assert rewards[0] < 0.6 and sum(rewards[-5:]) / 5 > 0.85, rewards


def test_latents_alone_can_raise_the_reward():
    """Right is a chain whose first latent has a first number that only a fifth of the chains
    exceed in the beginning: "latent" alone can learn it."""
    method = restless()
    method.args.max_think = 10
    torch.manual_seed(0)
    z = method.rollout(batch_of(4), 64, SAMPLED, c=2).acts["z"]
    large = z[:, 0, 0].quantile(0.8)
    reward(method, lambda rollout: rollout.acts["z"][:, 0, 0] > large)
    training = grpo(method, samples=16, learn="latent")
    seen = [training.update([batch_of(4)]) for _ in range(30)]
    rewards = [float(s["reward"]) for s in seen]
    assert rewards[0] < 0.4 and sum(rewards[-5:]) / 5 > 0.7, rewards
    assert max(s.get("kl", 0) for s in seen) > 0


def test_the_first_ratio_is_exactly_1(monkeypatch):
    seen, objective = [], rl.objective

    def record(now, old, *rest):
        seen.append([(logp - old[kind][0]).masked_fill(~mask, 0).abs().max().item()
                     for kind, (logp, mask, _) in now.items()])
        return objective(now, old, *rest)
    monkeypatch.setattr(rl, "objective", record)
    method = restless()
    reward(method, every_other)
    torch.manual_seed(0)
    grpo(method, minibatch=4).update([batch_of(8)])
    assert len(seen) >= 2 and not any(seen[0]) and any(map(any, seen[1:]))


def test_groups_that_agree_are_counted_and_change_nothing():
    method = restless()
    before = {k: v.clone() for k, v in method.state_dict().items()}
    out = grpo(method, lambda e, words: True).update([batch_of(4)])
    assert out["reward"] == 1 and out["kept"] == 0 and "norm" not in out
    assert same(before, dict(method.state_dict()))


def test_rollouts_teach_only_what_is_to_be_learned(monkeypatch):
    """All are right and some are shorter: that teaches when to stop, and no word."""
    out = grpo(restless(), lambda e, words: True, length_penalty=1.0, learn="token").update(
        [batch_of(4)])
    assert out["kept"] == 0 and "norm" not in out
    training = grpo(restless(), lambda e, words: True, length_penalty=1.0, learn="stop,token")
    torch.manual_seed(0)
    rollout, A = updated(training, batch_of(8), monkeypatch)
    assert A.keys() == {"stop", "token"} and A["stop"].all() and not A["token"].any()


def test_length_is_priced_into_what_decides_it_alone(monkeypatch):
    """All are right. Then only length can be learned from: in "stop" at one speed, in "speed"
    over all; the shorter chain has the larger advantage. "latent" and "token" learn nothing."""
    method = restless()
    training = grpo(method, lambda e, words: True, length_penalty=1.0, knobs={"c": "auto"})
    torch.manual_seed(0)
    rollout, A = updated(training, batch_of(8), monkeypatch)
    assert method.ACTIONS == {"speed": OPTION, "latent": RIGHT, "stop": LENGTH, "token": RIGHT}
    assert A.keys() == method.ACTIONS.keys() and not A["latent"].any() and not A["token"].any()
    n, question = rollout.acts["n_think"], [tuple(q) for q in rollout.acts["question"].tolist()]
    pairs = 0
    for i in range(len(n)):
        for j in range(len(n)):
            if question[i] == question[j] and n[i] < n[j]:
                assert A["speed"][i] > A["speed"][j]
                if rollout.option[i] == rollout.option[j]:
                    assert A["stop"][i] > A["stop"][j]
                    pairs += 1
    assert pairs > 10


def test_a_chain_of_no_step_costs_less_than_one(monkeypatch):
    """It counts as half a step: right rollouts of 0, 1, 2 and 4 steps are worth 2, 1, 1/2, 1/4."""
    method, solved = restless(), [Solved([], n, "") for n in (4, 0, 2, 1)]
    monkeypatch.setattr(method, "rollout", lambda *args, **knobs: Rollout(
        solved, torch.zeros(4), {}, {}))
    training = grpo(method, lambda e, words: True, length_penalty=1.0, samples=4)
    rollout, A = updated(training, batch_of(1), monkeypatch)
    worth = torch.tensor([{0: 2, 1: 1, 2: 0.5, 4: 0.25}[s.n_think] for s in rollout.solved])
    torch.testing.assert_close(A["stop"], (worth - worth.mean()) / worth.std())


def test_an_update_without_any_thought():
    """All rollouts stop at once: no latent can be learned from, but the answer and stopping can."""
    method, batch = restless(), batch_of(1)
    stop_some_at_once(method, batch, 2, most=True)
    reward(method, every_other)
    out = grpo(method, kl_penalty=1.0).update([batch])
    assert out["steps"] == 0 and out["kept"] == 1 and out["clip latent"] == 0 and out["norm"] > 0
    assert all(p.isfinite().all() for p in method.parameters())


# ---- the command ---------------------------------------------------------------------------------

ARGS = ["--steps", "4", "--batch", "3", "--samples", "4", "--minibatch", "6", "--threads", "1",
        "--val-n", "4", "--test-n", "4", "--warmup", "1"]


@pytest.fixture(scope="module")
def sft(tmp_path_factory):
    out = tmp_path_factory.mktemp("sft") / "run"
    train.main([*NANO, "--method", "colar", "--grad-accum", "2", "--out", str(out)])
    return out


def main(argv):
    script.command(rl.parse, rl.run, "rl.py", [str(a) for a in argv])


@pytest.mark.parametrize("which", ["", "cot"])
def test_stopped_and_resumed_equals_uninterrupted(sft, which, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Arithmetic, "check", lambda self, example, words: len(words) % 2)
    argv = [sft / which, *ARGS, *([] if which else ["--c", "2"])]
    main([*argv, "--out", tmp_path / "whole"])
    update = rl.GRPO.update

    def ctrl_c_in_step_2(self, *args):
        if self.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, *args)
    monkeypatch.setattr(rl.GRPO, "update", ctrl_c_in_step_2)
    with pytest.raises(SystemExit) as stop:
        main([*argv, "--out", tmp_path / "parts"])
    assert stop.value.code == 130 and runs.load(tmp_path / "parts")["step"] == 2
    assert "rl.py" in capsys.readouterr().out
    monkeypatch.setattr(rl.GRPO, "update", update)
    main(["--out", tmp_path / "parts", "--resume"])     # its config has the rest
    whole, parts = runs.load(tmp_path / "whole"), runs.load(tmp_path / "parts")
    for key in ("step", "method", "optimizers", "rng"):
        assert same(whole[key], parts[key]), key
    assert not same(runs.load(sft / which)["method"], whole["method"])
    rows = untimed(log(tmp_path / "whole"))
    assert untimed(log(tmp_path / "parts")) == rows
    with pytest.raises(SystemExit):
        train.main(["--resume", "--out", str(tmp_path / "parts")])
    assert "continue it with python rl.py --resume" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--resume", "--out", sft / which])
    assert "continue it with python train.py --resume" in capsys.readouterr().err
    assert {"reward", "kept", "loss", "kl", "norm", "lr"} <= set().union(*rows)


def test_stages_build_on_each_other_and_are_told_apart(sft, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    main([sft, *ARGS, "--c", "auto", "--length-penalty", "1", "--no-average", "--out", a])
    main([a, *ARGS, "--c", "3", "--learn", "latent", "--out", b])
    names = [r["name"] for r in tables.pool([b / "results.json"])]
    size = "--batch 3 --samples 4 --minibatch 6"
    how = f"--c auto {size} --length-penalty 1.0 --no-average --warmup 1"
    assert names[:2] == [f"colar+rl c=3 {how} on long", f"colar+rl c=3 k=1 {how} on long"]
    assert names[2] == f"colar+rl+rl c=3 --c 3 {size} --learn latent --warmup 1 on long"
    state = runs.load(b)["config"]
    assert state["seed"] == 0 and state["split"] == "long" and state["grad_accum"] == 1


def test_the_fastest_setting_is_practised_unless_told(sft, tmp_path):
    """Which no name says; of a plain run there is nothing to say either."""
    main([sft, *ARGS, "--steps", "1", "--out", tmp_path / "a"])
    rows = tables.pool([tmp_path / "a" / "results.json"])
    how = "--batch 3 --samples 4 --minibatch 6 --warmup 1 on long"
    assert [r["name"] for r in rows] == [
        "colar c=5 on long", "colar c=5 k=1 --sigma-min 0.1 on long",
        f"colar+rl c=5 {how}", f"colar+rl c=5 k=1 {how}"]


def test_bad_input(sft, tmp_path, capsys):
    for argv, message in (([sft, "--samples", "1"], "at least 2"),
                          ([sft, "--split", "oood"], "nearest: ood"),
                          ([sft, "--lr", "-1"], "above 0"), ([tmp_path], "no ckpt.pt"),
                          ([sft, "--step", "3"], "nearest: --steps"), ([sft, "--c", "0"], "--c 0"),
                          ([sft, "--c", "7"], "was trained at 1,2,3,4,5"),
                          ([sft, "--sigma-min", "0"], "above 0"),
                          ([sft, "--sigma-min", "8"], "at most 7"),
                          ([sft, "--learn", "latnt"], "nearest: latent"),
                          ([sft, "--learn", "speed"], "with c=5 there is nothing to choose"),
                          ([sft, "--c", "2", "--learn", "token,speed"], "--learn speed: with c=2"),
                          ([sft, "--split", "long-train"], "unknown split")):
        argv = [*argv, "--out", tmp_path / "none"]
        assert message in fails(argv, capsys, main), argv
    assert not (tmp_path / "none").exists()


def test_it_goes_on_only_from_the_run_that_it_started_from(sft, tmp_path, capsys):
    """What the KL is measured to, and what the rows before it are of."""
    twin, out = tmp_path / "twin", tmp_path / "out"
    shutil.copytree(sft, twin)
    main([sft, *ARGS, "--steps", "1", "--out", out])
    main([twin, "--out", out, "--resume"])      # the same at another place
    state = runs.load(twin)
    state["method"]["std"] *= 2
    checkpoint.save(twin, state)
    assert fails([twin, "--out", out, "--resume"], capsys, main).endswith(
        f"it has init {sft}, not {twin}")


def test_flags_without_effect_are_named(sft, tmp_path, capsys):
    def said(init, *argv):
        main([init, *ARGS, "--steps", "1", *argv, "--out", tmp_path / str(len(argv))])
        return [line for line in capsys.readouterr().out.splitlines() if "no effect" in line]
    nocot = run(tmp_path, "--method", "nocot", name="nocot")
    capsys.readouterr()
    assert said(sft, "--learn", "latent,token", "--length-penalty", "1") == [
        "rl.py: --length-penalty 1.0 has no effect on what is learned from: latent, token"]
    assert said(nocot, "--length-penalty", "2", "--sigma-min", "0.5", "--kl-penalty", "1") == [
        "rl.py: --sigma-min 0.5 has no effect with --method nocot",
        "rl.py: --length-penalty 2.0 has no effect on what is learned from: token"]
    assert said(sft, "--length-penalty", "1", "--sigma-min", "0.5", "--lr", "1e-4", "--eps",
                "0.3") == []


@pytest.mark.parametrize("split, tested", [("auto", "long-fresh"), ("test", "fresh")])
def test_a_run_on_fresh_problems_is_reinforced_on_fresh_ones(tmp_path, monkeypatch, split, tested):
    start = run(tmp_path, "--method", "cot", "--test-split", "fresh")
    asked, first = [], rl.first_problems
    monkeypatch.setattr(rl, "first_problems", lambda task, name, n: asked.append(name) or
                        first(task, name, n))
    main([start, *ARGS, "--split", split])
    assert asked == [tested]
