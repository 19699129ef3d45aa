"""What is odd in the input of a fuzzer's case, and where it goes; tests/fuzz.py runs them.

SCRIPTS, RUNS, FILES, WRITE and PATHS say what reads or writes what. NUMBERS, TEXTS, VALUES, NAMES,
TARGETS and BYTES are odd. A row of ROWS puts some of these where some of those meet it.
"""
import argparse
import hashlib
import importlib
import json
import math
import os
import pickle
import re
import runpy
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import torch

MODULES = {}        # {script: its module, the first words of its command line}: see `enter`
REFUSED, FINE, EITHER = "refused", "fine", "either"     # what is expected of a case

SHORT = " --batch 4 --val-n 4 --test-n 4 --threads 1"
NANO = " --size nano --steps 4 --first-steps 4" + SHORT
SCRIPTS = {         # {script, at the top or in lab/: a short command line that is fine}
    "train": "--method nocot --out new" + NANO,
    "rl": "colar --steps 1 --samples 2 --out new" + SHORT,
    "eval": "cot --n 4", "depth": "recurrent --n 4 --r 1,2", "codes": "assorted --n 4",
    "look": "colar --n 4", "thoughts": "cot --n 4",
    "bench": "--size nano --steps 3 --methods cot --backbones gpt --threads 1",
    "claims": "results", "reproduce": "default --list", "curves": "cot colar --csv new.csv",
    "data/arithmetic": "", "data/maze": "",
    "data/prosqa": "--n 20", "data/prontoqa": "", "data/permutation": "",
    "data/own": "--data problems/own.json", "data/gsm8k": "--from gsm8k-files"}
RUNS = {            # {run folder: the command that makes it}; every case has them all
    **{method: f"train --method {method} --out {method}{NANO}"
       for method in ("cot", "colar", "assorted")},
    "recurrent": f"train --method nocot --backbone recurrent --out recurrent{NANO}",
    "rl": f"rl colar --steps 2 --samples 2 --out rl{SHORT}",
    **{task: f"train --method nocot --task {task} --out {task}{NANO}"
       for task in ("maze", "prosqa", "prontoqa", "permutation", "gsm8k")},
    "own": f"train --method nocot --task own --data problems/own.json --out own{NANO}"}
RESUME = {run: f"{RUNS[run]} --resume" for run in ("cot", "colar", "rl", "assorted")}
AS_BEGUN = {run: f"{'rl' if run == 'rl' else 'train'} --resume --out {run}" for run in RESUME}
TASKS = {           # {task: its class, the level that its records are written at, in English?}
    "arithmetic": ("Arithmetic", "tiny", False), "maze": ("Maze", "small", False),
    "prosqa": ("ProsQA", "tiny-text", True), "prontoqa": ("ProntoQA", "tiny-text", True),
    "permutation": ("Permutation", "s3", False)}
FORMATS = {         # of GSM8K and its relatives: a record of question, equations and answer
    "gsm8k": lambda q, steps, a: {
        "question": q, "answer": " ".join(f"<<{s}>>" for s in steps) + f"\n#### {a}"},
    "gsm8k-plain": lambda q, steps, a: {"question": q, "steps": steps, "answer": a},
    "gsm8k-svamp": lambda q, steps, a: {"Body": q[:-19], "Question": q[-19:], "Answer": float(a),
                                        "Equation": steps[0].split("=")[0] + " - 5"},
    "gsm8k-multiarith": lambda q, steps, a: {"sQuestion": q, "lSolutions": [float(a)],
                                             "lEquations": [f"X={steps[0].split('=')[0]}-5"]},
    "gsm8k-hard": lambda q, steps, a: {"input": q, "target": float(a)}}
