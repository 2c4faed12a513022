use bytesize::ByteSize;

/// Reads a number of bytes: `512MiB`, `2GB`, `1048576`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        _ => Err("expected a size such as 512MiB or 2GiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1000_or_1024() {
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("2GB"), Ok(2_000_000_000));
        assert_eq!(size("1.5 KiB"), Ok(1536));
        assert_eq!(size("77"), Ok(77));
        for text in ["", "0", "much", "-1MiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
