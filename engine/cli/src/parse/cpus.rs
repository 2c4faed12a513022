use engine_core::resources::Quantity;

/// A number of CPUs.
pub(crate) type Cpus = Quantity;

/// Reads `2` or `0.5`.
pub(crate) fn cpus(text: &str) -> Result<Cpus, String> {
    text.parse()
        .ok()
        .and_then(Quantity::from_f64)
        .ok_or_else(|| "expected a number such as 2 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_allowed_and_debts_are_not() {
        assert_eq!(cpus("0.5"), Ok(Quantity(5_000)));
        assert_eq!(cpus("2"), Ok(Quantity::units(2)));
        for text in ["-1", "two", "", "NaN", "inf"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }
}
