"""Measures speed on this machine, beside a loop written the obvious way.

    python -m lab.bench                                 # size tiny: 3 minutes on 2 CPU cores
    python -m lab.bench --size small --methods cot,colar --backbones gpt --json out.json
    python -m lab.bench --profile cot                   # where the time of a training step goes

One row for each method and backbone, all of them untrained:
problems/s, tokens/s   in training, drawing the problems included. Tokens are words of question,
           chain and answer, without padding, also for a method that does without the chain;
           problems are of mean length
ms/step    of one optimizer step, drawing included
of peak    floating-point operations of a step's matrix products (counted, forward and backward)
           over its time, against the fastest square matrix product of this --dtype here
data       share of a step that goes into drawing its problems
ms b1, b64 per problem to solve, one by one and 64 in a batch, always in float32 as in eval.py. The
           answer may take as long as there, the thoughts take what a chain of mean length does, and
           nothing stops a row before. CoLaR thinks at c = 2; Token Assorted writes text only; those
           that hide or have no chain write none; the VQ-VAE rebuilds one
MB         peak memory of an update on CUDA; elsewhere what is kept for the backward pass, weights,
           gradients and the optimizer's state. Of the longest batch that was timed
x, x b1, x b64         times as fast as the reference: by problems/s, ms b1, ms b64

reference  torch.nn.TransformerEncoderLayer, as many and as wide, learned positions, the chain in
           words, batches as they come (not sorted by length), AdamW that is not fused, and all of
           the sequence again for every new word
depth      MB that a recurrent backbone keeps for the backward pass of a batch at r iterations

Curricula (icot, coconut, pause) are measured at their end. Recurrent backbones take --mean-r
iterations, of which --k-grad have a gradient. All rows are timed in turn, several times, and the
fastest counts: noise only ever adds, and no row has a better hour of the machine than another.
"""
import contextlib
import json
import math
import time
from functools import partial
from itertools import islice
from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils import flop_counter
from tqdm import tqdm

import runs
import train
from baselines import ICoT, NoCoT
from data.cli import Flag, Parser, choice, one_line, unless
from data.common import END, EOS, PAD, THINK, Vocab, batches, collate
from data.files import writable, write
from data.machine import pick_device
from lab.ratios_worker import kept, storages
from method import OPEN, column, pack
from model import ends

ROUNDS = 3          # through all rows; each call counts when it was fastest
MANY, FEW = 64, 4   # problems solved in one batch, and one by one
POSITIONS = 1024    # of the reference, more than any problem takes
LEFT = 0.001        # share of the training that is yet to come: every curriculum is at its end
KNOBS = {"colar": {"c": 2}, "assorted": {"latents": 0}}     # at which they solve
COLUMNS = {         # {figure: (heading, width, format)}
    "method": ("method", -10, ""), "backbone": ("backbone", -9, ""),
    "problems_per_s": ("problems/s", 11, ".0f"), "tokens_per_s": ("tokens/s", 10, ".0f"),
    "ms_per_step": ("ms/step", 9, ".1f"), "share_of_peak": ("of peak", 9, ".1%"),
    "data": ("data", 7, ".1%"), "ms_single": ("ms b1", 8, ".1f"),
    "ms_batched": ("ms b64", 8, ".2f"), "memory_mb": ("MB", 8, ".1f"),
    "x_problems": ("x", 7, ".2f"), "x_single": ("x b1", 7, ".2f"),
    "x_batched": ("x b64", 7, ".2f")}


# ---- clocks and counters -------------------------------------------------------------------------

