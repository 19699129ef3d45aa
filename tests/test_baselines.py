"""The baselines' schedules on worked examples; their losses, gradients and words against one row at
a time without a cache. All in float64."""
import math
from types import SimpleNamespace

import pytest
import torch

import runs
from baselines import CODI, Coconut, CoT, ICoT, NoCoT, Pause
from data import checkpoint
from data.common import (END, EOS, FIRST_WORD, PAD, PAUSE, THINK, Batch, Example, Vocab,
                         collate)
from method import Rollout, pack, read_prompt
from model import GPT, Cache, Config
from recurrent import EXITS, RecurrentGPT
from tests.helpers import shortest, small, telling
from tests.naive import EXACT, defaults
from train import Training

VOCAB = Vocab("a b c d e f g h".split())
EXAMPLES = [    # ragged in everything; the first prompt is shorter than the convolution
    Example(["b"], [["c", "d", "e"]], ["h", "a"], 1),
    Example("a b c d a b".split(), [["f"], ["g", "h"], ["a"], ["b"]], ["b"], 4),
    Example("c a d".split(), [["d", "e"], ["f"]], ["g"], 2)]
BATCH = collate(EXAMPLES, VOCAB)
MOMENTS = [0, 1 / 3, 1 / 3 + 1e-9, 0.5, 2 / 3 - 1e-9, 2 / 3, 1]     # of training
BACKBONES = {"gpt": GPT, "deep": lambda cfg: RecurrentGPT(cfg, mean_r=2, k_grad=1)}


def make(cls, progress=1.0, backbone="gpt", conv=0, **changes):
    """In float64, and away from the identity: no test would see norms and convolutions else."""
    torch.manual_seed(0)
    args = {**defaults(cls), "latents": 3, "max_think": 13, "max_answer": 3, **changes}
    args = SimpleNamespace(**args)
    cfg = Config(len(VOCAB), layers=3 if backbone == "deep" else 2, width=16, heads=2, conv=conv)
    method = cls(BACKBONES[backbone](cfg), VOCAB, args).double()
    for name, p in method.model.named_parameters():
        if p.ndim == 1 or "conv" in name:
            torch.nn.init.normal_(p, 1.0 if p.ndim == 1 else 0.0, 0.3)
    method.progress = progress
    return method


def close(got, want, what=None):
    torch.testing.assert_close(got, want, **EXACT, msg=what)


def same_gradients(module, got, want, *inputs):
    """Of two losses, by every parameter and the inputs."""
    leaves = {**dict(enumerate(inputs)), **dict(module.named_parameters())}
    a, b = (torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
            for loss in (got, want))
    for name, p, mine, true in zip(leaves, leaves.values(), a, b):
        zero = torch.zeros_like(p)
        close(zero if mine is None else mine, zero if true is None else true, name)


def given(method, e, pauses, latents):
    """(S, C): the question, <think> and the thoughts; all of it is read anew for every latent."""
    model, E = method.model, method.model.embed.weight
    x = E[torch.tensor(VOCAB.encode(e.question) + [THINK] + [PAUSE] * pauses)]
    for _ in range(latents):
        h = model(x[None])[0, -1]
        z = method.project(h) if isinstance(method, CODI) else E.detach().std() * h
        x = torch.cat([x, z[None]])
    return x


def log_probs(method, x, ids):
    """Of the words that follow x (S, C)."""
    before = method.model.embed(torch.tensor(ids[:-1], dtype=torch.long))
    h = method.model(torch.cat([x, before])[None])[0]
    return method.model.head(h[len(x) - 1:]).log_softmax(-1)[range(len(ids)), ids]


def follows(e, steps):
    """The ids of some steps, </think>, the answer and <eos>."""
    return [*VOCAB.encode(sum(steps, [])), END, *VOCAB.encode(e.answer), EOS]


# ---- Eq. (1) -------------------------------------------------------------------------------------

GONE = (math.inf, 1, 16)


