"""Our int8 vww96 is no larger than the reference int8 file."""

from benchmarks._mlperf import size

if __name__ == "__main__":
    size("vww96")