def sync(device):
    """Waits for the device, whose work goes on after a call returns."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


def timed(calls, device):
    """Seconds of each call."""
    out = []
    for call in calls:
        sync(device)
        start = time.perf_counter()
        call()
        sync(device)
        out.append(time.perf_counter() - start)
    return out


def fastest(rounds):
    """The fastest of every call over some rounds of `timed`."""
    return [min(times) for times in zip(*rounds)]


def mean(values):
    return sum(values) / len(values)


def peak(device, dtype):
    """FLOP/s of the fastest square matrix product, in the three layouts that a linear layer and its
    backward pass have; up to the size at which the slowest of these takes 10 ms."""
    best, seconds, n = 0, [0], 128
    while max(seconds) < 0.01:
        n *= 2
        a, b = torch.randn(2, n, n, device=device).to(dtype)
        layouts = [lambda: a @ b.T, lambda: a @ b, lambda: a.T @ b]
        seconds = fastest([timed(layouts, device) for _ in range(2 * ROUNDS)])
        best = max(best, 2 * n ** 3 / min(seconds))
    return best


def flops(call):
    """Floating-point operations of its matrix products; those of a causal mask's zeros count."""
    aten = torch.ops.aten       # attention on a CPU is unknown to PyTorch's counter
    more = {aten._scaled_dot_product_flash_attention_for_cpu:
            lambda q, k, v, *_, **__: flop_counter.sdpa_flop_count(q, k, v),
            aten._scaled_dot_product_flash_attention_for_cpu_backward:
            lambda *qkv, **_: flop_counter.sdpa_backward_flop_count(*qkv[:4])}
    with flop_counter.FlopCounterMode(display=False, custom_mapping=more) as counter:
        call()
    return counter.get_total_flops()


def memory(row, batch, device):
    """Megabytes of one update: see MB above."""
    state = [t for opt in row.optimizers for s in opt.state.values() for t in s.values()]
    own = storages([*row.net.parameters(), *row.net.buffers(), *state])
    if device.type == "cuda":
        for opt in row.optimizers:
            opt.zero_grad()     # what is left of the last update is freed in this one
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()      # by other rows, too
        row.update(batch)
        return (torch.cuda.max_memory_allocated() - before + sum(own.values())) / 1e6
    gradients = sum(p.nbytes for p in row.net.parameters() if p.requires_grad)
    return (sum((own | kept(partial(row.loss, batch))).values()) + gradients) / 1e6


# ---- what is measured ----------------------------------------------------------------------------

def length(batch):
    """Words of its longest row, or a few more."""
    return batch.question.shape[1] + batch.chain.shape[1]


def words(drawn):
    """Words per batch of question, thoughts and answer."""
    parts = [p for b in drawn for p in (b.question, b.chain, b.answer)]
    return sum(int((p != PAD).sum()) for p in parts) / len(drawn)


