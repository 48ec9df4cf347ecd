"""The tables of the examples' README, and of the project's, are those of their results.json, figure by figure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent / "examples"
FILES = {
    "room occupancy": "room_occupancy/results.json",
    "PM2.5 now": "city_air/results.json",
    "PM2.5 in 6 hours": "city_air/results_6h.json",
    "smartwatch": "smartwatch/results.json",
}
ROW = {"method", "absent", "accuracy", "macro_f1", "mae", "r2", "ece", "coverage", "n"}
COLUMNS = {"accuracy": "accuracy", "macro-F1": "macro_f1", "MAE": "mae", "R²": "r2", "90 % holds": "coverage"}


def cells(line: str) -> list[str]:
    return [cell.strip().strip("*") for cell in line.strip().strip("|").split("|")]


def tables(page: Path = ROOT / "README.md") -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Each table: what its first heading says, its headings, its rows."""
    for block in re.findall(r"(?:^\|.*\n)+", page.read_text(encoding="utf-8"), re.MULTILINE):
        lines = block.splitlines()
        yield cells(lines[0])[0], cells(lines[0]), [cells(line) for line in lines[2:]]


def shown(column: str, value: float) -> str:
    if column == "mae":
        return f"{value:.1f}"
    if column == "coverage":
        return f"{100 * value:.0f} %"
    return f"{value:.3f}".removeprefix("0")


def answer(task: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / FILES[task]).read_text(encoding="utf-8"))
    return found


def details(task: str) -> dict[str, Any]:
    path = ROOT / FILES[task]
    found: dict[str, Any] = json.loads(path.with_name(f"{path.stem}_details.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("task", FILES)
def test_every_figure_in_the_readme_is_that_of_the_kept_file(task: str) -> None:
    rows = {(row["method"], ", ".join(row["absent"])): row for row in answer(task)["rows"]}
    checked = 0
    for name, headings, lines in tables():
        if name != task:
            continue
        for line in lines:
            given = dict(zip(headings, line, strict=True))
            row = rows[line[0], given["absent"]]
            for heading, figure in given.items():
                if heading in COLUMNS and figure:
                    assert figure == shown(COLUMNS[heading], row[COLUMNS[heading]]), (line[0], heading)
                    checked += 1
    assert checked >= 6


def test_the_first_pages_table_is_of_the_kept_files() -> None:
    [(_, _, lines)] = [table for table in tables(ROOT.parent / "README.md") if table[0] == "Task"]
    measures = ("accuracy", "macro_f1", "mae", "mae", "accuracy")
    tasks = ("room occupancy", "room occupancy", "PM2.5 now", "PM2.5 in 6 hours", "smartwatch")
    for line, measure, task in zip(lines, measures, tasks, strict=True):
        rows = [row for row in answer(task)["rows"] if not row["absent"]]
        best = min if measure == "mae" else max
        alone = best(row[measure] for row in rows if row["method"].endswith(" alone"))
        [fused] = [row[measure] for row in rows if row["method"] == "fused"]
        [jointly] = [row[measure] for row in rows if row["method"].endswith("jointly")]
        assert line[2:] == [shown(measure, figure) for figure in (alone, fused, jointly)], line[0]


AIR = pytest.mark.parametrize("task", ["PM2.5 now", "PM2.5 in 6 hours"])


@AIR
def test_the_figures_of_each_pair_of_stations_are_those_of_the_kept_file(task: str) -> None:
    keys = {"best single": "mae_best", "fused": "mae_fused", "boosting": "mae_joint"}
    wanted = f"stations left out, {task}"
    [(headings, lines)] = [(headings, lines) for name, headings, lines in tables() if name == wanted]
    kept = {" and ".join(one["stations"]): one for one in details(task)["left_out"]}
    assert {line[0] for line in lines} == set(kept)
    for line in lines:
        for heading, figure in zip(headings[1:], line[1:], strict=True):
            assert figure == shown("mae", kept[line[0]][keys[heading]])


@pytest.mark.parametrize("task", FILES)
def test_the_kept_file_is_of_the_form_that_is_promised(task: str) -> None:
    kept = answer(task)
    assert set(kept) == {"task", "split", "rows"}
    for row in kept["rows"]:
        assert set(row) == ROW


@pytest.mark.parametrize("task", ["room occupancy", "smartwatch"])
def test_fused_classes_beat_the_best_single_model_and_never_lose_to_the_best_that_is_left(task: str) -> None:
    rows = answer(task)["rows"]
    alone = {row["method"].removesuffix(" alone"): row for row in rows if row["method"].endswith(" alone")}
    for fused in (row for row in rows if row["method"] == "fused"):
        left = [row for name, row in alone.items() if name not in fused["absent"]]
        assert fused["accuracy"] >= max(row["accuracy"] for row in left)
        assert fused["macro_f1"] >= max(row["macro_f1"] for row in left)


def test_the_rooms_fusion_is_what_was_aimed_at() -> None:
    rows = answer("room occupancy")["rows"]
    [whole] = [row for row in rows if row["method"] == "fused" and not row["absent"]]
    [joint] = [row for row in rows if row["method"].endswith("jointly")]
    assert whole["accuracy"] >= max(0.975, joint["accuracy"])
    assert whole["macro_f1"] >= max(0.93, joint["macro_f1"])


@AIR
def test_fused_estimates_beat_the_best_single_model_and_without_gas_never_lose_to_the_weather(task: str) -> None:
    rows = answer(task)["rows"]
    alone = {row["method"].removesuffix(" alone"): row for row in rows if row["method"].endswith(" alone")}
    fused = {tuple(row["absent"]): row for row in rows if row["method"] == "fused"}
    best = min(alone.values(), key=lambda row: row["mae"])
    assert fused[()]["mae"] < best["mae"]
    assert fused[()]["r2"] >= max(row["r2"] for row in alone.values())
    assert fused[("gas",)]["mae"] <= alone["weather"]["mae"] + 1e-3
    assert fused[("gas",)]["r2"] >= alone["weather"]["r2"] - 1e-3


@AIR
def test_fusion_goes_half_of_the_way_to_joint_boosting_and_its_intervals_hold(task: str) -> None:
    for one in details(task)["left_out"]:
        assert one["mae_fused"] <= (one["mae_best"] + one["mae_joint"]) / 2
    [row] = [row for row in answer(task)["rows"] if row["method"] == "fused" and not row["absent"]]
    assert 0.88 <= row["coverage"] <= 0.92
