#!/bin/sh
# deepsig 1.2.8; 2026-11-29
# Expected: multi_aso of two models says what aso says, and its Bonferroni correction asks for more
#   the more pairs there are: a level of 1 - 0.05 / pairs.
# Seen: the level is 0.95 + 0.05 / pairs. Of two models that is 1, so that no model is ever better
#   (1, where aso says 0), and of six models it is 0.953 in place of 0.997.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy==2.4.6 deepsig==1.2.8
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

import numpy as np
from deepsig import aso, multi_aso

draws = np.random.default_rng(0)
options = dict(num_bootstrap_iterations=50, show_progress=False, seed=1)
better, worse = draws.normal([0.9, 0.5], 0.01, (10, 2)).T.tolist()   # ten runs of each
alone = float(aso(better, worse, **options))
two = multi_aso([better, worse], **options)
plain = multi_aso([better, worse], use_bonferroni=False, **options)
print(f"aso {alone:.2f}, multi_aso {two[0, 1]:.2f}, without its correction {plain[0, 1]:.2f}")

six = draws.normal(np.linspace(0.6, 0.5, 6), 0.1, (10, 6)).T.tolist()
levels = 0.95 + 0.05 / 15, 1 - 0.05 / 15                # of 15 pairs
corrected = multi_aso(six, **options)
away = [float(np.abs(multi_aso(six, confidence_level=level, use_bonferroni=False, **options)
                     - corrected).max()) for level in levels]
print(f"six models: off by {away[0]:.2f} from level {levels[0]:.4f}, "
      f"by {away[1]:.2f} from level {levels[1]:.4f}")
changed = (alone > 0.1 or two[0, 1] < 1 or two[1, 0] < 1 or plain[0, 1] > 0.1
           or away[0] > 1e-9 or away[1] < 0.1)
sys.exit("what is seen has changed" if changed else 0)
END
