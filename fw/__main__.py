"""`python -m fw`."""

from fw.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
