/// A directory to be granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirectoryArg {
    /// As it was written.
    pub(crate) host: String,
    /// As the guests see it.
    pub(crate) guest: String,
    /// Whether guests may only read.
    pub(crate) read_only: bool,
}

/// Reads `HOST::GUEST`, or `HOST` for the same path inside; `:ro` at the end for reading only.
pub(crate) fn directory(text: &str) -> Result<DirectoryArg, String> {
    let (text, read_only) = match text.strip_suffix(":ro") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    if host.is_empty() || guest.is_empty() {
        return Err("expected HOST::GUEST, for example ./data::/data or ./data::/data:ro".to_owned());
    }
    Ok(DirectoryArg { host: host.to_owned(), guest: guest.to_owned(), read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_the_same_inside_unless_said_otherwise() {
        let read = |text| directory(text).map(|d| (d.host, d.guest, d.read_only));
        assert_eq!(read("./d::/data"), Ok(("./d".into(), "/data".into(), false)));
        assert_eq!(read("./d::/data:ro"), Ok(("./d".into(), "/data".into(), true)));
        assert_eq!(read("/d:ro"), Ok(("/d".into(), "/d".into(), true)));
        for text in ["", "::", "a::", "::b", ":ro"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
