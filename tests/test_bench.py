"""The benchmark runs and its shares add up; speed itself is no test."""
import json

import bench


def test_bench_reports_shares_and_a_speedup(tmp_path):
    bench.main(["--size", "nano", "--steps", "3", "--dtype", "bfloat16",
                "--width", "64", "--json", str(tmp_path / "b.json")])
    out = json.loads((tmp_path / "b.json").read_text())
    for name in ("training cot", "training colar"):
        row = out[name]
        parts = sum(row[k] for k in ("data", "forward", "backward", "optimizer"))
        assert 0 < parts <= 1 and all(v > 0 for v in row.values())
        assert abs(row["outside"] - (1 - parts + row["data"])) < 1e-9
    ratio = out["decoding"]["uncached_single_ms"] / out["decoding"]["cached_batch_ms"]
    assert abs(out["decoding"]["speedup"] - ratio) < 1e-6
    kept = out["depth"]
    assert kept["kept_mb_r4"] > 0       # k = 4 iterations have a gradient, however many there are
    assert kept["kept_mb_r64"] < 1.01 * kept["kept_mb_r4"]
