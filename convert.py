"""Writes into every row of results/ what names it in a table: its updates and its variant, the
flags in which its run differs from the defaults. Run once; rows written from now on have both.

    python convert.py
"""
import json
from pathlib import Path

from tables import variant

for path in sorted(Path("results").glob("*/*.json")):
    text = path.read_text(encoding="utf-8")
    found = json.loads(text)
    for record in found if isinstance(found, list) else [found]:
        if "rows" not in record:
            continue
        for row in record["rows"]:
            config = record["config"]
            own = row["method"] == config["method"]
            row.setdefault("updates", config["steps" if own else "first_steps"])
            row["variant"] = " ".join(variant(row, dict(config)))
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
