//! What CUDA C from strangers may not name: files of this machine, whose text would come back in the
//! compiler's messages. The compiler has the device's functions without any header.

use crate::error::{Result, invalid};

/// INVALID_ARGUMENT for a source that includes a file, however it is written: with its lines continued, or by
/// other spellings of `#`. Also inside of comments and texts: to tell those takes a compiler.
pub(super) fn check_includes(source: &str) -> Result<()> {
    let refuse = |what: &str| {
        invalid(format!(
            "the kernel's source has {what}, also if only in a comment: kernels include no files; the device's \
             functions are there without"
        ))
    };
    if source.contains("??/") || source.contains("??=") {
        return refuse("a trigraph");
    }
    let source = joined(source);
    let has_word = |word: &str| source.contains(word);
    for word in ["__has_include", "__has_embed"] {
        if has_word(word) {
            return refuse(word);
        }
    }
    for (at, mark) in source.match_indices('#').chain(source.match_indices("%:")) {
        let word = first_word(&source[at + mark.len()..]);
        if ["include", "include_next", "import", "embed"].contains(&word) {
            return refuse(&format!("#{word}"));
        }
    }
    Ok(())
}

/// Without the ends of lines that a backslash continues, with blanks behind it too.
fn joined(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('\\') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = &after[1..];
        let behind = after.trim_start_matches([' ', '\t', '\r', '\x0b', '\x0c']);
        match behind.strip_prefix('\n') {
            Some(next) => rest = next,
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The first word of a directive: after blanks and comments.
fn first_word(text: &str) -> &str {
    let mut text = text;
    loop {
        text = text.trim_start_matches([' ', '\t', '\r', '\x0b', '\x0c']);
        let Some(comment) = text.strip_prefix("/*") else { break };
        let Some((_, after)) = comment.split_once("*/") else { return "" };
        text = after;
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_not_included_however_it_is_written() {
        for source in [
            "#include \"/etc/passwd\"",
            "#include </etc/passwd>",
            "  #  include <x>",
            "#/* a */ /* b */include <x>",
            "#inc\\\nlude <x>",
            "#\\ \r\ninclude <x>",
            "%:include <x>",
            "??=include <x>",
            "#in??/\nclude <x>",
            "\"/*\"\n#include <x>",
            "#if __has_inc\\\nlude(\"x\")",
            "#import <x>",
            "#embed \"x\"",
            "#include_next <x>",
        ] {
            assert!(check_includes(source).is_err(), "{source}");
        }
    }

    #[test]
    fn other_directives_are_fine() {
        let source = "#define F(x) #x\n#pragma unroll\n#if 1\nint a = 1 \\\n + 2;\n#endif\nint include;";
        assert_eq!(check_includes(source), Ok(()));
    }
}
