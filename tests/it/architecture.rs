//! The architecture that `src/lib.rs` describes, checked against the sources: layers, where outside things are used, fail
//! points, and what must not occur.
//!
//! The sources are read as text. A module counts as importing another if its code, without comments and unit tests, names it
//! after `crate::`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The layers, the lowest first. A module imports only modules of lower layers. Layer 1 of `src/lib.rs` is four layers here,
/// because its modules may import those before them.
const LAYERS: [&[&str]; 10] = [
    &["failpoint"],
    &["domain"],
    &["connect", "segment"],
    &["mapping"],
    &["delivery"],
    &["scheduling"],
    &["account_signals", "clock", "config", "refersion", "segment_api", "store", "telemetry"],
    &["dry_run", "health", "scrape", "series"],
    &["admin", "http", "sandbox", "worker"],
    &["app"],
];
/// What may import every module.
const TOP: [&str; 3] = ["cli", "lib", "main"];

/// A source of the crate.
pub struct Source {
    path: PathBuf,
    /// The top-level module it belongs to.
    module: String,
    /// Its text without comments and unit tests.
    pub code: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All of them.
pub fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let inside = path.strip_prefix(root().join("src")).expect("inside").to_owned();
            let first = inside.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("text");
            let body = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let code = body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            found.push(Source { path: inside, module: first.trim_end_matches(".rs").to_owned(), code, text });
        }
    }
    assert!(found.len() > 30, "the sources were not found");
    found
}

/// The head of each source, without the marks of a comment, by its path in `src`.
pub fn heads() -> Vec<(PathBuf, String)> {
    let head = |text: &str| text.lines().map_while(|line| line.strip_prefix("//!")).collect::<Vec<_>>().join("\n");
    sources().into_iter().map(|source| (source.path, head(&source.text))).collect()
}

/// The top-level modules that a source names: `crate::x` and `crate::{x, y::Z}`.
fn imports(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split(';').next().unwrap_or_default();
                named.extend(list.split(',').map(|item| word(item.trim())));
            }
            None => {
                named.insert(word(rest));
            }
        }
    }
    named
}

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|layer| layer.contains(&module)).unwrap_or(LAYERS.len())
}

#[test]
fn a_module_imports_only_from_lower_layers() {
    for source in sources() {
        let known = LAYERS.concat().contains(&&*source.module) || TOP.contains(&&*source.module);
        assert!(known, "{} is in no layer", source.path.display());
        for import in imports(&source.code).iter().filter(|import| LAYERS.concat().contains(&&***import)) {
            let allowed = *import == source.module || layer(import) < layer(&source.module);
            assert!(allowed, "{} imports {import}", source.path.display());
        }
    }
}

#[test]
fn each_outside_thing_is_used_in_its_own_files_only() {
    for (word, files) in [
        ("reqwest::", &["refersion/client.rs", "segment_api/http.rs", "cli/http_client.rs", "telemetry/otlp.rs"][..]),
        ("rusqlite::", &["store/sqlite/"]),
        ("tokio_postgres::", &["store/postgres/"]),
        ("StatusCode", &["http/response.rs", "admin/problem.rs", "health.rs", "sandbox/"]),
        ("std::env::", &["cli/mod.rs"]),
        ("std::process", &["cli/", "main.rs", "failpoint.rs"]),
        ("fail::", &["failpoint.rs"]),
        ("SystemTime::now", &["clock.rs", "refersion/client.rs", "sandbox/", "telemetry/traces.rs"]),
        ("opentelemetry", &["telemetry/otlp.rs", "telemetry/traces.rs"]),
        (
            "rand::",
            &[
                "domain/password.rs",
                "http/connect/mod.rs",
                "worker/",
                "refersion/client.rs",
                "store/sqlite/open.rs",
                "store/postgres/migrate.rs",
                "store/postgres/open.rs",
                "store/postgres/ownership_moves.rs",
                "sandbox/",
                "app/stored_api_keys.rs",
                "cli/connect/secret.rs",
                "cli/serve.rs",
                "telemetry/traces.rs",
            ],
        ),
        ("println!", &[]),
    ] {
        for source in sources().iter().filter(|source| source.code.contains(word)) {
            let path = source.path.to_string_lossy();
            assert!(files.iter().any(|file| path.starts_with(file)), "{path} names {word}");
        }
    }
}

