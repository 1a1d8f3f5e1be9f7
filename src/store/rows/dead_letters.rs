//! Rows of dead letters: for operators, and for a replay.
//!
//! In: rows of `dead_letters`. Out: [`DeadLetter`]s, and the event to append again, or why there is none.

use super::page::PageScan;
use super::{Columns, Damaged, event_id, number, report, timestamp, words};
use crate::domain::{AccountName, Seq, SourceId};
use crate::store::body::unpack;
use crate::store::{DeadLetter, DeadLetterFilter, NewEvent, Replay, history, user_keys};

/// The most dead letters that a page examines.
pub const EXAMINED: usize = 400;

/// The reason of a dead letter whose user was erased while it was pending.
pub const ERASED: &str = "its user was erased while it waited";

/// The reason of a dead letter of an account that is gone.
pub const ACCOUNT_GONE: &str = "its account is gone: set aside by an operator";

/// The columns that [`on_page`] reads, in this order, before whether the body was erased. After that [`whole`] reads the history and the
/// body, which each engine keeps in its own way.
pub const COLUMNS: &str = "dead_letters.seq, accounts.name, dead_letters.id, dead_letters.code, dead_letters.reason, \
                           dead_letters.failures, dead_letters.received_at, dead_letters.died_at";

/// Reads a dead letter without history and body.
fn on_page(row: &impl Columns) -> Result<DeadLetter, Damaged> {
    let failures = number(row, 5, "dead_letters.failures")?;
    Ok(DeadLetter {
        id: number(row, 0, "dead_letters.seq")?,
        account: words(row, 1, "accounts.name")?,
        event: event_id(row, 2, "dead_letters.id")?.to_string(),
        code: words(row, 3, "dead_letters.code")?,
        reason: words(row, 4, "dead_letters.reason")?,
        failures: failures.try_into().map_err(|_| Damaged("dead_letters.failures"))?,
        received_at: timestamp(row, 6, "dead_letters.received_at")?,
        died_at: timestamp(row, 7, "dead_letters.died_at")?,
        erased: number(row, 8, "dead_letters.body")? != 0,
        history: Vec::new(),
        body: None,
    })
}

/// Reads a dead letter with its history and its body. A history or a body that cannot be read is left out, and logged.
pub fn whole(row: &impl Columns) -> Result<DeadLetter, Damaged> {
    let letter = on_page(row)?;
    let history = history::read(Seq(letter.id), row.text(9, "dead_letters.history")?);
    let stored = row.blob(10, "dead_letters.body");
    let body =
        stored.and_then(|stored| stored.map(|stored| unpack(stored).ok_or(Damaged("dead_letters.body"))).transpose());
    let body = body.unwrap_or_else(|Damaged(part)| {
        report(Seq(letter.id), part);
        None
    });
    Ok(DeadLetter { history, body: body.map(|body| String::from_utf8_lossy(&body).into_owned()), ..letter })
}

/// Examines the next dead letter of a list. One that is not in the list may be damaged.
pub fn examine(
    scan: &mut PageScan<DeadLetter>,
    filter: &DeadLetterFilter,
    row: &impl Columns,
) -> Result<bool, Damaged> {
    let account: String = words(row, 1, "accounts.name")?;
    let code: String = words(row, 3, "dead_letters.code")?;
    let fits = filter.fits(&account, &code, timestamp(row, 7, "dead_letters.died_at")?);
    let letter = fits.then(|| on_page(row)).transpose()?;
    Ok(scan.add(number(row, 0, "dead_letters.seq")?, letter))
}

/// The columns that [`to_replay`] reads, in this order, before the source and the body.
pub const REPLAY_COLUMNS: &str =
    "accounts.name, dead_letters.id, dead_letters.keys, dead_letters.received_at, dead_letters.history";

/// A dead letter that can be appended again.
#[derive(Debug)]
pub struct ToReplay {
    /// The event, with its body as it is stored. PostgreSQL, which copies them by itself, reads neither body nor source nor history.
    pub event: NewEvent,
    /// Its history, as it is stored.
    pub history: Option<String>,
}

