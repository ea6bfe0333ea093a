"""``python -m motionstream`` is the same as ``motionstream``."""

from motionstream.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