FILES = {           # {row: [(files of which one is damaged, a command that reads it)]}
    "ckpt.pt": [*((f"{run}/ckpt.pt", resume[run]) for resume in (RESUME, AS_BEGUN)
                  for run in resume),
                *((f"{run}/ckpt.pt", f"{script} {SCRIPTS[script]}") for script, run in (
                    ("eval", "cot"), ("rl", "colar"), ("depth", "recurrent"),
                    ("codes", "assorted"), ("look", "colar"))),
                ("colar/ckpt.pt", "eval colar --n 4 --k 2"),
                ("cot/ckpt.pt", f"train --method colar --init cot --out new{NANO}")],
    **{name: [(f"{run}/{name}", resume[run]) for resume in (RESUME, AS_BEGUN) for run in resume]
       for name in ("config.json", "log.jsonl")},
    "curves": [(f"{run}/{name}", f"curves {run} --csv new.csv --plot new.png")
               for run in ("cot", "colar", "rl") for name in ("config.json", "log.jsonl")],
    "results.json": [pair for run in RESUME for pair in (
        (f"{run}/results.json", f"tables {run}/results.json"),
        (f"{run}/results.json", RESUME[run]))],
    "claims": [("results/*/*.json", "claims results")],
    "gsm8k, --extra": [("problems/gsm8k*", f"train --method cot --task gsm8k --extra {{}} --out new"
                        f" --variants 3{NANO}")],
    **{f"{task}, train --data": [(f"problems/{task}*", f"train --method {method} --task {task} "
                                  f"--data {{}} --out new{NANO}") for method in ("cot", "colar")]
       for task in [*TASKS, "own", "gsm8k"]},
    **{f"{task}, eval --data": [(f"problems/{task}*", f"eval {task if task in RUNS else 'cot'} "
                                 "--data {} --n 5")] for task in [*TASKS, "own", "gsm8k"]}}
MENDED = "claims", "--resume"   # where a damaged file may also be made anew, or not be needed
WRITE = {           # {command line: flags after it that name what is written}
    "train" + NANO: ["--out"], "rl colar" + SHORT: ["--out"], "depth recurrent --n 4": ["--out"],
    "eval cot --n 4": ["--json", "--plot"], "tables cot/results.json": ["--plot"],
    "curves cot": ["--plot", "--csv"],
    "controls cot --n 4": ["--plot"], "thoughts cot --n 4": ["--plot"],
    "look colar --n 4": ["--plot"], f"bench {SCRIPTS['bench']}": ["--json"]}
PATHS = WRITE | {   # and what is read; "": the next word
    f"train --out new{NANO}": ["--data", "--init"], "eval cot": ["--data"],
    f"train --task gsm8k --out new{NANO}": ["--extra"], "data/gsm8k": ["--from"],
    "reproduce default --list": ["--out"],
    **dict.fromkeys(("eval", "rl", "depth", "codes", "look", "thoughts", "tables", "claims"),
                    [""])}


# ---- what is odd ---------------------------------------------------------------------------------

NOT_FINITE = "nan", "inf", "-inf", "1e400", "-nan", "Infinity"
HUGE = "1000000000000000000", "2147483647", "2147483648", "4294967296", "99999999999", "9" * 5000
NO_NUMBER = "", "x", "1,,2", "1e", "0x10", "--", *NOT_FINITE
NUMBERS = *NO_NUMBER, *HUGE, "-1", "0", "0.5", "1e30", "1e-320", "1,2", "1_0", "\u0663", "-0", "3"
TEXTS = "", " ", "x", "-", "é", "\udcff", "a\nb", "..", "None", "a" * 300, "%s", "{}", "0,1"
VALUES = (None, True, 0, -1, 1.5, math.nan, math.inf, -math.inf, 10**18, 10**400, 1e-320, "", "x",
          "é", "\ud800", "1,2", "<eos>", "9" * 5000, [], [[]], [None], {}, {"a": 1})
NAMES = ("x" * 256, "x" * 400, "é" * 200, "\udcff" * 256, "x/" * 3000, "cot/" + "x" * 300,
         "x" * 10**5)
TARGETS = (".", "/", "cot", "cot/", "cot/ckpt.pt/x", "/proc/x", "nowhere/x", "\udcff/x", *NAMES)