impl From<Damaged> for Replay {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

/// Reads the event to append again in place of the dead letter `letter`, or why there is none. The caller checks whether the same event is
/// pending ([`Replay::SentAgain`]).
pub fn to_replay(letter: Seq, row: &impl Columns) -> Result<ToReplay, Replay> {
    let body = row.blob(6, "dead_letters.body")?.ok_or(Replay::Erased)?;
    let user_keys = row.blob(2, "dead_letters.keys")?.and_then(user_keys::from_blob).ok_or(Replay::KeysMissing)?;
    let event = NewEvent {
        account: AccountName::from(words(row, 0, "accounts.name")?),
        id: event_id(row, 1, "dead_letters.id")?,
        former_id: None,
        user_keys,
        known_users_only: None,
        source: source(letter, row),
        body: body.to_vec(),
        received_at: timestamp(row, 3, "dead_letters.received_at")?,
    };
    Ok(ToReplay { event, history: row.text(4, "dead_letters.history")?.map(str::to_owned) })
}

/// The source of a dead letter to replay. One that cannot be read is left out, and logged: the event is delivered without it.
fn source(letter: Seq, row: &impl Columns) -> Option<SourceId> {
    let part = "log.source";
    let source = match row.text(5, part) {
        Ok(None) => return None,
        Ok(Some(text)) => SourceId::parse(text),
        Err(Damaged(_)) => None,
    };
    if source.is_none() {
        report(letter, part);
    }
    source
}

#[cfg(test)]
mod tests {
    use super::super::testing::Cell;
    use super::*;
    use crate::domain::UserKey;

    const USER: UserKey = UserKey::UserId([1; 16]);

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    fn shown(id: i64) -> Vec<Cell> {
        let event = Cell::Blob(vec![7; 16]);
        let [failures, received_at, died_at, erased] = [2, 5, 9, 0].map(Cell::Integer);
        let row = [Cell::Integer(id), text("main"), event, text("refused"), text("no"), failures, received_at];
        [&row[..], &[died_at, erased, text(r#"[{"at":8,"what":"503"}]"#), Cell::Blob(b"{}".to_vec())]].concat()
    }

    #[test]
    fn a_dead_letter_is_shown_as_far_as_it_can_be_read() {
        let letter = whole(&shown(4)).expect("read");
        assert_eq!((letter.id, letter.failures, letter.history.len(), letter.erased), (4, 2, 1, false));
        assert_eq!(letter.body.as_deref(), Some("{}"));
        let mut damaged = shown(4);
        (damaged[9], damaged[10]) = (text("["), Cell::Integer(1));
        let letter = whole(&damaged).expect("read");
        assert_eq!((letter.history.len(), letter.body), (0, None));
        damaged[5] = Cell::Integer(-1);
        assert_eq!(whole(&damaged), Err(Damaged("dead_letters.failures")));
    }

    #[test]
    fn a_damaged_dead_letter_fails_only_the_lists_that_it_is_in() {
        let mut damaged = shown(4);
        damaged[5] = Cell::Integer(-1);
        for (account, fails) in [("main", true), ("other", false)] {
            let filter = DeadLetterFilter { account: Some(account.to_owned()), ..DeadLetterFilter::default() };
            let examined = examine(&mut PageScan::new(9, EXAMINED), &filter, &damaged);
            assert_eq!(examined.is_err(), fails, "{account}");
        }
    }

    #[test]
    fn a_dead_letter_is_replayed_unless_its_body_or_its_user_is_missing_or_damaged() {
        let row = |keys: Cell, body: Cell| {
            vec![text("main"), Cell::Blob(vec![7; 16]), keys, Cell::Integer(5), text("[]"), text("shop"), body]
        };
        let (users, body) = (|| Cell::Blob(user_keys::to_blob(&[USER])), || Cell::Blob(b"{}".to_vec()));
        let ToReplay { event, history } = to_replay(Seq(4), &row(users(), body())).expect("it can be replayed");
        assert_eq!((event.account.as_str(), event.source.as_ref().map(SourceId::as_str)), ("main", Some("shop")));
        assert_eq!((event.user_keys, event.body, history.as_deref()), (vec![USER], b"{}".to_vec(), Some("[]")));
        for source in [Cell::Blob(b"shop".to_vec()), text("no source"), Cell::Null] {
            let mut row = row(users(), body());
            row[5] = source;
            let ToReplay { event, .. } = to_replay(Seq(4), &row).expect("it can be replayed");
            assert_eq!(event.source, None, "it is left out");
        }
        for (keys, body, why) in [
            (Cell::Null, Cell::Null, Replay::Erased),
            (users(), Cell::Null, Replay::Erased),
            (users(), Cell::Integer(7), Replay::Damaged),
            (Cell::Null, body(), Replay::KeysMissing),
            (Cell::Blob(vec![9]), body(), Replay::KeysMissing),
            (text("keys"), body(), Replay::Damaged),
        ] {
            assert_eq!(to_replay(Seq(4), &row(keys, body)).err(), Some(why));
        }
    }
}
