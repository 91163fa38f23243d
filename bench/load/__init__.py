"""Load that waits for nobody: every request has its time, and its latency counts from then."""
