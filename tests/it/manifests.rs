//! The files that run the service in a container, with `docker compose` and in a cluster: they name settings that exist, and this
//! release. `.ci/image` and `.ci/manifests` check the rest with the tools for such files.

use refersion_destination::app::AFTER_DRAIN;
use refersion_destination::config::{Config, Mode, SETTINGS};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).expect("text")
}

/// All files in a folder and its folders.
fn files(folder: PathBuf) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        found.extend(if path.is_dir() { files(path) } else { vec![path] });
    }
    found
}

#[test]
fn the_configuration_file_of_the_cluster_is_valid() {
    let file = root().join("config/kubernetes/base/config.toml");
    let (config, warnings) = Config::load(&[file], std::iter::empty(), Mode::Offline).expect("valid");
    assert_eq!((config.server.drain, warnings), (Duration::from_secs(20), vec![]));
}

/// The seconds behind the first `name` in `text`.
fn seconds(text: &str, name: &str) -> Duration {
    let (_, value) = text.split_once(name).unwrap_or_else(|| panic!("no {name}"));
    let digits: String = value.trim_start().chars().take_while(char::is_ascii_digit).collect();
    Duration::from_secs(digits.parse().expect("a number"))
}

#[test]
fn every_supervisor_waits_for_the_longest_stop() {
    let drain =
        |files: &[PathBuf]| Config::load(files, std::iter::empty(), Mode::Offline).expect("valid").0.server.drain;
    let (usual, cluster) = (drain(&[]), drain(&[root().join("config/kubernetes/base/config.toml")]));
    let compose = read("config/compose.yaml");
    let (_, service) = compose.split_once("\n  refersion-destination:\n").expect("a service");
    assert!(seconds(service, "stop_grace_period:") >= usual + AFTER_DRAIN);
    let unit = read("config/systemd/refersion-destination.service");
    assert!(seconds(&unit, "TimeoutStopSec=") >= usual + AFTER_DRAIN);
    let pod = read("config/kubernetes/pod/pod.yaml");
    let (_, before) = pod.split_once("preStop:").expect("a wait");
    let before = seconds(before, "seconds:");
    assert!(seconds(&pod, "terminationGracePeriodSeconds:") >= before + cluster + AFTER_DRAIN);
}

/// A misspelt variable would stop the service only where it is deployed.
#[test]
fn every_variable_that_is_set_is_a_setting() {
    let settings: BTreeSet<String> = SETTINGS
        .iter()
        .flat_map(|setting| [Some(setting.env()), setting.env_file()])
        .flatten()
        .chain(["CONFIG_FILES".into()])
        .collect();
    let is_variable = |name: &&str| name.contains('_') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let mut named = BTreeSet::new();
    for file in files(root().join("config/kubernetes")) {
        let text = std::fs::read_to_string(file).expect("text");
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("- name: ").filter(is_variable));
        named.extend(names.map(str::to_owned));
    }
    let compose = read("config/compose.yaml");
    let (_, service) = compose.split_once("\n  refersion-destination:\n").expect("a service");
    let (_, environment) = service.split_once("\n    environment:\n").expect("an environment");
    let environment = environment.lines().take_while(|line| line.starts_with("      "));
    named.extend(environment.filter_map(|line| line.trim().split_once(": ")).map(|(name, _)| name.to_owned()));
    named.retain(|name| !name.starts_with('#'));
    assert!(named.len() > 5, "{named:?}");
    assert!(named.is_subset(&settings), "{:?}", named.difference(&settings));
}

#[test]
fn the_image_and_the_overlays_name_this_release() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("Dockerfile").contains(&format!("org.opencontainers.image.version=\"{version}\"")));
    for overlay in ["sqlite", "postgres"] {
        let overlay = read(format!("config/kubernetes/overlays/{overlay}/kustomization.yaml"));
        assert!(overlay.contains(&format!("newTag: {version}\n")), "{overlay}");
    }
}