@pytest.mark.parametrize("curriculum, want", [
    ("none", [GONE] * 7),
    ("steps", [(0, 0, 0), (0, 0, 0), (1, 1 / 3, 5), (2, 2 / 3, 11), (3, 1, 16), GONE, GONE]),
    ("tokens", [(0, 0, 0), (0, 0, 0), (0, 0, 0), (3, 0.5, 8), (6, 1, 16), GONE, GONE])])
@torch.no_grad()
def test_schedule_on_worked_values(curriculum, want):
    """K = 3, a longest chain of 6 words; with n = 16 pauses and n = 3 latents in the end."""
    icot, pause, coconut = methods = [make(cls, curriculum=curriculum)
                                      for cls in (ICoT, Pause, Coconut)]
    for moment, (gone, share, n) in zip(MOMENTS, want):
        for method in methods:
            method.progress = moment
            assert method.schedule() == (gone, pytest.approx(share, abs=1e-8))
        assert icot.opening(BATCH).tolist() == [[THINK]] * 3
        assert pause.opening(BATCH).tolist() == [[THINK] + [PAUSE] * n] * 3
        if round(3 * share):
            read = read_prompt(coconut.model, coconut.opening(BATCH))
            z = coconut.think(*read, coconut.thoughts())[0]
            assert z.shape == (3, round(3 * share), 16)


@pytest.mark.parametrize("curriculum, progress, want", [
    ("steps", 0.2, ["c d e", "f g h a b", "d e f"]),
    ("steps", 0.4, ["", "g h a b", "f"]),
    ("steps", 0.6, ["", "b", ""]),
    ("steps", 0.7, ["", "", ""]),
    ("tokens", 0.2, ["c d e", "f g h a b", "d e f"]),
    ("tokens", 0.4, ["d e", "h a b", ""]),      # round(0.2 * 6) = 1, and o = 0, 1, 2
    ("tokens", 0.5, ["", "b", ""]),             # 3, and o
    ("tokens", 0.7, ["", "", ""]),
    ("none", 0.0, ["", "", ""])])
def test_what_is_left_of_the_chain(curriculum, progress, want, monkeypatch):
    """Tokens: floor of an exponential variable of rate 4 goes beyond the schedule."""
    rates = []

    def exponential(like, rate):
        rates.append(rate)
        return like.copy_(torch.tensor([[0.9], [1.0], [2.5]]))
    monkeypatch.setattr(torch.Tensor, "exponential_", exponential)
    left = make(ICoT, progress, curriculum=curriculum).chain(BATCH)
    assert [" ".join(VOCAB.decode(i for i in row if i != PAD)) for row in left.tolist()] == want
    assert set(rates) == ({4} if curriculum == "tokens" and progress > 1 / 3 else set())


def test_offset_has_its_distribution():
    """P(o) = (1 - exp -4) exp(-4 o), within 4.5 standard deviations of a binomial count."""
    n, words = 200_000, torch.ones(200_000, 9, dtype=torch.long)
    method = make(ICoT, 0.5, curriculum="tokens")       # 3 words are gone, and o
    o = (method.chain(Batch(words, words, words, words, words, [], 0)) == PAD).sum(1) - 3
    assert o.min() == 0
    for value in range(3):
        p = (1 - math.exp(-4)) * math.exp(-4 * value)
        assert abs((o == value).sum() - n * p) < 4.5 * math.sqrt(n * p * (1 - p)), value


# ---- losses --------------------------------------------------------------------------------------

@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("cls, progress, gone, pauses, latents", [
    (ICoT, 0.4, 1, 0, 0), (ICoT, 1.0, 9, 0, 0), (Pause, 0.5, 2, 11, 0), (Pause, 1.0, 9, 16, 0),
    (Coconut, 0.4, 1, 0, 1), (Coconut, 0.5, 2, 0, 2), (Coconut, 1.0, 9, 0, 3)])
