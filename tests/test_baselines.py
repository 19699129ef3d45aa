"""The baselines' schedules on worked examples, their losses and gradients against one row at a time
without a cache."""
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

import train
from baselines import CODI, Coconut, CoT, ICoT, NoCoT, Pause
from data.common import END, EOS, PAD, PAUSE, THINK, Batch, Example, Vocab, collate
from model import GPT, Cache, Config
from recurrent import RecurrentGPT

VOCAB = Vocab("a b c d e f g h".split())
EXAMPLES = [    # ragged in everything; the first prompt is shorter than the convolution
    Example(["b"], [["c", "d", "e"]], ["h", "a"], 1),
    Example("a b c d a b".split(), [["f"], ["g", "h"], ["a"], ["b"]], ["b"], 4),
    Example("c a d".split(), [["d", "e"], ["f"]], ["g"], 2)]
BATCH = collate(EXAMPLES, VOCAB)
THIRD, TWO_THIRDS, BIT = 1 / 3, 2 / 3, 1e-9
MOMENTS = [0, THIRD, THIRD + BIT, 0.5, TWO_THIRDS - BIT, TWO_THIRDS, 1]     # of training
BACKBONES = {"gpt": GPT, "deep": lambda cfg: RecurrentGPT(cfg, mean_r=2, k_grad=1)}


def make(cls, progress=1.0, backbone="gpt", **changes):
    """In float64, and away from the identity: no test would see norms and convolutions else."""
    torch.manual_seed(0)
    args = {name: default[0] if isinstance(default, tuple) else default
            for name, (default, _) in cls.ARGS.items()}
    args = SimpleNamespace(**{**args, "latents": 3, "max_think": 13, "max_answer": 3, **changes})
    cfg = Config(len(VOCAB), layers=3 if backbone == "deep" else 2, width=16, heads=2)
    method = cls(BACKBONES[backbone](cfg), VOCAB, args).double()
    for name, p in method.model.named_parameters():
        if "norm" in name or "post" in name or "conv" in name:
            torch.nn.init.normal_(p, 0.0 if "conv" in name else 1.0, 0.3)
    method.progress = progress
    return method


def gradients(method, loss):
    found = torch.autograd.grad(loss, list(method.parameters()), allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g
            for (name, p), g in zip(method.named_parameters(), found)}


def assert_same(got, want, **tolerance):
    """Of numbers by name; cross-entropy is taken in float32."""
    assert got.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(got[name], want[name], atol=1e-6, rtol=1e-5, msg=name,
                                   check_dtype=False)


def given(method, e, pauses, latents):
    """(S, C): the question, <think> and what is thought, all of it read anew for every latent."""
    model, E = method.model, method.model.embed.weight
    x = E[torch.tensor(VOCAB.encode(e.question) + [THINK] + [PAUSE] * pauses)]
    for _ in range(latents):
        h = model(x[None])[0, -1]
        z = method.project(h) if hasattr(method, "project") else E.detach().std() * h
        x = torch.cat([x, z[None]])
    return x


def log_probs(method, x, ids):
    """Of all words after x (S, C), together."""
    h = method.model(torch.cat([x, method.model.embed.weight[torch.tensor(ids[:-1])]])[None])[0]
    return method.model.head(h[len(x) - 1:]).log_softmax(-1)[range(len(ids)), ids]


def ending(e):
    return [END, *VOCAB.encode(e.answer), EOS]


# ---- Eq. (1): the curriculum ---------------------------------------------------------------------

@pytest.mark.parametrize("curriculum, want", [
    ("none", [(math.inf, 1)] * 7),
    ("steps", [(0, 0), (0, 0), (1, 1 / 3), (2, 2 / 3), (3, 1), (math.inf, 1), (math.inf, 1)]),
    ("tokens", [(0, 0), (0, 0), (0, 0), (3, 0.5), (6, 1), (math.inf, 1), (math.inf, 1)])])
def test_schedule_on_worked_values(curriculum, want):
    """The longest chain has 6 words; K = 3."""
    for cls in (ICoT, Pause, Coconut):
        for moment, (gone, share) in zip(MOMENTS, want):
            got = make(cls, moment, curriculum=curriculum).schedule()
            assert got == (gone, pytest.approx(share, abs=1e-8)), moment


@pytest.mark.parametrize("curriculum, want", [
    ("none", [16] * 7), ("steps", [0, 0, 5, 11, 16, 16, 16]), ("tokens", [0, 0, 0, 8, 16, 16, 16])])
def test_pauses_and_thoughts_follow_the_schedule(curriculum, want):
    """16 of them at the end; thoughts are there only after the first stage, which is CoT."""
    for moment, n in zip(MOMENTS, want):
        opening = make(Pause, moment, curriculum=curriculum).opening(BATCH)
        assert opening.tolist() == [[THINK] + [PAUSE] * n] * 3
        if n:
            method = make(Coconut, moment, curriculum=curriculum, latents=16)
            cache, z, h = method.think(opening[:, :1], 0)
            assert z.shape == h.shape == (3, n, 16) and cache.length.tolist() == [n] * 3


@pytest.mark.parametrize("curriculum, progress, want", [
    ("steps", 0.2, ["c d e", "f g h a b", "d e f"]),
    ("steps", 0.4, ["", "g h a b", "f"]),
    ("steps", 0.5, ["", "a b", ""]),
    ("steps", 0.6, ["", "b", ""]),
    ("steps", 0.7, ["", "", ""]),
    ("tokens", 0.2, ["c d e", "f g h a b", "d e f"]),
    ("tokens", 0.4, ["d e", "h a b", ""]),      # round(0.2 * 6) = 1 and o = 0, 1, 2
    ("tokens", 0.5, ["", "b", ""]),
    ("tokens", 0.7, ["", "", ""]),
    ("none", 0.0, ["", "", ""])])
