//! The progress bar of a command that works through a file or a list. It is on standard error, and only if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar from 0 to `total` bytes, labelled with what is being done; without a total, a count of bytes.
pub(super) fn bytes_bar(label: &'static str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left"),
        None => (ProgressBar::no_length(), "{spinner} {msg} {bytes}"),
    };
    // Err: the template is wrong; then the bar keeps its default style.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(label)
}

/// A bar that counts; its length is set once it is known.
pub(super) fn count_bar(label: &'static str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    // Err: the template is wrong; then the bar keeps its default style.
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len}, {eta} left") {
        bar.set_style(style);
    }
    bar.with_message(label)
}
