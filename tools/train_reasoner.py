"""Train the reason model and the text-only LM beside it.

accelerate launch tools/train_reasoner.py --config configs/quickstart.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