class Problems:
    """What all rows share: task, device, and the same problems."""

    def __init__(self, args):
        self.args, self.device = args, torch.device(pick_device(args.device))
        self.dtype = getattr(torch, args.dtype)
        config = self.config("cot", "gpt", {})
        self.task = runs.make_task(config)
        self.limits, self.vocab = runs.limits(self.task), Vocab(self.task.words)
        examples = [self.task.sample("train", i) for i in range(256)]
        self.chain = mean([sum(map(len, e.steps)) for e in examples])   # words of a mean chain
        self.draw(config["batch"], config["bucket"], math.ceil(args.steps / ROUNDS))

    def draw(self, size, pool, n):
        """n batches that stand for a sorted pool, evenly spaced by length; n as they come; the time
        that drawing one takes; and problems to solve."""
        draw, start = partial(batches, self.task, self.vocab, size), time.perf_counter()
        drawn = list(islice(draw(pool=pool), pool))
        self.data = (time.perf_counter() - start) / pool                # seconds per batch
        self.mean_words = words(drawn) / size                           # per problem
        drawn.sort(key=length)
        self.sorted = [drawn[(2 * i + 1) * pool // (2 * n)] for i in range(n)]
        self.mixed = list(islice(draw(pool=1), n))
        self.to_solve = [self.task.sample("val", i) for i in range(MANY)]

    def config(self, method, backbone, more):
        """What train.py makes of the flags, and what `runs.build` needs besides."""
        args = self.args
        argv = ["--method", method, "--backbone", backbone, "--task", args.task, "--size",
                args.size] + (["--width", str(args.width)] if args.width else [])
        return runs.parse(argv) | {"sampler": "fixed"} | more

    def cast(self):
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


class Ours:
    """A method on a backbone as train.py trains it."""

    def __init__(self, problems, method, backbone):
        self.problems, device = problems, problems.device
        config = problems.config(method, backbone, problems.limits | {"steps": 10**6})
        torch.manual_seed(0)
        self.net, self.batches = runs.build(config)[1].to(device), problems.sorted
        if self.net.PARENT:
            parent = runs.build({**config, "method": self.net.PARENT})[1].to(device)
            parent.loss(problems.sorted[0].to(device))      # a codebook starts from data
            self.net.start_from(parent)
        self.run = train.Training(self.net, config, device, problems.dtype)
        self.run.step = int((1 - LEFT) * config["steps"])
        self.optimizers, self.knobs = self.run.optimizers, KNOBS.get(method, {})
        self.full_length()

    def full_length(self):
        """Makes it solve for as long as a chain of mean length takes: the logits of </think> and
        <eos> are 0, and some other word always has more."""
        net = self.net
        none = isinstance(net, (NoCoT, ICoT))       # the curriculum is over: no chain either
        net.args.max_think = 0 if none else math.ceil(self.problems.chain / self.knobs.get("c", 1))
        with torch.no_grad():
            net.model.head.weight[[END, EOS]] = 0   # the steps that are timed hardly change it

    def update(self, batch):
        self.run.update([batch])

    def loss(self, batch):
        with self.problems.cast():
            return self.net.loss(batch.to(self.problems.device))[0]

    def solve(self, batch):
        self.net.eval()
        solved = self.net.solve(batch.to(self.problems.device), **self.knobs)
        self.net.train()
        return solved

    def compiled(self):
        return train.compiled(self.net.model, self.problems.args.compile)


class Reference:
    """The obvious way: its own network, loss, update and decoding, and nothing of ours."""

    def __init__(self, problems):
        self.problems, self.batches = problems, problems.mixed
        torch.manual_seed(0)
        config = problems.config("cot", "gpt", {})
        self.net = Plain(len(problems.vocab), config).to(problems.device)
        self.optimizers = [torch.optim.AdamW(self.net.parameters(), config["lr"])]

    def update(self, batch):
        self.optimizers[0].zero_grad()
        self.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizers[0].step()

    def loss(self, batch):
        batch = batch.to(self.problems.device)
        ids, part, _ = pack(batch.question, column(batch.question, THINK), batch.chain,
                            column(batch.question, END), batch.answer)          # (B, T)
        labels = ids.masked_fill(part <= OPEN, PAD)[:, 1:]
        with self.problems.cast():
            logits = self.net(ids[:, :-1])                                      # (B, T-1, V)
            return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=PAD)

    def compiled(self):
        return contextlib.nullcontext()

    @torch.no_grad()
    def solve(self, batch):
        ids = pack(batch.question, column(batch.question, THINK))[0].to(self.problems.device)
        end, row = (ids != PAD).sum(1), torch.arange(len(ids), device=ids.device)
        new = math.ceil(self.problems.chain) + self.problems.limits["max_answer"]
        ids = F.pad(ids, (0, new))                                              # (B, T)
        self.net.eval()
        for _ in range(new):
            logits = self.net(ids[:, :int(end.max())])                          # (B, T, V)
            ids[row, end] = logits[ends(logits, end)].argmax(-1)
            end = end + 1
        self.net.train()
        return ids


class Plain(nn.Module):
    """A causal transformer from PyTorch's parts."""

    def __init__(self, vocab, config):
        super().__init__()
        C, layers = config["width"], config["layers"]
        self.embed, self.place = nn.Embedding(vocab, C), nn.Embedding(POSITIONS, C)
        layer = nn.TransformerEncoderLayer(C, config["heads"], 4 * C, dropout=0.0,
                                           activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(C),
                                            enable_nested_tensor=False)
        self.head = nn.Linear(C, vocab, bias=False)

    def forward(self, ids):
        T = ids.shape[1]
        x = self.embed(ids) + self.place(torch.arange(T, device=ids.device))    # (B, T, C)
        mask = nn.Transformer.generate_square_subsequent_mask(T, ids.device)
        return self.head(self.layers(x, mask, is_causal=True))                  # (B, T, V)


# ---- measurements --------------------------------------------------------------------------------

def steps(row):
    """A call for each step. What a step draws, a speed or a mixture, is the same every time."""
    def step(i, batch):
        torch.manual_seed(i)
        row.update(batch)
    return [partial(step, i, batch) for i, batch in enumerate(row.batches)]


def count(row):
    """What needs no clock; and every step has been taken once before it is timed."""
    work = flops(lambda: [step() for step in steps(row)]) / len(row.batches)
    return {"flops": work, "words": words(row.batches),
            "memory_mb": memory(row, max(row.batches, key=length), row.problems.device)}


def clock(row):
    """Seconds of each step, each of a few problems alone, and many at once."""
    problems, device = row.problems, row.problems.device
    few = [collate([e], problems.vocab) for e in problems.to_solve[:FEW]]
    many = collate(problems.to_solve, problems.vocab)
    return {"step": timed(steps(row), device),
            "single": timed([partial(row.solve, b) for b in few], device),
            "batched": timed([partial(row.solve, many)], device)}


def figures(problems, counts, rounds, best, reference=None):
    """A row of the table from `count`, some rounds of `clock` and the peak; and beside the row of
    the reference."""
    step, single, batched = (mean(fastest([r[k] for r in rounds]))
                             for k in ("step", "single", "batched"))
    step += problems.data
    rate = counts["words"] / step
    out = {"problems_per_s": rate / problems.mean_words, "tokens_per_s": rate,
           "ms_per_step": 1000 * step, "gflop_per_step": counts["flops"] / 1e9,
           "share_of_peak": counts["flops"] / step / best, "data": problems.data / step,
           "ms_single": 1000 * single, "ms_batched": 1000 * batched / len(problems.to_solve),
           "memory_mb": counts["memory_mb"]}
    reference = reference or out
    out["x_problems"] = out["problems_per_s"] / reference["problems_per_s"]
    out["x_single"] = reference["ms_single"] / out["ms_single"]
    out["x_batched"] = reference["ms_batched"] / out["ms_batched"]
    return out


def table(problems, methods, backbones):
    """(rows, FLOP/s of the peak). A round times the peak and every row."""
    names = [("reference", "-"), *((m, b) for b in backbones for m in methods)]
    rows, counts, clocks, best = [], [], [[] for _ in names], 0
    with contextlib.ExitStack() as stack:
        for method, backbone in tqdm(names, desc="count", leave=False, disable=None):
            rows.append(Reference(problems) if method == "reference" else
                        Ours(problems, method, backbone))
            counts.append(count(rows[-1]))
            stack.enter_context(rows[-1].compiled())
        rounds = [pair for _ in range(ROUNDS) for pair in zip(rows, clocks)]
        for row, times in tqdm(rounds, desc="time", leave=False, disable=None):
            best = max(best, peak(problems.device, problems.dtype)) if row is rows[0] else best
            times.append(clock(row))
    out = []
    for (method, backbone), *found in zip(names, counts, clocks):
        out.append({"method": method, "backbone": backbone,
                    **figures(problems, *found, best, out[0] if out else None)})
    return out, best


def depth(problems, rs=(4, 16, 64)):
    """Megabytes kept for the backward pass of one batch at r iterations."""
    out = {}
    for r in rs:
        config = problems.config("cot", "recurrent", problems.limits | {"mean_r": r})
        method = runs.build(config)[1].to(problems.device)
        batch = problems.sorted[-1].to(problems.device)
        out[f"kept_mb_r{r}"] = sum(kept(lambda: method.loss(batch)).values()) / 1e6
    return out


def shares(row):
    """Shares of a training step's time, taken inside the real `Training.update`."""
    spent, device = {}, row.problems.device

    def watched(name, call):
        def watch(*args):
            sync(device)
            start = time.perf_counter()
            out = call(*args)
            sync(device)
            spent[name] = spent.get(name, 0) + time.perf_counter() - start
            return out
        return watch
    row.run.loss = watched("forward", row.run.loss)
    row.run.backward = watched("backward", row.run.backward)
    row.run.optimizer_step = watched("optimizer", row.run.optimizer_step)       # with clipping
    start = time.perf_counter()
    for batch in row.batches:
        row.update(batch)
    spent["data"] = row.problems.data * len(row.batches)
    total = time.perf_counter() - start + spent["data"]
    return {k: v / total for k, v in spent.items()} | {"outside": 1 - sum(spent.values()) / total}


def operators(row, n=12):
    """The n operators that take the most time of their own, without what they call."""
    with torch.profiler.profile() as recorded:
        for batch in row.batches:
            row.update(batch)
    events = [e for e in recorded.key_averages()    # on CUDA a kernel's time is also its caller's
              if e.device_type == torch.autograd.DeviceType.CPU]
    kind = "device" if row.problems.device.type == "cuda" else "cpu"
    own = {e.key: getattr(e, f"self_{kind}_time_total") for e in events}
    events.sort(key=lambda e: -own[e.key])
    return [{"operator": e.key, "share": own[e.key] / sum(own.values()),
             "calls_per_step": e.count / len(row.batches)} for e in events[:n]]


def profile(problems, method, backbone):
    row = Ours(problems, method, backbone)
    for batch in row.batches:       # once without the clock
        row.update(batch)
    return {"operators": operators(row), "shares": shares(row)}


# ---- report --------------------------------------------------------------------------------------

def cells(values):
    return "".join(f"{v:{'<' if w < 0 else '>'}{abs(w)}}"
                   for v, (_, w, _) in zip(values, COLUMNS.values())).rstrip()


def report(out):
    """What --json wrote, as text."""
    lines = ["  ".join(f"{k} {v}" for k, v in out["machine"].items()), ""]
    if "rows" in out:
        lines.append(cells([heading for heading, _, _ in COLUMNS.values()]))
        lines += [cells([format(row[k], kind) for k, (_, _, kind) in COLUMNS.items()])
                  for row in out["rows"]]
        lines += ["", "depth  " + "  ".join(f"{k} {v:.1f}" for k, v in out["depth"].items())]
    for name, found in out.get("profile", {}).items():
        lines.append(f"{name}: " + "  ".join(f"{k} {v:.1%}" for k, v in found["shares"].items()))
        lines += [f"  {e['share']:6.1%} {e['calls_per_step']:8.0f} calls  {e['operator']}"
                  for e in found["operators"]] + [""]
    return "\n".join(lines).rstrip()


FLAGS = {
    "size": runs.KINDS["size"],
    "width": Flag(0, "width of the model; 0: that of --size", most=2**16),
    "task": runs.KINDS["task"],
    "methods": Flag(",".join(runs.METHODS), "those to measure", idle=unless(profile=[""])),
    "backbones": Flag(",".join(runs.BACKBONES), "those to measure"),
    "device": runs.FLAGS["device"],
    "dtype": Flag("float32", "of matrix products in training", ("float32", "bfloat16")),
    "threads": runs.FLAGS["threads"],
    "steps": Flag(20, "training steps to time per row, up to a multiple of the rounds, "
                  f"{ROUNDS}", least=1),
    "compile": Flag(False, "torch.compile, in training only"),
    "profile": Flag("", "no table: the parts of this method's training step, and its most "
                    "expensive operators"),
    "json": Flag("", "write the figures to this file"),
}


def arguments(argv):
    """argv -> (arguments, Problems)."""
    parser = Parser("lab.bench", __doc__)
    parser.add_flags(FLAGS)
    args = SimpleNamespace(**parser.parse(argv))
    if args.json:
        writable(args.json)
    args.methods, args.backbones = args.methods.split(","), args.backbones.split(",")
    for method in [*args.methods, *filter(None, [args.profile])]:
        choice(method, runs.METHODS, "method")
    for backbone in args.backbones:
        choice(backbone, runs.BACKBONES, "backbone")
    if args.threads:
        torch.set_num_threads(args.threads)
    return args, Problems(args)


def main(argv=None):
    with one_line("lab.bench"):
        args, problems = arguments(argv)
        out = {"machine": {"device": str(problems.device), "dtype": args.dtype, "size": args.size,
                           "task": args.task, "threads": torch.get_num_threads()}}
        if args.profile:
            out["profile"] = {f"{args.profile} {b}": profile(problems, args.profile, b)
                              for b in args.backbones}
        else:
            out["rows"], best = table(problems, args.methods, args.backbones)
            out["machine"]["peak_gflops"] = round(best / 1e9, 1)
            out["depth"] = depth(problems)
        print(report(out))
        if args.json:
            write(args.json, json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
