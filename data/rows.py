"""Rows of results: the file that keeps them, as text, and as a figure.

A row is what eval.py measures at one setting: {"method", "variant", "updates", "knobs", "n",
"accuracy", "low", "high", "steps", "ms", ...}. Of greedy answers it keeps which problems they are
about, "problems", a hash, and which of them were "right": "1101...".
"""
import json
import math
import os
import subprocess
from pathlib import Path

import torch

from data.cli import BadInput
from data.files import read_json, write

COLUMNS = {     # of tables, where a row has them
    "loss": "loss on these problems", "decoded": "latents read, %", "gain": "gain, points",
    "iterations": "iterations", "cache": "cached numbers per token",
    "rebuilt": "words rebuilt, %", "mixed": "from mixed codes, %", "used": "codes in use, %",
    "perplexity": "code perplexity", "same": "answers kept, %", "donor": "the donor's, %"}
NUMBERS = "n", "accuracy", "low", "high", "steps", "ms", "updates"      # of every row


# ---- what is in a row ----------------------------------------------------------------------------

def wilson(right, n, z=1.96):
    """Wilson's interval (low, high) of the share right / n at z standard errors, 1.96 for 95%.
    Unlike Wald's, the share +- z standard errors, it holds near 0 and 1."""
    p, z2 = right / n, z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z2 / (4 * n))
    middle, scale = p + z2 / 2, 1 + z2
    low, high = (middle - half) / scale, (middle + half) / scale
    return max(0.0, min(p, low)), min(1.0, max(p, high))        # exact at 0 and 1


def pass_at(k, right, n):
    """pass@k, unbiased, if `right` of n samples are: 1 - C(n - right, k) / C(n, k); 2107.03374."""
    return 1 - math.comb(n - right, k) / math.comb(n, k)


def mean_of(shares):
    """The mean of shares, one of each problem, and its 95% interval: (mean, low, high). The
    interval is that with a share of 0 and one of 1 more: like Wilson's, it holds where all are
    alike."""
    mean, more, n = sum(shares) / len(shares), [*shares, 0, 1], len(shares) + 2
    middle = sum(more) / n
    half = 1.96 * math.sqrt(sum((p - middle) ** 2 for p in more)) / n
    return mean, max(0, min(mean, middle - half)), min(1, max(mean, middle + half))


def paired(row, other):
    """The accuracy of a row minus that of another one, and its 95% interval: (difference, low,
    high). None unless both are known to be about the same problems.

    Only problems that one has right and the other wrong tell them apart (McNemar 1947). One more of
    each kind is added (Bonett and Price 2012): like Wilson's, the interval holds near 0.
    """
    if not row.get("problems") or row["problems"] != other.get("problems"):
        return None
    pairs, n = list(zip(row["right"], other["right"])), row["n"]
    won, lost = pairs.count(("1", "0")), pairs.count(("0", "1"))
    p, q = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    half = 1.96 * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return (won - lost) / n, max(-1.0, p - q - half), min(1.0, p - q + half)


def counterpart(row, others):
    """The one among other rows that a row is compared with: of the same setting, or the only one;
    None if there is neither."""
    alike = [other for other in others if other["knobs"] == row["knobs"]] or others
    return alike[0] if len(alike) == 1 else None


# ---- as a file -----------------------------------------------------------------------------------

def read_results(path):
    """The records of a results.json, or of a file that --json wrote. BadInput if it is neither."""
    records = read_json(path)
    records = records if isinstance(records, list) else [records]
    try:
        for one in records:
            check_config(one["config"])
            for row in one["rows"]:
                check_row(row)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        raise BadInput(f"{path}: damaged, or not a results.json") from None
    if not records or not all(one["rows"] for one in records):
        raise BadInput(f"{path}: holds no results")
    return records


def check_config(config):
    """TypeError, or another, unless a config has what tables read of it."""
    check_types([config["seed"], config.get("steps", 0)], int)
    check_types([config["task"], config.get("split") or "", config.get("test_split", "")], str)
    check_types([config.get(name, "") for name in ("method", "backbone", "size")], str)


def check_row(row):
    """TypeError, or another, unless a row has what tables and figures read of it."""
    shares = list(row.get("by_difficulty", {}).values())
    numbers = [row[name] for name in NUMBERS] + [row[name] for name in COLUMNS if name in row]
    numbers += [share[name] for share in shares for name in ("n", "accuracy")]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("no finite number")
    if not all(n >= 1 for n in [row["n"], *(share["n"] for share in shares)]):
        raise ValueError("no problems")
    check_types([row["method"], row["variant"], row.get("run", "")], str)
    check_types(row["knobs"].values(), (int, float, str))
    check_types([row.get("problems", ""), row.get("right", "")], str)
    if "problems" in row and (len(row["right"]) != row["n"] or set(row["right"]) - {"0", "1"}):
        raise ValueError("right is not 0 or 1 for each problem")


