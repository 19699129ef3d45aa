"""Token Assorted's equations against naive loops; what it writes against decoding without a cache.

Rows of words stand in the tests as text: "A B" is the chunk of the words A and B.
"""
import copy
import functools
import itertools
import json
import math
import os
import signal
import warnings
from collections import Counter

import pytest
import torch
import torch.nn.functional as F

import eval as evaluation
import rl
import runs
import train
import vqvae
from baselines import CoT
from colar import chunked
from data import script
from data.cli import BadInput
from data.common import END, EOS, PAD, PAUSE, THINK, Example, Vocab, collate, first_problems
from lab import codes as lab_codes
from method import Rollout, Solved
from model import Sampler
from recurrent import EXITS
from tests.helpers import DEEP, fails, results, same, small, telling
from tests.naive import EXACT, TASK
from vqvae import Assorted, D, Codebook, mix, perplexity

NANO = ["--size", "nano", "--codes", "16"]
RUN = [*NANO, "--threads", "1", "--test-n", "8", "--val-n", "2", "--bucket", "4"]


def make(method, *argv):
    """An untrained method with a random codebook, in float64."""
    config = runs.parse([*NANO, "--method", method, *argv])
    torch.manual_seed(0)
    method = runs.build(config | {"max_think": 12, "max_answer": 3})[1].eval().double()
    next(m for m in method.modules() if isinstance(m, Codebook)).code.normal_()
    return method


def batch_of(method, n, first=0):
    return collate([TASK.sample("train", first + i) for i in range(n)], method.vocab)


def batch_with(method, *chains):
    """Problems with these chains, each the text of its steps."""
    examples = [Example("how many does Ann have ?".split(), [s.split() for s in steps], ["3"], 0)
                for steps in chains]
    return collate(examples, method.vocab)


def text(method, ids):
    """Rows of ids (B, T) as text, without padding."""
    return [" ".join(method.vocab.decode([i for i in row if i != PAD])) for row in ids.tolist()]


def clusters(n, noise=0.05):
    """n vectors in each of 8 clusters, one after the other, and the clusters' centres."""
    centres = 4 * torch.eye(8, D)
    return centres.repeat_interleave(n, 0) + noise * torch.randn(8 * n, D), centres


def brute_force(x, code):
    """Eq. (2) as a loop."""
    x, code = x.tolist(), code.tolist()
    return [min(range(len(code)), key=lambda k: math.dist(v, code[k])) for v in x]


# ---- the codebook --------------------------------------------------------------------------------

def random_codebook(codes=6):
    torch.manual_seed(0)
    codebook = Codebook(codes).double()
    codebook.code.normal_()
    return codebook


def test_nearest_equals_a_loop():
    """Eq. (2)."""
    codebook, x = random_codebook(), torch.randn(50, D).double()
    assert codebook.nearest(x).tolist() == brute_force(x, codebook.code)


def test_straight_through():
    """Eq. (3): forward the nearest code, backward the identity, to the last bit."""
    codebook, x = random_codebook(), torch.randn(9, D).double().requires_grad_()
    w = torch.randn(9, D)
    k, q, _ = codebook(x)
    torch.testing.assert_close(q, codebook.code[brute_force(x, codebook.code)])
    assert k.tolist() == brute_force(x, codebook.code)
    assert torch.equal(torch.autograd.grad((q * w).sum(), x)[0], w.double())


def test_what_the_decoder_gets_is_the_nearest_code():
    codebook, x = random_codebook(), torch.randn(9, D).double()
    torch.testing.assert_close(codebook(x)[1], codebook.code[brute_force(x, codebook.code)])


def test_what_the_decoder_gets_depends_on_x():
    assert random_codebook()(torch.randn(9, D).double().requires_grad_())[1].requires_grad, (
        "no gradient of the decoder reaches the encoder")


def test_commitment_is_a_mean_over_all_numbers():
    codebook, x = random_codebook(), torch.randn(9, D).double()
    apart = [(v - min(codebook.code, key=lambda e: math.dist(v, e))).tolist() for v in x]
    want = sum(d * d for row in apart for d in row) / (9 * D)
    found = float(codebook(x)[2])
    assert found == pytest.approx(want), f"the commitment is {found:.4f}, not {want:.4f}"


def test_commitment_pulls_x_to_its_code_and_not_the_code_to_x():
    """Eq. (5): the gradient of |x - sg[q]|^2, a mean, is 2 (x - e_k) / numel; none for e."""
    codebook, x = random_codebook(), torch.randn(9, D).double().requires_grad_()
    k, _, commitment = codebook(x)
    torch.testing.assert_close(commitment, (x - codebook.code[k]).pow(2).mean())
    gradient = torch.autograd.grad(commitment, x)[0]
    torch.testing.assert_close(gradient, 2 * (x - codebook.code[k]) / x.numel())
    assert not codebook.code.requires_grad and not list(codebook.parameters())


def test_update_equals_a_loop():
    """Eq. (4), g = 0.95, twice in a row; code 5 is nearest to nothing, and stays where it is."""
    codebook = random_codebook()
    codebook.code[5] = 100
    codebook.cluster_size.copy_(torch.tensor([3, 9, 5, 8, 20, 10]))
    codebook.embed_sum.copy_(codebook.code * codebook.cluster_size[:, None])
    for _ in range(2):
        x, before = torch.randn(40, D).double(), [t.clone() for t in codebook.buffers()]
        codebook.update(x)
        k = brute_force(x, before[0])
        assert len(set(k)) > 2 and 5 not in k
        for i, (code, N, S) in enumerate(zip(*before)):
            mine = [v for v, j in zip(x, k) if j == i]
            N = 0.95 * N + 0.05 * len(mine)
            S = 0.95 * S + 0.05 * sum(mine, torch.zeros(D))
            torch.testing.assert_close(codebook.cluster_size[i], N)
            torch.testing.assert_close(codebook.embed_sum[i], S)
            torch.testing.assert_close(codebook.code[i], S / N)
            assert mine or torch.allclose(codebook.code[i], code)


# ---- dead codes ----------------------------------------------------------------------------------

def replaced():
    """A codebook of 6 with the codes 1 and 4 dead, then started again from rows of x."""
    codebook, x = random_codebook(), torch.randn(20, D).double()
    codebook.cluster_size.copy_(torch.tensor([30, 0.1, 10, 20, 0, 40]))
    codebook.embed_sum.copy_(codebook.code * codebook.cluster_size[:, None])
    before = codebook.code.clone(), codebook.cluster_size.clone(), codebook.embed_sum.clone()
    codebook.replace_dead_codes(x, torch.tensor([0, 1, 0, 0, 1, 0]).bool())
    return codebook, x, before


