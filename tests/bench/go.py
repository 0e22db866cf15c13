"""The peer in Go, which is built if this machine has a compiler and the driver."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).parent / "peers" / "go" / "main.go"
SOURCES: Final = Path("/usr/share/gocode")
"""Where Debian's packages of libraries put their source."""
BUILD_SECONDS: Final = 300


def why_no_go() -> str:
    """Tell what this machine lacks for the peer in Go; nothing if it lacks nothing."""
    lacks = []
    if shutil.which("go") is None:
        lacks.append("golang-go")
    if not (SOURCES / "src/github.com/jackc/pgx/v4").is_dir():
        lacks.append("golang-github-jackc-pgx-v4-dev")
    return f"the peer in Go is left out (Debian: apt-get install {' '.join(lacks)})" if lacks else ""


def build_go(folder: Path) -> Path:
    """Build the peer, once a folder, and return the program."""
    program = folder / "go-peer"
    if not program.exists():
        settings = {"GO111MODULE": "off", "GOPATH": str(SOURCES), "GOCACHE": str(folder / "go-cache"), "GOFLAGS": ""}
        command = ["go", "build", "-o", str(program), str(SOURCE)]
        subprocess.run(command, check=True, env={**os.environ, **settings}, timeout=BUILD_SECONDS)
    return program