def nested(rng, data):
    opening = rng.choice((b"[", b'{"a":', b'[{"rows":'))
    return opening * rng.choice((5000, 30000, 100000)) + b"1" * rng.randint(0, 1)


def flip(rng, data):
    """Some bytes are others."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 3, 100))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def surrogate(rng, data):
    """Half a character, which no encoding can write, somewhere in a JSON text."""
    at = rng.choice([match.end() for match in re.finditer(rb': "', data)] or [len(data)])
    return data[:at] + rng.choice((b"\\ud800", b"\\udfff ", b"a\\udcff")) + data[at:]


def signs(rng, data):
    """Thousands of minus signs behind a digit, maybe of an equation."""
    at = rng.choice([match.end() for match in re.finditer(rb"\d", data)] or [0])
    return data[:at] + b"-" * 5000 + b"1" + data[at:]


def not_finite(rng, data):
    """No number of a JSON text is one."""
    value = rng.choice((b"NaN", b"Infinity", b"-Infinity", b"1e400"))
    return re.sub(rb"([:\[] ?)-?\d[\d.]*(?=[,\]}\s])", rb"\g<1>" + value, data)


BYTES = {           # {damage: (what it makes of a file's bytes, what any reader must do with it)}
    "empty": (lambda rng, data: b"", REFUSED),
    "noise": (lambda rng, data: b"\xff\xfe" + rng.randbytes(rng.randrange(300)), REFUSED),
    "text": (lambda rng, data: b"not what you expect\n", REFUSED),
    "number": (lambda rng, data: rng.choice((b"7", b"null", b'"x"', b"NaN", b"true")), REFUSED),
    "nested": (nested, REFUSED), "flip": (flip, EITHER), "surrogate": (surrogate, EITHER),
    "cut": (lambda rng, data: data[:rng.randrange(len(data))], EITHER),
    "list": (lambda rng, data: rng.choice((b"[]", b"{}", b"[[]]", b"[{}]")), EITHER),
    "BOM": (lambda rng, data: b"\xef\xbb\xbf" + data, EITHER),
    "NUL": (lambda rng, data: data + b"\0" * rng.choice((1, 4096)), EITHER),
    "twice": (lambda rng, data: data + b"\n" + data, EITHER),
    "digits": (lambda rng, data: re.sub(rb"\d+", b"9" * 5000, data, count=1), EITHER),
    "signs": (signs, EITHER), "not finite": (not_finite, EITHER)}


def odd_tensor(rng, x):
    return rng.choice((lambda: x[..., :1], lambda: x.flatten()[1:], lambda: x.double() * math.nan,
                       lambda: x.long(), lambda: x[None], lambda: x.bool(), x.tolist,
                       lambda: x.to(torch.complex64), x.to_sparse, lambda: x[:0]))()


def mutate(rng, node):
    """Another value, or none, at a random place of nested lists and dicts; returns the keys to it,
    (number of a record, field, ...) of a list of records."""
    keys = []
    while True:
        keys.append(rng.choice(list(node) if isinstance(node, dict) else range(len(node))))
        inner = node[keys[-1]]
        if not isinstance(inner, (dict, list)) or not inner or rng.random() < 0.3:
            break
        node = inner
    if isinstance(inner, torch.Tensor) and inner.dim() and rng.random() < 0.7:
        node[keys[-1]] = odd_tensor(rng, inner)
    elif rng.random() < 0.2:
        del node[keys[-1]]
    else:
        like = [inner], str(inner), {"a": inner}, 0, -1, 7, 2.5, 10**18
        node[keys[-1]] = rng.choice(rng.choice((like, VALUES)))
    return keys


def other_contents(rng, path):
    """Mutates a checkpoint, a JSON file or a line of a .jsonl."""
    if path.suffix == ".pt":
        state = torch.load(path, weights_only=True)
        for _ in range(rng.choice((1, 1, 3))):
            mutate(rng, rng.choice((state, state.get("config") or state)))
        torch.save(rng.choice([{"format": state.get("format")}] + 9 * [state]), path)
    elif path.suffix == ".jsonl":
        lines = path.read_text(encoding="utf-8").splitlines()
        i = rng.randrange(len(lines))
        mutate(rng, line := [json.loads(lines[i])])
        lines[i:i + 1] = map(json.dumps, line)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        data = json.loads(path.read_text(encoding="utf-8"))
        number, *field = mutate(rng, data)
        if path.parent.name == "problems" and field and rng.random() < 0.5:
            odd = {k: v for k, v in data[number].items() if k == field[0]}  # {}: it was deleted
            for record in data:     # since not every one is drawn
                record.pop(field[0], None)
                record |= odd
        path.write_text(json.dumps(data), encoding="utf-8")


class Payload:
    """Whoever unpickles it makes a folder: harmless, and seen afterwards."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def hide_code(rng, path):
    """Makes it a checkpoint that runs code if it is unpickled like any other pickle."""
    state = torch.load(path, weights_only=True)
    holder = rng.choice((state, state["config"], state["method"]))
    holder[rng.choice(list(holder))] = Payload()
    state = rng.choice((state, state, Payload(), [Payload()]))
    if rng.random() < 0.3:
        path.write_bytes(pickle.dumps(state, rng.randrange(6)))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=rng.random() < 0.5)


