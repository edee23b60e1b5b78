"""`websocket-utils laserstream`: republish a Solana node's accounts and slots to strategies."""

import click

from websocket_utils._url import parse_address, parse_url
from websocket_utils.cli._door import door_options
from websocket_utils.cli._loop import run_until_stopped
from websocket_utils.cli._republishing import Republishing, Wanted
from websocket_utils.config import environment_variable
from websocket_utils.exceptions import InvalidPubkey
from websocket_utils.feeds.laserstream._base58 import check_pubkey

# A process's words are seen by everybody on its machine, its environment by its own user.
_URL_ADVICE = "give URL, or --url-env NAME with the variable that holds it"


def _keys(_: click.Context, __: click.Parameter, keys: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(map(check_pubkey, keys)))
    except InvalidPubkey as error:
        raise click.BadParameter(str(error)) from error


def _address(_: click.Context, __: click.Parameter, address: str) -> tuple[str, int]:
    try:
        return parse_address(address)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _url(url: str | None, variable: str | None) -> str:
    if (url is None) == (variable is None):
        raise click.UsageError(_URL_ADVICE if url is None else f"there are two URLs: {_URL_ADVICE}, not both")
    if variable is not None:
        url = environment_variable(variable)
        if not url:
            raise click.UsageError(f"the environment variable {variable} is empty or not set; it holds the URL")
    assert url is not None  # noqa: S101  # one of both is given
    parse_url(url)
    return url


@click.command(
    short_help="Republish a Solana node's accounts and slots.",
    epilog="""Exit codes: 0 Ctrl-C ended it; 1 the node cannot be reached or refuses, or the address cannot be listened
on; 2 called wrongly.

\b
Examples:
  export LASERSTREAM_URL='wss://mainnet.helius-rpc.com/?api-key=...'
  websocket-utils laserstream --url-env LASERSTREAM_URL --account PUBKEY --serve 127.0.0.1:8080
  websocket-utils laserstream ws://127.0.0.1:8900 --seed-url http://127.0.0.1:8899 --account PUBKEY \\
    --serve 127.0.0.1:8080 --http 127.0.0.1:9002
  websocket-utils tail ws://127.0.0.1:8080 --channels 'accounts:*,slots'
""",
)
@click.argument("url", required=False)
@click.option(
    "--url-env",
    metavar="NAME",
    help="Take URL from this environment variable: a key in it is in no list of processes then.",
)
@click.option(
    "--account", "accounts", multiple=True, callback=_keys, metavar="PUBKEY", help="Account to follow; may be repeated."
)
@click.option(
    "--program",
    "programs",
    multiple=True,
    callback=_keys,
    metavar="PUBKEY",
    help="Program all of whose accounts to follow; may be repeated.",
)
@click.option(
    "--slots/--no-slots",
    default=True,
    show_default=True,
    help="Republish slots, by which strategies notice that the node is silent.",
)
@click.option(
    "--commitment",
    type=click.Choice(["processed", "confirmed", "finalized"]),
    default="processed",
    show_default=True,
    help="How sure the node is to be; processed is the fastest, and may be undone by a fork.",
)
@click.option(
    "--seed/--no-seed",
    default=True,
    show_default=True,
    help="Fetch the accounts' states over HTTP at the beginning and behind each reconnect.",
)
@click.option("--seed-url", metavar="URL", help="Where to.  [default: URL, with http in place of ws]")
@click.option(
    "--stale-after",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Dial the node anew when it has told no slot for so long.",
)
@click.option(
    "--serve",
    "address",
    required=True,
    callback=_address,
    metavar="HOST:PORT",
    help="Serve strategies there; port 0 takes a free one.",
)
@door_options
@click.option(
    "--drain",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Ctrl-C and SIGTERM let clients go within this time; a second one ends at once.",
)
@click.option("--until-eof", is_flag=True, help="End when standard input ends: for programs that start this one.")
def laserstream(
    url: str | None,
    url_env: str | None,
    accounts: tuple[str, ...],
    programs: tuple[str, ...],
    slots: bool,
    commitment: str,
    seed: bool,
    seed_url: str | None,
    stale_after: float,
    address: tuple[str, int],
    http: str | None,
    http_key: str | None,
    drain: float,
    until_eof: bool,
) -> None:
    """Follow accounts of the Solana node at URL (LaserStream, or any PubSub), and republish them to strategies.

    An AccountUpdate goes to the subscribers of accounts:PUBKEY, the latest one to who subscribes later, too; a
    SlotUpdate to those of slots. While the node is silent or unreachable, so is the channel slots, and /readyz says so.
    """
    if not (accounts or programs or slots):
        raise click.UsageError("nothing to republish: give --account, --program or --slots")
    if seed_url is not None and not seed:
        raise click.UsageError("--no-seed and --seed-url contradict each other")
    wanted = Wanted(_url(url, url_env), accounts, programs, slots, commitment, seed, seed_url, stale_after)
    run_until_stopped(Republishing(wanted, address, http, http_key, drain, until_eof).serve())
