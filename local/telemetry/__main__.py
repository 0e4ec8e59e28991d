"""`python -m local.telemetry`: listen on loopback until a signal."""

import argparse
import logging
from pathlib import Path

import uvicorn

from local.ports import PortTakenError, bind
from local.processes import ERROR
from local.telemetry.endpoint import web_app
from local.telemetry.store import KEEP, Store
from local.worker import log


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True, help="the instrumentation key that is accepted")
    parser.add_argument("--keep", type=int, default=KEEP, help=f"how many envelopes are kept ({KEEP})")
    parser.add_argument("--record", type=Path, help="file that each accepted envelope is added to, as a line of JSON")
    options = parser.parse_args()
    log.configure()
    try:
        listener = bind(options.port)
    except PortTakenError as error:
        raise SystemExit(f"{ERROR}{error}") from None
    web = web_app(options.key, Store(options.keep, options.record))
    logging.getLogger("telemetry").info("listening on http://127.0.0.1:%d", options.port)
    uvicorn.Server(uvicorn.Config(web, access_log=False, log_config=None)).run([listener])


if __name__ == "__main__":
    main()
