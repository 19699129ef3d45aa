"""What a run is: its method, task and backbone, its flags, its folder on disk.

A run folder holds config.json, log.jsonl, ckpt.pt, results.json and two figures: curves.png of its
training, accuracy.png of its test. Each appears whole or not at all. `parse` turns a command line
into a config, a flat dict with every setting of the run; `build` turns a config into its task and
its untrained method; `load_run` opens a trained one.
"""
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import baselines
import colar
import model
import recurrent
import vqvae
from data import checkpoint
from data.arithmetic import Arithmetic
from data.cli import BadInput, Flag, Parser, merge, named, options, unless
from data.common import Vocab
from data.gsm8k import GSM8K
from data.maze import Maze
from data.own import Own
from data.permutation import Permutation
from data.problems import FILES, paths_of, with_files
from data.prontoqa import ProntoQA
from data.prosqa import ProsQA
from data.records import FileTask
from data.script import as_name, resumed

METHODS = {"cot": baselines.CoT, "nocot": baselines.NoCoT, "pause": baselines.Pause,
           "icot": baselines.ICoT, "coconut": baselines.Coconut, "codi": baselines.CODI,
           "colar": colar.CoLaR, "vqvae": vqvae.VQVAE, "assorted": vqvae.Assorted}
TASKS = {"arithmetic": Arithmetic, "maze": Maze, "prosqa": ProsQA, "prontoqa": ProntoQA,
         "permutation": Permutation, "gsm8k": GSM8K, "own": Own}
BACKBONES = {"gpt": model.GPT, "recurrent": recurrent.RecurrentGPT}
SIZES = {   # one dial; any flag given by hand wins
    # seconds: is everything wired up? It learns nothing
    "nano": dict(layers=1, width=32, heads=2, batch=8, steps=30, first_steps=30,
                 lr=1e-2, val_n=8, test_n=32),
    # a minute on one CPU core: it learns what can be seen
    "mini": dict(layers=2, width=64, heads=4, batch=16, steps=640, first_steps=560,
                 lr=1.2e-2, val_n=100, test_n=200),
    # minutes on two CPU cores
    "tiny": dict(layers=3, width=64, heads=4, batch=16, steps=1500, first_steps=1200,
                 lr=1.2e-2, val_n=100, test_n=500),
    # one GPU
    "small": dict(layers=6, width=384, heads=6, batch=128, steps=20000, first_steps=10000,
                  lr=3e-3, val_n=200, test_n=1000),
}
KINDS = {
    "method": Flag(None, f"{', '.join(METHODS)} [colar, or the task's]", METHODS, kind=str),
    "task": Flag("arithmetic", ", ".join(TASKS), TASKS),
    "backbone": Flag("gpt", ", ".join(BACKBONES), BACKBONES),
    "size": Flag("tiny", f"{', '.join(SIZES)}: what other flags are, unless given", SIZES),
}
FLAGS = {   # None: --size decides, or the task
    "steps": Flag(None, "optimizer steps", kind=int, least=1),
    "first_steps": Flag(None, "optimizer steps of the stage that the method starts from, if any",
                        kind=int, least=1, idle=unless(
                            init=[None], method=[m for m, cls in METHODS.items() if cls.PARENT])),
    "layers": Flag(None, "blocks of the backbone", kind=int, least=1, most=1000,
                   idle=unless(parts=[""])),
    "width": Flag(None, "width C of the backbone", kind=int, least=2, most=2**16),
    "heads": Flag(None, "attention heads", kind=int, least=1, most=2**10),
    "conv": Flag(None, "width of the causal convolutions before attention and MLP; 0 = none",
                 kind=int, most=2**10),
    "qk_norm": Flag(False, "norm on queries and keys"),
    "dropout": Flag(0.0, "share of what attention and MLP add that is dropped in training",
                    most=0.9),
    "batch": Flag(None, "problems per batch", kind=int, least=1, most=2**20),
    "bucket": Flag(64, "batches drawn at once and sorted by length, against padding; 1: a batch "
                   "has problems of all lengths", least=1, most=2**16),
    "grad_accum": Flag(1, "batches per optimizer step", least=1, most=2**16),
    "optimizer": Flag("muon", "muon: for the hidden matrices, AdamW for the rest",
                      ("adamw", "muon")),
    "lr": Flag(None, "peak learning rate", kind=float, above=0),
    "weight_decay": Flag(0.1, "on matrices other than embeddings"),
    "warmup": Flag(100, "steps of linear warm-up", least=1),
    "decay": Flag(1.0, "last share of the steps, in which the learning rate falls linearly to 0",
                  above=0, most=1),
    "grad_clip": Flag(1.0, "largest gradient norm", above=0),
    "ema": Flag(0.0, "decay of averaged weights, which are validated, tested and kept in place of "
                "the last ones, e.g. 0.999; 0: none", most=0.99999),
    "val_n": Flag(None, "validation problems, solved about five times in a run", kind=int, least=1),
    "test_n": Flag(None, "test problems for the final table", kind=int, least=1),
    "test_split": Flag("test", "their split; fresh: those that no table was made with"),
    "seed": Flag(0, "of weights and data"),
    "device": Flag("auto", "auto: cuda, mps or cpu, the first that is there",
                   ("auto", "cuda", "mps", "cpu")),
    "dtype": Flag("auto", "of matrix products; weights are float32",
                  ("auto", "float32", "bfloat16", "float16")),
    "compile": Flag(False, "torch.compile the backbone for training, where it needs no cache. On a "
                    "CPU a small run ends before this has paid"),
    "threads": Flag(0, "CPU threads; 0 = all cores", most=2**10),
    "workers": Flag(0, "processes that draw the problems ahead: for a GPU, which needs many",
                    most=2**10),
    "data": Flag("", "train on this JSON file of {question, steps, answer}, in the words of the "
                 "task. --task own takes any words"),
}
BESIDE = "steps", "first_steps", "width", "grad_accum", "warmup", "grad_clip", "dtype"
STAGES_SHARE = ("task", "backbone", "layers", "width", "heads", "conv", "qk_norm")


