"""Side-by-side benchmarks: ours beside a baseline, interleaved, medians, as ratios."""
