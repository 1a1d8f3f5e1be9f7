//! Learning from Refersion's list of affiliates: the affiliates of a page, and the progress of reading the list.
//!
//! In: pages, as [`crate::refersion`] reads them. Out: the affiliates to remember ([`learned`]), and the [`ListProgress`] that is stored
//! with them. An affiliate of the list is known by its code and its e-mail. When its numeric id is needed, `get` returns it and shows
//! whether the list is still right. Invariants: an affiliate with a final status is not remembered, because the merchant may change the
//! status again; learned values count as older than any event; reading ends, whatever the pages contain. Deliberately absent: when a page
//! is requested ([`crate::worker`]), and affiliates that are known already ([`crate::store`]).

use super::{AffiliateRecord, Origin, status};
use crate::domain::{
    AccountName, AffiliateCode, AffiliateStatus, Email, Field, HashKey, Profile, SentAttributes, Timestamp, UserKey,
};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::Duration;

/// Whether the account's affiliates are learned from Refersion's list (`DELIVERY_LEARN`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Learn {
    /// Only when an operator asks for it.
    Off,
    /// Once, beginning with the account's first event.
    #[default]
    Once,
    /// Again after each day.
    Daily,
}

/// An affiliate as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedAffiliate {
    /// The alphanumeric code.
    pub code: AffiliateCode,
    /// Its status; none if it could not be read.
    pub status: Option<AffiliateStatus>,
    /// Its e-mail, its name and its offer.
    pub profile: Profile,
}

/// A page of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The number of affiliates on all pages; none if the page does not state it.
    pub total: Option<u64>,
    /// The number of affiliates on this page.
    pub results: u64,
    /// The readable ones among them.
    pub affiliates: Vec<ListedAffiliate>,
}

/// The progress of reading the list of an account. Stored together with the affiliates of its pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListProgress {
    /// The page to read next, from 1.
    pub page: u32,
    /// The number of affiliates on the pages before it.
    pub seen: u64,
    /// The number of affiliates in all, as the last page stated.
    pub total: Option<u64>,
    /// The first affiliate of the last page. A server that ignores the page number returns it again.
    first: Option<AffiliateCode>,
    /// When the list was last read to its end.
    pub completed_at: Option<Timestamp>,
}

/// The most pages that are read: no account has ten million affiliates.
const MAX_PAGES: u32 = 100_000;
/// How often the list is read with [`Learn::Daily`].
const DAY: Duration = Duration::from_hours(24);

impl Default for ListProgress {
    fn default() -> Self {
        Self { page: 1, seen: 0, total: None, first: None, completed_at: None }
    }
}

impl ListProgress {
    /// Whether the list was read to its end, and no further reading has begun.
    pub fn is_complete(&self) -> bool {
        self.completed_at.is_some() && self.page == 1
    }

    /// Whether a page should be read at `now`.
    pub fn is_due(&self, learn: Learn, now: Timestamp) -> bool {
        match (learn, self.completed_at) {
            (Learn::Off, _) => false,
            (_, None) => true,
            (Learn::Once, Some(_)) => !self.is_complete(),
            (Learn::Daily, Some(at)) => !self.is_complete() || now.since(at) >= DAY,
        }
    }

    /// The progress once `page` was read at `now`.
    #[must_use]
    pub fn after(&self, page: &ListPage, now: Timestamp) -> Self {
        if self.seen > 0 && self.is_complete() {
            return Self { completed_at: self.completed_at, ..Self::default() }.after(page, now); // begins a further reading
        }
        let first = page.affiliates.first().map(|affiliate| affiliate.code.clone());
        let is_again = first.is_some() && first == self.first;
        let seen = if is_again { self.seen } else { self.seen + page.results };
        let all_seen = page.total.is_some_and(|total| seen >= total);
        if is_again || page.results == 0 || all_seen || self.page >= MAX_PAGES {
            return Self { seen, total: page.total, completed_at: Some(now), ..Self::default() };
        }
        Self { page: self.page + 1, seen, total: page.total, first, completed_at: self.completed_at }
    }
}

/// The affiliates to remember of a page, each with the user key of its address: those that have one, unless their status is final. If several
/// have the same address or code, the first.
pub fn learned(page: &ListPage, hash: &HashKey, account: &AccountName) -> Vec<(AffiliateRecord, UserKey)> {
    let (mut codes, mut emails) = (HashSet::new(), HashSet::new());
    let learned = page.affiliates.iter().filter_map(|listed| listed.learned(hash, account));
    learned.filter(|(known, email)| codes.insert(known.code.clone()) && emails.insert(*email)).collect()
}

