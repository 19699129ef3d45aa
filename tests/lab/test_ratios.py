"""lab.ratios: the same work on both sides, what stands in for nanoGPT, and the verdicts."""
import gc
import json
import math
import weakref
from types import SimpleNamespace

import pytest
import torch

from lab import ratios, ratios_worker
from method import pack
from tests.helpers import fails

NANO = ["--method", "cot", "--size", "nano"]
STUB = """
import dataclasses
import torch


@dataclasses.dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool


class GPT(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        print("this is no answer")
        self.config = config
        self.table = torch.nn.Parameter(torch.zeros(config.vocab_size, config.vocab_size))

    def forward(self, ids, targets):
        logits = self.table[ids]
        return logits, torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
"""


@pytest.fixture(scope="module")
def side(tmp_path_factory):
    """This checkout, in this process, with two batches."""
    path = tmp_path_factory.mktemp("ratios") / "problems.jsonl"
    side = ratios_worker.Side(ratios.ROOT, torch.get_num_threads())
    side.draw(str(path), "nano", 2)
    side.counts = side.load(str(path))
    return side


def test_problems_survive_the_file(side):
    """The same words as the method's own sequences; all tokens but padding are counted."""
    method = side.build(NANO)[1]
    whole = [pack(*method.parts(batch))[0] for batch in side.batches]
    for batch, ids in zip(side.batches, whole):
        assert torch.equal(side.whole(batch), ids)
    assert side.counts == {"problems": 16, "tokens": sum(int((ids > 0).sum()) for ids in whole)}
    short, long = (side.bench.length(batch) for batch in side.batches)
    assert short < long


def test_reference_is_a_transformer_of_torch():
    """The blocks are torch.nn.TransformerEncoderLayer, in float64; padding is not in the loss."""
    torch.manual_seed(0)
    reference = ratios_worker.Reference(50, 9, 2, 2, 16).double()
    ids = torch.randint(50, (3, 8))
    targets = torch.randint(50, (3, 8))
    targets[0, 5:] = -1
    x = reference.embed.weight[ids] + reference.place.weight[:8]
    for block in reference.blocks:
        layer = torch.nn.TransformerEncoderLayer(16, 2, 64, 0.0, "gelu", batch_first=True,
                                                 norm_first=True, bias=False).double()
        state = {"self_attn.in_proj_weight": block.qkv, "self_attn.out_proj.weight": block.out,
                 "linear1.weight": block.up, "linear2.weight": block.down,
                 "norm1.weight": block.norm1, "norm2.weight": block.norm2}
        layer.load_state_dict({name: module.weight for name, module in state.items()})
        x = layer(x, torch.nn.Transformer.generate_square_subsequent_mask(8, dtype=x.dtype))
    expected = torch.nn.functional.layer_norm(x, [16]) @ reference.embed.weight.T
    logits, loss = reference(ids, targets)
    torch.testing.assert_close(logits, expected, atol=1e-9, rtol=1e-9)
    rows, columns = (targets >= 0).nonzero(as_tuple=True)
    log_p = expected.log_softmax(-1)[rows, columns, targets[rows, columns]]
    torch.testing.assert_close(loss, -log_p.mean(), atol=1e-9, rtol=1e-9)


def test_the_reference_learns_from_its_updates(side):
    side.add("reference", "peer", NANO)
    row = side.measured["reference"]
    before = row.loss(side.batches[0]).item()
    row.optimizers[0].param_groups[0]["lr"] = 1e-2
    for _ in range(5):
        side.time("reference")
    assert row.loss(side.batches[0]).item() < before - 0.5


def test_nanogpt_is_found_in_its_folder(side, tmp_path, capsys):
    (tmp_path / "model.py").write_text(STUB, encoding="utf-8")
    assert ratios.is_nanogpt(tmp_path / "model.py")
    assert side.add("nanoGPT", "peer", NANO, nanogpt=str(tmp_path)) > 0
    config = side.measured["nanoGPT"].net.config
    assert (config.vocab_size, config.n_layer, config.n_embd) == (len(side.vocab), 1, 32)
    assert not config.bias and not capsys.readouterr().out
    assert len(side.time("nanoGPT")) == 2


def test_counting_memory_gives_it_back():
    """A hook lives as long as the graph that it is in."""
    x, hooks = torch.randn(5, 5, requires_grad=True), []

    def loss():
        y = x.sigmoid()     # keeps its own output

        def hook(*_):
            pass
        hooks.append(weakref.ref(hook))
        y.grad_fn.register_hook(hook)
        return y.sum()
    assert sum(ratios_worker.kept(loss).values()) == x.nbytes
    gc.collect()
    assert hooks[0]() is None


@pytest.mark.parametrize("method", ["colar", "assorted", "coconut", "codi"])
def test_updates_draw_the_same_every_time(side, method):
    """At the end of a curriculum, so that all of the thoughts are there."""
    argv = ["--method", method, "--size", "nano"]
    a, b = (ratios_worker.Ours(side, argv) for _ in range(2))
    b.update(side.batches[1])       # other random numbers before it
    b.net.load_state_dict(a.net.state_dict())
    losses = []
    for row in (a, b):
        torch.manual_seed(3)
        losses.append(row.loss(side.batches[0]).item())
    assert losses[0] == losses[1] and b.training.step > 0.99 * ratios_worker.STEPS


