"""The rows of the paper's ablation tables as settings of a training run, with the paper's numbers and claims.

Every row is the same tuning from the same prepared model but for its settings. The numbers are of Tables 8 to
16 (VidSTG, declarative sentences), in percent.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bridge_stg.metrics.stvg import METRICS

DEFAULT_LAYERS = 6
_DEFAULT = (52.6, 37.2, 52.4, 37.4)


@dataclass(frozen=True)
class AblationRow:
    """One row: ``settings`` on top of the default tuning; ``paper`` are its numbers there.

    source: what its metrics are of: "run" is the scores of its run, "cost" these and what its answers took;
        "oracle" the scores with true windows, "tiou:LOW:HIGH" those of the queries whose tIoU in percent is in
        the range, "length:LOW:HIGH" of the videos in a range of quantiles of length, "event:LOW:HIGH" of the
        events that last so many seconds.
    claim: the metric by which the default is better than this row, as the paper says; None claims nothing.
    note: what differs from the paper.
    """

    name: str
    settings: tuple[str, ...] = ()
    paper: dict[str, float] = field(default_factory=dict)
    source: str = "run"
    claim: str | None = None
    note: str = ""

    @property
    def layers(self) -> int:
        """Encoder layers n of its detector."""
        chosen = [s.partition("=")[2] for s in self.settings if s.startswith("model.num_encoder_layers=")]
        return int(chosen[0]) if chosen else DEFAULT_LAYERS


@dataclass(frozen=True)
class AblationTable:
    """A table of the paper; ``title`` says in one line what it compares."""

    key: str
    title: str
    rows: tuple[AblationRow, ...]


def _paper(*values: float) -> dict[str, float]:
    return dict(zip(METRICS, values, strict=True))


def _row(
    name: str, *settings: str, paper: tuple[float, ...] = (), claim: str | None = None, note: str = ""
) -> AblationRow:
    return AblationRow(name, settings, _paper(*paper) if paper else {}, claim=claim, note=note)


def _default(name: str = "default") -> AblationRow:
    return _row(name, paper=_DEFAULT)


TABLES: dict[str, AblationTable] = {
    table.key: table
    for table in (
        AblationTable(
            "8-parts",
            "Table 8: what each part is for",
            (
                _default(),
                _row("w/o ETA", "model.eta_mode=none", paper=(50.2, 32.3, 44.9, 30.8), claim="m_tIoU"),
                _row("w/o STSB", "model.bridge=det", paper=(50.5, 32.6, 46.0, 31.3), claim="m_vIoU"),
                _row(
                    "w/o P/N",
                    "data.num_positive=10",
                    "data.num_negative=0",
                    paper=(51.1, 34.7, 48.0, 33.7),
                    claim="m_vIoU",
                ),
            ),
        ),
        AblationTable(
            "8-queries",
            "Table 8: the number of bridging queries",
            (
                _default("8 queries"),
                _row(
                    "0 queries",
                    "model.bridge=det",
                    paper=(50.1, 32.6, 46.0, 31.3),
                    claim="m_vIoU",
                    note="the hidden state of <det> in their place",
                ),
                _row(
                    "16 queries", "model.num_bridge_queries=16", paper=(51.8, 36.7, 50.9, 36.1), claim="m_vIoU"
                ),
                _row(
                    "disconnected",
                    "model.bridge=none",
                    claim="m_vIoU",
                    note="not in the paper: learned constants, nothing of the language model",
                ),
            ),
        ),
        AblationTable(
            "8-frames",
            "Table 8: positive and negative frames of a sentence",
            (
                _default("8:2"),
                _row(
                    "10:0",
                    "data.num_positive=10",
                    "data.num_negative=0",
                    paper=(51.1, 34.7, 48.0, 33.7),
                    claim="m_vIoU",
                ),
                _row(
                    "5:5",
                    "data.num_positive=5",
                    "data.num_negative=5",
                    paper=(52.0, 36.9, 52.1, 36.8),
                    claim="m_vIoU",
                ),
                _row(
                    "2:8",
                    "data.num_positive=2",
                    "data.num_negative=8",
                    paper=(51.4, 34.9, 49.6, 34.3),
                    claim="m_vIoU",
                ),
            ),
        ),
        AblationTable(
            "8-weights",
            "Table 8: lambda1 : lambda2, and the weight of the box loss",
            (
                _row("1:0.4", note="the default at this size (docs/log.md)"),
                _row("1:0.02", "weights.spatial=0.02", paper=_DEFAULT, note="the default of the paper"),
                _row("1:1", "weights.spatial=1", paper=(50.3, 37.0, 51.1, 37.1), claim="m_tIoU"),
                _row("beta 0.5", "weights.box=0.5", note="section 4.1; the default here is 5, as in Eq. 9"),
            ),
        ),
        AblationTable(
            "10",
            "Table 10: how timestamps are written",
            (
                _default("virtual"),
                _row("none", "model.eta_mode=none", paper=(50.2, 32.3, 44.9, 30.8), claim="m_tIoU"),
                _row("append", "model.eta_mode=append", paper=(51.4, 35.8, 49.6, 36.1), claim="m_tIoU"),
                _row("native", "model.eta_mode=native", note="not in the paper: as stock Qwen3-VL writes them"),
            ),
        ),
        AblationTable(
            "11",
            "Table 11: encoder layers n",
            (
                _default("n = 6"),
                _row("n = 2", "model.num_encoder_layers=2", paper=(52.6, 34.2, 46.4, 34.6), claim="m_vIoU"),
                _row("n = 4", "model.num_encoder_layers=4", paper=(52.6, 36.3, 50.7, 36.5), claim="m_vIoU"),
                _row("n = 8", "model.num_encoder_layers=8", paper=(52.6, 36.9, 51.4, 37.0), claim="m_vIoU"),
            ),
        ),
        AblationTable(
            "12",
            "Table 12: which layers offer queries",
            (
                _default("all layers"),
                _row("last layer", "model.select_layers=last", paper=(52.6, 34.6, 46.8, 34.9), claim="m_vIoU"),
                _row(
                    "last, as many",
                    "model.select_layers=last",
                    f"model.topk={24 * DEFAULT_LAYERS}",
                    claim="m_vIoU",
                    note="not in the paper: the last layer alone with as many queries",
                ),
            ),
        ),
        AblationTable(
            "13",
            "Table 13: the alignment loss",
            (
                _default("with"),
                _row("without", "weights.alignment=0", paper=(52.6, 35.0, 48.5, 35.2), claim="m_vIoU"),
            ),
        ),
        AblationTable(
            "9",
            "Table 9: what an answer takes, decoupled and not",
            (
                AblationRow(
                    "decoupled",
                    (),
                    {"answer_tokens": 42.83, "frames": 45.56, "located_frames": 20.77},
                    source="cost",
                ),
                AblationRow(
                    "entangled",
                    ("objective=entangled",),
                    {"answer_tokens": 374.76, "frames": 100.0},
                    source="cost",
                    claim="m_vIoU",
                    note="in the paper another model, LLaVA-ST",
                ),
                AblationRow(
                    "parallel",
                    ("objective=parallel",),
                    source="cost",
                    claim="m_vIoU",
                    note="not in the paper: all boxes in one forward pass, no detector",
                ),
            ),
        ),
        AblationTable(
            "14",
            "Table 14: boxes within the true window",
            (
                _default("predicted window"),
                AblationRow(
                    "true window", (), {"m_vIoU": 65.2, "vIoU@0.3": 73.2, "vIoU@0.5": 59.3}, source="oracle"
                ),
            ),
        ),
        AblationTable(
            "15",
            "Table 15: m_vIoU by how well the window was found",
            tuple(
                AblationRow(
                    f"tIoU in {name}", (), {"m_tIoU": tiou, "m_vIoU": viou}, source=f"tiou:{low}:{high}"
                )
                for name, low, high, tiou, viou in (
                    ("[0, 0.3)", 0, 30, 7.0, 4.2),
                    ("[0.3, 0.5)", 30, 50, 38.0, 24.5),
                    ("[0.5, 0.7)", 50, 70, 57.8, 38.5),
                    ("[0.7, 1]", 70, 101, 91.2, 66.5),
                )
            ),
        ),
        AblationTable(
            "16",
            "Table 16: short and long videos, short events",
            (
                AblationRow(
                    "short videos",
                    (),
                    {"m_tIoU": 79.0, "m_vIoU": 59.5},
                    source="length:0:0.25",
                    note="the shortest quarter; in the paper below 3 s",
                ),
                AblationRow(
                    "long videos",
                    (),
                    {"m_tIoU": 36.5, "m_vIoU": 32.4},
                    source="length:0.75:1",
                    note="the longest quarter; in the paper above 90 s",
                ),
                AblationRow(
                    "short events",
                    (),
                    {"m_vIoU": 29.9, "vIoU@0.5": 20.1},
                    source="event:0:1",
                    note="below 1 s, as in the paper",
                ),
            ),
        ),
    )
}
