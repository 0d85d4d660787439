"""Check a table of reasons against the compliance packs.

python tools/audit_reasons.py reasons.parquet
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["audit", *sys.argv[1:]])