def test_a_dead_code_starts_again_on_a_vector():
    """On different rows of x, as if used as often as the average; the others do not change."""
    codebook, x, before = replaced()
    rows = [x.tolist().index(codebook.code[k].tolist()) for k in (1, 4)]
    assert rows[0] != rows[1]
    torch.testing.assert_close(codebook.cluster_size[[1, 4]], before[1].mean().expand(2))
    for now, then in zip((codebook.code, codebook.cluster_size, codebook.embed_sum), before):
        assert torch.equal(now[[0, 2, 3, 5]], then[[0, 2, 3, 5]])


def test_a_replaced_code_stays_where_it_was_put():
    """e = S / N holds after `replace_dead_codes`: the next update does not throw the code away."""
    codebook, _, _ = replaced()
    torch.testing.assert_close(codebook.embed_sum, codebook.code * codebook.cluster_size[:, None])


def test_dead_codes_start_from_vectors_that_fit_badly():
    """99 vectors lie on codes, one does not: it is the one that is chosen."""
    codebook = random_codebook()
    x = codebook.code[torch.arange(100) % 5].clone()
    x[37] += 3
    codebook.replace_dead_codes(x, torch.tensor([0, 0, 0, 0, 0, 1]).bool())
    assert torch.equal(codebook.code[5], x[37])


@pytest.mark.parametrize("n", [2, 4])
def test_dead_codes_share_a_vector_only_if_they_must(n):
    """Four dead codes, and two or four vectors to put them on."""
    codebook, x = random_codebook(), torch.randn(n, D).double()
    codebook.cluster_size += 1
    codebook.replace_dead_codes(x, torch.tensor([0, 1, 1, 1, 1, 0]).bool())
    rows = [x.tolist().index(code) for code in codebook.code[1:5].tolist()]
    assert n == 2 or sorted(rows) == [0, 1, 2, 3]


def test_dead_is_below_a_twentieth_of_the_average():
    """Codes 2 and 3 are nearest to nothing; at 0.04 and 0.07 of the mean, only one is dead."""
    codebook = random_codebook(4)
    codebook.code[2:] = 100
    size = torch.tensor([195, 194.5, 4, 6.5])       # mean 100, and the update has 400 x
    codebook.cluster_size.copy_(size)
    codebook.embed_sum.copy_(codebook.code * codebook.cluster_size[:, None])
    codebook.update(torch.randn(400, D).double())
    assert codebook.code[2].max() < 10
    torch.testing.assert_close(codebook.code[3], torch.full((D,), 100.0).double())


def test_a_cluster_without_code_gets_the_dead_one():
    """Codes on 7 of 8 clusters and a dead one elsewhere: in the end one on each, used equally."""
    torch.manual_seed(0)
    codebook, (_, centres) = Codebook(8), clusters(1)
    codebook.code.copy_(centres)
    codebook.code[3], codebook.cluster_size[:], codebook.cluster_size[3] = 50, 10, 0
    codebook.embed_sum.copy_(codebook.code * codebook.cluster_size[:, None])
    for _ in range(100):
        x, _ = clusters(10)
        codebook.update(x)
    assert perplexity(codebook.cluster_size) > 7.9
    torch.testing.assert_close(codebook.code, centres, atol=0.05, rtol=0)


def test_codes_in_one_place_spread_over_the_data():
    """All codes are equal at first, so the data is nearest to the first; later all are used."""
    torch.manual_seed(0)
    codebook, (x, _) = Codebook(8), clusters(10)
    codebook.cluster_size[:] = 10
    codebook.update(x)
    assert codebook.nearest(x).unique().numel() == 1
    for _ in range(300):
        codebook.update(clusters(10)[0])
    # one code may be left with some clusters, and the others share the rest
    assert codebook.nearest(x).unique().numel() == 8 and perplexity(codebook.cluster_size) > 5


def test_start_is_k_means():
    """Ten rounds of Lloyd's algorithm, as a loop, from the same vectors."""
    codebook, x = random_codebook(4), torch.randn(200, D).double()
    torch.manual_seed(1)
    code = x[torch.randint(200, (4,))]
    for _ in range(10):
        mine = [[v for v, j in zip(x, brute_force(x, code)) if j == k] for k in range(4)]
        code = torch.stack([sum(vectors) / len(vectors) for vectors in mine])
    torch.manual_seed(1)
    codebook.kmeans_init(x)
    torch.testing.assert_close(codebook.code, code)
    assert codebook.cluster_size.tolist() == [len(vectors) for vectors in mine]


def test_the_first_batch_is_clustered():
    """An empty codebook finds 8 groups of equal vectors: codes that share one are put elsewhere."""
    torch.manual_seed(0)
    codebook, (x, centres) = Codebook(8), clusters(20, noise=0)
    codebook.update(x)
    found = codebook.code[codebook.nearest(centres)]
    torch.testing.assert_close(found, centres)
    assert perplexity(codebook.cluster_size) == pytest.approx(8)


def test_perplexity():
    """exp(entropy): K if all are used equally, 1 if one is; 1/4, 1/4, 1/2 have 1.5 bits."""
    assert perplexity(torch.full((7,), 3.0)).item() == pytest.approx(7)
    assert perplexity(torch.tensor([0.0, 9.0, 0.0])).item() == pytest.approx(1)
    assert perplexity(torch.tensor([1.0, 0.0, 1.0, 2.0])).item() == pytest.approx(2 ** 1.5)


# ---- chunks --------------------------------------------------------------------------------------

@pytest.mark.parametrize("align, want", [
    (True, [[[11, 12], [13, 0], [14, 15]], [[21, 0], [22, 23], [24, 0]]]),
    (False, [[[11, 12], [13, 14], [15, 0]], [[21, 22], [23, 24], [0, 0]]])])
def test_chunks_of_a_worked_example(align, want):
    """Steps of 3 and 2 tokens, then of 1 and 3, cut into pairs."""
    thoughts = torch.tensor([[11, 12, 13, 14, 15], [21, 22, 23, 24, 0]])
    step = torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 1, 0]])
    assert chunked(thoughts, step, 2, align).tolist() == want


def naive_chunks(steps, size, align):
    runs = steps if align else [sum(steps, [])]
    return [run[i:i + size] for run in runs for i in range(0, len(run), size)]


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_chunks_equal_slices(size, align):
    """Of random steps; the last rows have none."""
    torch.manual_seed(size)
    examples = [Example(["?"], [["A"] * int(n) for n in torch.randint(1, 12, (steps,))], ["A"], 0)
                for steps in (3, 1, 6, 2, 0, 0)]
    batch = collate(examples, Vocab(["?", "A"]))
    batch.chain *= torch.randint(1, 100, batch.chain.shape)       # tell the words apart
    chunk = chunked(batch.chain, batch.step_of, size, align)
    for i, e in enumerate(examples):
        ids = iter(batch.chain[i].tolist())
        want = naive_chunks([[next(ids) for _ in s] for s in e.steps], size, align)
        want = [c + [PAD] * (size - len(c)) for c in want]
        assert chunk[i].tolist() == want + [[PAD] * size] * (chunk.shape[1] - len(want))


