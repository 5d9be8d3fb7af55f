"""The figures as a table: measurements and their targets."""

from typing import Any, Dict, List, Tuple

Row = Tuple[str, float, str, str]
"""Name, value, unit (x: a ratio), target (empty: none)."""


def rows(figures: Dict[str, Any]) -> List[Row]:
    """Every row that the parts measured allow."""
    found: List[Row] = []
    for size, ms in figures.get("stages", {}).items():
        found += [(f"{size}: {name}", value, "ms/frame", "") for name, value in ms.items() if name not in _A_SECOND]
        found.append((f"{size}: render / plain remap", ms["render"] / ms["remap"], "x", "0.7"))
        found.append((f"{size}: render / 52 MMAC net", ms["render"] / ms["proxy"], "x", "0.3"))
        if "model" in ms:
            found += [(f"{name}", ms[name], "ms/s of speech", "") for name in _A_SECOND]
            found.append(("speech + model + motion", sum(ms[name] for name in _A_SECOND), "ms/s of speech", "30"))
    for size, ways in figures.get("sharp", {}).items():
        for name, way in ways.items():
            found.append((f"{size}: looked up {name}: gradient energy kept", 100 * way["grad"], "%", ""))
            found.append((f"{size}: looked up {name}", way["ms"], "ms/frame", ""))
    for name, case in figures.get("whole", {}).items():
        if name == "second_core":
            found += [
                (f"{s} s: two cores / one, on the clock", c["two"] / c["one"], "x", "0.6") for s, c in case.items()
            ]
            continue
        held = {"ultrafast": "1.8", "veryfast": "1.4"}.get(name.split()[1], "")
        for seconds in ("10", "60"):
            found.append((f"{name}, {seconds} s: whole / encode only", case[seconds]["ratio"], "x", held))
        peak = max(case[seconds]["peak_mb"] for seconds in ("10", "60"))
        found.append((f"{name}: memory", peak, "MB", "250" if name.startswith("512") else "400"))
    if "long" in figures:
        case = figures["long"]
        found.append((f"{case['seconds']:g} s / 10 s: processor time a second", case["cost"], "x", "1.05"))
        found.append((f"{case['seconds']:g} s / 10 s: memory", case["memory"], "x", "1.05"))
    for size, case in figures.get("live", {}).items():
        found.append((f"live mirror at {size}", case["mirror"], "ms/s", "60" if size == "512" else ""))
    if "box" in figures:
        case = figures["box"]
        found += [
            ("start to READY", case["ready_s"], "s", "2"),
            ("daemon, idle: memory", case["daemon_mb"], "MB", "120"),
            ("worker, idle: memory", case["worker_mb"], "MB", ""),
            ("daemon and worker, idle: of a core", 100 * case["share"], "%", "1"),
            ("--help", case["help_s"], "s", "0.15"),
        ]
    return found


_A_SECOND = ("speech", "model", "motion")


def table(figures: Dict[str, Any]) -> str:
    """Markdown."""
    lines = [", ".join(f"{k} {v}" for k, v in figures["machine"].items()), ""]
    lines += ["| | measured | | target | |", "|---|---|---|---|---|"]
    for what, value, unit, held in rows(figures):
        verdict = "" if not held else "yes" if value <= float(held) else "NO"
        lines.append(f"| {what} | {value:.3g} | {unit} | {'<= ' + held if held else ''} | {verdict} |")
    return "\n".join(lines)
