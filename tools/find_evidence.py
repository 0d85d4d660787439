"""Find what is true of every item, and which facts mean the same.

python tools/find_evidence.py --config configs/quickstart.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["evidence", *sys.argv[1:]])
