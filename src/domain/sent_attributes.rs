//! The attributes of one affiliate that were last sent to Refersion: for each a keyed hash of the value, and since when the value was true.
//!
//! In: facts with their times. Out: which of them still have to be sent. Invariants: no value can be read from the hashes; a fact that is
//! older than the record of its attribute changes nothing. Stored as bytes ([`SentAttributes::to_bytes`]), about 10 bytes an attribute plus
//! its name. Deliberately absent: the facts of an event ([`crate::mapping`]), and the consequences of a rejection ([`crate::delivery`]).

use super::{AffiliateStatus, Attribute, FactTime, Field, HashKey, Timestamp};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The attributes of one affiliate that were last sent.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SentAttributes {
    /// Sorted by name. A list of a dozen entries is cloned faster than a map.
    attributes: Vec<(Cow<'static, str>, SentValue)>,
    /// The hash of an e-mail address that belongs to another affiliate, so that Refersion rejected it.
    taken_email: Option<[u8; 8]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct SentValue {
    hash: [u8; 8],
    /// Milliseconds since 1970.
    at: i64,
}

/// Stands for the hash of a value that is not known. A keyed hash of a value is not expected to be this.
const UNKNOWN: [u8; 8] = [0; 8];

/// The name under which the status is recorded.
const STATUS: &str = "status";
/// The name under which is recorded that somebody else has changed the status since; not an attribute.
const STATUS_CHANGED: &str = "status changed";
/// The name under which a status is recorded that a call without a known answer was to give; not an attribute.
const STATUS_IN_DOUBT: &str = "status in doubt";

impl SentAttributes {
    /// Records that `attribute` was sent as `value`, which was true since `at`. An empty value is a field that was cleared.
    pub fn record(&mut self, key: &HashKey, attribute: &Attribute, value: &str, at: Timestamp) {
        let hash = key.attribute(attribute, value);
        if *attribute == Attribute::Field(Field::Email) {
            self.taken_email = None;
        }
        self.set(attribute.name(), SentValue { hash, at: at.0 });
    }

    /// Records that the last sent value of `attribute` was still true at `at`; if nothing was sent, that the attribute has no value.
    pub fn confirm(&mut self, key: &HashKey, attribute: &Attribute, at: Timestamp) {
        match self.position(&attribute.name()) {
            Ok(index) => self.attributes[index].1.at = at.0,
            Err(_) => self.record(key, attribute, "", at),
        }
        if *attribute == Attribute::Field(Field::Email) {
            self.taken_email = None;
        }
    }

    /// Records that the value of `attribute` is not known: a call that was to change it has no answer. No value equals it, and its time
    /// stays.
    pub fn doubt(&mut self, attribute: &Attribute) {
        let at = self.recorded_at(&attribute.name());
        self.set(attribute.name(), SentValue { hash: UNKNOWN, at: at.0 });
    }

    /// Records that the affiliate was given `status`.
    pub fn record_status(&mut self, key: &HashKey, status: AffiliateStatus, at: Timestamp) {
        self.attributes.retain(|(name, _)| name != STATUS_CHANGED && name != STATUS_IN_DOUBT);
        self.set(STATUS.into(), SentValue { hash: key.status(status), at: at.0 });
    }

    /// Records that a call is to give the affiliate `status`. Until its answer is known, or the status of the affiliate is seen, no status
    /// is known to be given.
    pub fn doubt_status(&mut self, key: &HashKey, status: AffiliateStatus) {
        self.set(STATUS_IN_DOUBT.into(), SentValue { hash: key.status(status), at: Timestamp::OLDEST.0 });
    }

    /// Records that the call of [`doubt_status`](Self::doubt_status) certainly had no effect.
    pub fn end_status_doubt(&mut self) {
        self.attributes.retain(|(name, _)| name != STATUS_IN_DOUBT);
    }

    /// Records that the last given status was still wanted at `at`.
    pub fn confirm_status(&mut self, at: Timestamp) {
        if let Ok(index) = self.position(STATUS) {
            self.attributes[index].1.at = at.0;
        }
    }

    /// Records that a call without a known answer gave the affiliate `status`. The time of the last status stays.
    pub fn record_status_given(&mut self, key: &HashKey, status: AffiliateStatus) {
        self.record_status(key, status, self.recorded_at(STATUS));
    }

    /// Records that Refersion has `status`. If another one was given last, somebody else has changed it: the given one no longer explains
    /// what Refersion has, although an event that states it again does not change it.
    pub fn record_status_seen(&mut self, key: &HashKey, status: AffiliateStatus) {
        self.end_status_doubt();
        if self.get(STATUS).is_some_and(|sent| sent.hash != key.status(status)) {
            self.set(STATUS_CHANGED.into(), SentValue { hash: UNKNOWN, at: Timestamp::OLDEST.0 });
        }
    }

    /// Records that Refersion rejected `email` because another affiliate has it.
    pub fn record_taken_email(&mut self, key: &HashKey, email: &str) {
        self.taken_email = Some(key.attribute(&Attribute::Field(Field::Email), email));
    }

    /// The latest moment of all attributes; none if nothing was sent.
    pub fn latest(&self) -> Option<Timestamp> {
        self.attributes.iter().map(|(_, sent)| Timestamp(sent.at)).max()
    }

    /// The name of each attribute that was sent, the status included, and since when its value was true; none if the moment is not known.
    pub fn moments(&self) -> impl Iterator<Item = (&str, Option<Timestamp>)> {
        let is_attribute = |name: &str| name != STATUS_CHANGED && name != STATUS_IN_DOUBT;
        self.attributes.iter().filter(move |(name, _)| is_attribute(name)).map(|(name, sent)| {
            let at = Timestamp(sent.at);
            (&**name, (at != Timestamp::OLDEST).then_some(at))
        })
    }

    /// Whether a fact of this time may replace the recorded value of `attribute`.
    pub fn accepts(&self, attribute: &Attribute, time: FactTime) -> bool {
        self.supersedes(&attribute.name(), time)
    }

    /// Whether a status of this time may replace the recorded one.
    pub fn accepts_status(&self, time: FactTime) -> bool {
        self.supersedes(STATUS, time)
    }

    /// Whether `attribute` was last sent as `value`.
    pub fn has(&self, key: &HashKey, attribute: &Attribute, value: &str) -> bool {
        self.get(&attribute.name()).is_some_and(|sent| sent.hash == key.attribute(attribute, value))
    }

    /// Whether `attribute` was sent with a value that is not empty.
    pub fn has_value(&self, key: &HashKey, attribute: &Attribute) -> bool {
        self.get(&attribute.name()).is_some() && !self.has(key, attribute, "")
    }

    /// Whether `status` is the one last given, and no call without a known answer was to give another one.
    pub fn has_status(&self, key: &HashKey, status: AffiliateStatus) -> bool {
        self.get(STATUS).is_some_and(|sent| sent.hash == key.status(status)) && self.get(STATUS_IN_DOUBT).is_none()
    }

    /// Whether a call without a known answer was to give `status`.
    pub fn may_have_status(&self, key: &HashKey, status: AffiliateStatus) -> bool {
        self.get(STATUS_IN_DOUBT).is_some_and(|sent| sent.hash == key.status(status))
    }

    /// Whether `status` is the one last given, and nobody else was seen to have changed it since.
    pub fn explains_status(&self, key: &HashKey, status: AffiliateStatus) -> bool {
        self.has_status(key, status) && self.get(STATUS_CHANGED).is_none()
    }

    /// Whether Refersion rejected this e-mail for the affiliate, because another one has it.
    pub fn is_taken_email(&self, key: &HashKey, email: &str) -> bool {
        self.taken_email.is_some_and(|taken| taken == key.attribute(&Attribute::Field(Field::Email), email))
    }

    /// Whether an e-mail could not be changed because another affiliate has it.
    pub fn has_email_conflict(&self) -> bool {
        self.taken_email.is_some()
    }

    /// As stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_else(|_| unreachable!("maps and arrays are serialised"))
    }

    /// Reads the bytes of [`to_bytes`](Self::to_bytes), or the JSON of schema 6, whose values count as older than any fact. None if the
    /// bytes are neither.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let Ok(hashes) = serde_json::from_slice::<BTreeMap<String, u64>>(bytes) else {
            return postcard::from_bytes(bytes).ok();
        };
        let oldest = |hash: u64| SentValue { hash: hash.to_be_bytes(), at: Timestamp::OLDEST.0 };
        let attributes = hashes.into_iter().map(|(name, hash)| (name.into(), oldest(hash))).collect();
        Some(Self { attributes, taken_email: None })
    }

    fn get(&self, name: &str) -> Option<&SentValue> {
        self.position(name).ok().map(|index| &self.attributes[index].1)
    }

    /// The time of the record with this name; the oldest one if there is none.
    fn recorded_at(&self, name: &str) -> Timestamp {
        self.get(name).map_or(Timestamp::OLDEST, |sent| Timestamp(sent.at))
    }

    fn set(&mut self, name: Cow<'static, str>, sent: SentValue) {
        match self.position(&name) {
            Ok(index) => self.attributes[index].1 = sent,
            Err(index) => self.attributes.insert(index, (name, sent)),
        }
    }

    /// The index of the attribute with this name. Err: the index at which to insert it.
    fn position(&self, name: &str) -> Result<usize, usize> {
        self.attributes.binary_search_by(|(own, _)| (**own).cmp(name))
    }

    fn supersedes(&self, name: &str, time: FactTime) -> bool {
        self.get(name).is_none_or(|sent| time.supersedes(Timestamp(sent.at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> HashKey {
        HashKey::new(&[7; 32])
    }

    fn time(said: i64, received: i64) -> FactTime {
        FactTime::new(Some(Timestamp(said)), Timestamp(received))
    }

    #[test]
    fn an_older_fact_is_not_accepted_and_a_newer_one_is() {
        let (key, city) = (key(), Attribute::Field(Field::City));
        let mut sent = SentAttributes::default();
        assert!(sent.accepts(&city, time(1, 9)), "nothing is remembered");
        sent.record(&key, &city, "Paris", Timestamp(5));
        assert!(!sent.accepts(&city, time(4, 9)) && sent.accepts(&city, time(5, 9)) && sent.accepts(&city, time(6, 9)));
        assert!(sent.accepts(&city, time(3, 4)), "the clock was ahead");
        assert!(sent.has(&key, &city, "Paris") && !sent.has(&key, &city, "Rome"));
        sent.record_status(&key, AffiliateStatus::Active, Timestamp(5));
        assert!(!sent.accepts_status(time(4, 9)) && sent.has_status(&key, AffiliateStatus::Active));
    }

    #[test]
    fn a_status_that_was_set_explains_the_present_one_until_another_is_seen() {
        use AffiliateStatus::{Active, Denied};
        let (key, mut sent) = (key(), SentAttributes::default());
        sent.record_status_seen(&key, Active);
        assert_eq!(sent, SentAttributes::default(), "none was given");
        sent.record_status(&key, Denied, Timestamp(5));
        sent.record_status_seen(&key, Denied);
        assert!(sent.explains_status(&key, Denied) && !sent.explains_status(&key, Active));
        sent.record_status_seen(&key, Active);
        sent.record_status_seen(&key, Denied);
        assert!(!sent.explains_status(&key, Denied) && sent.has_status(&key, Denied));
        let names: Vec<&str> = sent.moments().map(|(name, _)| name).collect();
        assert_eq!((names, sent.latest()), (vec!["status"], Some(Timestamp(5))));
        sent.record_status(&key, Denied, Timestamp(6));
        assert!(sent.explains_status(&key, Denied));
    }

    #[test]
    fn a_status_in_doubt_is_not_the_given_one_until_a_status_is_given_or_seen() {
        use AffiliateStatus::{Active, Denied};
        let (key, mut given) = (key(), SentAttributes::default());
        given.record_status(&key, Active, Timestamp(5));
        let mut in_doubt = given.clone();
        in_doubt.doubt_status(&key, Denied);
        assert!(!in_doubt.has_status(&key, Active) && !in_doubt.explains_status(&key, Active));
        assert!(!in_doubt.has_status(&key, Denied) && in_doubt.may_have_status(&key, Denied));
        assert!(!in_doubt.may_have_status(&key, Active));
        assert!(in_doubt.moments().eq(given.moments()) && in_doubt.latest() == given.latest());
        let ended = |end: fn(&mut SentAttributes, &HashKey)| {
            let mut sent = in_doubt.clone();
            end(&mut sent, &key);
            sent
        };
        assert_eq!(ended(|sent, _| sent.end_status_doubt()), given);
        assert_eq!(ended(|sent, key| sent.record_status_seen(key, Active)), given);
        assert!(ended(|sent, key| sent.record_status_given(key, Denied)).explains_status(&key, Denied));
        let changed = ended(|sent, key| sent.record_status_seen(key, Denied));
        assert!(!changed.explains_status(&key, Denied) && !changed.may_have_status(&key, Denied));
    }

    #[test]
    fn a_cleared_field_has_no_value() {
        let (key, line) = (key(), Attribute::Field(Field::Address2));
        let mut sent = SentAttributes::default();
        assert!(!sent.has_value(&key, &line));
        sent.record(&key, &line, "Suite 5", Timestamp(1));
        assert!(sent.has_value(&key, &line));
        sent.record(&key, &line, "", Timestamp(2));
        assert!(!sent.has_value(&key, &line));
    }

    #[test]
    fn an_email_is_the_same_in_any_case() {
        let mut sent = SentAttributes::default();
        sent.record_taken_email(&key(), "Ann@x.io");
        assert!(sent.is_taken_email(&key(), "ann@X.io") && !sent.is_taken_email(&key(), "bob@x.io"));
    }

    #[test]
    fn sent_attributes_survive_their_bytes_and_hold_no_value() {
        let mut sent = SentAttributes::default();
        sent.record(&key(), &Attribute::Field(Field::City), "Paris", Timestamp(1_700_000_000_000));
        sent.record(&key(), &Attribute::Custom("77".to_owned()), "Paris", Timestamp(1));
        sent.record_taken_email(&key(), "ann@x.io");
        let bytes = sent.to_bytes();
        assert_eq!(SentAttributes::from_bytes(&bytes), Some(sent));
        assert!(!String::from_utf8_lossy(&bytes).contains("Paris"));
        assert_eq!(SentAttributes::from_bytes(b"no such thing"), None);
    }

    #[test]
    fn its_bytes_are_those_of_the_map_that_earlier_releases_stored() {
        let mut sent = SentAttributes::default();
        for field in [Field::Zip, Field::City, Field::Email] {
            sent.record(&key(), &field.into(), "x", Timestamp(7));
        }
        let map: BTreeMap<_, _> = sent.attributes.iter().cloned().collect();
        assert_eq!(postcard::to_allocvec(&(map, sent.taken_email)), Ok(sent.to_bytes()));
    }

    #[test]
    fn any_number_of_attributes_survives_its_bytes() {
        let mut sent = SentAttributes::default();
        for n in 0..200 {
            assert_eq!(SentAttributes::from_bytes(&sent.to_bytes()), Some(sent.clone()), "{n}");
            sent.record(&key(), &Attribute::Custom(n.to_string()), "x", Timestamp(1));
        }
    }

    #[test]
    fn values_that_schema_6_kept_are_read_as_older_than_any_fact() {
        let city = Attribute::Field(Field::City);
        let hashes = [("city", key().attribute(&city, "Paris")), ("status", key().status(AffiliateStatus::Active))];
        let before: BTreeMap<_, _> = hashes.map(|(name, hash)| (name, u64::from_be_bytes(hash))).into();
        let json = serde_json::to_vec(&before).expect("serialises");
        let sent = SentAttributes::from_bytes(&json).expect("read");
        assert!(sent.has(&key(), &city, "Paris") && sent.has_status(&key(), AffiliateStatus::Active));
        assert!(sent.accepts(&city, time(-9, 9)));
    }
}
