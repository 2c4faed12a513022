//! Tenants' names.

use engine_core::{Error, TenantName};

/// The tenant that a field names; an empty one names `default`.
///
/// # Errors
/// INVALID_ARGUMENT with the field's name when it is none.
pub fn tenant(text: &str, field: &str) -> Result<TenantName, Error> {
    match text {
        "" => Ok(TenantName::default()),
        text => text
            .parse()
            .map_err(|error: Error| Error::new(error.code(), format!("{field}: {}", error.message()))),
    }
}

/// The tenant's name for a field that is there in each message of a kind: nothing for `default`.
pub(in crate::convert) fn tenant_text(tenant: &TenantName) -> String {
    if tenant.is_default() { String::new() } else { tenant.to_string() }
}