STRATEGIES = Assorted.FLAGS["replace"].choices


@pytest.mark.parametrize("replace", STRATEGIES)
def test_a_batch_without_steps_has_no_chunks(replace):
    """A file of problems may have some without steps."""
    method = make("assorted", "--replace", replace)
    batch = batch_with(method, [], [])
    assert method.vqvae.chunks(batch).shape[:2] == (2, 0)
    assert text(method, method.chain(batch)) == ["", ""]


def test_nothing_is_learned_from_a_batch_without_steps():
    """A loss and gradients of 0, nothing to log, and the codebook as it was: empty, until there is
    something to cluster."""
    method = make("vqvae").train()
    method.loss(batch_of(method, 4))
    for count in (method.codebook.cluster_size, torch.zeros(16)):
        method.codebook.cluster_size.copy_(count)
        method.zero_grad()
        before = [t.clone() for t in method.codebook.buffers()]
        loss, none = method.loss(batch_with(method, [], []))
        loss.backward()
        assert loss == 0 and all(p.grad is not None and not p.grad.any()
                                 for p in method.parameters())
        assert none == {} and same(before, list(method.codebook.buffers()))
    assert method.loss(batch_of(method, 4))[1]["perplexity"] >= 1


def test_a_trace_without_steps_is_rebuilt_and_surveyed():
    """From no code, to no word; nothing is told of codes that nobody uses."""
    method = make("vqvae")
    batch = batch_with(method, [], [])
    solved = method.solve(batch)
    assert solved == [Solved([], 0, "", [])] * 2
    assert all(method.right(TASK, e, s) for e, s in zip(batch.examples, solved))
    assert method.extras(batch.examples, solved) == {}
    assert lab_codes.meanings(method, batch.examples) == {}
    assert method.rebuilt(batch.examples) == [0, 0]
    assert evaluation.loss_on(method, batch.examples) == 0


@pytest.mark.parametrize("kind", EXITS)
@torch.no_grad()
def test_solving_with_an_exit_does_not_see_padding(kind):
    """On a recurrent backbone: the logits of every row of a batch, which is padded, are those of
    the row alone, and so are the chains."""
    method = make("vqvae", "--backbone", "recurrent", "--layers", "3", "--mean-r", "9")
    batch = batch_of(method, 6)
    limit = telling(method, kind, lambda: method.solve(batch))

    def logits(batch):
        chunk, code = method.codes(batch)
        has_chunk = chunk.any(-1)
        return method.decode(batch.question, has_chunk, method.codebook.code[code[has_chunk]])
    with method.model.using(exit=kind, threshold=limit):
        alone = [collate([e], method.vocab) for e in batch.examples]
        assert method.solve(batch) == [method.solve(one)[0] for one in alone]
        torch.testing.assert_close(logits(batch), torch.cat([*map(logits, alone)]), **EXACT)


# ---- what gives way ------------------------------------------------------------------------------

def naive_mix(chunks, codes, latent, bo, eo):
    """Of one row: its chunks and codes, and which of them are latent."""
    out = []
    for i, (chunk, code) in enumerate(zip(chunks, codes)):
        if latent[i]:
            out += [bo] * (not (i and latent[i - 1])) + [code]
            out += [eo] * (i + 1 == len(latent) or not latent[i + 1])
        else:
            out += chunk
    return [i for i in out if i != PAD]


@pytest.mark.parametrize("bo, eo", [(7, 8), (PAD, PAD)])
def test_mix_equals_a_loop(bo, eo):
    """Random chunks, some short, some rows without any latent, or PAD instead of bo and eo."""
    torch.manual_seed(0)
    chunk, code = torch.randint(10, 99, (40, 6, 3)), torch.randint(100, 200, (40, 6))
    chunk *= torch.arange(3) < torch.randint(1, 4, (40, 6, 1))
    latent = torch.rand(40, 6) < torch.arange(40)[:, None] / 39
    out = mix(chunk, code, latent, bo, eo)
    for row, *given in zip(out.tolist(), chunk.tolist(), code.tolist(), latent.tolist()):
        want = naive_mix(*given, bo, eo)
        assert row == want + [PAD] * (len(row) - len(want))


CHAINS = ["1 2 3", "4", "5 6"], ["7 8"], [], ["9 10"] * 4      # of 4, 1, 0 and 4 chunks of 2 words


def strategy(monkeypatch, replace):
    """A method of chunks of 2 words and a batch of CHAINS; chunk j of row i has code 4 i + j."""
    method = make("assorted", "--replace", replace, "--chunk", "2")
    monkeypatch.setattr(method.vqvae.codebook, "nearest", lambda x: torch.arange(len(x)))
    return method, batch_with(method, *CHAINS)


def drawn(method, batch, n=100):
    """For each row, the set of what it becomes in n draws."""
    draws = [text(method, method.chain(batch)) for _ in range(n)]
    return [set(row) for row in zip(*draws)]


def test_left_draws_all_five_shares_from_the_left(monkeypatch):
    """Eq. (6): 0, 1, 2, 3, 4 of 4 chunks; of a single one 0.25 and 0.5 round to 0, 0.75 to 1."""
    rows = drawn(*strategy(monkeypatch, "left"))
    assert rows[0] == {
        "1 2 3 4 5 6", "<boLatent> <z0> <eoLatent> 3 4 5 6",
        "<boLatent> <z0> <z1> <eoLatent> 4 5 6", "<boLatent> <z0> <z1> <z2> <eoLatent> 5 6",
        "<boLatent> <z0> <z1> <z2> <z3> <eoLatent>"}
    assert rows[1] == {"7 8", "<boLatent> <z4> <eoLatent>"} and rows[2] == {""}
    assert len(rows[3]) == 5


def test_the_whole_sequence(monkeypatch):
    """Question, <think>, the mixture, </think>, answer; the codes follow the words of the task."""
    method, batch = strategy(monkeypatch, "all")
    ids = torch.cat(method.parts(batch), 1)
    assert text(method, ids)[0] == ("how many does Ann have ? <think> <boLatent> <z0> <z1> <z2> "
                                    "<z3> <eoLatent> </think> 3 <eos>")
    assert method.bo == len(Vocab(TASK.words)) and len(method.vocab) == method.bo + 2 + 16


def test_all_is_all(monkeypatch):
    """All chunks, always."""
    assert drawn(*strategy(monkeypatch, "all"), n=5) == [
        {"<boLatent> <z0> <z1> <z2> <z3> <eoLatent>"}, {"<boLatent> <z4> <eoLatent>"}, {""},
        {"<boLatent> <z12> <z13> <z14> <z15> <eoLatent>"}]


