use engine_core::resources::Quantity;

/// A name and what it stands for.
pub(crate) type Pair = (String, String);

/// Reads `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Reads `NAME=VALUE`, or `NAME` for the value that it has here.
pub(crate) fn env(text: &str) -> Result<Pair, String> {
    if text.contains('=') {
        return pair(text);
    }
    match std::env::var(text) {
        Ok(value) => Ok((text.to_owned(), value)),
        Err(_) => Err(format!("{text} is not set here: write {text}=VALUE")),
    }
}

/// Reads `NAME=NUMBER` for a custom resource.
pub(crate) fn quantity_pair(text: &str) -> Result<(String, Quantity), String> {
    let wrong = || "expected NAME=NUMBER, for example licence=2".to_owned();
    let (name, value) = pair(text).map_err(|_| wrong())?;
    let quantity = value.parse().ok().and_then(Quantity::from_f64).ok_or_else(wrong)?;
    Ok((name, quantity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_anything() {
        assert_eq!(pair("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(pair("A="), Ok(("A".into(), String::new())));
        assert!(pair("=b").is_err());
        assert!(pair("A").is_err());
    }

    #[test]
    fn a_variable_without_a_value_is_inherited() {
        let path = std::env::var("PATH").unwrap();
        assert_eq!(env("PATH"), Ok(("PATH".into(), path)));
        assert!(env("SURELY_NOT_SET_ANYWHERE").unwrap_err().contains("is not set"));
    }

    #[test]
    fn a_resource_has_a_number() {
        assert_eq!(quantity_pair("disk=1.5"), Ok(("disk".into(), Quantity(15_000))));
        for text in ["disk", "disk=", "disk=many", "disk=-1"] {
            assert!(quantity_pair(text).is_err(), "{text}");
        }
    }
}
