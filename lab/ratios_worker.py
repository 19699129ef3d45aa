"""One side of lab.ratios: a process in which one checkout of the project works.

Started with the folder of a checkout, it imports that one's modules, today's or the older ones of
097c379, where all of runs.py is in train.py and lab/bench.py is bench.py. A request is a line of
JSON, and so is its answer. Beside the checkout it knows what `cot` is compared with: nanoGPT's own
model.py, and a reference of torch's parts that stands in for it.
"""
import contextlib
import importlib
import importlib.util
import json
import math
import os
import sys
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
import torch.nn as nn
import torch.nn.functional as F

CPU = torch.device("cpu")
STEPS = 10**6               # of a run: so many that its curriculum stays where it is put
PROMPT, NEW = 64, 64        # tokens that decoding reads, and writes
SHORTEST = 40               # prompt of a ragged batch
CALLS = 4                   # of a decoding in a round
DRAWS = 8                   # of what an update draws, to see what needs the most memory


class Side:
    """A checkout, the problems, and what is measured on them, {name: Update or Decode}."""

    def __init__(self, tree, threads):
        self.older = not (Path(tree) / "runs.py").exists()
        self.train = importlib.import_module("train")
        self.runs = self.train if self.older else importlib.import_module("runs")
        self.bench = importlib.import_module("bench" if self.older else "lab.bench")
        self.common = importlib.import_module("data.common")
        self.bench.kept = kept      # that of 097c379 never gives its memory back
        self.measured = {}
        torch.set_num_threads(threads)

    # ---- requests ----

    def draw(self, path, size, n):
        """Writes problems of this checkout to a file: a line of words and limits, then a line for
        each of n batches. They stand for a pool sorted by length, evenly spaced in it."""
        config = self.runs.parse(["--method", "cot", "--size", size])
        task = self.runs.make_task(config)
        pool = config["sort" if self.older else "bucket"]
        batches = self.common.batches(task, self.common.Vocab(task.words), config["batch"],
                                      pool=pool)
        drawn = sorted(islice(batches, pool), key=self.bench.length)
        chosen = [drawn[(2 * i + 1) * pool // (2 * n)] for i in range(n)]
        lines = [{"words": task.words, "limits": self.runs.limits(task)}]
        lines += [[[e.question, e.steps, e.answer] for e in batch.examples] for batch in chosen]
        Path(path).write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")

    def load(self, path):
        """Reads problems from a file. Returns how many, and how many tokens they have."""
        head, *lines = map(json.loads, Path(path).read_text(encoding="utf-8").splitlines())
        self.words, self.limits = head["words"], head["limits"]
        self.vocab = self.common.Vocab(self.words)
        self.batches = [self.batch(problems) for problems in lines]
        return {"problems": sum(len(batch.examples) for batch in self.batches),
                "tokens": sum(int((self.whole(batch) != self.common.PAD).sum())
                              for batch in self.batches)}

    def add(self, name, kind, argv, **more):
        """Makes what is to be measured and does its work once. Returns its peak memory in MB."""
        self.measured[name] = KINDS[kind](self, argv, **more)
        for call in self.measured[name].calls:
            call()
        return self.measured[name].memory()

    def time(self, name):
        """Returns the seconds of each of its calls."""
        return self.bench.timed(self.measured[name].calls, CPU)

    def branches(self, name):
        """Returns how many sequences an update trains for each problem."""
        return self.measured[name].branches

    def tokens_without_cache(self, name):
        """Does it write the same tokens without a cache?"""
        return self.measured[name].same_without_cache()

    # ---- problems and methods ----

    def batch(self, problems):
        """A Batch of (question, steps, answer) each, in words."""
        return self.common.collate([self.common.Example(question, steps, answer, len(steps))
                                    for question, steps, answer in problems], self.vocab)

    def whole(self, batch):
        """(B, T): question <think> chain </think> answer <eos> of each row, padded on the right."""
        encode, known = self.vocab.encode, self.common
        return padded([[*encode(e.question), known.THINK, *encode(sum(e.steps, [])), known.END,
                        *encode(e.answer), known.EOS] for e in batch.examples], known.PAD)

    def build(self, argv):
        """Config and untrained method of a command line, with the words of the problems."""
        config = self.runs.parse(argv) | self.limits | {"steps": STEPS}
        task = SimpleNamespace(words=self.words)
        torch.manual_seed(0)
        with mock.patch.object(self.runs, "make_task", lambda config: task):
            method = self.runs.build(config)[1]
            if method.PARENT:
                parent = self.runs.build({**config, "method": method.PARENT})[1]
                parent.loss(self.batches[0])        # a codebook starts from data
                method.start_from(parent)
        return config, method


def padded(rows, pad):
    """Lists of ids -> (B, longest), padded on the right."""
    longest = max(map(len, rows))
    return torch.tensor([row + [pad] * (longest - len(row)) for row in rows])


# ---- memory --------------------------------------------------------------------------------------

def storages(tensors):
    """{address: bytes}, so that what two tensors share counts once."""
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}


def kept(loss):
    """Storages that are kept for the backward pass of loss()."""
    found = {}

    def note(t):
        found.update(storages([t]))
        return t.detach()       # t itself would hold the graph that holds it: never freed
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        held = loss()       # until the end, so that no storage is used twice
    del held
    return found


# ---- training ------------------------------------------------------------------------------------

class Update:
    """Training updates, a call for each batch. What a subclass has: net, optimizers, loss(batch),
    update(batch)."""
    branches = 1

    def __init__(self, side):
        self.side = side
        self.calls = [partial(self.seeded, i, batch) for i, batch in enumerate(side.batches)]

    def seeded(self, i, batch):
        torch.manual_seed(i)        # a speed or a mixture that it draws is the same every time
        self.update(batch)

    def longest(self):
        return max(self.side.batches, key=self.side.bench.length)

    def memory(self):
        """MB of an update on the longest batch, as lab.bench counts it, the most of some draws."""
        self.opts = self.optimizers     # their name in an older bench.py
        batch, most = self.longest(), 0
        for i in range(DRAWS):
            torch.manual_seed(i)
            most = max(most, self.side.bench.memory(self, batch, CPU))
        return most


class Ours(Update):
    """A method as train.py trains it, at the end of its curriculum if it has one."""

    def __init__(self, side, argv):
        super().__init__(side)
        config, self.net = side.build(argv)
        device = [] if side.older else [CPU]
        self.training = side.train.Training(self.net, config, *device, torch.float32)
        self.training.step = int((1 - side.bench.LEFT) * STEPS)
        self.branches = getattr(self.net, "branches", 1)    # an older method has none
        self.optimizers = self.training.opts if side.older else self.training.optimizers

    def longest(self):
        """As many problems of the longest batch as make a sequence for each of them."""
        examples = super().longest().examples
        few = math.ceil(len(examples) / self.branches)
        return self.side.common.collate(examples[:few], self.side.vocab)

    def loss(self, batch):
        return self.net.loss(batch)[0]

    def update(self, batch):
        if self.side.older:
            self.training.update(iter([batch]), CPU, torch.float32)
        else:
            self.training.update([batch])


class Peer(Update):
    """A language model on whole rows: every next token is predicted, and padding is not.

    It is the reference, or with nanogpt, a folder, the GPT of the model.py there.
    """

    def __init__(self, side, argv, nanogpt=""):
        super().__init__(side)
        config, pad = side.runs.parse(argv), side.common.PAD
        ids = [side.whole(batch) for batch in side.batches]                 # (B, T) each
        self.pairs = {id(batch): (x[:, :-1].contiguous(), x[:, 1:].masked_fill(x[:, 1:] == pad, -1))
                      for batch, x in zip(side.batches, ids)}
        sizes = (len(side.vocab), max(x.shape[1] for x in ids), config["layers"], config["heads"],
                 config["width"])
        torch.manual_seed(0)
        self.net = nano_gpt(nanogpt, *sizes) if nanogpt else Reference(*sizes)
        params = list(self.net.parameters())
        groups = [{"params": [p for p in params if p.ndim > 1], "weight_decay": 0.1},
                  {"params": [p for p in params if p.ndim == 1], "weight_decay": 0.0}]
        self.optimizers = [torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.99), fused=True)]
        self.clip = config["clip" if side.older else "grad_clip"]

    def loss(self, batch):
        return self.net(*self.pairs[id(batch)])[1]

    def update(self, batch):
        self.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
        self.optimizers[0].step()
        self.optimizers[0].zero_grad()