@pytest.mark.parametrize("progress, chunks", [
    (0, [0, 0, 0]), (0.16, [0, 0, 0]), (0.2, [1, 0, 0]), (0.4, [2, 0, 0]), (0.5, [3, 1, 0]),
    (0.66, [3, 1, 0]), (0.67, [4, 1, 0]), (0.9, [4, 1, 0]), (1, [4, 1, 0])])
def test_curriculum_is_the_same_for_all_and_grows(progress, chunks, monkeypatch):
    """A quarter more of the chunks after each sixth of the training, all in its last third."""
    method, batch = strategy(monkeypatch, "curriculum")
    method.progress = progress
    rows = drawn(method, batch, n=5)
    assert [len(row) for row in rows] == [1] * 4
    assert [row.pop().count("<z") for row in rows] == chunks + chunks[:1]


def test_m_is_uniform_over_the_five_shares():
    """Eq. (6), and drawn for every example."""
    method = make("assorted")
    m = method.latent(torch.ones(5000, 8).bool()).sum(1)
    count = Counter(m.tolist())
    assert set(count) == {0, 2, 4, 6, 8}
    assert all(abs(c - 1000) < 4 * math.sqrt(5000 * 0.2 * 0.8) for c in count.values())


def test_poisson_draws_its_number_anywhere():
    """How many of 6 chunks: Poisson(3), cut off at 6; each place is as likely as another."""
    method, n = make("assorted", "--replace", "poisson"), 5000
    has_chunk = (torch.arange(8) < 6).expand(n, 8)
    latent = method.latent(has_chunk)
    assert not latent[:, 6:].any()
    count = Counter(latent.sum(1).tolist())
    p = [math.exp(-3) * 3 ** k / math.factorial(k) for k in range(6)]
    for k, want in enumerate(p + [1 - sum(p)]):
        assert abs(count[k] - n * want) < 4 * math.sqrt(n * want * (1 - want))
    share = latent[:, :6].double().mean(0)
    assert (share - share.mean()).abs().max() < 4 * 0.5 / math.sqrt(n)


def test_poisson_wraps_every_run(monkeypatch):
    """With the mask that is drawn, what is written equals the loop; some rows have two runs."""
    method, batch = strategy(monkeypatch, "poisson")
    two = 0
    for seed in range(30):
        torch.manual_seed(seed)
        chunk, code = method.vqvae.codes(batch)
        latent = method.latent(chunk.any(-1))
        torch.manual_seed(seed)
        rows = method.chain(batch).tolist()
        for row, *given in zip(rows, chunk.tolist(), (method.first + code).tolist(),
                               latent.tolist()):
            assert [i for i in row if i] == naive_mix(*given, method.bo, method.eo)
            two += row.count(method.bo) > 1
    assert two


def test_random_codes_say_nothing(monkeypatch):
    """The layout of left, but with codes of all kinds, anew in every draw."""
    method, batch = strategy(monkeypatch, "random")
    draws = [text(method, method.chain(batch))[0].split() for _ in range(200)]
    rows = {" ".join("z" if w[:2] == "<z" else w for w in row) for row in draws}
    assert rows == {"1 2 3 4 5 6", "<boLatent> z <eoLatent> 3 4 5 6",
                    "<boLatent> z z <eoLatent> 4 5 6", "<boLatent> z z z <eoLatent> 5 6",
                    "<boLatent> z z z z <eoLatent>"}
    assert {w for row in draws for w in row if w[:2] == "<z"} == {f"<z{k}>" for k in range(16)}
    assert any(len(set(row)) == 6 for row in draws if row[-1] == "<eoLatent>")


def test_delete_leaves_a_suffix_of_the_trace(monkeypatch):
    """The deleted part leaves no word behind, no special one either."""
    rows = drawn(*strategy(monkeypatch, "delete"))
    assert rows[0] == {"1 2 3 4 5 6", "3 4 5 6", "4 5 6", "5 6", ""}
    assert rows[1] == {"7 8", ""} and rows[2] == {""}


def test_pause_keeps_the_positions(monkeypatch):
    """The layout of left, with <pause> in place of every code."""
    rows = drawn(*strategy(monkeypatch, "pause"))
    assert rows[0] == {
        "1 2 3 4 5 6", "<boLatent> <pause> <eoLatent> 3 4 5 6",
        "<boLatent> <pause> <pause> <eoLatent> 4 5 6",
        "<boLatent> <pause> <pause> <pause> <eoLatent> 5 6",
        "<boLatent> <pause> <pause> <pause> <pause> <eoLatent>"}
    assert rows[1] == {"7 8", "<boLatent> <pause> <eoLatent>"} and rows[2] == {""}


# ---- the loss ------------------------------------------------------------------------------------

def naive_loss(method, batch):
    """Eq. (7) with all five shares of (6), each sequence read alone."""
    losses, replace = [], method.args.replace
    bo, eo = (PAD, PAD) if replace == "delete" else (method.bo, method.eo)
    for e, codes in zip(batch.examples, method.first + method.vqvae.codes(batch)[1]):
        prompt = method.vocab.encode(e.question) + [THINK]
        chunks = naive_chunks([*map(method.vocab.encode, e.steps)], method.args.chunk, True)
        word = {"delete": PAD, "pause": PAUSE}.get(replace)
        codes = codes.tolist() if word is None else [word] * len(chunks)
        for share in [1] if replace in ("all", "curriculum") else [0, 1/4, 1/2, 3/4, 1]:
            m = round(share * len(chunks))
            text = naive_mix(chunks, codes, [i < m for i in range(len(chunks))], bo, eo)
            text += [END] + method.vocab.encode(e.answer) + [EOS]
            h = method.model(method.model.embed(torch.tensor([prompt + text])))[0]
            log_p = method.model.head(h[len(prompt) - 1:-1]).log_softmax(-1)
            losses += [-log_p[i, word] for i, word in enumerate(text)]
    return torch.stack(losses).mean()


@pytest.mark.parametrize("conv", ["0", "4"])
@pytest.mark.parametrize("replace", ["left", "all", "curriculum", "delete", "pause"])
def test_mixtures_that_branch_off_one_question_are_as_if_alone(replace, conv):
    """In value and gradient, though the question of a problem is read but once; one problem has no
    step, and so the same sequence five times."""
    method = make("assorted", "--replace", replace, "--conv", conv, "--chunk", "4")
    examples = batch_of(method, 4).examples
    examples[2].steps = []
    batch = collate(examples, method.vocab)

    def gradient(loss):
        method.zero_grad()
        loss.backward()
        return [p.grad for p in method.parameters() if p.requires_grad]
    together, alone = method.loss(batch)[0], naive_loss(method, batch)
    torch.testing.assert_close(together, alone, **EXACT)
    torch.testing.assert_close(gradient(together), gradient(alone), **EXACT)


