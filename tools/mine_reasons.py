"""Mine reasons to learn from out of the reviews of a run's catalogue.

python tools/mine_reasons.py --run_dir runs/my_shop
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["mine-reasons", *sys.argv[1:]])