# ---- problems ------------------------------------------------------------------------------------

def stories(n):
    """(question, equations, answer) of n school problems; none has a piece to write nan or inf."""
    for i in range(n):
        a, b = 7 + i, 2 + i % 9
        name = "bcdghjklmopqrstuvwxyz"[i % 21]
        yield (f"Story {name}. Zoe has {a} jars with {b} beans each and eats 5. How many are left?",
               [f"{a}*{b}={a * b}", f"{a * b}-5={a * b - 5}"], str(a * b - 5))


def gsm8k_files():
    """{name: text} in the place of GSM8K's official files."""
    lines = [json.dumps(FORMATS["gsm8k"](*story)) for story in stories(90)]
    return {"train.jsonl": "\n".join(lines[3:]), "test.jsonl": "\n".join(lines[:3])}


def problem_files(n=60):
    """{name: n valid records}, for every task and format."""
    files = {name: [form(*story) for story in stories(n)] for name, form in FORMATS.items()}
    files["own"] = importlib.import_module("data.own").example_records(n)
    for task, (name, level, english) in TASKS.items():
        source = getattr(importlib.import_module(f"data.{task}"), name)(level)

        def text(words):
            return re.sub(r" ([.:?])", r"\1", " ".join(words)) if english else " ".join(words)
        files[task] = [
            {"question": text(e.question), "steps": [text(step) for step in e.steps],
             "answer": " ".join(e.answer) if task == "prontoqa" else text(e.answer)}
            for e in (source.sample("train", i) for i in range(n))]
    return files


# ---- scripts -------------------------------------------------------------------------------------

OLDER = {"codes": "vqvae", "tables": "eval --summary", "controls": "eval --controls",
         "look": "eval", "thoughts": "eval --controls"}


def at_home(script):
    """The module of a script, and the words that its command line begins with: in the tree at hand,
    which may be one from before there was lab/."""
    here = Path(f"{script}.py").exists() or Path(f"lab/{script}.py").exists()
    module, *words = [script] if here else OLDER.get(script, script).split()
    module = module.replace("/", ".")
    return (f"lab.{module}" if Path(f"lab/{module}.py").exists() else module), words


def enter(tree):
    """Imports the project of a checkout and makes it the working directory. GSM8K's place is taken
    by `stories`, which lie in the folder of every case."""
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    importlib.import_module("matplotlib.backends.backend_agg")      # here: once, not in every case
    for script in (*SCRIPTS, *OLDER):
        MODULES[script] = at_home(script)
        importlib.import_module(MODULES[script][0])
    gsm8k().SHA256 = {name: hashlib.sha256(text.encode()).hexdigest()
                      for name, text in gsm8k_files().items()}