def check_types(values, kinds):
    """TypeError unless all values are of these kinds."""
    if not all(isinstance(value, kinds) for value in values):
        raise TypeError("another type")


def tested_rows(out):
    """The rows in the results.json of a run folder; None if it has still to be tested.

    Says which of the two it is, if there is such a file.
    """
    path = out / "results.json"
    if not path.exists():
        return None
    try:
        rows = read_results(path)[0]["rows"]
    except BadInput as error:
        print(f"{error}; the final test is run again")
        return None
    print(f"{out} is finished")
    return rows


def record(rows, config, seconds):
    """Rows with all that is needed to repeat them; config.json of the run has its tokenizer."""
    config = {name: value for name, value in config.items() if name != "pieces"}
    return {"rows": rows, "config": config, "seed": config["seed"],
            "minutes": round(seconds / 60, 2), "git": git_hash(), "torch": torch.__version__}


def write_results(out, rows, config, seconds):
    """results.json of a run folder."""
    write(out / "results.json", json.dumps(record(rows, config, seconds), indent=1))


def git_hash():
    """The commit this code is at, "+" if files differ from it, "" outside git."""
    def git(*args):
        return subprocess.run(["git", *args], capture_output=True, encoding="utf-8",
                              errors="replace", cwd=Path(__file__).parent).stdout.strip()
    try:
        changed = git("status", "--porcelain", "-uno")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except OSError:     # no git program
        return ""


# ---- as text -------------------------------------------------------------------------------------

def names_of(folders):
    """Folders -> names for tables and figures: the shortest end of each path that no other has."""
    paths = {folder: Path(os.path.abspath(folder)).parts for folder in folders}

    def name(parts):
        for n in range(1, len(parts) + 1):
            if sum(other[-n:] == parts[-n:] for other in set(paths.values())) == 1:
                return Path(*parts[-n:]).as_posix()
    return [name(paths[folder]) for folder in folders]


def setting(row):
    """The knobs of a row, as text."""
    return " ".join(f"{k}={v}" for k, v in row["knobs"].items())


def log_line(row):
    """A row of the log in short: "loss 2.31, norm 0.8, lr 0.01, 12 s, 45,378 tokens/s"."""
    units = {"seconds": " s", "tokens_per_s": " tokens/s"}
    return ", ".join(f"{value:,.0f}{units[name]}" if name in units else f"{name} {value:.4g}"
                     for name, value in row.items())


def summary_line(rows):
    """Rows in short, for the progress of a run."""
    return "   ".join(f"{setting(r)} {100 * r['accuracy']:.0f}% in {r['steps']:.1f}".lstrip()
                      for r in rows) + " thinking steps"


def table(rows):
    """Rows as a table."""
    names = [f"{r.get('run', r['method'])} {setting(r)}" for r in rows]
    width = max(12, *(len(name) + 1 for name in names))
    extra = {key: title for key, title in COLUMNS.items() if any(key in r for r in rows)}
    spans = [f"({100 * r['low']:.1f} to {100 * r['high']:.1f}, {r['n']} problems)" for r in rows]
    span = max(map(len, spans))
    lines = [f"{'method':<{width}}{'accuracy (95% interval)':<{7 + span}}"
             f"{'thinking steps':>16}{'ms/problem':>12}"
             + "".join(f"  {title}" for title in extra.values())]
    for name, interval, r in zip(names, spans, rows):
        lines.append(f"{name:<{width}}{100 * r['accuracy']:5.1f}% {interval:<{span}}"
                     f"{r['steps']:>16.1f}{r['ms']:>12.2f}"
                     + "".join(f"  {cell(r, key):>{len(t)}}" for key, t in extra.items()))
    return "\n".join(lines)


def by_pairs(rows):
    """Lines that compare the rows of several runs with those of the first one, where both have
    solved the same problems."""
    first = [row for row in rows if row.get("run") == rows[0].get("run")]
    lines = []
    for row in rows[len(first):]:
        other = counterpart(row, first)
        found = paired(row, other) if other else None
        if found:
            names = [f"{r['run']} {setting(r)}".strip() for r in (row, other)]
            lines.append(f"{names[0]} - {names[1]}: {points(*found)}")
    return ["\non the same problems, by pairs:", *lines] if lines else []