def test_loss_and_gradients_equal_a_loop(cls, progress, gone, pauses, latents, backbone):
    """Training with a cache has the depth and the s_0 of eval mode, which the loop runs in."""
    method = make(cls, progress, backbone, curriculum="steps")
    method.model.train(latents > 0)
    loss = method.loss(BATCH)[0]
    method.model.eval()
    rows = [log_probs(method, given(method, e, pauses, latents), follows(e, e.steps[gone:]))
            for e in EXAMPLES]
    close(loss, -torch.cat(rows).mean())
    same_gradients(method, loss, -torch.cat(rows).mean())


@pytest.mark.parametrize("kind", EXITS)
@torch.no_grad()
def test_loss_with_an_exit_does_not_see_padding(kind):
    """On a recurrent backbone: that of a batch is the mean over all words of its rows alone."""
    method = make(CoT, backbone="deep", max_think=13)
    method.model.r = 9
    method.eval()
    limit = telling(method, kind, lambda: method.loss(BATCH))
    with method.model.using(exit=kind, threshold=limit):
        alone = [method.loss(collate([e], VOCAB))[0] for e in EXAMPLES]
        n = [len(follows(e, e.steps)) for e in EXAMPLES]
        close(method.loss(BATCH)[0], sum(k * loss for k, loss in zip(n, alone)) / sum(n))


def test_a_batch_without_any_prefix_has_a_loss():
    """Prefixes that belong to val or test have no answer: here, none of a batch has one."""
    method = make(NoCoT)
    want = method.loss(BATCH)[0]
    none = [Example(e.question, e.steps, e.answer, 1, prefixes=[""] * 2) for e in EXAMPLES]
    close(method.loss(collate(none, VOCAB))[0], want)


@pytest.mark.parametrize("cls", [ICoT, Pause, Coconut])
def test_the_first_stage_is_cot(cls):
    method = make(cls, 0.2, curriculum="steps")
    cot = CoT(method.model, VOCAB, method.args)
    assert torch.equal(method.loss(BATCH)[0], cot.loss(BATCH)[0])
    assert method.solve(BATCH) == cot.solve(BATCH)


def at_close(method, x, ids):
    """log_probs, and the state of every layer at </think>, (layers, C), caught by hooks."""
    states = []
    hooks = [block.register_forward_hook(lambda block, args, out: states.append(out[0]))
             for block in method.model.blocks]
    logp = log_probs(method, x, ids)
    for hook in hooks:
        hook.remove()
    return logp, torch.stack([state[len(x) + ids.index(END)] for state in states])


def test_codi_equals_a_loop():
    """Every part of Eq. (3), and the gradient of their sum if the teacher's states are constants.
    The teacher's chains lack their last steps: one is empty."""
    method = make(CODI, distill=5.0)
    loss, parts = method.loss(BATCH)
    teacher, true = zip(*(
        at_close(method, given(method, e, 0, 0), follows(e, e.steps[:-1])) for e in EXAMPLES))
    student, mine = zip(*(
        at_close(method, given(method, e, 0, 3), follows(e, [])) for e in EXAMPLES))
    true = torch.stack(true).detach()                                   # (B, layers, C)
    apart = [(m - t).abs().mean() / t.std() for m, t in
             zip(torch.stack(mine).unbind(1), true.unbind(1))]
    want = {"teacher": -torch.cat(teacher).mean(), "student": -torch.cat(student).mean(),
            "apart": sum(apart) / 2}
    for name in want:
        close(parts[name], want[name].detach(), name)
    total = want["teacher"] + want["student"] + 5 * want["apart"]
    close(loss, total)
    same_gradients(method, loss, total)