def gsm8k():
    """The module that says where GSM8K's files are, in the tree at hand."""
    return sys.modules.get("data.gsm8k_files") or sys.modules["data.gsm8k"]


def launch(script, argv):
    """What `python SCRIPT ARGV` does, in this process; there is no network."""
    name, words = MODULES[script]
    module, argv = sys.modules[name], [*words, *argv]
    sys.argv = [f"{script}.py", *argv]
    files = Path("download" if script == "data/gsm8k" else "gsm8k-files")   # there is none to get
    with mock.patch.object(gsm8k(), "FOLDER", files), \
            mock.patch("urllib.request.urlopen", side_effect=OSError("no network")):
        if hasattr(module, "main"):
            module.main(argv)
        else:
            runpy.run_path(module.__file__, run_name="__main__")


# ---- rows: (rng, folder of the case) -> Case, after something odd has been put there -------------

@dataclass
class Case:
    words: list             # of its command line, the script's name first
    expected: str = EITHER
    endless: bool = False   # may it run on?


def copy_results(work):
    if not (work / "results").exists():
        shutil.copytree("results", work / "results")


def file_row(files, kinds, rng, work):
    """One of `files`, damaged in one of the ways `kinds`."""
    pattern, command = rng.choice(files)
    if pattern.startswith("results"):
        copy_results(work)
    path, kind = rng.choice(sorted(work.glob(pattern)) or [work / pattern]), rng.choice(kinds)
    command = command.replace("{}", str(path.relative_to(work)))
    if path.name in ("ckpt.pt", "log.jsonl") or kind == "folder":   # else the run is finished
        path.with_name("results.json").unlink(missing_ok=True)
    if kind == "contents":
        other_contents(rng, path)
        expected = EITHER
    elif kind == "code":
        hide_code(rng, path)
        expected = REFUSED
    elif kind == "folder":
        path.unlink(missing_ok=True)
        path.mkdir()
        (path / "kept").write_text("a file in it", encoding="utf-8")
        expected = EITHER
    else:
        change, expected = BYTES[kind]
        path.write_bytes(change(rng, path.read_bytes()))
    if path.name != "ckpt.pt" and any(word in command for word in MENDED):
        expected = EITHER
    return Case(command.split(), expected)


def actions(script, words):
    """The arguments of a script, as argparse keeps them: what it parses is not looked at."""
    class Found(BaseException):
        pass

    def stop(parser, *_):
        raise Found([a for a in parser._actions if a.dest != "help"])
    with mock.patch.object(argparse.ArgumentParser, "parse_args", stop):
        try:
            launch(script, words)
        except Found as found:
            return found.args[0]


def numeric(action):
    """Does an argument refuse what is no number?"""
    try:
        (action.type or str)("x")
    except (ValueError, argparse.ArgumentTypeError):
        return True
    return False


def plain(rng, script):
    """A command line that is fine."""
    words = [script, *SCRIPTS[script].split()]
    if script == "train":
        words += ["--method", rng.choice("cot pause icot coconut codi colar assorted".split())]
        words += ["--task", rng.choice([*TASKS, "own", "gsm8k"])] if rng.random() < 0.5 else []
        words += ["--backbone", "recurrent"] if rng.random() < 0.3 else []
    return words


def flag_row(script, numbers, texts, rng, work):
    """Odd values for one or two of the arguments; without texts, for such as take a number."""
    words, bad, endless = plain(rng, script), False, False
    known = [a for a in actions(script, words[1:]) if texts or numeric(a)]
    for action in rng.sample(known, min(len(known), rng.choice((1, 1, 2)))):
        value = rng.choice(numbers if numeric(action) else (*(action.choices or ()), *texts))
        if not action.option_strings:
            words = [script, value, *words[2:]]
        elif action.nargs == 0:
            words += [rng.choice(action.option_strings)]
        else:
            flag = action.option_strings[-1]
            words += rng.choice(([flag, value], [f"{flag}={value}"]))
        if numeric(action):
            bad |= value in (*NO_NUMBER, "-1")
        else:
            bad |= value == "" and not action.option_strings    # "" for a flag: it is not given
        endless |= numeric(action) or "--compile" in words      # which takes minutes
    return Case(words, REFUSED if bad else EITHER, endless)


