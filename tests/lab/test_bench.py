"""What the benchmark counts is right, and what it prints follows; speed itself is no test."""
import contextlib
import io
import json
import math

import pytest
import torch

from data.common import PAD, collate
from lab import bench

NANO = ["--size", "nano", "--width", "64", "--steps", "2"]


@pytest.fixture(scope="module", autouse=True)
def few():
    """Problems to solve."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "MANY", 3)
        patch.setattr(bench, "FEW", 1)
        yield


@pytest.fixture(scope="module")
def nano():
    return bench.arguments(NANO)[1]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What main prints and what it writes."""
    path, printed = tmp_path_factory.mktemp("bench") / "b.json", io.StringIO()
    with contextlib.redirect_stdout(printed):
        bench.main([*NANO, "--methods", "cot,icot,colar,assorted", "--backbones", "gpt",
                    "--dtype", "bfloat16", "--json", str(path)])
    return printed.getvalue(), json.loads(path.read_text(encoding="utf-8"))


def test_columns_follow_from_each_other(written):
    rows = written[1]["rows"]
    assert [(r["method"], r["backbone"]) for r in rows] == [("reference", "-")] + [
        (m, "gpt") for m in ("cot", "icot", "colar", "assorted")]
    first = rows[0]
    for row in rows:
        assert 0 < row["share_of_peak"] <= 1 and 0 < row["data"] < 1
        for ratio in (row["x_problems"] - row["problems_per_s"] / first["problems_per_s"],
                      row["x_single"] - first["ms_single"] / row["ms_single"],
                      row["x_batched"] - first["ms_batched"] / row["ms_batched"],
                      row["tokens_per_s"] / row["problems_per_s"]
                      - first["tokens_per_s"] / first["problems_per_s"]):
            assert abs(ratio) < 1e-9
        gflops = row["gflop_per_step"] / row["ms_per_step"] * 1000
        assert abs(gflops / row["share_of_peak"] / written[1]["machine"]["peak_gflops"] - 1) < 0.1


def test_curriculum_is_at_its_end(written):
    """iCoT computes without the chain, which is half of the words."""
    work = {r["method"]: r["gflop_per_step"] for r in written[1]["rows"]}
    assert 0.3 < work["icot"] / work["cot"] < 0.7
    assert work["cot"] < work["reference"]      # whose batches are padded more


def test_figures_follow_from_what_is_measured(nano):
    """A recurrent row; the times, and what it is beside, are made up."""
    row, other = bench.Ours(nano, "cot", "recurrent"), {"problems_per_s": 5.0, "ms_single": 30.0,
                                                        "ms_batched": 2.0}
    counts, real = bench.count(row), bench.clock(row)
    assert {k: len(v) for k, v in real.items()} == {"step": 1, "single": 1, "batched": 1}
    assert all(v[0] > 0 for v in real.values())
    rounds = [{"step": [0.2 - nano.data], "single": [0.07], "batched": [0.0015]},
              {"step": [0.3], "single": [0.06], "batched": [0.0018]}]
    row = bench.figures(nano, counts, rounds, 1e9, other)
    rate = counts["words"] / 0.2
    assert [row[k] for k in ("tokens_per_s", "problems_per_s", "share_of_peak", "data",
                             "x_problems", "x_single", "x_batched")] == pytest.approx(
        [rate, rate / nano.mean_words, counts["flops"] / 2e8, nano.data / 0.2,
         rate / nano.mean_words / 5, 0.5, 4.0])


def test_the_fastest_of_each_call_counts():
    assert bench.fastest([[1, 5, 3], [2, 4, 3]]) == [1, 4, 3]


def test_report_is_what_was_printed(written):
    printed, out = written
    assert printed == bench.report(out) + "\n"
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 110
    row = next(line for line in lines if line.startswith("colar")).split()
    assert row[2] == f"{out['rows'][3]['problems_per_s']:.0f}"
    assert len({len(line) for line in lines[2:8]}) == 1      # aligned


def test_memory_of_iterations_is_constant(written):
    kept = written[1]["depth"]
    assert kept["kept_mb_r4"] > 0       # k = 4 iterations have a gradient, however many there are
    assert kept["kept_mb_r64"] < 1.01 * kept["kept_mb_r4"]


def test_flops_of_a_plain_gpt_are_counted_by_hand(nano):
    """6 per weight and position, but for the MLP (there is one layer) and the head, which see what
    is predicted; attention takes two products forward, and backward four and one again."""
    row, batch = bench.Ours(nano, "cot", "gpt"), nano.sorted[0]
    B, C, V = len(batch.examples), 64, len(nano.vocab)
    T = max(bench.words([collate([e], nano.vocab)]) + 1 for e in batch.examples)   # + 2 - 1
    attn, mlp = 4 * C * C, 2 * C * 4 * C
    said = int((batch.chain != PAD).sum() + (batch.answer != PAD).sum()) + B     # and </think>
    muon = 0        # of every matrix (short, long): five times two products with it, and a square
    for short, long in ((C, 3 * C), (C, C), (C, 4 * C), (C, 4 * C)):
        muon += 5 * (2 * 2 * short * short * long + 2 * short ** 3)
    by_hand = 6 * attn * B * T + 14 * B * T * T * C + 6 * (mlp + C * V) * said + muon
    assert bench.flops(lambda: row.update(batch)) == by_hand


