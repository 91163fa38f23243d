"""A run second by second, as one SVG: how many were due, done and shed, and below it the slowest hundredth."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

WIDTH, LEFT, RIGHT, TOP = 900, 60, 20, 50
RATES_HEIGHT, LATENCY_HEIGHT, GAP = 220, 140, 50
COLOURS = {"due": "#94a3b8", "done": "#16a34a", "shed": "#dc2626", "p99_ms": "#2563eb"}
Line = Sequence[dict[str, float]]


def draw(path: Path, title: str, line: Line, *, limit_ms: float, marks: Sequence[tuple[float, str]] = ()) -> None:
    """Write the chart; `limit_ms` is what p99 was promised to stay below, `marks` are moments worth a word."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg(title, line, limit_ms=limit_ms, marks=marks))


def svg(title: str, line: Line, *, limit_ms: float, marks: Sequence[tuple[float, str]] = ()) -> str:
    last = max((row["second"] for row in line), default=0) or 1
    rate_top = max((row["due"] for row in line), default=0) * 1.15 or 1
    late_top = max(limit_ms * 1.3, 1.1 * max((row["p99_ms"] for row in line), default=0))
    below = TOP + RATES_HEIGHT + GAP
    height = below + LATENCY_HEIGHT + 40

    def x(second: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * second / last

    def curve(name: str, bottom: float, tall: float, top: float) -> str:
        points = " ".join(f"{x(row['second']):.1f},{bottom - tall * row[name] / top:.1f}" for row in line)
        return f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="1.5"/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-size="12" fill="#334155">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/><g font-family="sans-serif">',
        f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
        *_axis(TOP, RATES_HEIGHT, rate_top, "a second"),
        *_axis(below, LATENCY_HEIGHT, late_top, "p99, ms"),
        *(curve(name, TOP + RATES_HEIGHT, RATES_HEIGHT, rate_top) for name in ("due", "done", "shed")),
        curve("p99_ms", below + LATENCY_HEIGHT, LATENCY_HEIGHT, late_top),
    ]
    promised = below + LATENCY_HEIGHT - LATENCY_HEIGHT * limit_ms / late_top
    parts.append(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{promised:.1f}" y2="{promised:.1f}" stroke="#dc2626" '
        'stroke-dasharray="4 4"/>'
        f'<text x="{WIDTH - RIGHT}" y="{promised - 4:.1f}" text-anchor="end">{limit_ms:g} ms</text>'
    )
    for place, name in enumerate(("due", "done", "shed")):
        parts.append(f'<text x="{WIDTH - 200 + 60 * place}" y="38" fill="{COLOURS[name]}">● {name}</text>')
    for second, word in marks:
        parts.append(
            f'<line x1="{x(second):.1f}" x2="{x(second):.1f}" y1="{TOP}" y2="{below + LATENCY_HEIGHT}" '
            f'stroke="#cbd5e1"/><text x="{x(second) + 4:.1f}" y="{TOP + 12}">{escape(word)}</text>'
        )
    parts += [
        f'<text x="{x(second):.1f}" y="{height - 22}" text-anchor="middle">{second}</text>'
        for second in range(0, int(last) + 1, max(1, int(last) // 10))
    ]
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{height - 6}" text-anchor="end">seconds</text></g></svg>\n')
    return "\n".join(parts)


def _axis(top: float, tall: float, highest: float, unit: str) -> list[str]:
    lines = [f'<text x="{LEFT}" y="{top - 8}">{unit}</text>']
    for step in range(5):
        y = top + tall - tall * step / 4
        lines.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e2e8f0"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{highest * step / 4:,.0f}</text>'
        )
    return lines
