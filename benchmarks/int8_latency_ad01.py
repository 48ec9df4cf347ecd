"""Our int8 ad01 takes no longer in LiteRT than the reference int8 file."""

from benchmarks._mlperf import latency

if __name__ == "__main__":
    latency("ad01")
