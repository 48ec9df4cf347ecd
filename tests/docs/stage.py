"""A stage: a directory with a broker in which the blocks of one page are run as a reader would run them."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, takewhile
from pathlib import Path
from threading import Event, Thread
from typing import Any

import paho.mqtt.client as paho
import tomllib
from paho.mqtt.enums import CallbackAPIVersion

from edge_sdk.contract import topics
from tests.brokers import free_port, mosquitto
from tests.docs.blocks import ROOT, Block
from tests.monitor.talk import Talker

_TIMEOUT_S = 180.0
_STOPS_WITHIN_S = 60.0
_PORTS = {port: str(free_port()) for port in ("1883", "8883", "8080")}
_WORKER = Path(__file__).parent / "worker.py"
_EXTRA = re.compile(r"edge-sdk\[(?P<extras>[a-z,]+)\]")
# Known to be in Debian; what the Makefile names is read from it.
_DEBIAN = {"mosquitto-clients", "python3-venv", "git", "make", "bash-completion"}


class Stage:
    """Where a page is played.

    The ports that pages name (1883, 8883, 8080) are replaced by free ones, so that nothing else is in the way.
    """

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack
        self._worker: subprocess.Popen[str] | None = None
        self._last = ""
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin",
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(directory),
            "PYTHONUNBUFFERED": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
        }

    def play(self, block: Block) -> None:
        """Do with a block what its language wants."""
        text = self._local(block.text)
        if "file" in block.marks:
            path = self.directory / block.marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        match block.language:
            case "python" if "file" not in block.marks:
                self._last = self._python(text, block)
            case "python":
                compile(text, block.place, "exec")
            case "console":
                self._console(text, block)
            case "toml":
                tomllib.loads(text)
            case "ini":
                _check_unit(text, block)
            case "text" if "output" in block.marks:
                _compare(text.splitlines(), self._last, block)
            case "text":
                for line in text.replace("\\\n", " ").splitlines():
                    if line.startswith("edge-sdk "):
                        _check_command(shlex.split(line), block)

    def start_broker(self) -> None:
        """The broker that pages call mqtt://127.0.0.1:1883."""
        self._stack.enter_context(mosquitto(self.directory / ".broker", port=int(_PORTS["1883"])))

    def start_station(self) -> None:
        """A broker, and the station hall/press-4, that says something new five times a second."""
        self.start_broker()
        self._stack.enter_context(_talking(int(_PORTS["1883"])))

    def _local(self, text: str) -> str:
        return re.sub(r"\b(1883|8883|8080)\b", lambda found: _PORTS[found[0]], text)

    def _python(self, code: str, block: Block) -> str:
        if self._worker is None:
            self._worker = self._stack.enter_context(
                _ended(
                    subprocess.Popen(
                        [sys.executable, str(_WORKER)],
                        cwd=self.directory,
                        env=self._environment,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
            )
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps({"code": code, "name": block.place}) + "\n")
        self._worker.stdin.flush()
        line = self._worker.stdout.readline()
        assert line, f"{block.place}: the Python process died"
        answer = json.loads(line)
        assert not answer["error"], f"{block.place}: {answer['error']}"
        return str(answer["output"])

    def _console(self, text: str, block: Block) -> None:
        for command, shown in _commands(text, block):
            words = shlex.split(command, comments=True)
            if self._is_checked_otherwise(words, block):
                continue
            if command.endswith(" &"):
                self._start(command.removesuffix(" &"), block)
                continue
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
            assert done.returncode == 0, f"{block.place}: $ {command}\nexit {done.returncode}\n{done.stdout}"
            _compare(shown, done.stdout, block)

    def _start(self, command: str, block: Block) -> None:
        log = (self.directory / f".background-{block.line}.log").open("w+")
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self.directory, env=self._environment, stdout=log, stderr=log
        )
        self._stack.callback(_stop, process, log, f"{block.place}: $ {command} &")

    def _is_checked_otherwise(self, words: Sequence[str], block: Block) -> bool:
        """What would reach into the machine or the network is checked against what it names."""
        place = f"{block.place}: {' '.join(words)}"
        match [word for word in words if word != "sudo"]:
            case ["make", *targets]:
                known = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
                wanted = {word for word in targets if "=" not in word}
                assert wanted <= known, f"{place}: the Makefile has no {wanted - known}"
            case ["apt-get", "install", *packages]:
                makefile = (ROOT / "Makefile").read_text()
                assert all(package in _DEBIAN or package in makefile for package in packages), place
            case [pip, "install", *what] if pip.endswith("pip"):
                self._check_install(what, place)
            case ["mosquitto_sub", *options]:
                _check_subscription(options, place)
            case _:
                return False
        return True

    def _check_install(self, what: Sequence[str], place: str) -> None:
        """Extras must exist; a project of one's own is installed, in so far as its entry points are found."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        for word in what:
            if found := _EXTRA.search(word):
                unknown = set(found["extras"].split(",")) - project["optional-dependencies"].keys()
                assert not unknown, f"{place}: no extra {unknown}"
        if "." in what:
            mine = tomllib.loads((self.directory / "pyproject.toml").read_text())["project"]
            folder = self.directory / f"{mine['name'].replace('-', '_')}-{mine['version']}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {mine['name']}\nVersion: {mine['version']}\n"
            )
            parts = []
            for group, points in mine["entry-points"].items():
                parts += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
            (folder / "entry_points.txt").write_text("\n".join(parts) + "\n")


@contextmanager
def stage(directory: Path) -> Iterator[Stage]:
    """A stage in `directory`; whatever was started on it is stopped at the end."""
    with ExitStack() as stack:
        yield Stage(directory, stack)


@contextmanager
def _talking(port: int) -> Iterator[None]:
    talker = Talker(site="hall", station="press-4")
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    is_over = Event()

    def talk() -> None:
        for first in (talker.birth(), talker.status()):
            client.publish(first.topic, first.payload, qos=1, retain=True)
        for seq in count(1):
            for said in (talker.result(seq, stream="movement"), talker.health(seq)):
                client.publish(said.topic, said.payload, qos=1)
            if is_over.wait(0.2):
                return

    thread = Thread(target=talk, name="talking station")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        client.disconnect()
        client.loop_stop()


def _commands(text: str, block: Block) -> Iterator[tuple[str, list[str]]]:
    """Each ``$ `` line with its continuations, and the lines shown below it."""
    command, shown = "", list[str]()
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], []
        elif command.endswith("\\") and not shown:
            command += "\n" + line
        else:
            assert command, f"{block.place}: a console block begins with '$ '"
            shown.append(line)
    yield command, shown


def _compare(shown: Sequence[str], given: str, block: Block) -> None:
    """Each shown line stands in the output, in that order; ``…`` stands for anything, runs of spaces for one."""
    lines = (" ".join(line.split()) for line in given.splitlines())
    for want in (" ".join(line.split()) for line in shown):
        if want in {"", "…"}:
            continue
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in want.split("…")))
        assert any(pattern.fullmatch(line) for line in lines), (
            f"{block.place}: the page shows\n{want}\nand the output is\n{given}"
        )


def _check_subscription(options: Sequence[str], place: str) -> None:
    filters = [options[at + 1] for at, option in enumerate(options) if option == "-t"]
    assert filters, f"{place}: no -t"
    station = topics.Topics("hall", "press-4")
    known = [station.of(kind, *rest) for kind, rest in _EVERY_TOPIC]
    for wanted in filters:
        assert any(topics.matches(wanted, topic) for topic in known), f"{place}: no topic matches {wanted}"


_EVERY_TOPIC: tuple[tuple[topics.Kind, tuple[str, ...]], ...] = (
    (topics.Kind.BIRTH, ()),
    (topics.Kind.STATUS, ()),
    (topics.Kind.RESULT, ("movement",)),
    (topics.Kind.PACK, ()),
    (topics.Kind.EVENT, ("warning",)),
    (topics.Kind.HEALTH, ()),
    (topics.Kind.RECEIPT, ()),
)


def _check_unit(text: str, block: Block) -> None:
    """A systemd unit: what it starts exists, and it is not restarted where that is of no use."""
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    service = unit["Service"]
    _check_command(shlex.split(service["ExecStart"]), block)


def _check_command(words: Sequence[str], block: Block) -> None:
    """A command that is shown and not run here: the sub-command exists, and has these options."""
    assert Path(words[0]).name == "edge-sdk", block.place
    named = list(takewhile(re.compile("[a-z]+").fullmatch, words[1:]))
    done = subprocess.run(
        [sys.executable, "-m", "edge_sdk.cli", *named, "--help"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, f"{block.place}: {done.stderr}"
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option.partition('=')[0]}\b", done.stdout), f"{block.place}: {named} has no {option}"


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(_STOPS_WITHIN_S)
        process.stdout.close()


def _stop(process: subprocess.Popen[bytes], log: Any, place: str) -> None:
    """End a program that was started with ``&``; it must not have failed before, nor fail now."""
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _STOPS_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if process.poll() is None:
        process.kill()
        process.wait()
    log.seek(0)
    said = log.read()
    log.close()
    assert process.returncode in {0, -signal.SIGTERM}, f"{place}\nexit {process.returncode}\n{said}"
