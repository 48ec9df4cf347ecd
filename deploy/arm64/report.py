"""The report: what was seen, written into ``docs/arm64.md`` where its marks are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from deploy.arm64.comparison import TOLERANCE
from deploy.arm64.host import ROOT, HostError
from deploy.arm64.image import Image
from deploy.arm64.package import Package
from deploy.arm64.proof import Proof
from deploy.arm64.rootfs import CPUS

PAGE = ROOT / "docs" / "arm64.md"


def keep(name: str, text: str, page: Path = PAGE) -> None:
    """Put `text` between the marks ``<!-- kept: NAME -->`` and ``<!-- end of NAME -->``.

    Raises:
        HostError: The page has no such marks.
    """
    begin, end = f"<!-- kept: {name} -->", f"<!-- end of {name} -->"
    whole = page.read_text(encoding="utf-8")
    if begin not in whole or end not in whole:
        raise HostError(f"{page} has no place for it: {begin} … {end}")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    page.write_text(pattern.sub(lambda _: f"{begin}\n\n{text.strip()}\n\n{end}", whole), encoding="utf-8")


def of_proof(proof: Proof) -> str:
    """The proof as Markdown."""
    host, inside = proof.about["host"], proof.about[CPUS[0].name]
    versions = ", ".join(f"{name} {version}" for name, version in inside["versions"].items())
    answers = []
    for cpu in CPUS:
        models = {(row["bundle"], row["runtime"]): row for row in proof.about[cpu.name]["models"]}
        for one in proof.differences[cpu.name]:
            row = models[one.bundle, one.runtime]
            answers.append(
                (
                    f"{cpu.name} ({cpu.board})",
                    f"{one.bundle}, {row['variant']}",
                    one.runtime,
                    f"{row['recorded_off_by']:.2g} (≤ {row['tolerance']:.2g})",
                    f"{one.largest:.2g}",
                    f"{one.other_labels} of {one.windows}",
                )
            )
    delivered = [
        (
            one.runtime,
            one.accepted,
            one.stored,
            one.duplicates,
            one.other_labels,
            f"{one.largest:.2g}",
            f"{one.seconds:.0f} s",
        )
        for one in proof.delivered
    ]
    verdict = "Everything held." if proof.holds else "**It does not hold**: see the rows that are not 0."
    return "\n\n".join(
        [
            f"Run of {_today()}, {inside['libc']} and Python {inside['python']} on {inside['machine']}, run by "
            f"{proof.emulator}; beside it {host['machine']} with Python {host['python']}. {verdict}",
            f"Inside: {versions}.",
            _table(
                (
                    "processor",
                    "bundle",
                    "runtime",
                    "off from the recorded answers",
                    "largest difference",
                    "other label",
                ),
                answers,
            ),
            _table(
                ("station inside", "accepted", "stored", "repeats", "other label", "confidence off by", "took"),
                delivered,
            ),
            _package(proof.package),
            _table(("what", "MB"), [(name, f"{size:.0f}") for name, size in proof.sizes_mb.items()]),
            _table(("step", "seconds"), [(name, f"{took:.0f}") for name, took in proof.seconds.items()]),
        ]
    )


def _package(package: Package | None) -> str:
    if package is None:
        return "No Debian package was tried."
    return (
        f"`{package.name}` ({package.size_mb:.0f} MB), installed by dpkg in {package.install_s:.0f} s in a fresh root "
        f'file system without a network: it says "{package.says}", the bundles are off from their recorded answers by '
        f"{package.off_by:.2g}, and after its purge {package.left} files are left."
    )


def of_image(image: Image) -> str:
    """The container as Markdown."""
    rows = [
        ("platform", image.platform),
        ("base", image.base),
        (
            "size, unpacked",
            f"{image.size_mb:.0f} MB, of it {image.base_mb:.0f} MB base (goal: below {image.goal_mb:.0f})",
        ),
        ("user", image.user),
        ("command", " ".join(image.command)),
        ("health check", f"{' '.join(image.health_command)}: {image.health}"),
        ("results accepted, stored, with another label", ", ".join(map(str, image.counts))),
        ("stopped", f"exit code {image.exit_code}"),
        ("build, run", f"{image.build_s:.0f} s, {image.run_s:.0f} s"),
    ]
    verdict = "Everything held." if image.holds else "**It does not hold.**"
    return f"Run of {_today()}, by {image.builder}. {verdict}\n\n" + _table(("what", "seen"), rows)


def tolerance() -> str:
    """The bound, for the page."""
    return f"{TOLERANCE:g}"


def _today() -> str:
    return datetime.now(tz=timezone.utc).strftime("%Y-%m-%d")


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