def test_the_teacher_reads_all_but_the_last_step_and_the_student_no_prompt():
    """Of the longest row <eos> is not read, nor is the student's."""
    method, read = make(CODI), []
    method.model.embed.register_forward_hook(lambda embed, args, out: read.append(args[0]))
    method.loss(BATCH)
    teacher, student = ([" ".join(VOCAB.decode(i for i in row if i != PAD)) for row in ids.tolist()]
                        for ids in read)
    assert teacher == ["b <think> </think> h a <eos>", "a b c d a b <think> f g h a </think> b",
                       "c a d <think> d e </think> g <eos>"]
    assert student == ["</think> h a", "</think> b <eos>", "</think> g <eos>"]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_codi_with_a_shared_prompt_equals_two_readings(backbone):
    """Training with a cache has the depth and the s_0 of eval mode."""
    method = make(CODI, backbone=backbone, distill=5.0)
    loss = method.loss(BATCH)[0]
    method.model.eval()
    teacher, _, targets = method.teach(BATCH, None)
    prompt = pack(*method.prompt(BATCH))[0]
    student, apart = method.learn(BATCH, *read_prompt(method.model, prompt), targets)
    close(loss, teacher + student + 5 * apart)
    same_gradients(method, loss, teacher + student + 5 * apart)


@pytest.mark.parametrize("cls", [ICoT, Pause, Coconut, CODI])
def test_every_parameter_gets_a_gradient_under_autocast(cls):
    method = make(cls).float()
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.loss(BATCH)[0]
    loss.backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


# ---- solving -------------------------------------------------------------------------------------

@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("cls, progress, pauses, latents", [
    (ICoT, 1.0, 0, 0), (Pause, 0.5, 11, 0), (Coconut, 0.5, 0, 2), (Coconut, 1.0, 0, 3),
    (CODI, 1.0, 0, 3)])
