//! Segment's redirect to `/connect/callback`: an authorization code, or the reason why there is none.
//!
//! In: the parameters of the query. Out: a [`Callback`]. Deliberately absent: the `state`, which [`super::Flow`] checks first;
//! and the texts of the error, which come from a URL that anybody can write, and are not shown.

use super::ConnectFailure;

/// The result of the consent, as the redirect states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callback {
    /// The merchant gave access: the authorization code.
    Code(String),
    /// The app is installed on the workspace already, and the known install is used.
    AlreadyInstalled,
    /// The merchant or Segment gave no access.
    Failed(ConnectFailure),
}

impl Callback {
    /// Reads the parameters `code`, `error`, `error_description` and `error_hint`.
    pub fn read<'a>(parameter: impl Fn(&str) -> Option<&'a str>) -> Self {
        let Some(error) = parameter("error") else {
            let code = parameter("code").filter(|code| !code.is_empty());
            return code.map_or(Self::Failed(ConnectFailure::NotOurs), |code| Self::Code(code.to_owned()));
        };
        let texts = ["error_description", "error_hint"].map(|name| parameter(name).unwrap_or_default());
        if is_already_installed(&format!("{error} {}", texts.join(" "))) {
            return Self::AlreadyInstalled;
        }
        Self::Failed(match error {
            "access_denied" => ConnectFailure::Denied,
            "invalid_scope" => ConnectFailure::WrongScope,
            "temporarily_unavailable" | "server_error" => ConnectFailure::SegmentDown,
            _ => ConnectFailure::RejectedBySegment,
        })
    }
}

/// Whether this text of Segment means that the app is installed already.
fn is_already_installed(text: &str) -> bool {
    text.to_lowercase().replace('_', " ").contains("install already exists")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_has_a_code_or_says_why_not() {
        let failed = Callback::Failed;
        for (query, expected) in [
            ("code=abc&state=s", Callback::Code("abc".into())),
            ("code=&state=s", failed(ConnectFailure::NotOurs)),
            ("state=s", failed(ConnectFailure::NotOurs)),
            ("error=access_denied&error_description=no&error_hint=none", failed(ConnectFailure::Denied)),
            ("code=abc&error=access_denied", failed(ConnectFailure::Denied)),
            ("error=invalid_scope", failed(ConnectFailure::WrongScope)),
            ("error=server_error", failed(ConnectFailure::SegmentDown)),
            ("error=else", failed(ConnectFailure::RejectedBySegment)),
            ("error=conflict&error_description=Install+already+exists", Callback::AlreadyInstalled),
            ("error=install_already_exists", Callback::AlreadyInstalled),
        ] {
            let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let parameter = |name: &str| pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
            assert_eq!(Callback::read(parameter), expected, "{query}");
        }
    }
}
