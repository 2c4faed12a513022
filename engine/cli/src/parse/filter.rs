use engine_client::messages::Filter;

/// Reads `FIELD=VALUE` or `FIELD!=VALUE`.
pub(crate) fn filter(text: &str) -> Result<Filter, String> {
    let (key, value) =
        text.split_once('=').ok_or_else(|| "expected FIELD=VALUE or FIELD!=VALUE".to_owned())?;
    let (key, negated) = match key.strip_suffix('!') {
        Some(key) => (key, true),
        None => (key, false),
    };
    Ok(Filter { key: key.trim().to_lowercase(), value: value.trim().to_owned(), negated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_may_be_negated() {
        let read = |text| filter(text).map(|f| (f.key, f.value, f.negated));
        assert_eq!(read("state=RUNNING"), Ok(("state".into(), "RUNNING".into(), false)));
        assert_eq!(read("STATE!=FAILED"), Ok(("state".into(), "FAILED".into(), true)));
        assert_eq!(read("name=a=b"), Ok(("name".into(), "a=b".into(), false)));
        assert!(read("state").is_err());
    }
}
