"""What a sweep has found: its variants beside each other, and how they differ, by pairs.

The folder of a sweep has

    results.json    the rows of all runs, the flags that the sweep varies in their "variant"
    sweep.md        their table, pooled over seeds, and the differences to the first variant
    sweep.png       accuracy at every setting, with its seeds
    sweep.json      the command, the differences, and which runs have failed
"""
import json

import runs
from data.files import draw, write
from data.rows import counterpart, git_hash, label, paired, points, read_results, setting
from lab.tables import by_seed, mean_row, over_seeds, summary


def report(grid, firsts, failed, out, command):
    """Writes and prints what has come out, as far as runs are finished.

    grid, firsts, failed: lists of sweep.Run, what was asked for, what that starts from, and which
    of both have failed; out: the folder of the sweep; command: what was asked for, as text.
    """
    records, found = [], {}
    for run in filter(lambda run: run.done(), firsts + grid):
        record = read_results(run.folder / "results.json")[0]
        words = runs.differing(run.config, runs.tells_apart(run.config))
        words += [word for word in run.varied if not word.startswith("--method ")]
        for row in record["rows"]:
            row["variant"] = " ".join(dict.fromkeys(words))     # each of them once
        records.append(record)
        if run in grid:
            variant = " ".join(run.varied)
            found.setdefault(variant, {})[run.config["seed"]] = record["rows"]
    if not records:
        return
    write(out / "results.json", json.dumps(records, indent=1))
    pairs = differences(found) if found else []
    text = "\n".join([summary([out / "results.json"]), "", *map(as_text, pairs)]).strip()
    write(out / "sweep.md", text + "\n")
    about = {"command": command, "git": git_hash(), "differences": pairs,
             "failed": [run.folder.name for run in failed]}
    write(out / "sweep.json", json.dumps(about, indent=1))
    draw(plot_variants(out / "results.json", out.name), out / "sweep.png")
    print(f"\n{text}\n\nsaved in {out}", flush=True)


def differences(found):
    """The accuracy of every variant minus that of the first one, at each setting: [{"variant",
    "against", "setting", "seeds", "difference", "low", "high"}].

    found: {variant: {seed: rows}}. Pairs are runs of one seed on the same problems. The interval is
    Student's t over them, or of a single pair the one over its problems.
    """
    (first, base), *others = found.items()
    out = []
    for variant, seeds in others:
        for knobs in (row["knobs"] for row in next(iter(seeds.values()))):
            pairs = pairs_at(knobs, seeds, base)
            if len(pairs) > 1:
                mean, half = over_seeds([a["accuracy"] - b["accuracy"] for a, b in pairs])
                numbers = mean, mean - half, mean + half
            elif pairs:
                numbers = paired(*pairs[0])
            else:
                continue
            out.append({"variant": variant, "against": first, "setting": setting({"knobs": knobs}),
                        "seeds": len(pairs), **dict(zip(("difference", "low", "high"), numbers))})
    return out


def pairs_at(knobs, seeds, base):
    """[(row, row of the first variant)] of the seeds that both have, at one setting."""
    pairs = []
    for seed in seeds.keys() & base.keys():
        mine = [row for row in seeds[seed] if row["knobs"] == knobs]
        other = counterpart(mine[0], base[seed]) if mine else None
        if other and paired(mine[0], other):
            pairs.append((mine[0], other))
    return pairs


def as_text(one):
    """A difference in words."""
    where = f"{one['setting']}: " if one["setting"] else ""
    how = f"{one['seeds']} seeds" if one["seeds"] > 1 else "one seed, over its problems"
    return (f"{where}{one['variant']} over {one['against']}: "
            f"{points(one['difference'], one['low'], one['high'])}, {how}")


def plot_variants(path, title):
    """A figure of the accuracy of all variants in a results file at each of their settings: seeds
    as dots, beside them their mean and its 95% interval (of one seed, the one over problems)."""
    from matplotlib.figure import Figure    # slow to import; no pyplot, so no screen is needed
    lines, places = {}, {}
    for seeds in by_seed([path]).values():
        row = mean_row(list(seeds.values()))
        place = places.setdefault(setting(row) or row["method"], len(places))
        lines.setdefault(f"{row['line']}, {row['updates']} updates", []).append((place, row, seeds))
    figure = Figure(figsize=(max(6, 1.2 * len(places) + 2), 4.5), layout="constrained")
    axes = figure.subplots()
    for i, (name, points_of) in enumerate(lines.items()):
        shift = 0.7 * ((i + 0.5) / len(lines) - 0.5)        # side by side
        for place, row, seeds in points_of:
            dots = [100 * one["accuracy"] for one in seeds.values()]
            axes.plot([place + shift - 0.04] * len(dots), dots, ".", color=f"C{i % 10}", alpha=0.5)
        at = [place + shift + 0.04 for place, _, _ in points_of]
        mean, low, high = ([100 * row[key] for _, row, _ in points_of]
                           for key in ("accuracy", "low", "high"))
        axes.errorbar(at, mean, [[m - l for m, l in zip(mean, low)],
                                 [h - m for h, m in zip(high, mean)]],
                      fmt="o", capsize=3, color=f"C{i % 10}", label=label(name))
    axes.set_xticks(range(len(places)), places)
    axes.set(title=label(title), xlabel="setting of the test", ylim=(0, 103),
             ylabel="accuracy, % (mean, 95% interval)")
    axes.grid(alpha=0.3, axis="y")
    figure.legend(loc="outside lower center", fontsize=8)
    return figure
