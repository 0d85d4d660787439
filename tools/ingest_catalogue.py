"""Read, check and split a catalogue; simulate shoppers if configured.

python tools/ingest_catalogue.py --config configs/quickstart.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["ingest", *sys.argv[1:]])
