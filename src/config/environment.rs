//! Reads the environment, the highest layer of the configuration, and reports variables that look like misspelt settings.
//!
//! In: the variables, as an argument. Out: settings in the layers, problems and warnings; and the configuration files that `CONFIG_FILES`
//! names. Any other variable is looked at only if its name begins with the name of a section. Variables that Kubernetes adds for every
//! service of the namespace are ignored, so a service called `server` does not prevent the start. Deliberately absent: reading the
//! process's environment.

use super::did_you_mean::nearest;
use super::layers::{Layers, SettingValue};
use super::problem::{ConfigProblem, Problems, SettingOrigin, Warning, either};
use super::settings::{SETTINGS, SettingSpec, ValueKind, of_section, sections};
use super::values::Parsed;
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::Value;

/// Prefixes that other programs use, too. An unknown variable with such a prefix is ignored with a warning, unless its name is close to a
/// setting's name.
const SHARED_PREFIXES: [&str; 5] = ["connect", "server", "ops", "store", "log"];

/// Variables of the command `connect`, which may be set for all commands.
const OF_COMMANDS: [&str; 2] = ["SEGMENT_PUBLIC_API_TOKEN", "SEGMENT_PUBLIC_API_BASE_URL"];

/// The variable that names configuration files, for every subcommand. It is no setting, because a file cannot name further files.
const CONFIG_FILES: &str = "CONFIG_FILES";

/// The files that `CONFIG_FILES` names, separated by commas.
pub(super) fn config_files(env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let names = env.get(CONFIG_FILES).into_iter().flat_map(|names| names.split(','));
    names.map(str::trim).filter(|name| !name.is_empty()).map(PathBuf::from).collect()
}

/// Adds the environment as the highest layer.
pub(super) fn apply(layers: &mut Layers, mut env: BTreeMap<String, String>, problems: &mut Problems) -> Vec<Warning> {
    env.retain(|name, value| !value.trim().is_empty() && !OF_COMMANDS.contains(&name.as_str()));
    for spec in SETTINGS.iter().copied() {
        let path = spec.env_file().and_then(|name| Some((env.remove(&name)?, name)));
        match (env.remove(&spec.env()), path) {
            (Some(_), Some((_, name))) => {
                let text = format!("found beside {name}, expected only one of the two");
                problems.push(ConfigProblem::new(&spec.env(), &SettingOrigin::Environment, text));
                layers.incomplete = true;
            }
            (Some(text), None) => put(layers, spec, &text, problems),
            (None, Some((path, name))) => put_file(layers, spec, name, path.trim(), problems),
            (None, None) => {}
        }
    }
    let singular = env.contains_key("CONFIG_FILE").then(|| {
        let text = format!("is not a setting of this service and is ignored; did you mean {CONFIG_FILES}?");
        Warning::new("CONFIG_FILE", &SettingOrigin::Environment, text)
    });
    let unknown = env.iter().filter_map(|(name, value)| check_unknown(name, value, problems));
    singular.into_iter().chain(unknown).collect()
}

fn put(layers: &mut Layers, spec: SettingSpec, text: &str, problems: &mut Problems) {
    let value = match spec.kind {
        ValueKind::Plain | ValueKind::Secret => Ok(Value::String(text.trim().to_owned())),
        ValueKind::Table | ValueKind::Tables => text.trim().parse::<Value>(),
    };
    match value {
        Ok(value) => {
            layers.put(spec, SettingValue { name: spec.env(), origin: SettingOrigin::Environment, value }, problems);
        }
        Err(error) => {
            let example = if spec.kind == ValueKind::Table { r#"{ trait = "…" }"# } else { r#"[{ trait = "…" }]"# };
            let text = format!("found no TOML ({}), expected a value such as {example}", error.message());
            problems.push(ConfigProblem::new(&spec.env(), &SettingOrigin::Environment, text));
        }
    }
}

fn put_file(layers: &mut Layers, spec: SettingSpec, name: String, path: &str, problems: &mut Problems) {
    layers.secret_files.push(path.into());
    match secret_in(path) {
        Ok(text) => {
            let value = Value::String(text);
            layers.put(spec, SettingValue { name, origin: SettingOrigin::Environment, value }, problems);
        }
        Err(text) => {
            layers.incomplete = true;
            problems.push(ConfigProblem::new(&name, &SettingOrigin::Environment, text));
        }
    }
}

/// Reads a secret from a file. Some editors begin a file with a byte order mark.
pub(super) fn secret_in(path: &str) -> Parsed<String> {
    match std::fs::read_to_string(path).map(|text| text.trim_start_matches('\u{feff}').trim().to_owned()) {
        Ok(text) if text.is_empty() => {
            Err(format!("found {path:?}, which is empty; expected a file that holds the secret"))
        }
        Ok(text) => Ok(text),
        Err(error) => {
            // A text without `/` may be the secret itself, in the wrong variable.
            let shown = if path.contains('/') { format!("{path:?}") } else { "a name without any `/`".to_owned() };
            Err(format!("found {shown}, which cannot be read: {error}; expected the path of the secret's file"))
        }
    }
}

/// Checks a variable that is no setting: it is ignored, a problem, or a warning.
fn check_unknown(name: &str, value: &str, problems: &mut Problems) -> Option<Warning> {
    let (section, rest) = sections().into_iter().find_map(|section| {
        let rest = name.strip_prefix(&section.to_uppercase())?.strip_prefix('_')?;
        Some((section, rest))
    })?;
    if is_service_link(name, value) {
        return None;
    }
    let names = names(section);
    // Only the rest is compared. The prefix is right already, and would permit more edits.
    let prefix = name.len() - rest.len();
    let meant = nearest(rest, names.iter().map(|name| &name[prefix..]));
    let origin = SettingOrigin::Environment;
    if let Some(meant) = meant {
        let text = format!("unknown setting; did you mean {}{meant}?", &name[..prefix]);
        problems.push(ConfigProblem::new(name, &origin, text));
    } else if SHARED_PREFIXES.contains(&section) || rest.ends_with("PORT") {
        let text = format!("is not a setting of this service and is ignored; settings are {}", names.join(", "));
        return Some(Warning::new(name, &origin, text));
    } else {
        problems.push(ConfigProblem::new(name, &origin, format!("unknown setting; expected {}", either(&names))));
    }
    None
}

/// The names of all variables of a section.
fn names(section: &'static str) -> Vec<String> {
    of_section(section).flat_map(|spec| [Some(spec.env()), spec.env_file()]).flatten().collect()
}

/// Whether this is a variable that Kubernetes (or a Docker link) adds for a service:
/// `<SERVICE>_SERVICE_HOST`, `_SERVICE_PORT`, `_SERVICE_PORT_<NAME>`, `_PORT=tcp://…`, `_PORT_<n>_TCP`, `_PORT_<n>_TCP_ADDR`, ….
fn is_service_link(name: &str, value: &str) -> bool {
    let numbered_port = name.match_indices("_PORT_").any(|(at, found)| {
        let mut rest = name[at + found.len()..].split('_');
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        rest.next().is_some_and(digits) && matches!(rest.next(), Some("TCP" | "UDP" | "SCTP"))
    });
    numbered_port
        || name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && value.contains("://"))
}
