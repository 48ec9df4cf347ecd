from __future__ import annotations

import csv
import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge_sdk.base.errors import CalibrationError, EdgeError
from edge_sdk.contract.trust import SigningKey, Trust
from edge_sdk.fitting.cli import fuse
from edge_sdk.fitting.table import Table, opinion, record
from edge_sdk.fusion.file import read_fusion
from edge_sdk.inference.model import Model
from tests.models import CHANNELS, LABELS, LENGTH, expected, tiny_bundle, weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two real models, of which one is always right, and a day and a half of data for them."""
    key = SigningKey.new()
    key.write(tmp_path / "key")
    first = tiny_bundle(tmp_path / "good.edge", name="good", seed=0, key=key)
    tiny_bundle(tmp_path / "poor.edge", name="poor", seed=1, key=key)
    names = [channel.name for channel in first.manifest.channels]
    rng = np.random.default_rng(0)
    w = weights(0)
    begin = datetime(2026, 3, 1, tzinfo=timezone.utc)
    with (tmp_path / "data.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["time", *names, "truth", "shift"])
        for chunk in range(120):
            samples = rng.normal(size=(LENGTH, CHANNELS)).astype(np.float32)
            label = LABELS[int(expected(samples, w).argmax())]
            for row in range(LENGTH):
                at = begin + timedelta(seconds=0.5 * (chunk * LENGTH + row))
                writer.writerow([at.isoformat(), *map(str, samples[row]), label, f"shift{chunk // 40}"])
    return tmp_path


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        fuse,
        [
            *arguments,
            *("--bundles", str(folder / "good.edge"), str(folder / "poor.edge")),
            *("--data", str(folder / "data.csv"), "--target", "truth", "--group", "shift"),
            *("--trust", str(folder / "key.pub")),
        ],
    )


def test_a_fusion_is_fitted_signed_and_evaluated(folder: Path) -> None:
    fusion, report = folder / "room.fusion", folder / "page.html"
    made = run(folder, "fit", "--sign", str(folder / "key"), "-o", str(fusion), "--json", str(folder / "fit.json"))
    assert made.exit_code == 0, made.output
    answer = json.loads((folder / "fit.json").read_text())
    assert answer["chosen"] in {row["title"] for row in answer["rows"]}
    spec = read_fusion(fusion, Trust.of([folder / "key.pub"]))
    assert spec.labels == LABELS
    assert all(digest.startswith("sha256:") for digest in spec.contributors.values())

    scored = run(folder, "evaluate", str(fusion), "--json", "-", "--html", str(report))
    assert scored.exit_code == 0, scored.output
    rows = json.loads(scored.stdout)["rows"]
    assert {row["trouble"] for row in rows} == {"", "absent", "stale", "noisy", "stuck"}
    good, poor = (row["score"]["accuracy"] for row in rows[:2])
    assert good > 0.6 > poor
    assert {"early fusion", "log-opinion pool, by skill"} <= {row["method"] for row in rows}
    low, high = rows[0]["score"]["intervals"]["accuracy"]
    assert low < good < high
    assert "<svg" in report.read_text()


def test_a_fusion_knows_its_bundles_and_what_it_was_fitted_to(folder: Path) -> None:
    fusion = folder / "room.fusion"
    made = run(folder, "fit", "--sign", str(folder / "key"), "-o", str(fusion), "--method", "vote")
    assert made.exit_code == 0, made.output
    arguments = ["evaluate", str(fusion), "--data", str(folder / "data.csv"), "--group", "shift"]

    scored = CliRunner().invoke(fuse, [*arguments, "--trust", str(folder / "key.pub"), "--json", "-"])
    assert scored.exit_code == 0, scored.output
    assert {"good alone", "poor alone"} <= {row["method"] for row in json.loads(scored.stdout)["rows"]}

    (folder / "poor.edge").rename(folder / "elsewhere.edge")
    lost = CliRunner().invoke(fuse, [*arguments, "--trust", str(folder / "key.pub")])
    assert isinstance(lost.exception, EdgeError)
    assert "poor.edge, not found; name all with --bundles" in str(lost.exception)


def test_where_there_is_nothing_to_learn_from_nothing_is_set_beside(folder: Path) -> None:
    fusion = folder / "room.fusion"
    run(folder, "fit", "--sign", str(folder / "key"), "-o", str(fusion), "--method", "vote")
    [header, *lines] = (folder / "data.csv").read_text(encoding="utf-8").splitlines()
    (folder / "one.csv").write_text("\n".join([header, *(line for line in lines if line.endswith("shift0"))]) + "\n")

    def methods(*more: str) -> tuple[set[str], str]:
        arguments = ["evaluate", str(fusion), "--data", str(folder / "one.csv"), "--group", "shift", "--json", "-"]
        scored = CliRunner().invoke(fuse, [*arguments, "--trust", str(folder / "key.pub"), *more])
        assert scored.exit_code == 0, scored.output
        return {row["method"] for row in json.loads(scored.stdout)["rows"]}, " ".join(scored.stderr.split())

    alone, said = methods()
    assert alone == {"good alone", "poor alone", "fused"}
    assert "learn from --train" in said
    beside, _ = methods("--train", str(folder / "data.csv"))
    assert {"early fusion", "Bayes, confusion matrices"} <= beside
    beside, _ = methods("--train", str(folder / "data.csv"), "--no-methods")
    assert beside == alone | {"early fusion"}


def test_what_guards_refuse_is_said_in_one_line(folder: Path) -> None:
    lines = (folder / "data.csv").read_text(encoding="utf-8").splitlines()
    first = lines[0].split(",")[1]
    kept = [line for number, line in enumerate(lines) if not number or number // (LENGTH // 2) % 40]
    assert first in lines[0]
    (folder / "data.csv").write_text("\n".join(kept) + "\n", encoding="utf-8")
    made = run(folder, "fit", "--sign", str(folder / "key"), "-o", str(folder / "room.fusion"), "--method", "vote")
    assert made.exit_code == 0, made.output
    assert re.search(r"good: \d+ windows refused \(coverage\)", " ".join(made.stderr.split()))
    assert "guard refuses" not in made.output


def test_a_fusion_without_one_of_its_bundles_is_refused(folder: Path) -> None:
    run(folder, "fit", "--sign", str(folder / "key"), "-o", str(folder / "room.fusion"), "--method", "vote")
    result = CliRunner().invoke(
        fuse,
        [
            *("evaluate", str(folder / "room.fusion"), "--bundles", str(folder / "good.edge")),
            *("--data", str(folder / "data.csv"), "--target", "truth", "--trust", str(folder / "key.pub")),
        ],
    )
    assert isinstance(result.exception, EdgeError)
    assert "'poor'" in str(result.exception)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows"),
        ("a,b\n1,2\n", "no column of times"),
        ("time,a\nyesterday,2\n", "row 2: 'yesterday' is no time"),
        ("time,a\n1,2,3\n", "number of fields"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(CalibrationError, match=words):
        Table.read(tmp_path / "data.csv")


def test_a_table_names_the_column_that_is_missing_and_the_value_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("time,lux,day\n2026-03-01T00:00:00Z,NA,x\n2,dark,y\n")
    table = Table.read(tmp_path / "data.csv")
    with pytest.raises(CalibrationError, match="Did you mean 'lux'"):
        table.column("luxx")
    with pytest.raises(CalibrationError, match="'dark'"):
        table.numbers(["lux"])
    assert list(table.groups("day")) == ["y", "x"]
    assert list(table.groups("month")) == ["1970-01", "2026-03"]


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("Date,Time,lux\n2017/12/22,10:49:41,5\n", None),
        ("on,at,lux\n2017-12-22,10:49:41,5\n", "on,at"),
        ("year,month,day,hour,minute,second,lux\n2017,12,22,10,49,41,5\n", None),
        ("time,t,lux\n2017-12-22T10:49:41Z,21.5,5\n", None),
        ("time,lux\n2017-12-22T11:49:41+01:00,5\n", None),
        ("t,lux\n1513939781,5\n", None),
    ],
)
def test_a_table_tells_its_times_from_one_column_from_two_or_from_their_parts(
    tmp_path: Path, text: str, more: str | None
) -> None:
    (tmp_path / "data.csv").write_text(text)
    table = Table.read(tmp_path / "data.csv", time=more)
    assert table.t_ns.tolist() == [1_513_939_781_000_000_000]
    assert table.groups("day") == ["2017-12-22"]
    assert table.column("lux") == ["5"]


def test_stations_that_measure_at_the_same_times_are_series_of_their_own(folder: Path) -> None:
    together = folder / "both.csv"
    with (folder / "data.csv").open(encoding="utf-8") as file:
        [header, *lines] = [line.rstrip("\n").rsplit(",", 1)[0] for line in file]
    lines = lines[: 20 * LENGTH]
    both = [f"{line},{name}" for line in lines for name in ("north", "south")]
    together.write_text("\n".join([f"{header},place", *both]) + "\n")
    model = Model.open(folder / "good.edge", trust=Trust.of([folder / "key.pub"]))

    table = Table.read(together).apart("place")
    given = record(table, [model], target="truth", group="place")

    assert [name for name, _ in table.series()] == ["north", "south"]
    assert set(given.groups.tolist()) == {"north", "south"}
    north, south = (given.take(rows) for _, rows in given.splits())
    assert np.array_equal(north.t_ns, south.t_ns)
    assert np.array_equal(north.truth, south.truth)
    said = given.opinions["good"].probabilities
    again = opinion(table, model, lambda samples: samples, given).probabilities
    assert said is not None
    assert again is not None
    assert np.array_equal(said, again)
    assert (said.argmax(axis=1) == given.truth).mean() > 0.6
    assert not Table.read(folder / "data.csv").apart("shift").groups_apart
