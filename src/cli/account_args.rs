//! The options of a command that works on one account: the account, the form of the output, and the service or store.
//!
//! In: the command line. Out: the configuration and the name of the account. Deliberately absent: filters by account, which leave all
//! accounts in if none is named.

use super::admin_backend::BackendArgs;
use super::admin_client::AdminClient;
use super::{CommandResult, fail, parse_text};
use crate::config::Config;
use crate::domain::AccountName;
use clap::Args;

/// Flattened into the arguments of the command.
#[derive(Debug, Args)]
pub(super) struct AccountArgs {
    /// The account. If not given: the first one configured in the running service, or in this command if it opens the store
    /// itself; `main` if there is one. Required if no account is configured and any API key is accepted
    #[arg(long, value_name = "NAME", value_parser = parse_text)]
    account: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) target: BackendArgs,
}

impl AccountArgs {
    /// The account of a request to this backend: the one that is named; else on a store that the command has opened itself, the one of
    /// [`Self::of_command`]. `None`: the running service chooses it, because this command may not have the service's settings.
    pub(super) fn in_request(&self, api: &AdminClient, config: &Config) -> Result<Option<String>, String> {
        if self.account.is_none() && api.own_store().is_none() {
            return Ok(None);
        }
        self.of_command(config).map(|account| Some(account.to_string()))
    }

    /// The account by the settings of this command: the one that is named; else the first configured one; else `main`, where only
    /// configured API keys are accepted.
    fn of_command(&self, config: &Config) -> Result<AccountName, String> {
        let named = self.account.clone().map(AccountName::from);
        let first = || config.every_account().into_iter().next().map(|account| account.name);
        let main = || (!config.segment.accept_any_api_key).then(AccountName::main);
        named.or_else(first).or_else(main).ok_or_else(|| {
            "no account is configured and any API key is accepted: name the account with --account".to_owned()
        })
    }

    /// The configuration, and the account by the settings of this command. Err: the exit code, after the problem was printed.
    pub(super) fn load(&self) -> CommandResult<(Config, AccountName)> {
        let config = self.target.config()?;
        let account = self.of_command(&config).map_err(|problem| fail(&problem))?;
        Ok((config, account))
    }
}
