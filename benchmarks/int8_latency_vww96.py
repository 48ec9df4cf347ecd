"""Our int8 vww96 takes no longer in LiteRT than the reference int8 file."""

from benchmarks._mlperf import latency

if __name__ == "__main__":
    latency("vww96")
