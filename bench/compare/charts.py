"""Two pictures of a run as SVG: how much each system does, and how long its clients wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, log10
from typing import Any

from bench.compare.verdict import BROKEN

WIDTH, LABELS, RIGHT, TOP, ROW, GAP, BAR = 860, 190, 84, 84, 34, 10, 18
TICKS_MAX = 6

#: Light or dark as the reader's system is; on a background of its own, since the page around it may be the other.
STYLE = """
  svg { --paper: #ffffff; --ink: #1f2937; --faint: #6b7280; --rule: #e5e7eb;
        --own: #2563eb; --other: #9ca3af; --own-slow: #93c5fd; --other-slow: #d6dae0; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #111827; --ink: #f3f4f6; --faint: #9ca3af; --rule: #2b3544;
          --own: #60a5fa; --other: #7c8796; --own-slow: #2c5a9e; --other-slow: #465060; }
  }
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--ink); }
  .title { font-size: 16px; font-weight: 600; } .faint { fill: var(--faint); font-size: 12px; }
  .paper { fill: var(--paper); stroke: var(--rule); } .rule { stroke: var(--rule); }
  .own { fill: var(--own); } .other { fill: var(--other); }
  .own-slow { fill: var(--own-slow); } .other-slow { fill: var(--other-slow); }
  .whisker { stroke: var(--ink); stroke-width: 1.5; fill: none; }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One value and how to paint it; `low` and `high` are what the rounds ranged over."""

    value: float
    paint: str
    low: float | None = None
    high: float | None = None

    @property
    def reach(self) -> float:
        return max(self.value, self.high or 0)


@dataclass(frozen=True, slots=True)
class Row:
    """A system's bars, one below the other."""

    label: str
    bars: Sequence[Bar]


def draw(document: Mapping[str, Any]) -> dict[str, str]:
    """The pictures by name."""
    rates, waits = [], []
    for name, found in document["medians"].items():
        if not found:
            continue
        label, owner = document["titles"][name], "own" if document["titles"][name].startswith("desk") else "other"
        all_rates = [one["per_second"] for one in document["rounds"][name] if BROKEN not in one]
        rates.append(Row(label, [Bar(found["per_second"], owner, min(all_rates), max(all_rates))]))
        waits.append(Row(label, [Bar(found["p50_ms"], owner), Bar(found["p99_ms"], f"{owner}-slow")]))
    load, machine = document["load"], document["machine"]
    clients = f"{load['connections']} clients (pgbench: {load['floor_clients']}) on {machine['cores']} cores"
    rounds = "one round" if load["rounds"] == 1 else f"median of {load['rounds']} rounds and their range"
    return {
        "compare-rate": picture("Requests per second", f"{rounds}; {clients}", rates),
        "compare-latency": picture(
            "How long a request takes, in milliseconds", f"above: half take less; below: 99 of 100 do; {clients}", waits
        ),
    }


def picture(title: str, subtitle: str, rows: Sequence[Row]) -> str:
    step = _step(max((bar.reach for row in rows for bar in row.bars), default=1.0))
    ticks = max(1, ceil(max((bar.reach for row in rows for bar in row.bars), default=1.0) / step))
    scale = (WIDTH - LABELS - RIGHT) / (ticks * step)
    heights = [BAR * len(row.bars) + GAP + ROW - BAR - GAP for row in rows]
    bottom = TOP + sum(heights)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 40}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="paper" x="0.5" y="0.5" width="{WIDTH - 1}" height="{bottom + 39}" rx="8"/>',
        f'<text class="title" x="24" y="34">{escape(title)}</text>',
        f'<text class="faint" x="24" y="56">{escape(subtitle)}</text>',
    ]
    for tick in range(ticks + 1):
        x = LABELS + tick * step * scale
        parts.append(f'<line class="rule" x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(
            f'<text class="faint" x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{tick * step:,.6g}</text>'
        )
    y = float(TOP)
    for row, height in zip(rows, heights, strict=True):
        middle = y + BAR * len(row.bars) / 2
        parts.append(f'<text x="{LABELS - 12}" y="{middle + 4.5:.1f}" text-anchor="end">{escape(row.label)}</text>')
        for place, bar in enumerate(row.bars):
            parts += _bar(bar, y + place * BAR, scale)
        y += height
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(bar: Bar, y: float, scale: float) -> list[str]:
    middle, end = y + BAR / 2, LABELS + bar.value * scale
    width = bar.value * scale
    parts = [f'<rect class="{bar.paint}" x="{LABELS}" y="{y + 1}" width="{width:.1f}" height="{BAR - 2}" rx="2"/>']
    if bar.low is not None and bar.high is not None and bar.low < bar.high:
        left, right = LABELS + bar.low * scale, LABELS + bar.high * scale
        ends = " ".join(f"M{x:.1f} {middle - 4}v8" for x in (left, right))
        parts.append(f'<path class="whisker" d="M{left:.1f} {middle}H{right:.1f} {ends}"/>')
        end = max(end, right)
    digits = 0 if bar.value >= 100 else 1
    parts.append(f'<text x="{end + 8:.1f}" y="{middle + 4.5:.1f}">{bar.value:,.{digits}f}</text>')
    return parts


def _step(reach: float) -> float:
    """The distance of round numbers that divides the axis into no more than so many parts."""
    rough = max(reach, 1e-9) / TICKS_MAX
    power: float = 10.0 ** ceil(log10(rough))
    return next((power * part for part in (0.1, 0.2, 0.5) if power * part >= rough), power)