impl ListedAffiliate {
    fn learned(&self, hash: &HashKey, account: &AccountName) -> Option<(AffiliateRecord, UserKey)> {
        let email = Email::parse(self.profile.get(Field::Email)?).ok()?;
        if self.status.is_some_and(status::is_final) {
            return None;
        }
        let mut sent = SentAttributes::default();
        for (attribute, value) in self.profile.iter() {
            sent.record(hash, attribute, value, Timestamp::OLDEST);
        }
        if let Some(status) = self.status {
            sent.record_status(hash, status, Timestamp::OLDEST);
        }
        let known = AffiliateRecord { code: self.code.clone(), id: None, origin: Origin::Found, sent };
        Some((known, hash.email(account, &email)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> HashKey {
        HashKey::new(&[7; 32])
    }

    fn listed(code: &str, email: &str, status: Option<AffiliateStatus>) -> ListedAffiliate {
        let profile = [(Field::FirstName, "Ann"), (Field::Email, email)].into_iter().collect();
        ListedAffiliate { code: AffiliateCode(code.to_owned()), status, profile }
    }

    fn page(codes: &[&str], total: Option<u64>) -> ListPage {
        let affiliates = codes.iter().map(|code| listed(code, &format!("{code}@x.io"), None)).collect();
        ListPage { total, results: codes.len() as u64, affiliates }
    }

    #[test]
    fn affiliates_that_the_merchant_has_not_denied_or_disabled_are_learned_from_a_page_each_once() {
        use AffiliateStatus::{Active, Denied, Disabled, Pending};
        for (claim, listed, expected) in [
            ("active", vec![listed("a", "a@x.io", Some(Active))], &["a"][..]),
            ("pending", vec![listed("a", "a@x.io", Some(Pending))], &["a"]),
            ("a status that cannot be read", vec![listed("a", "a@x.io", None)], &["a"]),
            ("denied", vec![listed("a", "a@x.io", Some(Denied))], &[]),
            ("disabled", vec![listed("a", "a@x.io", Some(Disabled))], &[]),
            ("no address", vec![listed("a", "", None), listed("b", "nobody", None)], &[]),
            ("one address twice", vec![listed("a", "a@x.io", None), listed("b", "A@x.io", None)], &["a"]),
            ("one code twice", vec![listed("a", "a@x.io", None), listed("a", "b@x.io", None)], &["a"]),
        ] {
            let page = ListPage { affiliates: listed, ..ListPage::default() };
            let learned = learned(&page, &hash(), &AccountName::main());
            let codes: Vec<&str> = learned.iter().map(|(known, _)| &*known.code.0).collect();
            assert_eq!(codes, expected, "{claim}");
        }
    }

    #[test]
    fn values_of_the_list_are_remembered_as_older_than_any_event() {
        let page = ListPage {
            affiliates: vec![listed("a", "Ann@x.io", Some(AffiliateStatus::Active))],
            ..ListPage::default()
        };
        let [one] = &learned(&page, &hash(), &AccountName::main())[..] else { panic!("one") };
        let (known @ AffiliateRecord { id, origin, sent, .. }, email) = one;
        let address = Email::parse("ann@x.io").expect("an address");
        assert_eq!((*id, *origin, *email), (None, Origin::Found, hash().email(&AccountName::main(), &address)));
        assert!(known.has_email(&hash(), &address) && sent.has(&hash(), &Field::FirstName.into(), "Ann"));
        assert!(sent.has_status(&hash(), AffiliateStatus::Active));
        assert_eq!(sent.latest(), Some(Timestamp::OLDEST));
    }

    /// Pages, as `codes of total`; and what the progress is after them.
    #[test]
    fn the_list_is_read_until_all_was_seen_or_nothing_new_comes() {
        let now = Timestamp(5);
        for (claim, pages, expected) in [
            ("nobody", vec![page(&[], Some(0))], (1, 0, true)),
            ("one page of one", vec![page(&["a", "b"], Some(2))], (1, 2, true)),
            ("one page of two", vec![page(&["a", "b"], Some(3))], (2, 2, false)),
            ("two pages of two", vec![page(&["a", "b"], Some(3)), page(&["c"], Some(3))], (1, 3, true)),
            ("the total is not stated", vec![page(&["a"], None), page(&["b"], None)], (3, 2, false)),
            ("until a page is empty", vec![page(&["a"], None), page(&[], None)], (1, 1, true)),
            ("one page again and again", vec![page(&["a"], Some(9)), page(&["a"], Some(9))], (1, 1, true)),
            ("pages are smaller than asked for", vec![page(&["a"], Some(3)), page(&["b"], Some(3))], (3, 2, false)),
        ] {
            let progress = pages.iter().fold(ListProgress::default(), |progress, page| progress.after(page, now));
            let ListProgress { page, seen, .. } = progress;
            assert_eq!((page, seen, progress.is_complete()), expected, "{claim}");
        }
        let endless = ListProgress { page: MAX_PAGES, ..ListProgress::default() };
        assert!(endless.after(&page(&["a"], None), now).is_complete());
    }

    #[test]
    fn the_list_is_read_once_or_daily_or_not() {
        let day = 24 * 3_600 * 1_000;
        let read = ListProgress { completed_at: Some(Timestamp(0)), ..ListProgress::default() };
        let begun = ListProgress { page: 2, ..ListProgress::default() };
        let again = read.after(&page(&["a"], None), Timestamp(day));
        for (progress, now, expected) in [
            (&ListProgress::default(), 0, [false, true, true]),
            (&begun, 0, [false, true, true]),
            (&read, day - 1, [false, false, false]),
            (&read, day, [false, false, true]),
            (&again, day, [false, true, true]),
        ] {
            let due = [Learn::Off, Learn::Once, Learn::Daily].map(|learn| progress.is_due(learn, Timestamp(now)));
            assert_eq!(due, expected, "{progress:?} at {now}");
        }
    }

    #[test]
    fn progress_survives_its_text_and_an_unknown_one_begins_anew() {
        let progress = ListProgress::default().after(&page(&["a"], Some(2)), Timestamp(5));
        let text = serde_json::to_string(&progress).expect("text");
        assert_eq!(serde_json::from_str::<ListProgress>(&text).expect("read"), progress);
        assert_eq!(serde_json::from_str::<ListProgress>("{}").expect("read"), ListProgress::default());
    }
}
