"""Rows of results as text, Markdown and figures; seeds side by side.

A row is what eval.py measures: {"method", "knobs", "n", "accuracy", "low", "high", "steps", "ms",
...}. A results file holds rows and the config of their run.
"""
import json
import math
from pathlib import Path

from data.cli import BadInput

COLUMNS = {     # of tables, where a row has them
    "loss": "loss on these problems", "decoded": "latents read, %", "gain": "gain, points",
    "iterations": "iterations",
    "cache": "cached numbers per token", "rebuilt": "words rebuilt, %",
    "mixed": "from mixed codes, %", "used": "codes in use, %",
    "perplexity": "code perplexity", "same": "answers kept, %", "donor": "the donor's, %"}
ALIKE = "size", "width", "heads", "batch", "lr", "weight_decay"     # flags in no name; to be pooled


def setting(row):
    """The knobs of a row, as text."""
    return " ".join(f"{k}={v}" for k, v in row["knobs"].items() if v != "")


def one_line(rows):
    """Rows of `evaluate` in short, for the progress of a run."""
    return "   ".join(f"{setting(r)} {100 * r['accuracy']:.0f}% in {r['steps']:.1f}".lstrip()
                      for r in rows) + " thinking steps"


def table(rows):
    """Rows of `sweep` as text."""
    names = [f"{r.get('run', r['method'])} {setting(r)}" for r in rows]
    width = max(12, *(len(name) + 1 for name in names))
    extra = {key: title for key, title in COLUMNS.items() if any(key in r for r in rows)}
    lines = [f"{'method':<{width}}{'accuracy (95% interval)':<29}"
             f"{'thinking steps':>14}{'ms/problem':>12}"
             + "".join(f"  {title}" for title in extra.values())]
    for name, r in zip(names, rows):
        interval = f"({100 * r['low']:.1f} to {100 * r['high']:.1f}, {r['n']} problems)"
        lines.append(f"{name:<{width}}{100 * r['accuracy']:5.1f}% {interval:<25}"
                     f"{r['steps']:>12.1f}{r['ms']:>12.2f}"
                     + "".join(f"  {cell(r, key):>{len(t)}}" for key, t in extra.items()))
    return "\n".join(lines)


def plot(rows, path):
    """Accuracy against thinking steps, one line per method: the papers' main figure.

    Against iterations where nothing is written but the answer and these are what varies.
    """
    from matplotlib.figure import Figure    # slow to import; no pyplot, so no screen is needed
    axes = (figure := Figure(figsize=(6, 4), layout="constrained")).subplots()
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
    figure.savefig(path, dpi=150)


def curves(rows, apart=()):
    """{name: rows} of a figure: a method, its flags, and its updates where rows are pooled.

    Rows that differ in one of the knobs `apart` do not share a line. Greedy rows; sampled ones only
    where there are no others.
    """
    lines = {}
    for r in [r for r in rows if "k" not in r["knobs"]] or rows:
        name = r.get("line", r.get("run", r["method"]))
        name += f", {r['updates']} updates" if "updates" in r else ""
        name += "".join(f" {k}={r['knobs'][k]}" for k in apart if k in r["knobs"])
        lines.setdefault(drawable(name), []).append(r)
    return lines


def drawable(name):
    """A run's name as a figure shows it: "$" as itself, and a byte that is no UTF-8 as \\udcff."""
    return name.replace("$", r"\$").encode("utf-8", "backslashreplace").decode()