def points(difference, low, high):
    """A difference of two shares as text, with its interval."""
    return f"{100 * difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def cell(row, key):
    """One of the columns that only some tables have."""
    if key not in row:
        return ""
    if key in ("iterations", "cache", "perplexity"):
        return f"{round(row[key], 1):g}"
    if key == "loss":
        return f"{row[key]:.3f}"
    return percent(row[key], row.get(key + "_half", math.nan), row)


def percent(mean, half, row):
    """As text, with the half-width of its interval if that is known and over several seeds."""
    known = row.get("seeds", 1) > 1 and not math.isnan(half)
    return f"{100 * mean:.1f}" + (f" ± {100 * half:.1f}" if known else "")


# ---- as a figure ---------------------------------------------------------------------------------

def plot(rows):
    """A figure of accuracy against thinking steps, one line per method: the papers' main figure.

    Against iterations where nothing is written but the answer and these are what varies.
    """
    from matplotlib.figure import Figure    # slow to import; no pyplot, so no screen is needed
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    deep = not any(r["steps"] for r in rows) and all("iterations" in r for r in rows)
    key = "iterations" if deep else "steps"
    for name, mine in curves(rows).items():
        mine.sort(key=lambda r: r[key])
        x, y = [r[key] for r in mine], [100 * r["accuracy"] for r in mine]
        error = [[v - 100 * r["low"] for r, v in zip(mine, y)],
                 [100 * r["high"] - v for r, v in zip(mine, y)]]
        axes.errorbar(x, y, error, marker="o", capsize=3, label=name)
        for r, *place in zip(mine, x, y):
            axes.annotate(setting(r), place, textcoords="offset points", xytext=(6, -12),
                          fontsize=8)
    axes.set(xlabel=key if deep else "thinking steps per problem",
             ylabel="accuracy, % (95% interval)")
    axes.set_ylim(0, 103)
    axes.set_xlim(left=-0.5)
    axes.margins(x=0.08)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def curves(rows, apart=()):
    """{name: rows} of a figure: a run or method; where rows are pooled, with its flags and updates.

    Rows that differ in one of the knobs `apart` do not share a line. Greedy rows; sampled ones only
    where there are no others.
    """
    lines = {}
    for r in [r for r in rows if "k" not in r["knobs"]] or rows:
        name = r.get("run", r["method"])
        if "line" in r:     # of several seeds
            name = f"{r['line']}, {r['updates']} updates"
        name += "".join(f" {k}={r['knobs'][k]}" for k in apart if k in r["knobs"])
        lines.setdefault(label(name), []).append(r)
    return lines


def drawable(name):
    """A run's name as a figure shows it: "$" as itself, and a byte that is no UTF-8 as \\udcff."""
    return name.replace("$", r"\$").encode("utf-8", "backslashreplace").decode()


def label(name):
    """A run's name as a legend has it: in lines of 70 characters. matplotlib leaves out a label
    that begins with "_", so that one gets a blank."""
    name = f" {name}" if name.startswith("_") else name
    return "\n".join(drawable(name[i:i + 70]) for i in range(0, len(name), 70))


def plot_rewards(log, window=20):
    """reward.png from the rows of log.jsonl: reward and thinking steps of the rollouts, their
    moving average, validation.

    Batches hold problems of about equal length, hence the jumps from one to the next.
    """
    from matplotlib.figure import Figure    # slow to import; no pyplot, so no screen is needed
    val = {row["step"]: row["val"][0] for row in log if row.get("val")}
    rows = [row for row in log if "reward" in row and "steps" in row]
    x, drawing = [row["step"] for row in rows], Figure(figsize=(8, 3), layout="constrained")
    for axes, key, right, label in zip(drawing.subplots(1, 2), ("reward", "steps"),
                                       ("accuracy", "steps"), ("reward", "thinking steps")):
        y = torch.tensor([row[key] for row in rows], dtype=torch.float)
        w = min(window, len(y))
        axes.plot(x, y, alpha=0.3, label="rollouts")
        if w:
            axes.plot(x[w - 1:], y.unfold(0, w, 1).mean(1), label=f"mean of {w} batches")
        axes.plot(val.keys(), [row[right] for row in val.values()], "ko--",
                  label="validation, greedy")
        axes.set(xlabel="rollout batches", ylabel=label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize=8)
    return drawing
