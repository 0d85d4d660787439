"""Write one reason per request, resumably.

python tools/generate_reasons.py --config configs/quickstart.yaml
"""

import sys

from mmreason.cli import main

if __name__ == "__main__":
    main(["generate", *sys.argv[1:]])