def test_mixtures_of_a_recurrent_backbone_are_as_if_alone():
    """In eval mode, where r is no draw and s_0 is that of a position."""
    method = make("assorted", "--backbone", "recurrent", "--layers", "3", "--mean-r", "3")
    batch = batch_of(method, 4)
    torch.testing.assert_close(method.loss(batch)[0], naive_loss(method, batch), **EXACT)


@pytest.mark.parametrize("mixtures", [1, 3])
def test_mixtures_of_a_problem_have_different_shares(mixtures):
    """M of the five, each as often as another."""
    method = make("assorted", "--mixtures", str(mixtures))
    m = method.latent(torch.ones(5000 * mixtures, 8).bool(), mixtures).sum(1).view(-1, mixtures)
    assert all(len(set(row)) == mixtures for row in m.tolist())
    count, n = Counter(m.flatten().tolist()), 5000 * mixtures
    assert all(abs(count[k] - n / 5) < 4 * math.sqrt(n * 0.2 * 0.8) for k in (0, 2, 4, 6, 8))


def test_one_mixture_is_trained_like_a_chain_of_thought():
    """--mixtures 1: the loss of CoT on the sequences that are drawn."""
    method, losses = make("assorted", "--mixtures", "1"), []
    for loss in (method.loss, functools.partial(CoT.loss, method)):
        torch.manual_seed(1)
        losses.append(loss(batch_of(method, 6))[0])
    torch.testing.assert_close(*losses, **EXACT)


@pytest.mark.parametrize("replace", STRATEGIES)
def test_branches_are_the_sequences_that_are_trained(replace, monkeypatch):
    """Whatever gives way: mixtures that cannot differ are trained once."""
    method, seen = make("assorted", "--replace", replace), []
    forward = method.model.forward

    def spy(*args, tree=None, **more):
        seen.append(1)
        if tree is not None:        # <think>, which all branches follow, has a child in each
            children = tree.parent[:, :, None] == torch.arange(tree.parent.shape[1])
            seen[-1] = int(children.sum(1).amax(1).min())       # of a row without padding
        return forward(*args, tree=tree, **more)
    monkeypatch.setattr(method.model, "forward", spy)
    method.loss(batch_of(method, 2))
    assert seen == [method.branches] == [1 if replace in ("all", "curriculum") else 5]


# ---- the VQ-VAE ----------------------------------------------------------------------------------

def test_the_loss_reports_what_solve_rebuilds():
    """In eval mode, on the same batch: the share of the trace's words, short chunks and all."""
    method = make("vqvae", "--chunk", "4")      # steps of 10 words
    batch = batch_of(method, 12)
    true = [sum(e.steps, []) for e in batch.examples]
    for word in sorted(set(sum(true, []))):     # made likelier, until some are right by chance
        likelier = method.model.head.weight[method.vocab.ids[word]]
        method.model_to_chunk[-1].bias.data = likelier.detach()
        solved = method.solve(batch)
        right = [w == v for t, s in zip(true, solved) for w, v in zip(s.answer, t)]
        if 0 < sum(right) < len(right):
            break
    assert [len(s.answer) for s in solved] == list(map(len, true))
    assert 0 < sum(right) < len(right)
    assert method.loss(batch)[1]["rebuilt"].item() == pytest.approx(sum(right) / len(right))


@pytest.mark.parametrize("align", [True, False])
def test_loss_equals_a_loop(align):
    """Eq. (5): chunk by chunk, the codes of the chunks up to it after the question; beta = 1/4."""
    method = make("vqvae", "--chunk", "4", "--align" if align else "--no-align")
    batch = batch_of(method, 3)
    ce, commitment, embed = [], [], method.model.embed.weight
    with torch.no_grad():
        for e in batch.examples:
            ids = method.vocab.encode(e.question) + [THINK]
            context = embed[ids]
            for chunk in naive_chunks([method.vocab.encode(s) for s in e.steps], 4, align):
                chunk = torch.tensor(chunk + [PAD] * (4 - len(chunk)))
                x = method.encoder(embed[chunk].flatten())
                q = method.codebook.code[brute_force(x[None], method.codebook.code)[0]]
                context = torch.cat([context, method.code_to_model(q)[None]])
                state = method.model_to_chunk(method.model(context[None])[0, -1])        # (L, C)
                ce.append(F.cross_entropy(method.model.head(state), chunk))
                commitment.append((x - q).pow(2).mean())
        loss, parts = method.loss(batch)
    ce, commitment = torch.stack(ce).mean(), torch.stack(commitment).mean()
    torch.testing.assert_close(loss, ce + 0.25 * commitment, **EXACT)
    torch.testing.assert_close(parts["commitment"], commitment, **EXACT)


def test_solve_tells_the_codes():
    """Those of the chunks that a row has, as latents, as thoughts and in number."""
    method = make("vqvae")
    batch = batch_with(method, ["1 2 3 4 5 6", "7"], ["8"])
    with torch.no_grad():
        x = method.encode(chunked(batch.chain, batch.step_of, 5, True)[[0, 0, 0, 1], [0, 1, 2, 0]])
    want = brute_force(x, method.codebook.code)
    solved = method.solve(batch)
    for s, codes in zip(solved, (want[:3], want[3:])):
        assert (s.latents, s.n_think) == (codes, len(codes))
        assert s.thoughts == " ".join(f"<z{k}>" for k in codes)


def test_gradients_reach_the_encoder_through_the_codes():
    """Eq. (3): every parameter learns, although the decoder sees nothing but codes."""
    method = make("vqvae").train()
    method.loss(batch_of(method, 4))[0].backward()
    for name, p in method.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, name


