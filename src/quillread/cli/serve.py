"""quill serve: an archive of pages for browsers and scripts, its accounts, and what keeps it."""

import argparse
import gc
from pathlib import Path

from quillread.cli import serve_archive, serve_users
from quillread.cli.progress import say
from quillread.cli.serve_options import add_place, make_config
from quillread.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options, and the actions that keep the archive."""
    parser.description = (
        "Serve an archive of pages: open it in a browser, or call its REST API. On this machine there is no login; to "
        "let others in, make accounts and name an address: --host."
    )
    add_place(parser, None)
    parser.add_argument(
        "--host", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1, this machine only)"
    )
    parser.add_argument("--port", type=int, metavar="N", help="port to listen on; 0 for any (default: 8765)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that read pages (default: one a core, 2)")
    parser.add_argument("--root-path", metavar="PATH", help="path below which a proxy shows the server, such as /quill")
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="name by which the server may be called, beside its address; may be repeated",
    )
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        default=None,
        help="believe the proxy before the server who calls, and whether by TLS (X-Forwarded-For, -Proto)",
    )
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE", help="certificate (PEM), to speak TLS")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key (PEM)")
    parser.add_argument("--log-format", choices=("lines", "json"), help="how the log is written (default: lines)")
    parser.set_defaults(run=run_serve)
    actions = parser.add_subparsers(dest="action", metavar="users|backup|restore|check|purge|usage")
    serve_users.configure(actions)
    serve_archive.configure(actions)


def run_serve(args: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    gc.disable()  # what is imported stays: looking through it again and again is a tenth of the start
    config = make_config(args)
    # Late, because they take a second.
    from quillread.serve.server import run_server, start_logs

    def announce(address: str) -> None:
        gc.freeze()
        gc.enable()
        say(f"the archive {config.data} is open at {address} (Ctrl-C ends it)")

    try:
        start_logs(config.log_format, verbose=args.verbose)
        run_server(config, announce)
    finally:
        gc.enable()
    return ExitCode.OK