# ---- command line --------------------------------------------------------------------------------

def parse(argv, description=None, prog="train.py", tell=print):
    """argv -> config: a flat dict with every setting of the run. tell: as of Parser."""
    parser = Parser(prog, description, tell)
    parser.add_flags(KINDS)
    parser.add_argument("--init", type=named, metavar="RUN",
                        help="run folder of a trained first stage")
    begun = resumed(parser, argv, "train.py", load, "runs/METHOD-TASK-SIZE-FLAGS-sSEED, FLAGS "
                    "those that differ from the default")
    parser.start_from(begun)
    kinds = vars(parser.parse_known_args(argv)[0])
    kinds["method"] = kinds["method"] or getattr(TASKS.get(kinds["task"]), "METHOD", "colar")
    for name, flag in KINDS.items():
        flag.check(name, kinds[name])
    parser.add_flags(flags_of(kinds))
    parser.start_from({**begun, "method": kinds["method"]})
    config = parser.parse(argv)
    for name, value in unless_given(config).items():
        config[name] = value if config[name] is None else config[name]
    if not config["data"] and not hasattr(TASKS[config["task"]], "sample"):
        raise BadInput(f"--task {config['task']} has no problems of its own: give train.py --data "
                       f"FILE (python -m data.{config['task']} --example FILE writes one to try)")
    check_width(config)
    config["out"] = config["out"] or f"runs/{folder_name(config)}"
    return with_files(config) if config["data"] or config.get("extra") else config


def unless_given(config):
    """{flag: value} of the flags without a default, as --size says, and of those for which the
    task has a default of its own."""
    usual, task = SIZES[config["size"]] | {"conv": 0}, TASKS[config["task"]]
    if not hasattr(task, "defaults"):
        return usual
    return usual | task.defaults(config, usual, METHODS[config["method"]].IN_WORDS)


def check_width(config):
    """BadInput unless every head gets an even share of the width."""
    if config["width"] % (2 * config["heads"]):
        raise BadInput(f"--width {config['width']} is no multiple of 2 x --heads {config['heads']}")


def flags_of(config, others=None):
    """{name: Flag} of everything that a run of this method, task and backbone may be told, with
    the default that it then has; None: `unless_given` fills it in, and its help says with what.

    ValueError if two declare the same name, also of `others`: {owner: its flags}.
    """
    method, task, backbone = (config[name] for name in ("method", "task", "backbone"))
    flags = merge({"every run": KINDS | FLAGS, f"the task {task}": TASKS[task].FLAGS,
                   f"the backbone {backbone}": BACKBONES[backbone].FLAGS,
                   f"the method {method}": METHODS[method].FLAGS, **(others or {})})
    usual, found = unless_given(config), {}
    for name, flag in flags.items():
        if name in usual and flag.default is None:
            found[name] = replace(flag, help=f"{flag.help} [{usual[name]}]")
        elif name not in KINDS:
            found[name] = replace(flag, default=usual.get(name, flag.default))
    return found


def knobs_of(script, own):
    """{name: Flag} of what `solve` may be told, for all methods and backbones.

    Some may share a knob, declared alike. ValueError if they declare it otherwise, or if `own`, the
    flags of a script, has one of its name.
    """
    owners = {script: own}
    for cls in (*METHODS.values(), *BACKBONES.values()):
        new = {name: flag for name, flag in cls.KNOBS.items()
               if not any(flag == knobs.get(name) for knobs in owners.values())}
        owners[f"{cls.__module__}.{cls.__name__}"] = new
    return {name: flag for name, flag in merge(owners).items() if name not in own}


