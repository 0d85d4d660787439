"""Report what crosses the splits of a run's catalogue.

python tools/check_splits.py --run_dir runs/my_shop
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["check-splits", *sys.argv[1:]])
