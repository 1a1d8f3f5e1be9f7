//! `--help` teaches: pinned, at a fixed width.

use super::run;
use insta::assert_snapshot;

async fn help(command: &[&str]) -> String {
    let ran = run(&[command, &["--help"]].concat(), &[], "").await;
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    ran.out
}

#[tokio::test]
async fn the_whole() {
    assert_snapshot!(help(&[]).await, @r"
    A Segment webhook destination that keeps Refersion affiliates in step with your users

    Usage: refersion-destination <COMMAND>

    Commands:
      serve         Take Segment's events in and carry them out at Refersion
      sandbox       Run a simulated Refersion by itself, for trials
      map           Show, offline, which Refersion calls an event would make, and what is odd about it
      check         Tell every problem of the configuration, then prove each API key with one cheap call
      dead-letters  List, show, replay or discard what could not be delivered [alias: dlq]
      forget        Erase what this service holds of a user
      healthcheck   Exit 0 if the service is healthy, 1 if not: for container probes
      help          Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Settings come from config/default.toml (compiled in), then --config files, then the environment:
    key `k` of section `s` is S_K there, so `api_key` in [refersion] is REFERSION_API_KEY.

    To look around without an account:
      refersion-destination serve --sandbox
    To run it:
      REFERSION_API_KEY=publickey.secretkey refersion-destination serve
    ");
}

#[tokio::test]
async fn serve() {
    assert_snapshot!(help(&["serve"]).await, @r"
    Take Segment's events in and carry them out at Refersion

    Usage: refersion-destination serve [OPTIONS]

    Options:
          --config <FILE>  A TOML file of settings; may be given several times, a later file wins over
                           an earlier one
          --sandbox        Deliver to a simulated Refersion in this process, and keep nothing: needs no
                           account, no key, no file
      -h, --help           Print help
    ");
}

#[tokio::test]
async fn sandbox() {
    assert_snapshot!(help(&["sandbox"]).await, @r"
    Run a simulated Refersion by itself, for trials

    Usage: refersion-destination sandbox [OPTIONS]

    Options:
          --listen <ADDR>   The address to listen on; port 0 takes any free one [default:
                            127.0.0.1:9099]
          --latency <DUR>   How long every answer takes, such as 100ms [default: 0s]
          --fail-rate <P>   The share of calls that fail with a 500, from 0 to 1 [default: 0]
          --rate-limit <N>  How many calls per second are taken before 429 is answered; any number if
                            not given
          --api-key <KEY>   The only key pair to accept, `publickey.secretkey`; any pair if not given
      -h, --help            Print help
    ");
}

#[tokio::test]
async fn map() {
    assert_snapshot!(help(&["map"]).await, @r"
    Show, offline, which Refersion calls an event would make, and what is odd about it

    Usage: refersion-destination map [OPTIONS] [FILE]

    Arguments:
      [FILE]  A file with an event, an array of events, or a batch; `-` is standard input [default: -]

    Options:
          --config <FILE>  A TOML file of settings; may be given several times, a later file wins over
                           an earlier one
      -h, --help           Print help
    ");
}

#[tokio::test]
async fn check() {
    assert_snapshot!(help(&["check"]).await, @r"
    Tell every problem of the configuration, then prove each API key with one cheap call

    Usage: refersion-destination check [OPTIONS]

    Options:
          --config <FILE>  A TOML file of settings; may be given several times, a later file wins over
                           an earlier one
      -h, --help           Print help
    ");
}

#[tokio::test]
async fn healthcheck() {
    assert_snapshot!(help(&["healthcheck"]).await, @r"
    Exit 0 if the service is healthy, 1 if not: for container probes

    Usage: refersion-destination healthcheck [OPTIONS] [URL]

    Arguments:
      [URL]  The endpoint to ask; `/healthz` on OPS_LISTEN if not given

    Options:
          --config <FILE>  A TOML file of settings; may be given several times, a later file wins over
                           an earlier one
      -h, --help           Print help
    ");
}

#[tokio::test]
async fn dead_letters() {
    assert_snapshot!(help(&["dead-letters"]).await, @r"
    List, show, replay or discard what could not be delivered

    Usage: refersion-destination dead-letters <COMMAND>

    Commands:
      list     One line for each
      show     Everything about some: reason, attempts, and what the event would do today
      replay   Let some wait again: mapped anew, each behind what waits for its user
      discard  Throw some away for good
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help
    ");
    assert_snapshot!(help(&["dlq", "discard"]).await, @r"
    Throw some away for good

    Usage: refersion-destination dead-letters discard [OPTIONS] [ID]...

    Arguments:
      [ID]...  The ids, as `list` prints them

    Options:
          --account <NAME>  Those of this account
          --reason <CODE>   Those with this reason: unmappable, malformed, refused, email_taken,
                            not_applied, endless_search, expired, erased
          --since <WHEN>    Those that died since: a time ago such as 12h, or a moment such as
                            2026-01-31 or 2026-01-31T08:00:00Z
          --all             All of them
          --yes             Do not ask
          --json            Print JSON, one value a line
          --ops <URL>       Ask the service whose ops listener is at this URL; if not given, the store
                            is opened, or while a service has it open, OPS_LISTEN is asked
          --config <FILE>   A TOML file of settings; may be given several times, a later file wins over
                            an earlier one
      -h, --help            Print help
    ");
}

#[tokio::test]
async fn forget() {
    assert_snapshot!(help(&["forget"]).await, @r"
    Erase what this service holds of a user

    Usage: refersion-destination forget [OPTIONS] <--user-id <ID>|--email <ADDRESS>>

    Options:
          --user-id <ID>     Segment's userId of the user
          --email <ADDRESS>  The user's e-mail address
          --account <NAME>   The account whose user it is; the first one configured if not given, which
                             is `main` where there is one. To be said where none is configured and any
                             key is accepted
          --json             Print JSON
          --ops <URL>        Ask the service whose ops listener is at this URL; if not given, the store
                             is opened, or while a service has it open, OPS_LISTEN is asked
          --config <FILE>    A TOML file of settings; may be given several times, a later file wins over
                             an earlier one
      -h, --help             Print help
    ");
}

#[tokio::test]
async fn wrong_usage_is_exit_2() {
    let ran = run(&["serv"], &[], "").await;
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("tip: a similar subcommand exists: 'serve'"), "{}", ran.err);
}
