//! The text of `--help`, at a fixed width.

use super::run;
use insta::assert_snapshot;

async fn help(command: &[&str]) -> String {
    let ran = run(&[command, &["--help"]].concat(), &[], "").await;
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    ran.out
}

#[tokio::test]
async fn top_level() {
    assert_snapshot!(help(&[]).await, @r"
    A Segment webhook destination that keeps Refersion affiliates in step with your users

    Usage: refersion-destination <COMMAND>

    Commands:
      serve            Receive Segment's events and deliver them to Refersion
      sandbox          Run only the simulated Refersion, for trials
      map              Show, offline, which Refersion calls an event would make, and which fields are
                       left out
      import           Send the events or users of a file to a running service
      connect          Set up a webhook in your own Segment workspace that sends its events to this
                       service
      check            Print every problem of the configuration; then check the store, the disk, each
                       API key and the clock
      status           Show pending events, how fast they become fewer, the state of each account, and
                       the last hour and day
      dead-letters     List, show, replay or discard events that could not be delivered [alias: dlq]
      backlog          List the pending events of an account, or set aside those of an account that is
                       gone
      email-conflicts  List affiliates whose e-mail could not be changed, because another affiliate has
                       the new one
      events           List the result of every event, the newest first
      lookup           Show the results of a user's events, and the data that the store holds of the
                       user
      learn            Learn who is an affiliate already from Refersion's list, so that a first sync
                       takes fewer calls
      forget           Erase the data that the store holds of a user
      backup           Copy the store into a file, while the service runs or is stopped
      restore          Restore the store from a backup, where no store exists
      migrate          Create the tables of the store, or migrate them to those of this release, and end
      migrate-store    Move all data of a store to another, empty one: from SQLite to PostgreSQL, or
                       back
      healthcheck      Exit with 0 if the service is healthy, otherwise with 1; for container probes
      help             Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Settings come from config/default.toml (compiled in), then the files that CONFIG_FILES names
    (separated by commas), then --config files, then the environment:
    setting `n` of section `s` is S_N there, so `api_key` in [refersion] is REFERSION_API_KEY.

    To look around without an account:
      refersion-destination serve --sandbox
    To run it:
      REFERSION_API_KEY=publickey.secretkey refersion-destination serve
    ");
}

#[tokio::test]
async fn serve() {
    assert_snapshot!(help(&["serve"]).await, @r"
    Receive Segment's events and deliver them to Refersion

    Usage: refersion-destination serve [OPTIONS]

    Options:
          --config <FILE>          A TOML file of settings. May be given several times; a later file
                                   overrides an earlier one
          --sandbox                Deliver to a simulated Refersion in this process, and store nothing
                                   for good. Needs no account, no key and no file
          --sandbox-listen <ADDR>  With --sandbox: the address of the simulated Refersion; port 0 means
                                   any free port [default: 127.0.0.1:9099, or any free port]
      -h, --help                   Print help
    ");
}

#[tokio::test]
async fn sandbox() {
    assert_snapshot!(help(&["sandbox"]).await, @r"
    Run only the simulated Refersion, for trials

    Usage: refersion-destination sandbox [OPTIONS]

    Options:
          --listen <ADDR>          The address to listen on; port 0 means any free port [default:
                                   127.0.0.1:9099]
          --latency <DUR>          The delay of every response, such as 100ms [default: 0s]
          --fail-rate <P>          The share of calls that are answered with 500, from 0 to 1 [default:
                                   0]
          --rate-limit <N>         The number of calls per second above which calls are answered with
                                   429; without it there is no limit
          --api-key <KEY>          The only key pair that is accepted, `publickey.secretkey`; without it
                                   any pair is accepted
          --segment                Also run a simulated Segment, where merchants connect their sources
          --segment-listen <ADDR>  With --segment: the address of the simulated Segment; port 0 means
                                   any free port [default: 127.0.0.1:9098]
          --redirect-url <URL>     With --segment: the URL of the service to which it sends merchants
                                   back [default: http://127.0.0.1:8080/connect/callback]
      -h, --help                   Print help
    ");
}

#[tokio::test]
async fn connect() {
    assert_snapshot!(help(&["connect"]).await, @r"
    Set up a webhook in your own Segment workspace that sends its events to this service

    Usage: refersion-destination connect [OPTIONS]

    Options:
          --url <URL>           The URL of the webhook, as Segment reaches it: https://your-host/segment
          --source <SLUG>       The slug of a source. May be given several times; without it, the
                                command asks on a terminal
          --region <REGION>     The region of the workspace [default: us] [possible values: us, eu]
          --dry-run             Print the calls that would change something, and change nothing
          --secret-file <FILE>  The file of the shared secret: read if it exists, else written with a
                                new secret, readable by its owner alone. Without it, a new secret is
                                printed once
          --list                Show the destinations that are set up, with Segment's counts
          --remove              Remove the destinations of the named sources
      -h, --help                Print help
    ");
}

#[tokio::test]
async fn map() {
    assert_snapshot!(help(&["map"]).await, @r"
    Show, offline, which Refersion calls an event would make, and which fields are left out

    Usage: refersion-destination map [OPTIONS] [FILE]

    Arguments:
      [FILE]  A file with an event, an array of events, or a batch; with an event on each line (NDJSON);
              or with a user on each line (CSV, where each column is a trait, and `address.city` nests).
              `-` is standard input [default: -]

    Options:
          --format <FORMAT>  The format of the file. If not given, it is taken from the name (.csv,
                             .tsv, .ndjson, .jsonl), or else from the content [possible values: json,
                             ndjson, csv]
          --account <NAME>   The account by whose rules the events are mapped. If not given: the first
                             configured account, which is `main` if there is one; the rules of the
                             sections if no account is configured
          --summary          Print only how many events would create, update, be refused or ignored,
                             with the reasons and line numbers
          --fail             With --summary: exit with 1 if an event would be refused. Without
                             --summary, the exit code is 1 anyway
          --config <FILE>    A TOML file of settings. May be given several times; a later file overrides
                             an earlier one
      -h, --help             Print help
    ");
}

#[tokio::test]
async fn check() {
    assert_snapshot!(help(&["check"]).await, @r"
    Print every problem of the configuration; then check the store, the disk, each API key and the clock

    Usage: refersion-destination check [OPTIONS]

    Options:
          --json           Print JSON, one object on each line
          --diff           Only ask the running service what a reload would change
          --ops <URL>      The URL of the running service's operators' listener, for --diff. If not
                           given, OPS_LISTEN
          --config <FILE>  A TOML file of settings. May be given several times; a later file overrides
                           an earlier one
      -h, --help           Print help
    ");
}

#[tokio::test]
async fn healthcheck() {
    assert_snapshot!(help(&["healthcheck"]).await, @r"
    Exit with 0 if the service is healthy, otherwise with 1; for container probes

    Usage: refersion-destination healthcheck [OPTIONS] [URL]

    Arguments:
      [URL]  The health endpoint; if not given, `/healthz` on OPS_LISTEN

    Options:
          --config <FILE>  A TOML file of settings. May be given several times; a later file overrides
                           an earlier one
      -h, --help           Print help
    ");
}

#[tokio::test]
async fn dead_letters() {
    assert_snapshot!(help(&["dead-letters"]).await, @r"
    List, show, replay or discard events that could not be delivered

    Usage: refersion-destination dead-letters <COMMAND>

    Commands:
      list     Print one line for each
      show     Print all details of some: reason, attempts, and the calls that the event would make
               today
      replay   Deliver some again: with today's rules, each after the pending events of its user
      discard  Discard some for good
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help
    ");
    assert_snapshot!(help(&["dlq", "discard"]).await, @r"
    Discard some for good

    Usage: refersion-destination dead-letters discard [OPTIONS] [ID]...

    Arguments:
      [ID]...  The ids that `list` prints

    Options:
          --account <NAME>  Only dead letters of this account
          --reason <CODE>   Only dead letters with this reason [possible values: unmappable, malformed,
                            refused, email_taken, not_applied, endless_search, expired, corrupt,
                            internal_error, account_gone, erased]
          --since <WHEN>    Only dead letters since then: an age such as 12h, or a time such as
                            2026-01-31 or 2026-01-31T08:00:00Z
          --all             All dead letters
          --yes             Do not ask for confirmation
          --json            Print JSON, one value on each line
          --ops <URL>       The URL of the running service's operators' listener. Without it, the
                            command opens the store, or if a service has it open, asks OPS_LISTEN
          --config <FILE>   A TOML file of settings. May be given several times; a later file overrides
                            an earlier one
      -h, --help            Print help
    ");
}

#[tokio::test]
async fn email_conflicts() {
    assert_snapshot!(help(&["email-conflicts"]).await, @r"
    List affiliates whose e-mail could not be changed, because another affiliate has the new one

    Usage: refersion-destination email-conflicts [OPTIONS]

    Options:
          --account <NAME>  Only affiliates of this account
          --json            Print JSON, one value on each line
          --ops <URL>       The URL of the running service's operators' listener. Without it, the
                            command opens the store, or if a service has it open, asks OPS_LISTEN
          --config <FILE>   A TOML file of settings. May be given several times; a later file overrides
                            an earlier one
      -h, --help            Print help
    ");
}

#[tokio::test]
async fn lookup() {
    assert_snapshot!(help(&["lookup"]).await, @r"
    Show the results of a user's events, and the data that the store holds of the user

    Usage: refersion-destination lookup [OPTIONS] <--email <ADDRESS>|--user-id <ID>|--message-id <ID>|--code <CODE>>

    Options:
          --email <ADDRESS>  An e-mail address
          --user-id <ID>     Segment's userId
          --message-id <ID>  Segment's messageId of an event: only this event. For a delete, name its
                             user, too
          --code <CODE>      The code of an affiliate at Refersion
          --account <NAME>   The account. If not given: the first one configured in the running service,
                             or in this command if it opens the store itself; `main` if there is one.
                             Required if no account is configured and any API key is accepted
          --json             Print JSON
          --ops <URL>        The URL of the running service's operators' listener. Without it, the
                             command opens the store, or if a service has it open, asks OPS_LISTEN
          --config <FILE>    A TOML file of settings. May be given several times; a later file overrides
                             an earlier one
      -h, --help             Print help
    ");
}

#[tokio::test]
async fn forget() {
    assert_snapshot!(help(&["forget"]).await, @r"
    Erase the data that the store holds of a user

    Usage: refersion-destination forget [OPTIONS] <--user-id <ID>|--email <ADDRESS>>

    Options:
          --user-id <ID>     Segment's userId of the user
          --email <ADDRESS>  The user's e-mail address
          --dry-run          Only count what would be erased
          --account <NAME>   The account. If not given: the first one configured in the running service,
                             or in this command if it opens the store itself; `main` if there is one.
                             Required if no account is configured and any API key is accepted
          --json             Print JSON
          --ops <URL>        The URL of the running service's operators' listener. Without it, the
                             command opens the store, or if a service has it open, asks OPS_LISTEN
          --config <FILE>    A TOML file of settings. May be given several times; a later file overrides
                             an earlier one
      -h, --help             Print help
    ");
}

#[tokio::test]
async fn backup_and_restore() {
    assert_snapshot!(help(&["backup"]).await, @r"
    Copy the store into a file, while the service runs or is stopped

    Usage: refersion-destination backup [OPTIONS] [FILE]

    Arguments:
      [FILE]  The file to make, or a folder for it. If not given, a file named after the store and the
              time, beside the store

    Options:
          --config <FILE>  A TOML file of settings. May be given several times; a later file overrides
                           an earlier one
      -h, --help           Print help
    ");
    assert_snapshot!(help(&["restore"]).await, @r"
    Restore the store from a backup, where no store exists

    Usage: refersion-destination restore [OPTIONS] <FILE>

    Arguments:
      <FILE>  The file that `backup` made

    Options:
          --config <FILE>  A TOML file of settings. May be given several times; a later file overrides
                           an earlier one
      -h, --help           Print help
    ");
}

#[tokio::test]
async fn wrong_usage_is_exit_2() {
    let ran = run(&["serv"], &[], "").await;
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("tip: a similar subcommand exists: 'serve'"), "{}", ran.err);
}
