"""The platform: the only package that knows chatd, sfu and metering, and wires them.

How `metaport run` becomes a running product:

1. `cli.main` reads the command line, `config.load_config` the file and the environment.
2. `supervise.run` looks ahead (`preflight`), then starts `metaport hub` and `metaport sfu`.
3. Each child enters `cli.serve`, which hands over to `compose.run_hub` or `media_process.run_sfu`.
4. Both append what they are about to acknowledge to a `log.Log`; readers follow it with
   `log.Follower` and keep their own checkpoint.

**Nothing is acknowledged before it is in the local log.**
"""

__version__ = "0.1.0"
