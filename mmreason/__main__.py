"""``python -m mmreason``: the command ``mmreason``."""

from mmreason.cli import main

if __name__ == "__main__":
    main()