def line_row(rng, work):
    """Command lines that cannot be meant."""
    words = plain(rng, script := rng.choice(list(SCRIPTS)))
    run = rng.choice(("nowhere", "empty", "cot/config.json", "cot/ckpt.pt/x"))
    (work / "empty").mkdir()
    flag = rng.choice([a.option_strings[-1] for a in actions(script, words[1:])
                       if a.option_strings and a.nargs is None] or ["--x"])
    readers = "eval", "eval cot", "tables", "rl", "depth", "codes", "data/gsm8k --from"
    wrong = ("rl assorted", "depth cot", "depth recurrent cot --n 4 --r 1,2", "codes cot", "eval",
             "data/prosqa --n 0", "train --method cot --init maze", "tables",
             "train --method colar --init maze", "train --out cot", "rl rl --out cot",
             "claims nowhere", "reproduce --list nowhere")
    return Case(rng.choice((
        [*words, flag], [*words, flag + "x"], [*words, "word"], ["claims", ""],
        rng.choice(wrong).split(), rng.choice(wrong).split(),
        [*rng.choice(readers).split(), run], ["train", "--resume", "--out", run])), REFUSED)


def path_row(commands, values, rng, work):
    """Where nothing can be read or written."""
    value, command = rng.choice(values), rng.choice(list(commands))
    flag = rng.choice(commands[command])
    if flag == "--plot":
        value = value.rstrip("/.") + ".png"
        (work / "cot.png").mkdir()
        (work / ".png").mkdir()
    folders = ".", "/", "cot", "cot/", "nowhere/x", "\udcff/x"
    fine = flag == "--out" and (value in folders or "--list" in command)
    return Case([*command.split(), *flag.split(), value], EITHER if fine else REFUSED)


def undamaged_row(rng, work):
    """Nothing is odd: were this refused, the other rows would say nothing."""
    commands = [command.split() for _, command in JSON if "{" not in command]
    return Case(rng.choice((plain(rng, rng.choice(list(SCRIPTS))), rng.choice(commands))), FINE)


KINDS_OF = {"gsm8k, --extra": ["not finite", "signs"] * 6}     # more often than elsewhere
INSIDE = ("ckpt.pt config.json log.jsonl results.json curves.png accuracy.png reward.png codes.png "
          "depth.json ckpt.part config.part results.part")
ROWS = {
    "undamaged": undamaged_row,
    **{f"flags of {name}": partial(flag_row, name, NUMBERS, TEXTS) for name in SCRIPTS},
    **{f"numbers of {name}": partial(flag_row, name, NOT_FINITE + HUGE, ())
       for name in ("train", "rl", "eval", "depth", "bench", "codes")},
    "command lines": line_row, "names": partial(path_row, PATHS, NAMES),
    "targets": partial(path_row, WRITE, TARGETS),
    **{name: partial(file_row, files, [*BYTES, *["contents"] * 6, *KINDS_OF.get(name, ())])
       for name, files in FILES.items()},
    "ckpt.pt, contents": partial(file_row, FILES["ckpt.pt"], ["contents"]),
    "pickles": partial(file_row, FILES["ckpt.pt"], ["code"])}
JSON = [pair for name, files in FILES.items() for pair in files if name != "ckpt.pt"]
ROWS |= {"nesting": partial(file_row, JSON, ["nested"]),
         "surrogates": partial(file_row, JSON, ["surrogate"]),
         "folders": partial(file_row, [(path.replace("ckpt.pt", name), command)
                                       for path, command in FILES["ckpt.pt"]
                                       for name in INSIDE.split()], ["folder"])}
