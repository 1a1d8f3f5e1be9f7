//! The meters of accounts: which account has which meter, and so which value of the label `account`.
//!
//! In: names of accounts. Out: labels and meters. Invariant: the number of meters is bounded: a limited number of configured accounts have
//! separate meters, all further ones share one, and all accounts whose API keys arrived with requests share another. Deliberately absent:
//! what is counted.

use super::definitions::Families;
use super::labels::{ARRIVED, AccountLabel, NO_ACCOUNT, OTHER};
use super::meter::Meter;
use crate::domain::AccountName;
use std::collections::{BTreeMap, BTreeSet};

/// The meters, and whose they are.
#[derive(Debug, Default)]
pub(super) struct Meters {
    by_label: BTreeMap<AccountLabel, Meter>,
    /// The names of the configured accounts whose label is [`OTHER`].
    others: BTreeSet<String>,
}

impl Meters {
    /// Every label that has a meter.
    pub(super) fn labels(&self) -> impl Iterator<Item = AccountLabel> {
        self.by_label.keys().cloned()
    }

    /// Every meter.
    pub(super) fn all(&self) -> impl Iterator<Item = &Meter> {
        self.by_label.values()
    }

    /// The meter with this label, a new one in `families` if there is none.
    pub(super) fn meter(&mut self, label: AccountLabel, families: &Families) -> Meter {
        let new = || Meter::new(label.clone(), families.clone());
        self.by_label.entry(label.clone()).or_insert_with(new).clone()
    }

    /// The meter of the account with this name; none if nothing is counted of it.
    pub(super) fn find(&self, name: &str) -> Option<&Meter> {
        self.by_label.get(&self.label(name))
    }

    /// The label of the account with this name.
    pub(super) fn label(&self, name: &str) -> AccountLabel {
        match self.by_label.get_key_value(name) {
            Some((own, _)) => own.clone(),
            None if self.others.contains(name) => OTHER.into(),
            None if name.starts_with("key-") && self.by_label.contains_key(ARRIVED) => ARRIVED.into(),
            None => NO_ACCOUNT.into(),
        }
    }

    /// The label of a configured account: a new one, if fewer than `max_own` have one.
    pub(super) fn assign(&mut self, account: &AccountName, max_own: usize) -> AccountLabel {
        let shared = [ARRIVED, OTHER].iter().filter(|label| self.by_label.contains_key(**label)).count();
        if self.by_label.contains_key(account.as_str()) || self.by_label.len() - shared < max_own {
            return account.to_string().into();
        }
        self.others.insert(account.to_string());
        OTHER.into()
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::AccountName;
    use crate::telemetry::{ExpositionFormat, Metrics, Observed, ObservedStore};

    fn value(text: &str, series: &str) -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn configured_accounts_beyond_the_limit_share_their_series() {
        let metrics = Metrics::new(2);
        let name = |n: usize| AccountName::from(format!("brand-{n}"));
        let _ = metrics.of_arrived();
        for n in [0, 1, 2, 0, 3, 1, 2] {
            metrics.of(&name(n)).events_appended(1);
        }
        let observed = Observed {
            pending: (0..5).map(|n| (format!("brand-{n}"), 10)).collect(),
            store: Some(ObservedStore::default()),
            ..Observed::default()
        };
        let text = metrics.text(ExpositionFormat::Prometheus, &observed);
        for (account, appended, pending) in
            [("brand-0", Some(2.0), Some(10.0)), ("brand-1", Some(2.0), Some(10.0)), ("(other)", Some(3.0), Some(20.0))]
        {
            let of = |name: &str| value(&text, &format!(r#"refersion_destination_{name}{{account="{account}"}}"#));
            assert_eq!((of("events_appended_total"), of("events_pending")), (appended, pending), "{account}");
        }
        assert!(!text.contains("brand-2"), "it has no series of its own");
        assert_eq!(metrics.label_of("brand-3").as_deref(), Some("(other)"));
        assert_eq!(metrics.label_of("brand-4"), None, "it is not configured");
    }
}
