"""`python -m nadam_ref` is the command `nadam-ref`."""

import sys

from .cli import main

sys.exit(main())