@pytest.mark.parametrize("argv, branches", [
    ("assorted", 5), ("assorted --mixtures 1", 1), ("assorted --replace all", 1),
    ("colar", 5), ("colar --c-train 1,2", 2), ("colar --c-per batch", 1)])
def test_memory_is_of_a_sequence_for_each_problem(side, argv, branches, monkeypatch):
    """Of 8 problems: 2 at five sequences each, since 1 would be too few."""
    seen = []
    monkeypatch.setattr(side.bench, "memory",
                        lambda row, batch, _: seen.append(len(batch.examples)) or 1.0)
    side.add("row", "ours", ["--size", "nano", "--method", *argv.split()])
    assert side.branches("row") == branches and set(seen) == {math.ceil(8 / branches)}


@pytest.mark.parametrize("ragged", [False, True])
def test_decoding_is_of_full_length_and_needs_no_cache(side, ragged, monkeypatch):
    row = ratios_worker.Decode(side, NANO, 3, ragged)
    lengths = [len(prompt) for prompt in row.prompts]
    assert lengths == ([64, 63, 62] if ragged else [64, 64, 64])
    out = row.written()
    assert out.shape == (3, 64) and bool((out > 1).all())
    assert row.same_without_cache()
    cache_mb = 2 * 3 * 127 * 32 * 4 / 1e6       # keys and values of one layer of width 32
    assert cache_mb < row.memory() < 20 * cache_mb
    wrong = out.clone()
    wrong[1, 5] += 1
    monkeypatch.setattr(row, "written", lambda: wrong)
    assert not row.same_without_cache()


def test_a_row_that_stops_is_an_error(side):
    row = ratios_worker.Decode(side, NANO, 2, False)
    row.net.args.max_answer -= 1
    with pytest.raises(ValueError, match="stopped before"):
        row.written()


def test_verdicts():
    args = SimpleNamespace(only=["cot", "colar", "decode-1"], nanogpt="there")
    seconds = {("base", "cot"): 4.0, ("here", "cot"): 2.0, ("here", "cot nanoGPT"): 2.1,
               ("here", "cot reference"): 2.5, ("base", "colar"): 3.0, ("here", "colar"): 6.0,
               ("base", "decode-1"): 8.0, ("here", "decode-1"): 2.0}
    memory = {key: 10.0 for key in seconds} | {("here", "colar"): 12.0}
    branches = {("base", "colar"): 1, ("here", "colar"): 5}
    rows = ratios.table(args, {"problems": 30, "tokens": 1000}, seconds, memory, branches,
                        {"decode-1": False})
    ratio = {r["measure"]: (r.get("ratio"), r["met"]) for r in rows}
    assert ratio["cot tokens/s, base: nanoGPT"] == (pytest.approx(1.05), True)
    assert ratio["cot tokens/s"] == (2.0, None)
    assert ratio["cot reference's tokens/s, base: nanoGPT"] == (pytest.approx(0.84), False)
    assert ratio["colar problems/s"] == (0.5, None)
    assert ratio["colar sequences/s"] == (2.5, True)
    assert ratio["colar MB"] == (1.2, False) and ratio["cot MB"] == (1.0, True)
    assert ratio["decode-1 tokens/s"] == (4.0, True)
    assert ratio["decode-1 the tokens of no cache"] == (None, False)
    lines = ratios.report(rows).splitlines()
    assert len(lines) == 1 + len(rows)
    assert sum(line.endswith("missed") for line in lines) == 3


def test_this_checkout_beside_itself(tmp_path, capfd):
    """Two processes, from the command line to the file: the same work needs the same memory."""
    path = tmp_path / "ratios.json"
    ratios.main(["--base", str(ratios.ROOT), "--size", "nano", "--only", "cot,decode-1",
                 "--rounds", "1", "--batches", "1", "--json", str(path)])
    rows = {r["measure"]: r for r in json.loads(path.read_text(encoding="utf-8"))["rows"]}
    assert rows["cot MB"]["ratio"] == 1 and rows["decode-1 the tokens of no cache"]["met"]
    assert rows["cot tokens/s, base: reference"]["ratio"] > 0
    assert "decode-1 tokens/s" in capfd.readouterr().out


def test_bad_input(tmp_path, capfd):
    here = ["--base", str(ratios.ROOT)]
    for argv, message in (([], "--base"), (["--base", str(tmp_path)], "no checkout"),
                          ([*here, "--nanogpt", str(tmp_path)], "no model.py of nanoGPT"),
                          ([*here, "--nanogpt", str(ratios.ROOT)], "no model.py of nanoGPT"),
                          ([*here, "--only", "colr"], "nearest: colar"),
                          ([*here, "--batches", "65"], "at most 64"),
                          ([*here, "--json", str(tmp_path / "no" / "a.json")], "no such folder")):
        assert message in fails(argv, capfd, ratios.main)
    (tmp_path / "data").mkdir()
    for name in ("train.py", "data/common.py"):
        (tmp_path / name).write_text("raise SystemExit('broken')", encoding="utf-8")
    assert f"{tmp_path}: cannot draw" in fails(["--base", str(tmp_path)], capfd, ratios.main)
