"""Embed every item of the shards.

python tools/embed_items.py --config configs/quickstart.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["embed", *sys.argv[1:]])