#[test]
fn the_logic_is_pure() {
    for source in sources().iter().filter(|source| layer(&source.module) < layer("config")) {
        for word in ["async ", ".await", "tokio", "tracing", "std::fs", "std::net", "Instant", "thread::"] {
            assert!(!source.code.contains(word), "{} names {word}", source.path.display());
        }
    }
}

#[test]
fn every_file_has_a_head_doc_and_no_unfinished_code() {
    for source in sources() {
        let path = source.path.display();
        assert!(source.text.starts_with("//!"), "{path} has no head doc");
        assert!(source.text.lines().count() <= 400, "{path} is too long");
        for word in ["TODO", "FIXME", "XXX", "HACK", "todo!", "unimplemented!", ".unwrap()", "dbg!"] {
            assert!(!source.code.contains(word), "{path} has {word}");
        }
    }
}

#[test]
fn a_test_ends_the_process_at_every_fail_point() {
    let read = |name: &str| std::fs::read_to_string(root().join("tests/it/crash").join(name)).expect("text");
    let (table, panics) = (read("points.rs"), read("panics.rs"));
    let mut points = BTreeSet::new();
    for source in sources() {
        let calls = source.code.split("failpoint::reach(\"").skip(1);
        points.extend(calls.filter_map(|call| Some(call.split_once('"')?.0.to_owned())));
    }
    assert!(points.len() > 10, "{points:?}");
    for point in points {
        let rows = table.matches(&format!("crash(\"{point}\", ")).count();
        // At a point where nothing was sent or written since the one before, a panic is what matters.
        let panics = panics.contains(&format!("{point}=1*panic"));
        assert!(rows >= 2 || panics, "{point} is in {rows} rows");
    }
}

/// The crate is optional, its feature is no default, and only the tests' dependency on this crate turns it on.
#[test]
fn fail_points_are_compiled_only_for_tests() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("text");
    let (_, rest) = manifest.split_once("[features]").expect("a section");
    let (features, rest) = rest.split_once("[dependencies]").expect("a section");
    let (dependencies, tests) = rest.split_once("[dev-dependencies]").expect("a section");
    assert!(!features.contains("default"), "{features}");
    let fail = dependencies.lines().find(|line| line.starts_with("fail = ")).expect("a dependency");
    assert!(fail.contains("optional = true") && !fail.contains("failpoints\"]"), "{fail}");
    assert_eq!(dependencies.matches("[\"failpoints\"]").count() + features.matches("fail/failpoints").count(), 1);
    assert!(tests.contains(r#"refersion-destination = { path = ".", features = ["failpoints"] }"#));
}

#[test]
fn every_dependency_says_why() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("text");
    let card = ["axum", "tokio", "serde", "serde_json", "reqwest", "tracing", "tower-http", "thiserror"];
    let (_, dependencies) = manifest.split_once("[dependencies]").expect("a section");
    for line in dependencies.lines().take_while(|line| !line.starts_with("[lints")) {
        let Some((name, _)) = line.split_once(" = ") else { continue };
        assert!(card.contains(&name) || line.contains(" # "), "{name} does not say why it is there");
    }
}

/// The image is built without the tests: an empty file has to stand for each that Cargo.toml names.
#[test]
fn the_image_is_built_with_everything_that_cargo_asks_for() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect("text");
    let (manifest, dockerfile) = (read("Cargo.toml"), read("Dockerfile"));
    let paths: Vec<&str> =
        manifest.split(r#"path = "tests/"#).skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(paths.len() > 1, "{paths:?}");
    for path in paths {
        assert!(dockerfile.contains(&format!(" tests/{path} ")), "the Dockerfile makes no tests/{path}");
    }
    assert!(dockerfile.contains("COPY .cargo .cargo"), "the image's SQLite is built as every other");
}