def test_what_is_left_of_the_chain(curriculum, progress, want, monkeypatch):
    draws = []

    def exponential(like, rate):
        draws.append(rate)
        return like.copy_(torch.tensor([[0.9], [1.0], [2.5]]))
    monkeypatch.setattr(torch.Tensor, "exponential_", exponential)
    left = make(ICoT, progress, curriculum=curriculum).thoughts(BATCH)
    assert [" ".join(VOCAB.decode(i for i in row if i != PAD)) for row in left.tolist()] == want
    assert draws == [4] * (curriculum == "tokens" and progress > THIRD)


def test_offset_has_its_distribution():
    """P(o) = (1 - exp -4) exp(-4 o), within 4.5 standard deviations of a count."""
    n = 200_000
    words = torch.ones(n, 9, dtype=torch.long)
    torch.manual_seed(0)
    method = make(ICoT, 0.5, curriculum="tokens")
    gone = (method.thoughts(Batch(words, words, words, words, words, [])) == PAD).sum(1) - 3
    for o in range(3):
        p = (1 - math.exp(-4)) * math.exp(-4 * o)
        assert abs((gone == o).sum() - n * p) < 4.5 * math.sqrt(n * p * (1 - p)), o
    assert gone.min() == 0


# ---- losses --------------------------------------------------------------------------------------

@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("cls, progress, k, pauses, latents", [
    (ICoT, 0.4, 1, 0, 0), (ICoT, 1.0, 9, 0, 0), (Pause, 0.5, 2, 11, 0), (Pause, 1.0, 9, 16, 0),
    (Coconut, 0.4, 1, 0, 1), (Coconut, 0.5, 2, 0, 2), (Coconut, 1.0, 9, 0, 3)])
def test_loss_and_gradients_equal_a_loop(cls, progress, k, pauses, latents, backbone):
    """Of every parameter; k steps are gone. A cache fixes depth and s_0, as eval mode does."""
    method = make(cls, progress, backbone, curriculum="steps")
    method.model.train(latents > 0)
    loss = method.loss(BATCH)[0]
    method.model.eval()
    want = -torch.cat([
        log_probs(method, given(method, e, pauses, latents),
                  [i for s in e.steps[k:] for i in VOCAB.encode(s)] + ending(e))
        for e in EXAMPLES]).mean()
    assert_same({"loss": loss, **gradients(method, loss)},
                {"loss": want, **gradients(method, want)})


def test_the_first_stage_is_cot_and_the_last_one_nocot():
    for cls in (ICoT, Pause, Coconut):
        method = make(cls, 0.2, curriculum="steps")
        cot, nocot = (c(method.model, VOCAB, method.args) for c in (CoT, NoCoT))
        assert torch.equal(method.loss(BATCH)[0], cot.loss(BATCH)[0])
        assert method.solve(BATCH) == cot.solve(BATCH)
    icot = ICoT(method.model, VOCAB, method.args)       # its progress is 1
    want = torch.cat([log_probs(icot, given(icot, e, 0, 0), ending(e)) for e in EXAMPLES])
    torch.testing.assert_close(icot.loss(BATCH)[0], -want.mean(), check_dtype=False)
    assert not torch.equal(icot.loss(BATCH)[0], nocot.loss(BATCH)[0])   # which is given </think>


# ---- solving -------------------------------------------------------------------------------------

@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("cls, progress, pauses, latents", [
    (ICoT, 1.0, 0, 0), (Pause, 0.5, 11, 0), (Coconut, 0.5, 0, 2), (Coconut, 1.0, 0, 3),
    (CODI, 1.0, 0, 3)])
def test_rollouts_and_their_log_probs_equal_a_loop(cls, progress, pauses, latents, backbone):
    """Words decoded greedily, one row at a time, and n_think: latents, and words up to </think>."""
    method = make(cls, progress, backbone, curriculum="steps")
    method.model.head.weight.data[[END, EOS]] *= 2      # so that rows end at different times
    rollout = method.rollout(BATCH, 2, temperature=0.0)
    scored, ends = method.log_probs(rollout), set()
    method.model.eval()
    for r, (solved, row) in enumerate(zip(rollout.solved, rollout.acts["written"].tolist())):
        x, words, logps = given(method, EXAMPLES[r // 2], pauses, latents), [], []
        said = method.model.head(method.model(x[None])[0, len(x) - 1 - latents:-1]).argmax(-1)
        while EOS not in words and len(words) < 16:
            logp = method.model.head(method.model(x[None])[0, -1]).log_softmax(-1)
            words.append(int(logp[1:].argmax()) + 1)                # never 0, the padding
            logps.append(logp[words[-1]])
            x = torch.cat([x, method.model.embed.weight[words[-1:]]])
        n = words.index(END) if END in words else len(words)
        ends.add(len(words))
        assert row == words + [PAD] * (len(row) - len(words))
        assert solved.n_think == latents + len([w for w in words[:n] if w != EOS])
        for word in VOCAB.decode(said.tolist()):
            assert f"[{word}]" in solved.thoughts
        for kind, mine in (("thought", slice(0, n + 1)), ("token", slice(n + 1, None))):
            logp, mask = scored[kind]
            want = torch.stack(logps)[mine]
            torch.testing.assert_close(logp[r][mask[r]], want, atol=1e-6, rtol=1e-5,
                                       check_dtype=False)
    assert len(ends) > 1


# ---- CODI ----------------------------------------------------------------------------------------
