"""Small plots as SVG text for the report: points with intervals, and lines with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#1f6fb4", "#d1495b", "#2a9d63", "#8c5fbf", "#e08a1e", "#4a4a4a", "#17a2a2", "#b0527d")
WIDTH, LEFT, RIGHT = 640, 190, 40
Band = tuple[float, float, float]
"""Mean, low and high."""


def _open(width: int, height: int, title: str) -> list[str]:
    return [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif" font-size="12">',
        f'<text x="8" y="16" font-weight="bold">{escape(title)}</text>',
    ]


def palette(names: Sequence[str]) -> dict[str, str]:
    """One colour for each name, the same in every plot."""
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(names)}


def interval_plot(title: str, values: Sequence[tuple[str, Band]], digits: int, colours: Mapping[str, str]) -> str:
    """One line for each name: a dot at the mean and a bar over the interval, on a common axis from 0 (or below)."""
    height = 34 + 24 * len(values) + 22
    low = min(0.0, *(band[1] for _, band in values))
    high = max(*(band[2] for _, band in values), low + 1e-9)
    room = WIDTH - LEFT - RIGHT

    def x(value: float) -> float:
        return LEFT + room * (value - low) / (high - low)

    parts = _open(WIDTH, height, title)
    for k, (name, (mean, lower, upper)) in enumerate(values):
        y, colour = 40 + 24 * k, colours[name]
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<line x1="{x(lower):.1f}" x2="{x(upper):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<circle cx="{x(mean):.1f}" cy="{y}" r="4" fill="{colour}"/>')
    parts += _axis(LEFT, WIDTH - RIGHT, height - 22, low, high, digits)
    return "\n".join([*parts, "</svg>"])


def _axis(left: int, right: int, y: int, low: float, high: float, digits: int) -> list[str]:
    parts = [f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="#888"/>']
    for k in range(5):
        place, value = left + (right - left) * k / 4, low + (high - low) * k / 4
        parts.append(f'<text x="{place:.1f}" y="{y + 15}" text-anchor="middle" fill="#555">{value:.{digits}f}</text>')
    return parts


def line_plot(
    title: str,
    x_label: str,
    xs: Sequence[float],
    lines: Mapping[str, Sequence[Band | None]],
    digits: int,
    colours: Mapping[str, str],
) -> str:
    """Curves of means with their intervals as bands; None leaves a gap.

    Args:
        xs: positions, increasing. lines: name -> one `Band` for each position.
    """
    height, bottom, left, right = 300, 246, 60, WIDTH - 150
    known = [band for bands in lines.values() for band in bands if band is not None]
    low, high = min(band[1] for band in known), max(band[2] for band in known)
    high = high if high > low else low + 1.0
    span = max(xs[-1] - xs[0], 1e-9)

    def place(k: int, value: float) -> str:
        x, y = left + (right - left) * (xs[k] - xs[0]) / span, bottom - (bottom - 30) * (value - low) / (high - low)
        return f"{x:.1f},{y:.1f}"

    parts = _open(WIDTH, height, title)
    for n, (name, bands) in enumerate(lines.items()):
        colour = colours[name]
        shown = [(k, band) for k, band in enumerate(bands) if band is not None]
        if not shown:
            continue
        outline = [place(k, band[2]) for k, band in shown] + [place(k, band[1]) for k, band in reversed(shown)]
        parts.append(f'<polygon points="{" ".join(outline)}" fill="{colour}" opacity="0.15"/>')
        path = " ".join(place(k, band[0]) for k, band in shown)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{right + 12}" y="{44 + 18 * n}" fill="{colour}">{escape(name)}</text>')
    for k in range(5):
        value = low + (high - low) * k / 4
        y = bottom - (bottom - 30) * k / 4
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{value:.{digits}f}</text>')
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
    parts += _axis(left, right, bottom, xs[0], xs[-1], 0)
    parts.append(f'<text x="{(left + right) / 2}" y="{height - 12}" text-anchor="middle">{escape(x_label)}</text>')
    return "\n".join([*parts, "</svg>"])
