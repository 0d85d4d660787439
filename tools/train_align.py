"""Train the heads into the shared space.

accelerate launch tools/train_align.py --config configs/quickstart.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["align", *sys.argv[1:]])