def test_rollouts_and_their_log_probs_equal_a_loop(cls, progress, pauses, latents, backbone):
    """Greedy words, one at a time; n_think: the latents, and the words before </think>."""
    method = make(cls, progress, backbone, curriculum="steps", max_think=5)
    for seed in range(99):      # until rows end at different times
        torch.manual_seed(seed)
        method.model.head.weight.data[[END, EOS]] = torch.randn(2, 16).double()
        rollout = method.rollout(BATCH, 2)
        written = rollout.acts["written"]
        if len((written > 0).sum(1).unique()) > 1:
            break
    scored = method.log_probs(rollout)
    method.model.eval()
    assert torch.equal(written[::2], written[1::2]) and len((written > 0).sum(1).unique()) > 1
    for r in range(0, 6, 2):
        with torch.no_grad():
            x, words, logps = given(method, EXAMPLES[r // 2], pauses, latents), [], []
            h = method.model(x[None])[0]
            logits = method.model.head(h[-1 - latents:-1])
            logits[:, :FIRST_WORD] = -math.inf      # no <eos> and the like
            said = VOCAB.decode(logits.argmax(-1).tolist())
            while EOS not in words and len(words) < 8:
                logp = method.model.head(method.model(x[None])[0, -1]).log_softmax(-1)
                words.append(int(logp[1:].argmax()) + 1)                # never 0, the padding
                logps.append(logp[words[-1]])
                x = torch.cat([x, method.model.embed.weight[words[-1:]]])
        assert [i for i in written[r].tolist() if i] == words
        n = next((i for i, word in enumerate(words) if word in (END, EOS)), len(words))
        assert rollout.solved[r].n_think == latents + n
        assert rollout.solved[r].thoughts.startswith(" ".join(f"[{word}]" for word in said))
        n = words.index(END) + 1 if END in words else len(words)
        for kind, mine in (("thought", slice(0, n)), ("token", slice(n, None))):
            logp, mask, _ = scored[kind]
            close(logp[r][mask[r]], torch.tensor(logps[mine], dtype=torch.double))


@pytest.mark.parametrize("cls", [Coconut, CODI])
@torch.no_grad()
def test_another_number_of_thoughts_than_in_training(cls):
    """As of a method that was trained with so many; with none it writes at once."""
    method = make(cls).eval()
    for n in (0, 2, 7):
        rollout = method.rollout(BATCH, 2, latents=n)
        assert all(s.n_think >= n for s in rollout.solved)
        assert rollout.acts.get("z", torch.empty(6, 0)).shape[1] == n
        logp = method.log_probs(rollout)["token"][0]
        other = make(cls).eval()
        other.load_state_dict(method.state_dict())
        other.args.latents = n
        if not n:
            other = CoT(method.model, VOCAB, method.args).eval()
        same = other.rollout(BATCH, 2)
        assert torch.equal(same.acts["written"], rollout.acts["written"])
        close(other.log_probs(same)["token"][0], logp)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("cls, pauses, latents", [(CoT, 0, 0), (Pause, 16, 0), (Coconut, 0, 3)])
@torch.no_grad()
def test_log_probs_of_a_single_word(cls, pauses, latents, backbone):
    """All that a rollout wrote is <eos>: what it continued has said so."""
    method = make(cls, backbone=backbone)
    prompt = pack(*method.prompt(BATCH))[0]
    rollout = Rollout([], None, {"prompt": prompt, "written": torch.full((3, 1), EOS)}, {})
    logp, mask, _ = method.log_probs(rollout)["thought"]
    method.eval()
    want = [log_probs(method, given(method, e, pauses, latents), [EOS]) for e in EXAMPLES]
    assert mask.all()
    close(logp, torch.stack(want))


# ---- the cache, the states of the layers, the loop -----------------------------------------------

@pytest.mark.parametrize("backbone", BACKBONES)
def test_three_calls_with_a_cache_equal_one_without(backbone):
    """States and gradients; with a gradient buffers are replaced, else written in place."""
    model = make(CoT, backbone=backbone).model.eval()
    x, weight = torch.randn(2, 3, 8, 16, dtype=torch.double)
    x.requires_grad_()

    def calls():
        cache = Cache()
        yield model(x[:, :4], cache)
        old = {key: (buffer, buffer.clone()) for key, buffer in cache.store.items()}
        yield model(x[:, 4:5], cache)
        yield model(x[:, 5:], cache)
        for key, buffer in cache.store.items():
            assert torch.equal(*old[key]) == buffer.requires_grad
            assert (buffer.data_ptr() != old[key][0].data_ptr()) == buffer.requires_grad
    got, want = torch.cat([*calls()], 1), model(x)
    close(got, want)
    same_gradients(model, (got * weight).sum(), (want * weight).sum(), x)
    with torch.no_grad():
        close(torch.cat([*calls()], 1), want)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("conv", [0, 3])
def test_states_at_some_positions(conv, backbone):
    """They are those of all positions there, after every layer, and so are their gradients."""
    model = make(CoT, backbone=backbone, conv=conv).model.eval()
    x, weight = torch.randn(2, 3, 8, 16, dtype=torch.double)
    x.requires_grad_()
    at = (torch.rand(3, 8) < 0.5).nonzero(as_tuple=True)
    mine, true = [], []
    got, want = model(x, layers=mine, at=at), model(x, layers=true)[at]     # (N, C)
    close(got, want)
    for layer, whole in zip(mine, true, strict=True):
        close(layer, whole[at])
    same_gradients(model, (got * weight[at]).sum(), (want * weight[at]).sum(), x)


def test_layers_get_what_prelude_core_and_coda_make():
    model, caught, layers = make(CoT, backbone="deep").model.eval(), {}, []
    for part in (model.prelude[-1], model.core[-1], model.norm):
        part.register_forward_hook(lambda part, args, out: caught.update({part: out}))
    model(torch.randn(2, 5, 16, dtype=torch.double), layers=layers)
    assert all(map(torch.equal, layers, caught.values())) and len(layers) == 3


def test_the_loop_sets_progress_and_a_saved_run_knows_it(tmp_path):
    config, task, method = small("coconut", "permutation")
    training = Training(method, config, torch.device("cpu"), torch.float32)
    assert method.progress == 1
    for step in range(2):
        training.update([shortest(task, method.vocab)])
        assert method.progress == step / 30
    checkpoint.save(tmp_path, training.state())
    assert runs.load_run(tmp_path)[1].progress == 2 / 30
