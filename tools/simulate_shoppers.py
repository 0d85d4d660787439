"""Simulate shoppers over a catalogue that has no behaviours.

python tools/simulate_shoppers.py --config configs/quickstart.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["simulate", *sys.argv[1:]])