def nano_gpt(folder, vocab, longest, layers, heads, width):
    """nanoGPT's GPT of these sizes, without biases and dropout."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", Path(folder) / "model.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module     # its dataclass asks for it
    spec.loader.exec_module(module)
    with contextlib.redirect_stdout(None):      # it prints how large it is
        return module.GPT(module.GPTConfig(longest, vocab, layers, heads, width, 0.0, False))


class Reference(nn.Module):
    """GPT-2 of torch's parts: learned positions, LayerNorm without bias, GELU of 4 C, tied head."""

    def __init__(self, vocab, longest, layers, heads, width):
        super().__init__()
        self.embed, self.place = nn.Embedding(vocab, width), nn.Embedding(longest, width)
        self.blocks = nn.ModuleList(Block(heads, width) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids, targets):
        """ids, targets (B, T), the latter -1 at padding -> logits (B, T, V), loss."""
        x = self.embed(ids) + self.place(torch.arange(ids.shape[1]))        # (B, T, C)
        for block in self.blocks:
            x = block(x)
        logits = self.norm(x) @ self.embed.weight.T                         # (B, T, V)
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


class Block(nn.Module):
    def __init__(self, heads, width):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = (nn.LayerNorm(width, bias=False) for _ in "12")
        self.qkv, self.out = (nn.Linear(width, n * width, bias=False) for n in (3, 1))
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.heads, -1).transpose(1, 2)          # (B, H, T, D)
                   for part in self.qkv(self.norm1(x)).split(C, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


# ---- decoding ------------------------------------------------------------------------------------

class Decode:
    """Greedy decoding by an untrained `cot`: NEW tokens after prompts of random words, of PROMPT
    tokens or, ragged, of SHORTEST to PROMPT. Nothing stops a row before."""

    def __init__(self, side, argv, rows, ragged):
        self.side, known = side, side.common
        self.greedy = {"temperature": 0.0} if side.older else {}
        self.net = side.build(argv)[1].eval()
        self.net.args.max_think, self.net.args.max_answer = NEW // 2, NEW - NEW // 2
        with torch.no_grad():       # their logits are 0, and some other word always has more
            self.net.model.head.weight[[known.EOS, known.END]] = 0
        spread = PROMPT - SHORTEST + 1
        lengths = [PROMPT - (i % spread if ragged else 0) - 1 for i in range(rows)]     # <think>
        draw = torch.Generator().manual_seed(0)
        first = len(side.vocab) - len(side.words)
        ids = [torch.randint(first, len(side.vocab), (n,), generator=draw).tolist()
               for n in lengths]
        self.batch = side.batch([(side.vocab.decode(row), [], []) for row in ids])
        self.prompts = [[*row, known.THINK] for row in ids]
        self.calls = [self.written] * CALLS

    def written(self):
        """(B, NEW): the ids that it writes."""
        out = self.net.rollout(self.batch, 1, **self.greedy).acts["written"]
        if out.shape[1] != NEW or bool((out <= self.side.common.EOS).any()):
            raise ValueError(f"a row stopped before it had written {NEW} tokens")
        return out

    @torch.no_grad()
    def same_without_cache(self):
        """Is every token the likeliest after those before it? In float64, where none are as likely:
        the model reads prompts and what was written at once."""
        self.net.double()
        out = self.written()                                                # (B, NEW)
        rows = [[*prompt, *new] for prompt, new in zip(self.prompts, out.tolist())]
        ids = padded(rows, self.side.common.PAD)                            # (B, T)
        logits = self.net.model.head(self.net.model(self.net.model.embed(ids)))
        logits[..., self.side.common.PAD] = -torch.inf      # cannot be written
        likeliest = logits.argmax(-1)                                       # (B, T)
        self.net.float()
        return all(row[len(prompt) - 1:len(prompt) + NEW - 1] == new
                   for row, prompt, new in zip(likeliest.tolist(), self.prompts, out.tolist()))

    def memory(self):
        """MB at the peak of what one call allocates: its cache, above all. Weights are not in it.
        """
        with quiet(), torch.profiler.profile(profile_memory=True) as recorded:
            self.written()
        events = [event for event in recorded.profiler.kineto_results.events()
                  if event.name() == "[memory]"]
        now = peak = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            now += event.nbytes()       # negative: memory is given back
            peak = max(peak, now)
        return peak / 1e6


@contextlib.contextmanager
def quiet():
    """Without what C++ code writes to stderr."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


# ---- the process ---------------------------------------------------------------------------------

KINDS = {"ours": Ours, "peer": Peer, "decode": Decode}


def main():
    """Answers requests, {"do": its name, **its arguments}, until there are no more."""
    tree, threads = sys.argv[1], int(sys.argv[2])
    sys.path[0] = tree      # in place of the folder of this file
    answers, sys.stdout = sys.stdout, sys.stderr    # whatever else is printed is no answer
    side = Side(tree, threads)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(side, request.pop("do"))(**request)), file=answers, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
