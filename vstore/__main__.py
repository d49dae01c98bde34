"""``python -m vstore`` is ``vstore``."""

from vstore.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
