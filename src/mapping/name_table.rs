//! The reader of the tables of names: `countries.tsv` and `subdivisions.tsv`.
//!
//! In: the text of a table. Out: its rows, three columns each. Invariant: lines that start with `#` are comments. Deliberately absent: a
//! country crate. `isocountry` and `rust_iso3166` lack the formal and the native names, `celes` needs a newer compiler, and `keshvar` has
//! 22 MB of source. None has the names that senders use, which are half of the tables.

/// A row: two columns, and the names.
pub(super) type Row<'a> = (&'a str, &'a str, Names<'a>);

/// The names of a row.
pub(super) type Names<'a> = std::str::Split<'a, char>;

/// The rows of `table`. A line with fewer than three columns is left out; tests check that the tables have none.
pub(super) fn rows(table: &'static str) -> impl Iterator<Item = Row<'static>> {
    table.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut columns = line.split('\t');
        Some((columns.next()?, columns.next()?, columns.next()?.split('|')))
    })
}

/// The number of lines of `table` that should be rows.
#[cfg(test)]
pub(super) fn line_count(table: &str) -> usize {
    table.lines().filter(|line| !line.starts_with('#')).count()
}
