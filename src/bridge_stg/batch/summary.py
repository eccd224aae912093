"""``summary.html``: what a batch found, on one page without anything from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment

from bridge_stg.batch.workers import drawing_name
from bridge_stg.files.output_files import write_whole

# A page with more rows than this is for a program, and the program reads the Parquet files.
ROWS_SHOWN = 500

_PAGE = Environment(autoescape=True).from_string("""\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Bridge-STG batch</title>
<style>body{font:15px/1.4 system-ui,sans-serif;margin:2rem;max-width:70rem}
table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #8886;padding:.3rem .6rem;text-align:left}
.text{overflow-wrap:anywhere;min-width:7rem}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.wide{overflow-x:auto}
@media(max-width:40rem){
body{margin:1rem}
table{font-size:13px}
td,th{padding:.3rem .2rem}
.text{min-width:5rem}
}</style></head><body>
<h1>{{ answered }} answered, {{ failed }} failed</h1>
<p>{{ checkpoint }}{% for status, count in statuses %}, {{ status }}: {{ count }}{% endfor %}.</p>
{% if failed %}<p>The reasons are in failed.jsonl; the same command asks them again.</p>{% endif %}
<div class="wide"><table><tr><th class="text">video</th><th class="text">sentence</th><th>answer</th>
<th class="number">start (s)</th><th class="number">end (s)</th><th class="number">boxes</th></tr>
{% for row in rows %}<tr><td class="text">
{% if row.drawing %}<a href="videos/{{ row.drawing }}">{{ row.video }}</a>
{% else %}{{ row.video }}{% endif %}</td><td class="text">{{ row.query }}</td><td>{{ row.status }}</td>
<td class="number">{{ row.start }}</td><td class="number">{{ row.end }}</td>
<td class="number">{{ row.boxes }}</td></tr>
{% endfor %}</table></div>
{% if hidden %}<p>{{ hidden }} more are in tubes/.</p>{% endif %}
</body></html>
""")


def write_summary(folder: Path, results: Iterable[dict[str, Any]], failed: int, checkpoint: str) -> Path:
    """Count all results and show the first of them.

    Args:
        results: objects of tube.json with an ``id``.
        failed: questions without an answer.
    """
    statuses: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for result in results:
        statuses[result["status"]] += 1
        if len(rows) < ROWS_SHOWN:
            rows.append(_shown(folder, result))
    answered = sum(statuses.values())
    page = _PAGE.render(
        answered=answered,
        failed=failed,
        checkpoint=checkpoint,
        statuses=statuses.most_common(),
        rows=rows,
        hidden=answered - len(rows),
    )
    path = folder / "summary.html"
    write_whole(path, page)
    return path


def _shown(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    window, drawing = result["window"], drawing_name(result["id"])
    return {
        "video": Path(result["video"]).name,
        "query": result["query"],
        "status": result["status"],
        "start": "" if window is None else f"{window['start']:.1f}",
        "end": "" if window is None else f"{window['end']:.1f}",
        "boxes": len(result["boxes"]),
        "drawing": drawing if (folder / "videos" / drawing).is_file() else None,
    }
