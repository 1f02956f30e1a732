"""Write docs/benchmarks.md and its plots from the reports of the measurements."""
