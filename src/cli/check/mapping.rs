//! Finds accounts in which a single event must meet the condition for new affiliates (`create_if`), because traits are not remembered.

use super::Finding;
use crate::config::Config;
use crate::mapping::Rules;

/// One finding for each such account. It is no fault: each event may have all traits.
pub(super) fn look_at(config: &Config) -> Vec<Finding> {
    let main = [("main".to_owned(), &config.rules)];
    let others = config.accounts.iter().map(|account| (account.name.to_string(), &account.rules));
    main.into_iter().chain(others).filter_map(|(account, rules)| of_account(account, rules)).collect()
}

fn of_account(account: String, rules: &Rules) -> Option<Finding> {
    let condition = rules.create_if.as_ref().filter(|_| rules.remember_traits.is_none())?;
    let message = format!(
        "create_if is set, and remember_traits is off: an affiliate is created only by an event that has `{}`, a name and an \
         e-mail at once; if your users say these one after the other, set remember_traits",
        condition.trait_name
    );
    Some(Finding { account: Some(account), ..Finding::good("mapping", message) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::CreateIf;
    use std::time::Duration;

    #[test]
    fn a_condition_is_pointed_out_as_long_as_nothing_is_remembered() {
        let create_if = Some(CreateIf { trait_name: "wants".into(), equals: "true".into() });
        let remember_traits = Some(Duration::from_secs(1));
        for (rules, found) in [
            (Rules::default(), false),
            (Rules { create_if: create_if.clone(), ..Rules::default() }, true),
            (Rules { create_if, remember_traits, ..Rules::default() }, false),
            (Rules { remember_traits, ..Rules::default() }, false),
        ] {
            let finding = of_account("main".to_owned(), &rules);
            assert_eq!(finding.is_some_and(|finding| finding.ok && finding.line().contains("`wants`")), found);
        }
    }
}
