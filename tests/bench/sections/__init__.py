"""The sections of a run, a module each: `run(bench)` measures and returns what it found."""