def test_only_training_moves_the_codebook():
    """Eq. (4) in training; in eval mode, neither `loss` nor `solve` changes e, N or S."""
    method = make("vqvae")
    batch, before = batch_of(method, 4), [t.clone() for t in method.codebook.buffers()]
    method.loss(batch)
    method.solve(batch)
    assert same(before, list(method.codebook.buffers()))
    method.train()
    method.loss(batch)
    assert not any(torch.equal(a, b) for a, b in zip(before, method.codebook.buffers()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_codebook_learns_in_float32_under_autocast(dtype):
    """Loss and gradient exist; Eq. (4) is as exact as without autocast."""
    method = make("vqvae").float().train()
    x, codebook = torch.randn(300, D), copy.deepcopy(method.codebook)
    with torch.autocast("cpu", dtype):
        method.loss(batch_of(method, 4))[0].backward()
    method.codebook.load_state_dict(codebook.state_dict())
    with torch.autocast("cpu", dtype):
        torch.manual_seed(1)
        method.codebook.update(x)
    torch.manual_seed(1)
    codebook.update(x)
    for a, b in zip(method.codebook.buffers(), codebook.buffers()):
        torch.testing.assert_close(a, b)


def logits_of(method, question, q):
    """Of one problem: the codes q (n, D) after a question (text) -> logits (n, L, V)."""
    question = torch.tensor([method.vocab.encode(question.split())])
    with torch.no_grad():
        return method.decode(question, torch.ones(1, len(q)).bool(), q)


def test_decode_is_causal_and_reads_the_question():
    """Eq. (5): chunk i depends on the codes up to its own and on the question, on no later one."""
    method, q = make("vqvae"), torch.randn(5, D).double()
    base, changed = logits_of(method, "Ann has 3", q), q.clone()
    changed[2] += 1
    other = logits_of(method, "Ann has 3", changed)
    torch.testing.assert_close(other[:2], base[:2])
    assert all(not torch.allclose(other[i], base[i], atol=1e-3) for i in (2, 3, 4))
    other = logits_of(method, "Ann has 4", q)
    assert all(not torch.allclose(other[i], base[i], atol=1e-3) for i in range(5))


def test_decode_of_a_padded_batch_equals_each_row_alone():
    """Questions of other lengths, 3, 0 and 2 codes."""
    method, q = make("vqvae"), torch.randn(5, D).double()
    questions = ["how many does Ann have ?", "Ben has", "Ann has 3 more"]
    encoded = [method.vocab.encode(t.split()) for t in questions]
    padded = torch.tensor([ids + [PAD] * (6 - len(ids)) for ids in encoded])
    has_chunk = torch.tensor([[1, 1, 1], [0, 0, 0], [1, 1, 0]]).bool()
    with torch.no_grad():
        together = method.decode(padded, has_chunk, q)
    torch.testing.assert_close(together[:3], logits_of(method, questions[0], q[:3]))
    torch.testing.assert_close(together[3:], logits_of(method, questions[2], q[3:]))


def test_a_collapse_is_told_once():
    """Used like 1.5 of 16 codes, all else far away but not yet dead, after a tenth of training."""
    method = make("vqvae").train()
    batch, codebook = batch_of(method, 8), method.codebook
    n = int(method.chunks(batch).any(-1).sum())
    codebook.code[1:] = 100
    codebook.cluster_size[:] = n / 16 / 16
    codebook.cluster_size[0] = n - codebook.cluster_size[1:].sum()
    codebook.embed_sum.copy_(codebook.code * codebook.cluster_size[:, None])
    assert perplexity(codebook.cluster_size) < 1.6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.progress = 0.05
        method.loss(batch)
        method.progress = 0.5
        with pytest.warns(UserWarning, match="the codes collapse: 16 of them are used like 1"):
            method.loss(batch)
        method.loss(batch)


# ---- what the language model writes --------------------------------------------------------------

def written(method, batch, **knobs):
    """What a greedy rollout writes, as text, codes as such."""
    return text(method, method.rollout(batch, 1, **knobs).acts["written"])


def restless(seed=0):
    """An untrained method to which </think>, <eos>, <eoLatent> and a code are likelier words than
    others, each in some states: whose rows may stop thinking and answering at different times."""
    method = make("assorted")
    torch.manual_seed(seed)
    head = method.model.head.weight.data
    chosen = [END, EOS, method.eo, method.first + 3]
    head[chosen] = 2 * head.std() * torch.randn(4, head.shape[1]).double()
    return method


@torch.no_grad()
def naive_written(method, e, latents=None):
    """Greedy, of one problem, everything computed anew for every word."""
    model, new = method.model, []
    prompt = method.vocab.encode(e.question) + [THINK]

    def logits():
        h = model(model.embed(torch.tensor([prompt + new])))[0, -1]
        return model.head(h)
    if latents:
        new = [method.bo]
        while len(new) <= latents and (l := logits()).softmax(-1)[method.eo] <= vqvae.SURE:
            new.append(method.first + int(l[method.first:].argmax()))
        new.append(method.eo)
    elif latents == 0:
        first = logits()
        first[[PAD, method.bo]] = -torch.inf
        new.append(int(first.argmax()))
    room = method.args.max_think + method.args.max_answer - len(new)
    while room and (not new or new[-1] != EOS):
        new.append(1 + int(logits()[1:].argmax()))      # never 0, the padding
        room -= 1
    return " ".join(method.vocab.decode(new))


@pytest.mark.parametrize("latents", [None, 0, 1, 2, 4])
def test_rollout_equals_a_loop_without_cache(latents, monkeypatch):
    """Free and forced; rows are of different lengths, and where codes end of themselves, too."""
    for seed, sure in itertools.product(range(20), (0.3, 0.1, 0.03)):
        method = restless(seed)
        batch = batch_of(method, 8)
        monkeypatch.setattr(vqvae, "SURE", sure)
        want = [naive_written(method, e, latents) for e in batch.examples]
        lengths = {len(row.split()) for row in want}
        codes = {row.split("<eoLatent>")[0].count("<z") for row in want}
        if len(lengths) > 1 and (latents != 4 or len(codes) > 1):
            break
    assert written(method, batch, **{} if latents is None else {"latents": latents}) == want
    assert len(lengths) > 1 and (latents != 4 or len(codes) > 1)


def test_nothing_follows_an_eos_in_the_first_place():
    """latents = 0: the first word is chosen apart from those after it."""
    method = make("assorted")
    batch, head = batch_of(method, 1), method.model.head.weight.data
    with torch.no_grad():
        prompt = torch.cat(method.prompt(batch), 1)
        head[EOS] = 9 * method.model(method.model.embed(prompt))[0, -1]
    assert written(method, batch, latents=0) == ["<eos>"]


def test_no_codes_is_no_bo_latent():
    """latents = 0: even where that is by far the likeliest word, or padding is."""
    method = make("assorted")
    batch, head = batch_of(method, 1), method.model.head.weight.data
    with torch.no_grad():
        prompt = torch.cat(method.prompt(batch), 1)
        h = method.model(method.model.embed(prompt))[0, -1]
    head[method.bo], head[PAD] = 5 * h, 6 * h
    assert written(method, batch)[0].startswith("<boLatent>")
    row = method.rollout(batch, 1, latents=0).acts["written"][0]
    assert row[0] not in (PAD, method.bo)


@pytest.mark.parametrize("sure, codes", [(1.1, 3), (-1, 0)])
def test_forced_codes_end_where_they_must(sure, codes, monkeypatch):
    """Exactly 3 if <eoLatent> is never sure enough, none if it always is; then <eoLatent>."""
    monkeypatch.setattr(vqvae, "SURE", sure)
    method = restless()
    for row in written(method, batch_of(method, 6), latents=3):
        words = row.split()
        assert words[0] == "<boLatent>" and words[codes + 1] == "<eoLatent>"
        assert all(w[:2] == "<z" for w in words[1:codes + 1])


def test_many_codes_end_with_the_longest_chain(monkeypatch):
    """latents = 999 stops at the 12 // 2 words of the longest chain, were each of them a code."""
    monkeypatch.setattr(vqvae, "SURE", 1.1)
    method = restless()
    solved = method.rollout(batch_of(method, 3), 1, latents=999).solved
    assert all(s.thoughts.split().index("<eoLatent>") == 1 + 6 for s in solved)


def test_pauses_are_forced_like_codes(monkeypatch):
    """With --replace pause, latents = 2 writes two pauses."""
    monkeypatch.setattr(vqvae, "SURE", 1.1)
    method = make("assorted", "--replace", "pause")
    for row in written(method, batch_of(method, 3), latents=2):
        assert row.startswith("<boLatent> <pause> <pause> <eoLatent>")


def test_delete_has_no_latents():
    """One line for a setting that makes no sense, and no such row in the results."""
    method = make("assorted", "--replace", "delete")
    assert method.settings() == [{}]
    with pytest.raises(BadInput, match="latents"):
        method.solve(batch_of(method, 1), latents=0)


def test_forced_codes_are_not_reinforced():
    """Of its own codes all are; of forced ones rl.py would score words that were never chosen."""
    method = make("assorted")
    method.reinforceable()
    for latents in (0, 2):
        with pytest.raises(BadInput, match="--latents: .* no choice"):
            method.reinforceable(latents=latents)


def test_samples_of_a_problem_stand_together():
    """Sampled rollouts of one problem share its prompt, differ, and follow the generator."""
    method = make("assorted")
    batch = batch_of(method, 2)

    def draw(seed):
        sample = Sampler(1.0, generator=torch.Generator().manual_seed(seed))
        return method.rollout(batch, 3, sample, latents=2)
    acts = draw(1).acts
    assert torch.equal(acts["prompt"][0], acts["prompt"][2])
    assert not torch.equal(acts["prompt"][2], acts["prompt"][3])
    assert len({tuple(row) for row in acts["written"].tolist()}) == 6
    assert same(draw(1).acts, acts) and not same(draw(2).acts["written"], acts["written"])


@pytest.mark.parametrize("latents", [None, 0, 2])
def test_top_1_of_samples_is_the_greedy_chain(latents):
    """In codes, in the first word of text, and in all that follows."""
    method = restless()
    knobs = {} if latents is None else {"latents": latents}
    batch = batch_of(method, 3)
    samples = method.rollout(batch, 2, Sampler(1.0, top_k=1), **knobs).acts["written"].tolist()
    greedy = method.rollout(batch, 1, **knobs).acts["written"].tolist()
    assert samples[::2] == samples[1::2] == greedy


def test_reading_counts_every_word_of_the_chain():
    """n_think: all that is written before </think>; codes in the answer are none of its codes."""
    method = make("assorted")
    row = "<boLatent> <z3> <z0> <eoLatent> Ann has </think> 7 <z5> <eos> <pad>"
    s = method.solved(method.vocab.encode(row.split()))
    assert s == Solved(["7", "<z5>"], 6, "<boLatent> <z3> <z0> <eoLatent> Ann has", [3, 0])


def test_codes_are_spelled_after_their_question():
    """Each row's codes as `decode` reads them alone; a row without codes stays as it is."""
    method = make("assorted")
    batch, head = batch_of(method, 3), method.vqvae.model.head.weight.data
    codes = [3, 1, 14, 7], [], [3, 3, 5, 0, 8, 2]
    for seed in range(99):      # until some chunks are short
        torch.manual_seed(seed)
        head[PAD] = 2 * head.std() * torch.randn(head.shape[1]).double()
        solved = [Solved([], 0, f"has {' '.join(f'<z{k}>' for k in row)} <eoLatent> Ann", list(row))
                  for row in codes]
        method.rollout = lambda *args, **knobs: Rollout(solved, None, {}, {})
        assert method.solve(batch) is solved
        if len({len(latent) for s in solved for latent in s.latents}) > 1:
            break
    assert solved[1] == Solved([], 0, "has <eoLatent> Ann", [])
    for i in (0, 2):
        question = " ".join(batch.examples[i].question)
        logits = logits_of(method.vqvae, question, method.vqvae.codebook.code[list(codes[i])])
        words = [" ".join(method.vocab.decode(row)).split("<pad>")[0].strip()
                 for row in logits.argmax(-1).tolist()]
        assert [" ".join(latent) for latent in solved[i].latents] == words
        assert solved[i].thoughts == f"has {' '.join(f'[{w}]' for w in words)} <eoLatent> Ann"
    lengths = {len(latent) for s in solved for latent in s.latents}
    assert len(lengths) > 1


# ---- what the results table says -----------------------------------------------------------------

def test_extras_of_the_vqvae_by_hand():
    """6 of 8 words; 2 of 16 codes, used 1 and 3 times."""
    method = make("vqvae")
    examples = batch_with(method, ["1 2 3", "4 5"], ["6 7 8"]).examples
    solved = [Solved("1 2 9 4 5".split(), 2, "", [5, 2]), Solved("6 9 8".split(), 2, "", [2, 2])]
    extras = method.train().extras(examples, solved)
    assert method.training
    assert extras.pop("mixed") == method.rebuilt(examples)[1]
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert extras == pytest.approx({"rebuilt": 6 / 8, "used": 2 / 16,
                                    "perplexity": math.exp(entropy)})


def test_mixed_codes_are_decoded_at_the_knobs_of_their_row():
    """A row of r = 7 iterations is about 7 of them in all of its columns."""
    _, task, method = small("vqvae", "arithmetic", *DEEP)
    asked, decode = [], method.decode
    method.decode = lambda *args: asked.append(method.model.r) or decode(*args)
    row = evaluation.evaluate(method, task, [task.sample("val", i) for i in range(3)], r=7)
    assert asked == [7, 7, 7] and row["iterations"] == 7        # to solve; for "mixed", twice


def test_extras_of_assorted_by_hand():
    """Chunks: 1 2 3 4 5, 6, 7 8 and 9; 2 of the 4 codes with a chunk at their place are right."""
    method = make("assorted")
    examples = batch_with(method, ["1 2 3 4 5 6", "7 8"], ["9"], ["10"]).examples
    latents = [["1 2 3 4 5".split(), ["7"], ["7", "8"]], [["8"], ["9"]], []]
    solved = [Solved([], 0, "", row) for row in latents]
    assert method.extras(examples, solved) == {"decoded": 2 / 4}
    assert method.extras(examples[2:], solved[2:]) == {}
    assert make("assorted", "--replace", "poisson").extras(examples, solved) == {}


# ---- whole runs ----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def assorted_run(tmp_path_factory):
    """Both stages; chains are cut off at 12 words, since untrained models write to the limit."""
    out = tmp_path_factory.mktemp("assorted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "limits", lambda task: {"max_think": 12, "max_answer": 3})
        train.main([*RUN, "--method", "assorted", "--steps", "6", "--first-steps", "6",
                    "--out", str(out)])
    return out


def test_the_codes_of_a_run_are_frozen(assorted_run):
    """The language model's training changes nothing in the VQ-VAE that it started from."""
    first = runs.load(assorted_run / "vqvae")["method"]
    method = runs.load_run(assorted_run)[1]
    assert same(dict(first), dict(method.vqvae.state_dict()))
    assert method.vqvae.codebook.cluster_size.sum() > 0
    assert not any(p.requires_grad for p in method.vqvae.parameters())
    assert not torch.equal(method.model.embed.weight, first["model.embed.weight"])


def test_a_loaded_run_solves_like_the_one_that_was_saved(assorted_run):
    """results.json was written by the method in memory; a loaded one gives the same rows."""
    found = results(assorted_run)["rows"]
    assert [r["knobs"] for r in found] == [{}, {"latents": 0}, {"latents": 999}, {}]
    for run, rows in ((assorted_run / "vqvae", found[:1]), (assorted_run, found[1:])):
        task, method, state = runs.load_run(run)
        for row in rows:
            test = first_problems(task, "test", 8)
            again = evaluation.evaluate(method, task, test, **row["knobs"])
            names = again.keys() - {"ms"}
            assert {k: again[k] for k in names} == {k: row[k] for k in names}


@pytest.mark.parametrize("argv, message", [
    (["--codes", "32"], "codes 16, not 32"), (["--chunk", "4"], "chunk 5, not 4"),
    (["--no-align"], "align True, not False")], ids=" ".join)
def test_other_codes_than_those_of_init_are_refused(argv, message, assorted_run, tmp_path, capsys):
    """Codes mean something only to the chunks they were learned on: exit 2, one line, no run."""
    line = fails([*RUN, "--method", "assorted", *argv, "--init", str(assorted_run / "vqvae"),
                  "--out", str(tmp_path / "o")], capsys)
    assert line.startswith("train.py: --init") and message in line
    assert not (tmp_path / "o").exists()


def test_a_stopped_codebook_resumes_to_the_last_bit(tmp_path, monkeypatch):
    """Its state, and the draws that replace dead codes, are all in the checkpoint."""
    argv = [*RUN, "--method", "vqvae", "--steps", "8"]
    train.main(argv + ["--out", str(tmp_path / "whole")])
    update = train.Training.update

    def ctrl_c_in_step_3(self, *args):
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, *args)
    with monkeypatch.context() as patch:
        patch.setattr(train.Training, "update", ctrl_c_in_step_3)
        with pytest.raises(SystemExit):
            train.main(argv + ["--out", str(tmp_path / "parts")])
    assert runs.load(tmp_path / "parts")["step"] == 3
    train.main(argv + ["--out", str(tmp_path / "parts"), "--resume"])
    whole, parts = runs.load(tmp_path / "whole"), runs.load(tmp_path / "parts")
    for key in ("step", "method", "optimizers", "rng"):
        assert same(whole[key], parts[key]), key


def test_the_command_line_of_eval_forces_the_mixture(assorted_run, tmp_path, capsys):
    """--latents gives a row per number, --top-k names itself, and --show the true chunks."""
    evaluation.main([str(assorted_run), "--latents", "0,2", "--n", "5", "--show", "1", "--plot",
                     str(tmp_path / "mix.png"), "--json", str(tmp_path / "mix.json")])
    rows = json.loads((tmp_path / "mix.json").read_text(encoding="utf-8"))[0]["rows"]
    assert [r["knobs"] for r in rows] == [{"latents": 0}, {"latents": 2}]
    assert (tmp_path / "mix.png").stat().st_size > 5000
    assert "true chain  [" in capsys.readouterr().out
    evaluation.main([str(assorted_run), "--latents", "2", "--n", "4", "--k", "1,2", "--top-k", "1",
                     "--json", str(tmp_path / "k.json")])
    one, two = json.loads((tmp_path / "k.json").read_text(encoding="utf-8"))[0]["rows"]
    assert one["knobs"] == {"latents": 2, "k": 1, "top_k": 1} and two["knobs"]["k"] == 2


def test_codes_are_explained(assorted_run, capsys):
    """`python -m lab.codes RUN`: its shares are those of a loop over all chunks; with a figure."""
    lab_codes.main([str(assorted_run), "--n", "6"])
    text = capsys.readouterr().out
    task, method, _ = runs.load_run(assorted_run)
    examples = first_problems(task, "test", 6)
    found = lab_codes.meanings(method.vqvae.eval(), examples)
    rebuilt, mixed = method.vqvae.rebuilt(examples)
    method.double()         # for chunks one by one to have the codes that they have together
    assert lab_codes.meanings(method.vqvae, examples) == found
    want = Counter()
    for e in first_problems(task, "test", 6):
        chunk, code = method.vqvae.codes(collate([e], method.vocab))
        want.update((k, " ".join(w)) for k, w in zip(code[0].tolist(), method.true_groups(e)))
    assert want == Counter({(k, t): n for k, c in found.items() for t, n in c.items()})
    assert f"{100 * rebuilt:.1f}% of words rebuilt" in text and 0 <= mixed <= rebuilt + 0.1
    top = max(found, key=lambda k: sum(found[k].values()))
    share = 100 * sum(found[top].values()) / sum(want.values())
    first = text.splitlines()[0].split()
    assert first[0] == f"<z{top}>" and first[1] == f"{share:.1f}%"
    assert (assorted_run / "codes.png").stat().st_size > 5000


def test_problems_without_steps_have_nothing_to_explain(assorted_run, capsys, monkeypatch):
    monkeypatch.setattr(lab_codes, "problems", lambda *_: [Example(["how"], [], ["3"], 0)])
    assert "no problem of test has a step" in fails([str(assorted_run)], capsys, lab_codes.main)


def test_runs_without_codes_and_runs_without_words_are_refused(assorted_run, tmp_path, capsys):
    train.main(["--method", "nocot", "--size", "nano", "--threads", "1", "--test-n", "8", "--steps",
                "1", "--out", str(tmp_path / "nocot")])
    assert "has no codes" in fails([str(tmp_path / "nocot")], capsys, lab_codes.main)
    argv = [str(assorted_run / "vqvae")]
    main = functools.partial(script.command, rl.parse, rl.run, "rl.py")
    assert "nothing to reinforce" in fails(argv, capsys, main)
    assert "nothing to sample" in fails([*argv, "--k", "2"], capsys, evaluation.main)
