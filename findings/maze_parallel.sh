#!/bin/sh
# maze-dataset 1.4.2; 2026-11-29
# Expected: with gen_parallel=True the mazes are as many different ones as without, and a seed gives
#   the same ones each time.
# Seen: all workers start numpy's generator from the same seed, so four of them write most mazes of
#   gen_wilson and gen_percolation twice or more (among 200, 56 to 79 were different). gen_dfs draws
#   from Python's generator, which no worker seeds: its mazes are others at each call.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy==2.4.6 matplotlib==3.11.2 tqdm==4.70.1 \
    jaxtyping==0.3.11 typeguard==4.6.1
"$folder/venv/bin/pip" install -q --no-deps maze-dataset==1.4.2 muutils==0.8.12 zanj==0.6.0
cd "$folder"
cat > mazes.py <<'END'
import sys
import warnings

warnings.simplefilter("ignore")                         # of seeds other than the package's own 42
from maze_dataset import MazeDataset, MazeDatasetConfig
from maze_dataset.generation import GENERATORS_MAP

COUNT = 200


def mazes(generator, parallel, **options):
    """The walls and the path of each maze, as bytes."""
    config = MazeDatasetConfig(name="mazes", grid_n=6, n_mazes=COUNT, seed=42,
                               maze_ctor=GENERATORS_MAP[generator], maze_ctor_kwargs=options)
    made = MazeDataset.from_config(config, gen_parallel=parallel, pool_kwargs={"processes": 4},
                                   load_local=False, save_local=False)
    return [(m.connection_list.tobytes(), m.solution.tobytes()) for m in made]


if __name__ == "__main__":
    changed = False
    for name, options in (("gen_wilson", {}), ("gen_percolation", {"p": 0.9}), ("gen_dfs", {})):
        alone = [mazes(name, False, **options) for _ in range(2)]
        four = [mazes(name, True, **options) for _ in range(2)]
        print(f"{name}: of {COUNT} mazes {len(set(alone[0]))} differ, with four workers "
              f"{len(set(four[0]))}; a second call gives {len(set(alone[0]) & set(alone[1]))} and "
              f"{len(set(four[0]) & set(four[1]))} of them again")
        changed |= len(set(alone[0])) != COUNT or alone[0] != alone[1]
        if name == "gen_dfs":
            changed |= bool(set(four[0]) & set(four[1]))
        else:
            changed |= len(set(four[0])) == COUNT
    sys.exit("what is seen has changed" if changed else 0)
END
"$folder/venv/bin/python" mazes.py
