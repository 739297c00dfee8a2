"""Three pictures of the curve: latency, cores, and CPU a message, by load."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 720, 400, 64, 48, 168, 48
Points = Mapping[float, float]
_COLOURS = ("#3366cc", "#dc3912", "#109618", "#ff9900", "#990099", "#0099c6", "#777777", "#aa7744")
_PEERS_P99: Mapping[str, Points] = {"Tinode": {200: 5.94}, "WuKongIM": {200: 12.2, 1000: 39}}
_PEERS_CORES: Mapping[str, Points] = {
    "Tinode": {200: 0.43},
    "WuKongIM": {200: 0.28, 1000: 0.91, 2000: 1.16},
}
"""Other messengers, measured on 2026-11-29 elsewhere, on a machine with 2 cores."""


def plot(parts: Mapping[str, Any], folder: Path) -> None:
    """Write latency.svg, cores.svg and cpu.svg."""
    curve, single = _by_rate(parts.get("curve", {})), _by_rate(parts.get("one_partition", {}))
    peer = _by_rate(parts.get("peer", {}).get("loads", {}))
    latency: dict[str, Points] = {
        **{p: {rate: run["ms"][p][0] for rate, run in curve.items()} for p in ("p50", "p99")},
        **{
            f"{p}, one partition": {rate: run["ms"][p][0] for rate, run in single.items()}
            for p in ("p50", "p99")
        },
        **{
            f"ejabberd {p}": {r: run["ms"][p][0] for r, run in peer.items()} for p in ("p50", "p99")
        },
        **{f"{name} p99, elsewhere": points for name, points in _PEERS_P99.items()},
    }
    cores: dict[str, Points] = {
        "all servers": {rate: run["cores"][0] for rate, run in curve.items()},
        "one partition": {rate: run["cores"][0] for rate, run in single.items()},
        "the generator": {rate: run["generator_cores"][0] for rate, run in curve.items()},
        "ejabberd": {rate: run["cores"][0] for rate, run in peer.items()},
        **{f"{name}, elsewhere": points for name, points in _PEERS_CORES.items()},
    }
    names = dict.fromkeys(part for run in curve.values() for part in run["us"])
    cpu = {name: {r: run["us"].get(name, [0])[0] for r, run in curve.items()} for name in names}
    pictures: dict[str, tuple[str, Mapping[str, Points], bool]] = {
        "latency": ("From due to shown, ms", latency, True),
        "cores": ("Cores in use", cores, False),
        "cpu": ("CPU us a message, by process", cpu, True),
    }
    for name, (title, lines, by_tens) in pictures.items():
        (folder / f"{name}.svg").write_text(_picture(title, lines, by_tens))


def _by_rate(loads: Mapping[str, Any]) -> dict[float, Any]:
    return {
        float(load[:-2].replace(",", "")): run for load, run in loads.items() if load.endswith("/s")
    }


def _picture(title: str, lines: Mapping[str, Points], by_tens: bool) -> str:
    lines = {name: points for name, points in lines.items() if points}
    rates = sorted({rate for points in lines.values() for rate in points})
    values = [value for points in lines.values() for value in points.values() if value > 0]
    marks = _tens(min(values), max(values)) if by_tens else _steps(max(values))
    low, high = marks[0], marks[-1]

    def x(rate: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * _share(rate, rates[0], rates[-1], True)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * _share(value, low, high, by_tens)

    drawn = [_text(_LEFT, _TOP - 24, title, "start", 15)]
    for mark in marks:
        drawn.append(_line(_LEFT, y(mark), _WIDTH - _RIGHT, y(mark), "#dddddd"))
        drawn.append(_text(_LEFT - 8, y(mark) + 4, f"{mark:g}", "end"))
    for rate in rates:
        drawn.append(_line(x(rate), y(low), x(rate), y(low) + 4, "#888888"))
        drawn.append(_text(x(rate), y(low) + 18, f"{rate:,.0f}", "middle"))
    drawn.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, "messages/s", "middle"))
    for number, (name, points) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        at = [(x(rate), y(max(value, low))) for rate, value in sorted(points.items())]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in at)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>' for px, py in at]
        row = _TOP + 18 * number
        drawn.append(_line(_WIDTH - _RIGHT + 12, row, _WIDTH - _RIGHT + 32, row, colour, 3))
        drawn.append(_text(_WIDTH - _RIGHT + 38, row + 4, name, "start"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>'
        + "".join(drawn)
        + "</svg>\n"
    )


def _share(value: float, low: float, high: float, by_tens: bool) -> float:
    if by_tens:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def _tens(least: float, most: float) -> Sequence[float]:
    """1, 2, 5, 10 … around the values."""
    marks = [digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5)]
    first = max(n for n, mark in enumerate(marks) if mark <= least)
    last = min(n for n, mark in enumerate(marks) if mark >= most)
    return marks[first : max(last, first + 1) + 1]


def _steps(most: float) -> Sequence[float]:
    return [step / 4 for step in range(math.ceil(most * 4) + 1)]


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{text}</text>'


def _line(x: float, y: float, x2: float, y2: float, colour: str, width: int = 1) -> str:
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )
