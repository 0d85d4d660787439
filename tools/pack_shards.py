"""Pack a catalogue into WebDataset shards.

python tools/pack_shards.py --config configs/quickstart.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["pack", *sys.argv[1:]])
