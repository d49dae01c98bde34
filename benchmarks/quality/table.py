"""The tables of README.md."""

from __future__ import annotations

from typing import Any

ROLES = ("real", "simulated", "unseen")
MAIN = ("slots", "evidence", "expected-gain", "imputed", "bridged slots", "bridged evidence",
        "bridged imputed", "auto")  # fmt: skip


def tables(reports: list[dict[str, Any]]) -> list[str]:
    """Return all rules for the real pairs, and the main ones for the others."""
    lines = []
    for report in sorted(reports, key=lambda one: (ROLES.index(one["role"]), one["pair"])):
        points = report["points"]
        rules = rules_of(report) if report["role"] == "real" else ["old alone", *MAIN]
        lines += [
            (
                f"**{report['pair']}** ({report['role']}; {report['documents']:,} documents, "
                f"{report['queries']} queries, {report['seeds']} orders)\n\n"
            ),
            f"| nDCG@10 | {' | '.join(map(_percent, points))} |\n",
            f"|---|{'---:|' * len(points)}\n",
            f"| *the line* | {' | '.join(_number(point['line']) for point in points)} |\n",
        ]
        for rule in rules:
            cells = (_cell(point["rules"].get(rule)) for point in points)
            lines.append(f"| {rule} | {' | '.join(cells)} |\n")
        lines.append("\n")
        if report["role"] == "real":
            lines += [
                f"- {check['what']}: worst {check['measured']:+.4f}, must be at least "
                f"{check['at_least']:+.3f}: {'ok' if check['passed'] else 'missed'}\n"
                for check in report["checks"]
            ]
            lines.append(f"\n![nDCG against coverage](results/{report['name']}.png)\n\n")
    return lines


def rules_of(report: dict[str, Any]) -> list[str]:
    """Return all rules; some are there at some coverages only."""
    return list(dict.fromkeys(rule for point in report["points"] for rule in point["rules"]))


def _cell(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return ""
    low, high = figures["to_line_interval"]
    away = f" ({figures['to_line']:+.3f})" if low or high else ""
    sure = "**" if low > 0 or high < 0 else ""
    return f"{sure}{_number(figures['ndcg'])}{sure}{away}"


def _percent(point: dict[str, Any]) -> str:
    return f"{point['coverage']:.0%}"


def _number(value: float) -> str:
    return f"{value:.3f}"
