//! The name of a source as Segment's Config API has it: `workspaces/W/sources/S`.
//!
//! Invariant: W and S are slugs of ASCII letters, digits, `-`, `_` and `.`, and not of dots only, so a name can be used in the path of a
//! URL unchanged.

use std::fmt;

/// The name of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceName(String);

impl SourceName {
    /// Parses a name; none if it has another form.
    pub fn parse(name: &str) -> Option<Self> {
        let (workspace, source) = slugs(name)?;
        (is_slug(workspace) && is_slug(source)).then(|| Self(name.to_owned()))
    }

    /// The slugs of the workspace and of the source.
    pub fn slugs(&self) -> (&str, &str) {
        slugs(&self.0).unwrap_or_default()
    }
}

fn slugs(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("workspaces/")?.split_once("/sources/")
}

fn is_slug(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=200).contains(&text.len()) && text.bytes().all(allowed) && !text.bytes().all(|b| b == b'.')
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_workspace_and_a_source_and_nothing_that_changes_a_path() {
        let name = SourceName::parse("workspaces/acme-1/sources/Java_Script.2").expect("a name");
        assert_eq!(name.slugs(), ("acme-1", "Java_Script.2"));
        assert_eq!(name.to_string(), "workspaces/acme-1/sources/Java_Script.2");
        for wrong in [
            "",
            "workspaces/acme",
            "workspaces/acme/sources/",
            "workspaces//sources/s",
            "workspaces/acme/sources/s/destinations",
            "workspaces/../sources/s",
            "workspaces/acme/sources/.",
            "workspaces/acme/sources/a b",
            "workspaces/acme/sources/a?b",
            "workspaces/acme/sources/a%2Fb",
            "workspace/acme/sources/s",
        ] {
            assert_eq!(SourceName::parse(wrong), None, "{wrong}");
        }
    }
}
