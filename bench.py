"""Measures speed on this machine, as ratios within one run: machines differ and are noisy.

    python bench.py                          # size tiny: a minute on 2 CPU cores
    python bench.py --size nano --json out.json
    python bench.py --width 256 --dtype bfloat16 --steps 10

training   shares of a step's time: data, forward, backward, optimizer, and all outside the last
           three; tokens per second, and the share of this CPU's measured matrix-product peak
           (6 floating-point operations per parameter and token)
decoding   problems per second: batched with a cache, against one by one without a cache
depth      megabytes that a recurrent backbone keeps for the backward pass, at r iterations
"""
import json
import time
from pathlib import Path

import torch

import train
from data.common import THINK, batches, collate, pack
from model import Cache, generate

MINIMUM_OF = 3      # repetitions; the fastest counts, since noise only ever adds


def seconds(f):
    """The fastest of a few calls."""
    times = []
    for _ in range(MINIMUM_OF):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times)


def peak(n=1024):
    """FLOP/s of a square float32 matrix product."""
    a, b = torch.randn(2, n, n)
    a @ b
    return 2 * n ** 3 / seconds(lambda: a @ b)


def training(config, steps, dtype):
    """Where the time of a training step goes, timed inside the real `Training.update`."""
    task, method = train.build(config)
    spent = {"data": 0.0, "forward": 0.0, "backward": 0.0, "optimizer": 0.0}

    def timed(name, f):
        def call(*args, **kwargs):
            start = time.perf_counter()
            out = f(*args, **kwargs)
            spent[name] += time.perf_counter() - start
            return out
        return call

    run = train.Training(method, config, dtype)
    stream, tokens = batches(task, method.vocab, config["batch"]), 0
    next(stream)
    method.loss = timed("forward", method.loss)
    for opt in run.opts:
        opt.step = timed("optimizer", opt.step)
    backward, pull = torch.Tensor.backward, timed("data", lambda: next(stream))
    torch.Tensor.backward = timed("backward", backward)

    class Stream:
        def __next__(self):
            nonlocal tokens
            batch = pull()
            parts = batch.question, batch.thoughts, batch.answer
            tokens += sum(int((t > 0).sum()) for t in parts)
            return batch
    try:
        start = time.perf_counter()
        for _ in range(steps):
            run.update(Stream(), torch.device("cpu"), dtype)
        total = time.perf_counter() - start
    finally:
        torch.Tensor.backward = backward
    n = sum(p.numel() for p in method.model.parameters()) - method.model.embed.weight.numel()
    inside = spent["forward"] + spent["backward"] + spent["optimizer"]
    return {"ms_per_step": 1000 * total / steps, **{k: v / total for k, v in spent.items()},
            "outside": 1 - inside / total, "tokens_per_second": tokens / total,
            "share_of_peak": 6 * n * tokens / total / peak()}


def uncached(model, ids, max_new):
    """Greedy decoding of one row the slow way: all of the sequence again for every token."""
    for _ in range(max_new):
        token = model.head(model(model.embed(ids))[:, -1]).argmax(-1)
        ids = torch.cat([ids, token[:, None]], 1)
    return ids


@torch.no_grad()
def decoding(config, rows=64, max_new=48):
    """The same prompts to the same number of new tokens, in one cached batch and one by one."""
    task, method = train.build(config)
    batch = collate([task.sample("val", i) for i in range(rows)], method.vocab)
    ids, part, _ = pack(batch.question, torch.full((rows, 1), THINK))
    new, model = (part >= 0).sum(1), method.model

    def together():
        cache = Cache(rows, ids.shape[1] + max_new)
        generate(model, model.embed(ids), new, cache, -1, max_new)  # -1: nothing stops a row

    few = 8     # rows timed one by one; the time is per problem
    fast = seconds(together) / rows
    slow = seconds(
        lambda: [uncached(model, ids[i:i + 1, :new[i]], max_new) for i in range(few)]) / few
    return {"cached_batch_ms": 1000 * fast, "uncached_single_ms": 1000 * slow,
            "speedup": slow / fast}


def kept(config, rs=(4, 16, 64)):
    """Megabytes saved for backward by the loss of one batch, each tensor once."""
    out = {}
    for r in rs:
        task, method = train.build(config | {"mean_r": r, "sampler": "fixed"})
        batch, sizes = next(batches(task, method.vocab, config["batch"])), {}

        def note(t):
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t
        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            loss, _ = method.loss(batch)        # held, so that no storage is used twice
        out[f"kept_mb_r{r}"] = sum(sizes.values()) / 1e6
        del loss
    return out


def report(out):
    """The figures as text, one line per measurement."""
    return "\n".join(f"{name}: " + "  ".join(f"{k} {v:.3g}" for k, v in row.items())
                     for name, row in out.items())


def main(argv=None):
    parser = train.Parser(prog="bench.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--size", default="tiny", choices=train.SIZES)
    parser.add_argument("--width", type=int, default=0, help="width of the model [by --size]")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--steps", type=int, default=100, help="training steps to time [100]")
    parser.add_argument("--json", default="", help="write the figures to this file")
    args, out = parser.parse_args(argv), {}
    if args.steps < 1:
        parser.error(f"--steps {args.steps}: must be above 0")
    shape = ["--size", args.size] + (["--width", str(args.width)] if args.width else [])
    for method in ("cot", "colar"):
        config = train.parse(["--method", method, *shape])
        config |= train.limits(train.make_task(config))
        torch.manual_seed(0)
        out[f"training {method}"] = training(config, args.steps, getattr(torch, args.dtype))
    out["decoding"] = decoding(train.parse(["--method", "cot", *shape])
                               | {"max_think": 64, "max_answer": 3})
    out["depth"] = kept(train.parse(["--method", "cot", "--backbone", "recurrent", *shape])
                        | {"max_think": 64, "max_answer": 3})
    print(report(out))
    if args.json:
        Path(args.json).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