def test_flops_of_the_reference_are_counted_by_hand(nano):
    row, batch = bench.Reference(nano), nano.mixed[0]
    B, C, V = len(batch.examples), 64, len(nano.vocab)
    T = max(bench.words([collate([e], nano.vocab)]) + 1 for e in batch.examples)
    by_hand = 6 * (12 * C * C + C * V) * B * T + 14 * B * T * T * C
    assert bench.flops(lambda: row.update(batch)) == by_hand


def test_iterations_without_a_gradient_are_counted_once(nano):
    """Four more iterations beyond k: forward only, adapter and core."""
    row, batch = bench.Ours(nano, "cot", "recurrent"), nano.sorted[0]
    B, C = len(batch.examples), 64
    T = max(bench.words([collate([e], nano.vocab)]) + 1 for e in batch.examples)
    counts = []
    for r in (4, 8, 12):
        row.net.model.mean_r = r
        counts.append(bench.flops(lambda: row.update(batch)))
    core = 2 * (2 * C * C + 4 * C * C + 2 * C * 4 * C) * B * T + 4 * B * T * T * C
    assert counts[1] - counts[0] == counts[2] - counts[1] == 4 * core


def test_nothing_stops_a_row(nano):
    """All rows take as long as a chain of mean length does: as words, as half as many latents,
    or not at all."""
    batch, chain = collate(nano.to_solve, nano.vocab), math.ceil(nano.chain)
    answer = nano.limits["max_answer"]
    solved = {m: bench.Ours(nano, m, "gpt").solve(batch)
              for m in ("cot", "nocot", "coconut", "colar")}
    assert {s.n_think for s in solved["cot"]} == {chain + answer}
    assert {(s.n_think, len(s.answer)) for s in solved["nocot"]} == {(0, answer)}
    assert {s.n_think for s in solved["coconut"]} == {6 + answer}
    assert {(s.n_think, len(s.answer)) for s in solved["colar"]} == {(-(-chain // 2), answer)}
    ids = bench.Reference(nano).solve(batch)
    assert ids.shape[1] == batch.question.shape[1] + 1 + chain + answer         # and <think>


def test_reference_solves_together_as_alone(nano):
    """Its rows are padded on the right, and what follows a word has no part in it."""
    row = bench.Reference(nano)
    row.net.double()
    solve, examples = row.solve, nano.to_solve
    together = solve(collate(examples, nano.vocab))
    for ids, e in zip(together, examples):
        alone = solve(collate([e], nano.vocab))[0]
        assert torch.equal(ids[:len(alone)], alone) and len(alone) > nano.chain


def test_kept_counts_a_storage_once():
    x = torch.ones(1000, requires_grad=True)
    assert sum(bench.kept(lambda: (x * x[None]).sum()).values()) == 4000
    assert sum(bench.kept(lambda: (x.exp() * x).sum()).values()) == 8000    # exp keeps its result


def test_profile_adds_up(capsys):
    bench.main([*NANO, "--backbones", "gpt", "--profile", "colar"])
    problems = bench.arguments(NANO)[1]
    found = bench.profile(problems, "colar", "gpt")
    assert abs(sum(found["shares"].values()) - 1) < 1e-9
    assert all(0 < share < 1 for share in found["shares"].values())
    shares = [e["share"] for e in found["operators"]]
    assert shares == sorted(shares, reverse=True) and 0.5 < sum(shares) <= 1
    assert any(e["operator"] == "aten::mm" for e in found["operators"])
    assert "colar gpt: forward" in capsys.readouterr().out


@pytest.mark.parametrize("argv, message", [
    (["--methods", "cot,colr"], "unknown method 'colr' (nearest: colar)"),
    (["--backbones", "gtp"], "unknown backbone 'gtp' (nearest: gpt)"),
    (["--profile", "cott"], "unknown method 'cott' (nearest: cot)"),
    (["--task", "maz"], "unknown --task 'maz' (nearest: maze)"),
    (["--steps", "0"], "--steps 0: must be at least 1"),
    (["--width", "-4"], "--width -4: must be at least 0"),
    (["--json", "no/such/file"], "no/such/file: no such folder"),
    (["--methd", "cot"], "unknown flag --methd (nearest: --methods)")])
def test_bad_input_is_one_line(argv, message, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(["--size", "nano", *argv])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"lab.bench: {message}\n"
