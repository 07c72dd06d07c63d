"""``python -m foveate``."""

import sys

from foveate.cli.main import main

sys.exit(main())
