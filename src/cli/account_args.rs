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
    /// The account. If not given: the first configured account, which is `main` if there is one. Required if no account is
    /// configured and any API key is accepted
    #[arg(long, value_name = "NAME", value_parser = parse_text)]
    account: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) target: BackendArgs,
}

impl AccountArgs {
    /// The account of a request to this backend, of which [`Self::load`] returned `account`. `None`: no account was named, and the running
    /// service chooses it, because this command may not have the service's settings.
    pub(super) fn in_request<'a>(&self, api: &AdminClient, account: &'a AccountName) -> Option<&'a str> {
        let is_chosen = self.account.is_some() || api.own_store().is_some();
        is_chosen.then(|| account.as_str())
    }

    /// The configuration and the account: the one that is named; else the first configured one; else `main`, where only configured
    /// API keys are accepted. Err: the exit code, after the problem was printed.
    pub(super) fn load(&self) -> CommandResult<(Config, AccountName)> {
        let config = self.target.config()?;
        let named = self.account.clone().map(AccountName::from);
        let first = || config.every_account().into_iter().next().map(|account| account.name);
        let main = || (!config.segment.accept_any_api_key).then(AccountName::main);
        match named.or_else(first).or_else(main) {
            Some(account) => Ok((config, account)),
            None => Err(fail(&"no account is configured and any API key is accepted: name the account with --account")),
        }
    }
}
