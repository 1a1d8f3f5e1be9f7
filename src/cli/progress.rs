//! The progress bar of a command that works through a file or a list. It is written to standard error, and only on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar from 0 to `total` bytes, labelled with the work that is being done; without a total, a count of bytes.
pub(super) fn bytes_bar(label: &'static str, total: Option<u64>) -> ProgressBar {
    let Some(total) = total else { return bar(label, "{spinner} {msg} {bytes}") };
    let bar = bar(label, "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left");
    bar.set_length(total);
    bar
}

/// A bar that counts; its length is set once it is known.
pub(super) fn count_bar(label: &'static str) -> ProgressBar {
    bar(label, "{msg} {wide_bar} {human_pos} of {human_len}, {eta} left")
}

/// A bar of this style, without a length.
pub(super) fn bar(label: &'static str, template: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    // Err: the template is wrong; then the bar keeps its default style.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(label)
}
