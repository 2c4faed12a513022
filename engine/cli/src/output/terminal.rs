//! What others wrote, shown so that it drives no terminal.
//!
//! Names, errors and logs are whatever a guest says, and who reads them may be somebody else. What a terminal
//! would obey, or what would show text in another order than it stands in, is shown as `\u{1b}`.

use std::borrow::Cow;
use std::fmt::Write;

/// Text of several lines: those and tabs stay.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    escaped(text, |c| drives(c) && c != '\n' && c != '\t')
}

/// Text that has to stay on its line, such as a name or a cell of a table.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, drives)
}

/// JSON, whose strings have these as JSON has them.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| drives(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match drives(c) && c != '\n' {
            // All of them are of the plane that needs one such number.
            true => drop(write!(shown, "\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// One line that a program wrote: tabs stay, and so do colours, which end with the line.
pub(crate) fn written(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| drives(c) && c != '\t') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let (mut rest, mut is_coloured) = (text, false);
    while let Some(c) = rest.chars().next() {
        if let Some(length) = colour(rest) {
            shown.push_str(&rest[..length]);
            is_coloured = true;
            rest = &rest[length..];
            continue;
        }
        push(&mut shown, c, drives(c) && c != '\t');
        rest = &rest[c.len_utf8()..];
    }
    if is_coloured {
        shown.push_str("\u{1b}[0m");
    }
    Cow::Owned(shown)
}

/// Bytes of the longest sequence of colours that is let through.
const COLOUR_BYTES_MAX: usize = 32;

/// Bytes of the sequence that changes the looks of text, when that is what this begins with. One that conceals
/// text is none.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let length = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    let is_colour = length <= COLOUR_BYTES_MAX && parameters[length..].starts_with('m');
    (is_colour && !conceals(&parameters[..length])).then_some(length + 3)
}

/// Whether one of these makes text invisible.
fn conceals(parameters: &str) -> bool {
    let mut numbers = parameters.split(';').map(|number| number.trim_start_matches('0'));
    while let Some(number) = numbers.next() {
        match number {
            "8" => return true,
            // What follows says which colour: one of a table, or a mixture.
            "38" | "48" | "58" => match numbers.next() {
                Some("5") => drop(numbers.next()),
                Some("2") => drop(numbers.nth(2)),
                _ => return true,
            },
            _ => {}
        }
    }
    false
}

fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_bad) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| push(&mut shown, c, is_bad(c)));
    Cow::Owned(shown)
}

fn push(shown: &mut String, c: char, is_bad: bool) {
    match is_bad {
        true => shown.extend(c.escape_default()),
        false => shown.push(c),
    }
}

/// Whether a terminal would do something, or show what stands around it elsewhere: control characters, those that
/// turn the direction of text, and what separates lines and paragraphs.
fn drives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_is_shown_as_text() {
        let title = "a\u{1b}]0;owned\u{7}b\u{9b}2Jc\u{202e}d\r";
        let shown = "a\\u{1b}]0;owned\\u{7}b\\u{9b}2Jc\\u{202e}d\\r";
        assert_eq!(line(title), shown);
        assert_eq!(text(title), shown);
        assert_eq!(written(title), shown);
        assert_eq!(line("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(text("a\nb\tc"), "a\nb\tc");
        assert_eq!(written("a\tb"), "a\tb");
        for plain in ["", "plain", "größer 漢字 🦀", "שלום"] {
            assert!(matches!(line(plain), Cow::Borrowed(same) if same == plain));
        }
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "a\u{9b}": "x\u{7f}\u{202e}\u{1b}\ny" });
        let shown = json(&format!("{value:#}")).into_owned();
        assert!(!shown.contains(|c| drives(c) && c != '\n'), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn colours_stay_and_end_with_the_line() {
        assert_eq!(written("\u{1b}[1;31mred\u{1b}[0m"), "\u{1b}[1;31mred\u{1b}[0m\u{1b}[0m");
        assert_eq!(written("\u{1b}[38;5;8mgrey"), "\u{1b}[38;5;8mgrey\u{1b}[0m");
        for bad in ["\u{1b}[8mhidden", "\u{1b}[2J", "\u{1b}[1;8m", "\u{1b}[", "\u{1b}[31", "\u{1b}[?1m"] {
            assert!(!written(bad).contains('\u{1b}'), "{bad:?}");
        }
        let long = format!("\u{1b}[{}m", "1;".repeat(100));
        assert!(!written(&long).contains('\u{1b}'));
    }
}
