"""From a catalogue's folder to reasons.parquet and report.html; nothing is trained.

python tools/reasons_of_catalogue.py my_shop
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["reasons", *sys.argv[1:]])
