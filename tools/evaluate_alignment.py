"""Measure the shared space of a run: figures, a map and one HTML page.

python tools/evaluate_alignment.py --config configs/quickstart.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["evaluate-alignment", *sys.argv[1:]])