def plot_over(rows, knob, path):
    """Accuracy, steps and time, each over the values of a knob: the speed dial."""
    from matplotlib.figure import Figure
    panels = (figure := Figure(figsize=(10, 3.2), layout="constrained")).subplots(1, 3)
    rows = [r for r in rows if isinstance(r["knobs"].get(knob), int)]
    others = [k for k in dict.fromkeys(k for r in rows for k in r["knobs"]) if k not in (knob, "k")]
    for name, mine in curves(rows, others).items():
        mine.sort(key=lambda r: r["knobs"][knob])
        x, y = [r["knobs"][knob] for r in mine], [100 * r["accuracy"] for r in mine]
        half = [100 * (r["high"] - r["low"]) / 2 for r in mine]
        panels[0].errorbar(x, y, half, marker="o", capsize=3, label=name)
        for axes, key in zip(panels[1:], ("steps", "ms")):
            axes.plot(x, [r[key] for r in mine], marker="o")
    for axes, label in zip(panels, ("accuracy, % (95% interval)", "thinking steps", "ms/problem")):
        axes.set(xlabel=knob, ylabel=label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    panels[0].set_ylim(0, 103)
    figure.legend(loc="outside lower center", fontsize=8)
    figure.savefig(path, dpi=150)


# 97.5% points of Student's t for 1, 2, ... degrees of freedom: a 95% interval over few seeds
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def over_seeds(values):
    """Mean and half-width of its 95% interval over 2 to 10 seeds (nan for a single one)."""
    n, mean = len(values), sum(values) / len(values)
    if n == 1:
        return mean, math.nan
    sd = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    return mean, STUDENT[n - 2] * sd / math.sqrt(n)


def pool(paths):
    """results.json files of several seeds -> rows as of `sweep`, each the mean over its seeds.

    BadInput as of `by_seed`, and for more seeds than STUDENT knows.
    """
    return [mean_row(list(rows.values())) for rows in by_seed(paths).values()]


def by_seed(paths):
    """results.json files -> {(name, task, split, updates): {seed: row}}.

    The name is method, setting and flags. BadInput for a file that is no results.json, repeats a
    seed with other numbers, or has rows of one name whose flags ALIKE differ.
    """
    found = {}      # what makes rows the same: {seed: row}
    alike = {}      # and what else must be the same
    for path in paths:
        for row, config in read_rows(path):
            own = row["method"] == config["method"]
            if "updates" not in row:
                row["updates"] = config["steps" if own else "first_steps"]
            flags = list(variant(row, config))
            row["line"] = " ".join([row["method"], *flags])
            split = config.get("split") or "test"
            where = f"on {split}" if split != "test" else ""
            row["name"] = " ".join(w for w in (row["method"], setting(row), *flags, where) if w)
            key = (row["name"], config["task"], split, row["updates"])
            kind = [config.get(name) for name in ALIKE]
            if "stage" not in config and kind != alike.setdefault(key, kind):   # rl.py: its own
                raise BadInput(f"{path}: {row['name']} comes with other {', '.join(ALIKE)}, too")
            again = found.setdefault(key, {}).setdefault(config["seed"], row)
            if (again["accuracy"], again["steps"]) != (row["accuracy"], row["steps"]):
                raise BadInput(f"{path}: {row['name']} with seed {config['seed']} comes twice")
    return found


def read_rows(path):
    """(row, config) of every row of a results.json, or of a file that --json wrote.

    Some get a "gain" in accuracy: after reinforcement over before it, of k samples over one.
    """
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
        records = records if isinstance(records, list) else [records]
        for rows in (r["rows"] for r in records):
            before = {(row["method"] + "+rl", *but_k(row)): row["accuracy"] for row in rows}
            for row in rows:
                method, (other, k) = row["method"], but_k(row)
                base = (method, other, k) if k in (None, 1) else (method + "+rl", other, 1)
                if base in before:
                    row["gain"] = row["accuracy"] - before[base]
        return [(row, r["config"]) for r in records for row in r["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{path}: not a results.json") from None


def but_k(row):
    """A row's knobs other than k, and k."""
    return str({name: v for name, v in row["knobs"].items() if name != "k"}), row["knobs"].get("k")


def variant(row, config):
    """The flags of task, method and backbone in which a row's run differs from the defaults."""
    import rl                                   # here, since these need this file
    from runs import BACKBONES, FILES, FLAGS, METHODS, SIZES, TASKS, files
    config = config | row.get("config", {})
    method, _, learned = row["method"].partition("+")
    backbone = config.setdefault("backbone", "gpt")
    flags = {"backbone": ("gpt", "")} | TASKS[config["task"]].ARGS | METHODS[method].ARGS
    flags |= BACKBONES[backbone].ARGS
    if "size" in config:
        flags["layers"] = SIZES[config["size"]]["layers"], ""
    flags |= {name: FLAGS[name] for name in ("conv", "qk_norm", "optimizer", "sort")}
    if "stage" in config and "k" not in row["knobs"]:       # greedy rows have no noise
        flags.pop("sigma_min", None)
    if learned:
        flags |= {name: rl.FLAGS[name] for name in rl.SHOWN}
    for name, (default, _) in flags.items():
        default = default[0] if isinstance(default, tuple) else default
        value, flag = config.get(name, default), name.replace("_", "-")
        if name in FILES:       # without their folders
            value = ",".join(Path(path).name for path in files(config, name))
        if value != default:
            switch = isinstance(value, bool)
            yield f"--{'no-' * (not value)}{flag}" if switch else f"--{flag} {value}"


def mean_row(rows):
    if len(rows) > len(STUDENT) + 1:
        raise BadInput(f"{len(rows)} seeds of {rows[0]['method']}: at most {len(STUDENT) + 1}")
    accuracy, half = over_seeds([r["accuracy"] for r in rows])
    means = {k: sum(r[k] for r in rows) / len(rows) for k in ("steps", "ms", *COLUMNS)
             if all(k in r for r in rows)}
    if all("gain" in r for r in rows):
        means["gain"], means["gain_half"] = over_seeds([r["gain"] for r in rows])
    interval = {"low": accuracy - half, "high": accuracy + half} if len(rows) > 1 else {}
    return {**rows[0], "accuracy": accuracy, **interval, **means, "seeds": len(rows)}


def summary(paths):
    """results.json files -> a Markdown table, one line per method and setting."""
    rows = pool(paths)
    if not rows:
        raise BadInput("no results files")
    if all("thoughts" in r["knobs"] for r in rows):
        return controls_summary(rows)
    extra = {key: title for key, title in COLUMNS.items() if any(key in r for r in rows)}
    titles = ["method", "updates", "accuracy, %", "thinking steps", "ms per problem",
              "seeds x problems", *extra.values()]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for r in rows:
        cells = [r["name"], r["updates"], accuracy(r),
                 f"{r['steps']:.1f}", f"{r['ms']:.2f}", f"{r['seeds']} x {r['n']}"]
        cells += [cell(r, key) for key in extra]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def controls_summary(rows):
    """Pooled rows of controls.py -> a Markdown table: accuracy under each intervention."""
    lines = {}
    for r in rows:
        name = " ".join(r["name"].replace(f"thoughts={r['knobs']['thoughts']}", "").split())
        lines.setdefault((name, r["updates"]), {})[r["knobs"]["thoughts"]] = r
    changes = list(next(iter(lines.values())))
    titles = ["method, accuracy in %", "thoughts", *changes, "the donor's", "seeds x problems"]
    out = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for (name, _), by in lines.items():
        first, cells = by["as thought"], [name, f"{by['as thought']['steps']:.1f}"]
        cells += [percent(by[k]["accuracy"], by[k]["high"] - by[k]["accuracy"], by[k])
                  for k in changes]
        cells += [f"{100 * by['swap']['donor']:.1f}", f"{first['seeds']} x {first['n']}"]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


def accuracy(row):
    """Mean and interval over seeds; of one seed, the interval over its problems."""
    if row["seeds"] > 1:
        return percent(row["accuracy"], row["high"] - row["accuracy"], row)
    return f"{100 * row['accuracy']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


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