def variant(config):
    """The flags in which a run differs from the default, as text: its name in a table.

    The width, and what is reported beside the name, are not in it.
    """
    return " ".join(differing(config, tells_apart(config)))


def tells_apart(config):
    """Names of the flags that `variant` speaks of."""
    names = ["backbone", *TASKS[config["task"]].FLAGS, *METHODS[config["method"]].FLAGS,
             *BACKBONES[config["backbone"]].FLAGS, "qk_norm", "optimizer", "bucket", "data"]
    if "stage" not in config:       # rl.py does without the first two, and has the rest for itself
        names += ["dropout", "ema", "weight_decay", "decay", "batch", "lr"]
    return [*names, "layers", "heads", "conv"]


def differing(config, names, always=False):
    """["--flag value"] of those of these flags that are not at their default, or `always`; files
    without their folders."""
    usual, flags = unless_given(config), KINDS | flags_of(config)
    flags = {name: replace(flags[name], default=None if always else
                           usual.get(name, flags[name].default)) for name in names}
    config = config | {flag: ",".join(Path(path).name for path in paths_of(config, flag))
                       for flag in FILES if flag in config}
    return options(flags, config)


def folder_name(config):
    """METHOD-TASK-SIZE-FLAGS-sSEED: the folder of a run, if no other is given. FLAGS are those that
    differ from the default, as in `variant`, and others that change what a run becomes."""
    names = [*BESIDE, *tells_apart(config)]
    if not METHODS[config["method"]].PARENT:
        names.remove("first_steps")
    words = differing(config, names)
    words += [f"--init {config['init']}"] * bool(config["init"])
    return as_name("{method}-{task}-{size}".format(**config), words) + f"-s{config['seed']}"


# ---- task and method -----------------------------------------------------------------------------

def make_task(config):
    """The task of a config. Its files are read when their problems are first asked for."""
    cls = TASKS[config["task"]]
    learned = {name: config[name] for name in getattr(cls, "LEARNS", ()) if name in config}
    task = cls(**{name: config[name] for name in cls.FLAGS}, **learned)
    if not config["data"]:
        return task
    return FileTask(task, config["data"], config.get("data_sha256", ""))


def build(config, task=None):
    """Task and untrained method of a config. task: what `make_task` has made of it already."""
    task = make_task(config) if task is None else task
    cls, backbone = METHODS[config["method"]], BACKBONES[config["backbone"]]
    args = SimpleNamespace(**config)
    vocab = Vocab([*task.words, *cls.words(args)])
    cfg = model.Config(len(vocab), config["layers"], config["width"], config["heads"],
                       conv=config["conv"], dropout=config["dropout"], qk_norm=config["qk_norm"])
    return task, cls(backbone(cfg, **{name: config[name] for name in backbone.FLAGS}), vocab, args)


def limits(task, n=256):
    """What a run keeps of its task: what it has learned, and how many tokens a chain and an answer
    may take, twice the longest of n training examples of full length, and of a file of all."""
    if isinstance(task, FileTask):
        examples = task.examples["train"]
    else:
        examples = [task.sample("train", getattr(task, "shorter", 0) + i) for i in range(n)]
    learned = {name: getattr(task, name) for name in getattr(task, "LEARNS", ())}
    return learned | {"max_think": 2 * max(sum(map(len, e.steps)) for e in examples) + 1,
                      "max_answer": 2 * max(len(e.answer) for e in examples) + 1}


# ---- run folders ---------------------------------------------------------------------------------

def load(run):
    """The checkpoint of a run folder; BadInput if it is missing, damaged or not ours."""
    return checkpoint.load(run, check)


def check(config):
    """ValueError or KeyError unless a config has every setting of its run, in its bounds."""
    for name, flag in KINDS.items():
        flag.check(name, config[name])
    flags = flags_of(config)
    missing = [name for name in flags if name not in config]
    if missing:
        raise BadInput(f"its run has no --{missing[0].replace('_', '-')}: only the version of this "
                       "project that made it can open it")
    for name, flag in flags.items():
        if not flag.holds(config[name]):
            raise ValueError(f"--{name} {config[name]}")
        if "stage" not in config:       # rl.py has bounds of its own
            flag.check(name, config[name])
    check_width(config)
    for name, kind in {"max_think": int, "max_answer": int,
                       "init": str | None, "stage": str | None}.items():    # not of every run
        if not isinstance(config.get(name), kind):
            raise ValueError(f"{name} {config.get(name)}")


def load_run(run, device="cpu", **changes):
    """Task and trained method of a run folder, some of its settings changed; and its checkpoint."""
    state = load(run)
    with checkpoint.reading(Path(run) / "ckpt.pt"):
        task, method = build({**state["config"], **changes})
        task.shorter = 0        # now all problems of train have their full length
        checkpoint.load_weights(method, state["method"])
        if "stage" not in state["config"]:      # that is reinforced: its training is over
            method.progress = state["step"] / state["config"]["steps"]
    return task, method.to(device), state
