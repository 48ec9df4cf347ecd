"""Any bytes, in pieces of any size: no crash, and everything is counted."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sdk.sensors.frames import FrameSplitter, LineSplitter, Parser
from edge_sdk.sensors.nmea import UNITS, NmeaParser
from edge_sdk.sensors.pms5003 import Pms5003Parser
from edge_sdk.sensors.sds011 import Sds011Parser
from edge_sdk.sensors.serial_csv import CsvParser, JsonParser
from tests.sensors.stands import nmea_sentence, pms5003_frame, sds011_frame

PARSERS: dict[str, Callable[[], Parser]] = {
    "csv": lambda: CsvParser(("a", "_", "b")),
    "json": lambda: JsonParser({"a": "a", "b": "b.c"}),
    "nmea": lambda: NmeaParser(tuple(UNITS), needs_checksum=False),
    "pms5003": lambda: Pms5003Parser(("pm1_0", "n10")),
    "sds011": Sds011Parser,
}
# What such lines are made of: damage is likelier to hurt when it looks nearly right.
SCRAPS = st.sampled_from(
    [
        *(
            b"\n",
            b"\r\n",
            b"$",
            b"*",
            b",",
            b"GPGGA,",
            b"$GPRMC,1,A,",
            b"*00\n",
            b"N",
            b"1e999",
            b"nan",
            b"-",
            b"\xaa\xc0",
        ),
        *(
            b"\xaa\xc0",
            b"BM\x00\x1c",
            b"BM",
            b"\xab",
            b"{",
            b'{"a":1}\n',
            b'{"b":{"c":[]}}',
            b"[" * 50,
            b"1,2,3\n",
            b"\x00" * 30,
        ),
        nmea_sentence("GPGGA,1,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"),
        nmea_sentence("IIMWV,x,R,1,Q,A"),
        nmea_sentence("WIXDR,C,19.5,C,air,P,1.01,B,"),
        sds011_frame(1, 2),
        pms5003_frame(1, 2, 3),
    ]
)
STREAMS = st.lists(st.one_of(SCRAPS, st.binary(max_size=40)), max_size=30).map(b"".join)


def pieces(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[first:last] for first, last in itertools.pairwise(edges)]


def fed(parser: Parser, parts: Iterable[bytes]) -> list[Sequence[float]]:
    parser.begin()
    return [row for part in parts for row in parser.feed(part)]


@pytest.mark.parametrize("name", sorted(PARSERS))
@settings(max_examples=80)
@given(stream=STREAMS, cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_any_bytes_in_any_pieces_give_the_same_rows_and_the_same_counts(
    name: str, stream: bytes, cuts: list[int]
) -> None:
    whole, cut = PARSERS[name](), PARSERS[name]()

    rows, same = fed(whole, [stream]), fed(cut, pieces(stream, cuts))

    assert [[repr(value) for value in row] for row in rows] == [[repr(value) for value in row] for row in same]
    assert whole.counters == cut.counters
    assert not any(math.isinf(value) for row in rows for value in row)
    assert not any(all(math.isnan(value) for value in row) for row in rows) or name == "csv"


@settings(max_examples=150)
@given(stream=STREAMS, cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_every_byte_is_in_a_frame_or_skipped_or_pending(stream: bytes, cuts: list[int]) -> None:
    for size, header, sound in ((10, b"\xaa\xc0", lambda f: f[9] == 0xAB), (4, b"BM", lambda f: True)):
        counters: Counter[str] = Counter()
        splitter = FrameSplitter(header, size, sound, counters)

        frames = [frame for part in pieces(stream, cuts) for frame in splitter.feed(part)]

        assert len(frames) * size + counters["bytes.skipped"] + splitter.pending == len(stream)


@settings(max_examples=150)
@given(stream=STREAMS, cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_every_line_is_a_row_or_counted(stream: bytes, cuts: list[int]) -> None:
    parser = CsvParser(("a", "b"), limit=60)

    rows = fed(parser, pieces(stream, cuts))

    lines = [line.strip() for line in stream.split(b"\n")[:-1]]
    counted = sum(parser.counters.values()) - parser.counters["lines.too_long"]
    assert len(rows) + counted <= len(lines)
    assert len(rows) + counted + parser.counters["lines.too_long"] >= len([line for line in lines[1:] if line])


@settings(max_examples=100)
@given(
    noise=st.lists(st.binary(max_size=25).filter(lambda b: b"\xaa" not in b), min_size=4, max_size=4),
    values=st.lists(st.tuples(st.integers(0, 9990), st.integers(0, 9990)), min_size=3, max_size=3),
)
def test_noise_between_frames_costs_no_frame(noise: list[bytes], values: list[tuple[int, int]]) -> None:
    frames = [sds011_frame(fine / 10, coarse / 10) for fine, coarse in values]
    stream = noise[0] + b"".join(frame + after for frame, after in zip(frames, noise[1:], strict=True))

    rows = fed(Sds011Parser(), [stream])

    assert rows == [[fine / 10, coarse / 10] for fine, coarse in values]


def test_a_header_that_was_noise_hides_no_frame() -> None:
    parser = Sds011Parser()

    rows = fed(parser, [b"\xaa\xc0\x01" + sds011_frame(1, 2)])

    assert rows == [[1.0, 2.0]]
    assert parser.counters == {"frames.malformed": 1, "bytes.skipped": 3}


def test_a_damaged_frame_costs_itself_alone() -> None:
    frames = [pms5003_frame(*range(n, n + 12)) for n in range(5)]
    frames[2] = frames[2][:20] + b"\xff" + frames[2][21:]
    parser = Pms5003Parser(("pm1_0",))

    rows = fed(parser, frames)

    assert rows == [[3.0], [4.0], [6.0], [7.0]]
    assert parser.counters == {"frames.malformed": 1, "bytes.skipped": 32}


def test_a_line_without_end_takes_no_memory_and_the_next_one_is_read() -> None:
    counters: Counter[str] = Counter()
    splitter = LineSplitter(counters, limit=100)

    for _ in range(1000):
        splitter.feed(b"x" * 50)
    lines = splitter.feed(b"x\nnext\n")

    assert lines == [b"next"]
    assert counters == {"lines.too_long": 1}
    assert len(splitter._buffer) == 0


def test_half_a_number_at_the_beginning_is_no_number() -> None:
    parser = CsvParser(("t",))

    assert fed(parser, [b"1.5\n21.5\n"]) == [[21.5]]
    assert parser.counters == {"lines.partial": 1}


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"1,x,2", [1.0, 2.0]),
        (b" 1.5 , , -2e3\r", [1.5, -2000.0]),
        (b",x,2", [math.nan, 2.0]),
        (b"1,x", None),
        (b"1,x,2,3", None),
        (b"a,x,2", None),
        (b"inf,x,2", None),
        (b"# 1,x,2", None),
    ],
)
def test_a_line_of_numbers(line: bytes, row: list[float] | None) -> None:
    parser = CsvParser(("a", "_", "b"))

    rows = fed(parser, [b"\n", line, b"\n"])

    assert [[repr(value) for value in one] for one in rows] == ([] if row is None else [[repr(v) for v in row]])
    assert sum(parser.counters.values()) == 1 + (row is None)  # the first, partial line is counted too


def test_cells_may_be_parted_by_any_white_space() -> None:
    assert fed(CsvParser(("a", "b"), " "), [b"\n 1 \t  2\n"]) == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("body", "channels", "row"),
    [
        ("GPGGA,1,4807.038,N,01131.000,W,1,08,0.9,545.4,M,46.9,M,,", ("latitude", "longitude"), [48.1173, -11.516667]),
        ("GNGGA,1,3351.500,S,01131.000,E,2,11,0.7,12.5,M,,M,,", ("satellites", "altitude", "fix"), [11, 12.5, 2]),
        ("GPRMC,1,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W", ("speed", "course"), [11.5235, 84.4]),
        ("GPVTG,054.7,T,034.4,M,005.5,N,010.2,K", ("course", "speed"), [54.7, 2.8333]),
        ("WIMWV,214.8,R,10.0,N,A", ("wind_angle", "wind_speed"), [214.8, 5.14444]),
        ("WIMWV,214.8,R,36.0,K,A", ("wind_speed",), [10.0]),
        ("SDDBT,,f,22.5,M,,F", ("depth",), [22.5]),
        ("YXMTW,17.75,C", ("water_temperature",), [17.75]),
        ("WIMDA,30.0,I,1.0158,B,21.5,C,17.0,C,55.5,,12.0,C,,,,,,,,", ("air_temperature", "humidity"), [21.5, 55.5]),
        ("WIXDR,C,19.52,C,TEMP0,P,1.015,B,BARO", ("xdr.BARO", "xdr.TEMP0"), [1.015, 19.52]),
        ("HEHDT,274.07,T", ("heading",), [274.07]),
        ("GPGLL,4916.45,N,12311.12,W,225444,A,", ("latitude",), [49.274167]),
    ],
)
def test_a_sentence_gives_its_values(body: str, channels: tuple[str, ...], row: list[float]) -> None:
    parser = NmeaParser(channels)

    assert fed(parser, [nmea_sentence(body)]) == [pytest.approx(row, rel=1e-4)]
    assert not parser.counters


def test_a_row_is_a_cycle_of_sentences_and_what_a_damaged_one_said_is_missing() -> None:
    def cycle(n: int) -> bytes:
        return nmea_sentence(f"GPGGA,{n},4807.038,N,01131.000,E,1,08,0.9,{n}.0,M,46.9,M,,") + nmea_sentence(
            f"GPRMC,{n},A,4807.038,N,01131.000,E,{n}.0,084.4,230394,,"
        )

    damaged = cycle(2).replace(b"RMC,2,A", b"RMC,2,B")
    parser = NmeaParser(("altitude", "course"))

    rows = fed(parser, [cycle(1), damaged, cycle(3)])

    assert [repr(value) for row in rows for value in row] == ["1.0", "84.4", "2.0", "nan", "3.0", "84.4"]
    assert parser.counters == {"lines.bad_checksum": 1, "rows.incomplete": 1}


def test_a_receiver_without_a_fix_says_nothing_and_that_is_counted() -> None:
    parser = NmeaParser(("latitude", "longitude"))

    assert fed(parser, [nmea_sentence("GPRMC,1,V,,,,,,,230394,,")] * 3) == []
    assert parser.counters["rows.empty"] == 3


def test_a_sentence_without_checksum_is_believed_only_where_that_was_said() -> None:
    line = b"$HEHDT,274.07,T\n"

    assert fed(NmeaParser(("heading",)), [line]) == []
    assert fed(NmeaParser(("heading",), needs_checksum=False), [line]) == [[274.07]]
