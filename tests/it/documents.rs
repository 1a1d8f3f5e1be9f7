//! The documents in Markdown: their links lead somewhere, the tests that they name exist, and the README is short and shows what
//! the program prints. The heads of the modules: files and defaults that they name are right.
//!
//! A document is a file in [`DOCUMENTS`]. A link is checked if it is relative: to a file or folder of the project, or to a
//! heading by the name that GitHub gives it. Deliberately absent: links to other sites, because tests use no network.

use crate::architecture::heads;
use crate::support::process::binary;
use refersion_destination::domain::Field;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const DOCUMENTS: [&str; 4] = ["README.md", "config/README.md", "tests/README.md", "tests/bench/README.md"];
/// The most that the README may have, in bytes.
const README_BYTES: usize = 14 * 1024;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(document: &str) -> String {
    std::fs::read_to_string(root().join(document)).expect("text")
}

/// The text without its blocks of code, in which nothing is a heading or a link.
fn prose(text: &str) -> String {
    let parts = text.split("\n```").enumerate().filter(|(number, _)| number.is_multiple_of(2));
    parts.map(|(_, part)| part).collect::<Vec<_>>().join("\n")
}

/// The anchor of a heading, as GitHub makes it: lower case, `-` for each blank, no other punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// The targets of all links and images.
fn links(text: &str) -> Vec<String> {
    prose(text).split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// Why the link `target` in `document` leads nowhere.
fn broken(document: &str, target: &str) -> Option<String> {
    let (path, heading) = target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
    let file = match path {
        "" => root().join(document),
        path => root().join(document).parent().expect("a folder").join(path),
    };
    let Ok(file) = file.canonicalize() else { return Some(format!("{document}: there is no {path}")) };
    let heading = heading?;
    let text = std::fs::read_to_string(&file).expect("text");
    (!anchors(&text).contains(heading)).then(|| format!("{document}: {} has no heading {heading}", file.display()))
}

#[test]
fn every_relative_link_leads_to_a_file_or_a_heading() {
    let links: Vec<_> = DOCUMENTS
        .iter()
        .flat_map(|document| links(&read(document)).into_iter().map(move |link| (*document, link)))
        .collect();
    let relative: Vec<_> = links.iter().filter(|(_, target)| !target.contains("://")).collect();
    assert!(relative.len() > 20, "{relative:?}");
    let broken: Vec<_> = relative.iter().filter_map(|(document, target)| broken(document, target)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_other_document_is_linked_from_the_readme() {
    let links = links(&read("README.md"));
    for document in &DOCUMENTS[1..] {
        assert!(links.iter().any(|link| link == document), "the README does not lead to {document}");
    }
}

#[test]
fn the_readme_is_short() {
    let length = read("README.md").len();
    assert!(length <= README_BYTES, "the README has {length} bytes, more than {README_BYTES}");
}

#[test]
fn the_example_of_map_shows_the_output_of_map() {
    let readme = read("README.md");
    let (_, example) = readme.split_once("$ echo '").expect("an example");
    let (event, rest) = example.split_once('\'').expect("an event");
    let (_, printed) = rest.split_once("-- map\n").expect("a command");
    let (printed, _) = printed.split_once("```").expect("an end");
    let mut map = binary().arg("map").stdin(Stdio::piped()).spawn().expect("starts");
    map.stdin.take().expect("piped").write_all(event.as_bytes()).expect("reads");
    let output = map.wait_with_output().expect("ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), printed);
}

/// A field that is new in the table of `src/domain/field.rs` fails this until the README says which trait fills it.
#[test]
fn the_readme_names_every_field_of_refersion_in_its_table_of_traits() {
    let readme = read("README.md");
    let (_, table) = readme.split_once("| trait | Refersion field |").expect("a table");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let fields: Vec<&str> = table.lines().filter_map(|line| line.split('|').nth(2)).collect();
    let names = |field: &&Field| {
        let mut words = fields.iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '_'));
        words.any(|word| word == field.as_str())
    };
    let missing: Vec<&Field> = Field::ALL.iter().filter(|field| !names(field)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// A test that is renamed or removed takes its promise with it.
#[test]
fn every_promise_names_a_test_that_exists() {
    let promises = prose(&read("tests/README.md"));
    let named: Vec<&str> = promises.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect();
    assert!(named.len() > 100, "{named:?}");
    for name in named {
        assert!(exists(name), "tests/README.md names {name}, and there is no such test");
    }
    for promise in promises.lines().filter(|line| line.starts_with("- ")) {
        assert!(promise.contains("::"), "no test holds this: {promise}");
    }
}

/// A module that no promise names is not found by those who look for what it holds.
#[test]
fn every_module_of_tests_holds_a_promise() {
    let promises = read("tests/README.md");
    let (files, folders): (Vec<PathBuf>, Vec<PathBuf>) =
        entries("tests/it").into_iter().partition(|path| path.is_file());
    let nested = folders.iter().flat_map(entries);
    let unnamed = |path: &PathBuf| {
        let module = path.with_extension("").display().to_string().replace('/', "::");
        let module = module.trim_start_matches("tests::it::").trim_end_matches("::mod");
        !promises.contains(&format!("`{module}::"))
    };
    let has_tests = |path: &PathBuf| {
        std::fs::read_to_string(root().join(path))
            .is_ok_and(|text| text.contains("test]\n") || text.contains("tokio::test("))
    };
    let unnamed: Vec<_> = files.into_iter().chain(nested).filter(has_tests).filter(unnamed).collect();
    assert!(unnamed.is_empty(), "tests/README.md names no test of {unnamed:?}");
}

/// The files and folders in `folder`, from the root of the project.
fn entries(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(&folder)).expect("a folder");
    entries.map(|entry| folder.as_ref().join(entry.expect("an entry").file_name())).collect()
}

/// Whether the test `name` exists: in `tests/it`, or among the unit tests, which stand beside the code or in a file of their
/// own.
fn exists(name: &str) -> bool {
    let (module, function) = name.rsplit_once("::").expect("a path");
    let beside = module.strip_suffix("::tests").unwrap_or(module).replace("::", "/");
    let module = module.replace("::", "/");
    let paths: [PathBuf; 3] =
        [root().join("tests/it").join(&module), root().join("src").join(&module), root().join("src").join(beside)];
    let files = paths.iter().flat_map(|path| [path.with_extension("rs"), path.join("mod.rs")]);
    let mut texts = files.filter_map(|file| std::fs::read_to_string(file).ok());
    texts.any(|text| text.contains(&format!("fn {function}(")))
}

/// The words between backquotes.
fn in_backquotes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A reader goes from a head to the file that decides what it leaves open.
#[test]
fn every_file_that_a_head_names_exists() {
    let mut named = 0;
    for (path, head) in heads() {
        for file in
            in_backquotes(&head).filter(|word| Path::new(word).extension().is_some_and(|extension| extension == "rs"))
        {
            named += 1;
            assert!(
                root().join("src").join(file).is_file(),
                "{} names {file}, and there is no such file",
                path.display()
            );
        }
    }
    assert!(named > 40, "{named}");
}

#[test]
fn the_map_is_short() {
    let lines = read("src/lib.rs").lines().count();
    assert!(lines < 80, "src/lib.rs has {lines} lines");
}

/// In a head, a setting with its default is written as in `DELIVERY_RETRY_MIN` (`1s`).
#[test]
fn a_default_in_a_head_is_that_of_the_manual() {
    let manual = read("config/default.toml");
    let mut found = 0;
    for (path, head) in heads() {
        let parts: Vec<&str> = head.split('`').collect();
        for part in parts.windows(4).filter(|part| part[1].trim() == "(" && part[3].starts_with(')')) {
            let (setting, default) = (part[0], part[2]);
            if !setting.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
                continue;
            }
            found += 1;
            let line = manual.lines().skip_while(|line| *line != format!("# {setting}")).nth(1).unwrap_or_default();
            let is_right = line.ends_with(&format!("= \"{default}\"")) || line.ends_with(&format!("= {default}"));
            assert!(is_right, "{} says that {setting} is {default}; the manual: {line}", path.display());
        }
    }
    assert!(found >= 5, "{found}");
}
