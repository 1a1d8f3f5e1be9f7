//! The sources that a command works on: those of the arguments, or those that are chosen on a terminal.

use crate::segment_api::Source;
use std::io::{BufRead as _, IsTerminal as _};

/// The sources of the command, or an error if there is none.
pub(super) fn choose<'a>(named: &[String], all: &'a [Source]) -> Result<Vec<&'a Source>, String> {
    if all.is_empty() {
        return Err("the workspace has no sources".to_owned());
    }
    if !named.is_empty() {
        return pick(named.iter().map(String::as_str), all);
    }
    if !std::io::stdin().is_terminal() {
        return Err(format!("name the sources with --source; there are {}", slugs(all)));
    }
    for (number, source) in (1..).zip(all) {
        let name = source.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
        super::eprint(&format!("{number:>4}  {}{name}", source.slug));
    }
    super::eprint("Which sources? Numbers or slugs, separated by commas:");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())?;
    pick(line.split(',').map(str::trim).filter(|word| !word.is_empty()), all)
}

/// The sources of these slugs, or numbers of the list; each once.
fn pick<'a, 'b>(words: impl Iterator<Item = &'b str>, all: &'a [Source]) -> Result<Vec<&'a Source>, String> {
    let mut picked: Vec<&Source> = Vec::new();
    for word in words {
        let by_slug = all.iter().find(|source| source.slug == word);
        let numbered = word.parse::<usize>().ok().and_then(|number| all.get(number.checked_sub(1)?));
        let source =
            by_slug.or(numbered).ok_or_else(|| format!("there is no source {word:?}; there are {}", slugs(all)))?;
        if !picked.iter().any(|other| other.id == source.id) {
            picked.push(source);
        }
    }
    if picked.is_empty() { Err("no source was chosen".to_owned()) } else { Ok(picked) }
}

fn slugs(all: &[Source]) -> String {
    all.iter().map(|source| source.slug.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_picked_by_slug_or_number_and_each_once() {
        let source = |slug: &str| Source { id: format!("id-{slug}"), slug: slug.to_owned(), name: None };
        let all = [source("website"), source("backend"), source("1")];
        for (words, expected) in [
            (&["backend"][..], Ok(vec!["backend"])),
            (&["2", "backend", "website"], Ok(vec!["backend", "website"])),
            (&["1"], Ok(vec!["1"])),
            (&["0"], Err("there is no source \"0\"; there are website, backend, 1")),
            (&["4"], Err("there is no source \"4\"; there are website, backend, 1")),
            (&[], Err("no source was chosen")),
        ] {
            let picked = pick(words.iter().copied(), &all);
            let slugs = picked.map(|picked| picked.iter().map(|source| source.slug.as_str()).collect::<Vec<_>>());
            assert_eq!(slugs, expected.map_err(str::to_owned), "{words:?}");
        }
    }
}
