"""Run the command line: `python -m metaport …`."""

import sys

from metaport.cli import main

sys.exit(main())
