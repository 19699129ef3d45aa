"""Rows of results from several seeds side by side, as Markdown.

    python -m lab.tables results/default/*.json
    python -m lab.tables dial.json --plot dial.png --over c

A row is what eval.py measures: {"method", "variant", "updates", "knobs", "n", "accuracy", "low",
"high", "steps", "ms", ...}. A results file holds rows and the config of their run.
"""
import math

from data.cli import BadInput, Flag, Parser, choice, one_line
from data.files import can_draw, draw
from data.rows import COLUMNS, cell, curves, percent, plot, read_results, setting
from runs import KINDS, METHODS

TITLES = {"name": "method", "updates": "updates", "accuracy": "accuracy, %",
          "steps": "thinking steps", "ms": "ms per problem", "seeds": "seeds x problems"} | COLUMNS
ALIKE = "size", "width", "heads", "batch", "lr", "weight_decay"     # flags in no name; to be pooled


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

    BadInput as of `by_seed` and `mean_row`.
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
            row["line"] = f"{row['method']} {row['variant']}".strip()
            split = config.get("split") or config.get("test_split", "test")
            where = f"on {split}" if split != "test" else ""
            words = row["method"], setting(row), row["variant"], where
            row["name"] = " ".join(filter(None, words))
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
    records = read_results(path)
    for one in records:
        check_known(path, one)
    for rows in (one["rows"] for one in records):
        before = {(row["method"] + "+rl", *but_k(row)): row["accuracy"] for row in rows}
        for row in rows:
            method, (other, k) = row["method"], but_k(row)
            base = (method, other, k) if k in (None, 1) else (method + "+rl", other, 1)
            if base in before:
                row["gain"] = row["accuracy"] - before[base]
    return [(row, one["config"]) for one in records for row in one["rows"]]


def check_known(path, record):
    """BadInput for a method, task, backbone or size that this project does not have."""
    config = record["config"]
    try:
        for name, flag in KINDS.items():
            if name in config:
                flag.check(name, config[name])
        for row in record["rows"]:
            choice(row["method"].replace("+rl", ""), METHODS, "method")
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None


def but_k(row):
    """A row's knobs other than k, and k."""
    return str({name: v for name, v in row["knobs"].items() if name != "k"}), row["knobs"].get("k")


def mean_row(rows):
    """The mean of rows that differ in their seed. BadInput for more seeds than STUDENT knows, and
    unless all are about the same problems."""
    if len({(r["n"], r.get("problems")) for r in rows}) > 1:
        raise BadInput(f"{rows[0]['name']}: its seeds have answered other problems than each other")
    if len(rows) > len(STUDENT) + 1:
        raise BadInput(f"{len(rows)} seeds of {rows[0]['method']}: at most {len(STUDENT) + 1}")
    accuracy, half = over_seeds([r["accuracy"] for r in rows])
    means = {k: sum(r[k] for r in rows) / len(rows) for k in ("steps", "ms", *COLUMNS)
             if all(k in r for r in rows)}
    if all("gain" in r for r in rows):
        means["gain"], means["gain_half"] = over_seeds([r["gain"] for r in rows])
    interval = {"low": accuracy - half, "high": accuracy + half} if len(rows) > 1 else {}
    first = {name: value for name, value in rows[0].items() if name not in ("problems", "right")}
    return {**first, "accuracy": accuracy, **interval, **means, "seeds": len(rows)}


def summary(paths):
    """results.json files -> a Markdown table, one line per method and setting."""
    rows = pool(paths)
    if not rows:
        raise BadInput("no results files")
    if any(r["knobs"].get("thoughts") == "swap" for r in rows):
        return controls_summary(rows)
    columns = [key for key in TITLES if key not in COLUMNS or any(key in r for r in rows)]
    return markdown([TITLES[key] for key in columns],
                    [[shown(row, key) for key in columns] for row in rows])


def markdown(titles, lines):
    """A Markdown table of cells that are text."""
    rows = [titles, *lines]
    out = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([out[0], "|---" * len(titles) + "|", *out[1:]])


def shown(row, column):
    """The cell of a pooled row in a column of TITLES."""
    if column == "accuracy":
        return accuracy(row)
    if column in ("steps", "ms"):
        return f"{row[column]:.1f}" if column == "steps" else f"{row[column]:.2f}"
    if column == "seeds":
        return f"{row['seeds']} x {row['n']}"
    return cell(row, column) if column in COLUMNS else str(row[column])


def controls_summary(rows):
    """Pooled rows of lab.controls -> a Markdown table: accuracy under each intervention."""
    lines = {}
    for r in rows:
        change = r["knobs"].get("thoughts")
        name = " ".join(r["name"].replace(f"thoughts={change}", "").split())
        lines.setdefault((name, r["updates"]), {})[change] = r
    changes = list(next(iter(lines.values())))
    if None in changes or any(list(by) != changes for by in lines.values()):
        raise BadInput("rows of lab.controls have columns of their own: no others go with them")
    titles = ["method, accuracy in %", "thoughts", *changes, "the donor's", "seeds x problems"]
    out = []
    for (name, _), by in lines.items():
        first, cells = by["as thought"], [name, f"{by['as thought']['steps']:.1f}"]
        cells += [percent(by[k]["accuracy"], by[k]["high"] - by[k]["accuracy"], by[k])
                  for k in changes]
        out.append([*cells, f"{100 * by['swap']['donor']:.1f}", shown(first, "seeds")])
    return markdown(titles, out)


def accuracy(row):
    """Mean and interval over seeds; of one seed, the interval over its problems."""
    if row["seeds"] > 1:
        return percent(row["accuracy"], row["high"] - row["accuracy"], row)
    return f"{100 * row['accuracy']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


def plot_over(rows, knob):
    """A figure of accuracy, steps and time, each over the values of a knob: the speed dial."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = figure.subplots(1, 3)
    rows = [r for r in rows if isinstance(r["knobs"].get(knob), int)]
    if not rows:
        raise BadInput(f"--over {knob}: no row has a whole number as this knob")
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
    return figure


FLAGS = {
    "plot": Flag("", "no table: draw the rows into this .png, .pdf or .svg"),
    "over": Flag("", "the knob on the x-axis of that figure, instead of thinking steps"),
}


def main(argv=None):
    parser = Parser("lab.tables", __doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="what eval.py --json wrote, or "
                        "results.json of a run")
    parser.add_flags(FLAGS)
    with one_line("lab.tables"):
        args = parser.parse(argv)
        if args["over"] and not args["plot"]:
            raise BadInput("--over: of a figure; add --plot FILE")
        if not args["plot"]:
            print(summary(args["files"]))
            return
        can_draw(args["plot"])
        rows = pool(args["files"])
        draw(plot_over(rows, args["over"]) if args["over"] else plot(rows), args["plot"])


if __name__ == "__main__":
    main()
