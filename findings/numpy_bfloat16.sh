#!/bin/sh
# ml-dtypes 0.6.0, numpy 2.4.6, safetensors 0.8.0; 2026-11-30
# Expected: NumPy's arrays of bfloat16 (ml_dtypes, as JAX hands them out) are summed as float16 is,
#   and come back from a file as what they were saved.
# Seen: a sum of 1,000 ones is 256 and the mean of 1,000 times 0.1 is 0.032: the sum is kept in
#   bfloat16, in which 256 + 1 is 256. In float16 the mean is 0.1. np.save writes them as pairs of
#   bytes without a type: they come back as |V2, without an error. safetensors.numpy writes BF16
#   and cannot read it.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy==2.4.6 ml-dtypes==0.6.0 safetensors==0.8.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import io
import json
import sys

import ml_dtypes
import numpy as np
from safetensors import numpy as safe

sums = {kind: float(np.ones(1000, kind).sum()) for kind in (ml_dtypes.bfloat16, np.float16)}
means = {kind: float(np.full(1000, 0.1, kind).mean()) for kind in sums}
for kind in sums:
    print(f"{np.dtype(kind)}: 1,000 ones sum to {sums[kind]:g}; the mean of 1,000 times 0.1 is "
          f"{means[kind]:.4f}")
wide = float(np.full(1000, 0.1, ml_dtypes.bfloat16).mean(dtype=np.float32))
print(f"bfloat16 with dtype=np.float32: {wide:.4f}")

weights = np.array([1, 2.5, -3], ml_dtypes.bfloat16)
file = io.BytesIO()
np.save(file, weights)
file.seek(0)
back = np.load(file)
print(f"np.save and np.load: {weights.dtype} comes back as {back.dtype.str}")
data = safe.save({"weights": weights})
header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
try:
    safe.load(data)
    read = "can be read"
except KeyError as error:
    read = f"cannot be read: KeyError {error}"
print(f"safetensors.numpy writes {header['weights']['dtype']}, which {read}")
changed = (sums[ml_dtypes.bfloat16] != 256 or sums[np.float16] != 1000
           or abs(means[ml_dtypes.bfloat16] - 0.032) > 0.001 or abs(means[np.float16] - 0.1) > 1e-3
           or abs(wide - 0.1) > 1e-3 or back.dtype.str != "|V2"
           or header["weights"]["dtype"] != "BF16" or read == "can be read")
sys.exit("what is seen has changed" if changed else 0)
END
