//! The operator's file: whose ID tokens are believed, and what people get.

use std::collections::BTreeMap;
use std::time::Duration;

use engine_access::{Grant, Role, Scope};
use engine_core::{Error, ErrorCode, TenantName};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::limits::{LOGIN_LIFETIME_DEFAULT, LOGIN_LIFETIME_MAX, RULES_MAX};

/// Whose ID tokens are believed, and what people get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The issuer, as its tokens name it.
    pub issuer: String,
    /// For whom they have to be.
    pub audience: String,
    /// How long a token of the engine is good.
    pub lifetime: Duration,
    /// The first that fits counts.
    pub rules: Vec<Rule>,
}

/// What some people get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Claims by their names, or by a JSON pointer (`/realm_access/roles`), and what each has to be, or to have in
    /// its list.
    pub claims: BTreeMap<String, String>,
    /// Of which tenant they are; none: operators.
    pub tenant: Option<TenantName>,
    /// What they may.
    pub role: Role,
    /// The only namespace that they see.
    pub namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    issuer: String,
    audience: String,
    lifetime: Option<String>,
    #[serde(default)]
    rule: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    claims: BTreeMap<String, String>,
    tenant: Option<String>,
    role: String,
    namespace: Option<String>,
}

impl Rules {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |what: String| Error::invalid_argument(what);
        let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string().trim().to_owned()))?;
        check_url(&file.issuer).map_err(|why| wrong(format!("issuer: {why}")))?;
        if file.audience.is_empty() {
            return Err(wrong("audience: it is empty, and a token for anybody would do".to_owned()));
        }
        let lifetime = match file.lifetime.as_deref() {
            None => LOGIN_LIFETIME_DEFAULT,
            Some(text) => {
                humantime::parse_duration(text).map_err(|error| wrong(format!("lifetime: {error}")))?
            }
        };
        if lifetime.is_zero() || lifetime > LOGIN_LIFETIME_MAX {
            return Err(wrong("lifetime: choose 1s to 24h (login_lifetime_max)".to_owned()));
        }
        if file.rule.is_empty() || file.rule.len() > RULES_MAX {
            let count = file.rule.len();
            return Err(wrong(format!("there are {count} rules ([[rule]]): give 1 to {RULES_MAX}")));
        }
        let rules = file.rule.into_iter().enumerate();
        let rules = rules.map(|(at, rule)| {
            let at_rule = |error: &Error| wrong(format!("rule {}: {}", at + 1, error.message()));
            rule.checked().map_err(|error| at_rule(&error))
        });
        let rules = rules.collect::<Result<_, _>>()?;
        Ok(Self { issuer: file.issuer, audience: file.audience, lifetime, rules })
    }

    /// What the first rule gives that fits, of those for this tenant where one is named.
    ///
    /// # Errors
    /// PERMISSION_DENIED when none fits.
    pub(crate) fn grant(
        &self,
        subject: &str,
        claims: &Map<String, Value>,
        tenant: &str,
    ) -> Result<Grant, Error> {
        let is_meant = |rule: &&Rule| {
            tenant.is_empty() || rule.tenant.as_ref().is_some_and(|own| own.as_str() == tenant)
        };
        let rule = self.rules.iter().filter(is_meant).find(|rule| rule.fits(claims));
        let rule = rule.ok_or_else(|| {
            let subject: String = subject.chars().take(100).collect();
            let of = if tenant.is_empty() { String::new() } else { " of the tenant that was named".to_owned() };
            Error::new(
                ErrorCode::PermissionDenied,
                format!(
                    "no rule{of} fits {subject:?} of {}: ask who keeps the engine for one (its file of --oidc)",
                    self.issuer
                ),
            )
        })?;
        let scope = Scope { tenant: rule.tenant.clone(), namespace: rule.namespace.clone(), job: None };
        Ok(Grant { scope, verbs: rule.role.verbs(), lifetime: self.lifetime })
    }
}

impl FileRule {
    fn checked(self) -> Result<Rule, Error> {
        if self.claims.is_empty() {
            return Err(Error::invalid_argument("it has no claims, and would fit whoever the issuer knows"));
        }
        let role: Role = self.role.parse()?;
        let tenant = self.tenant.map(|name| name.parse::<TenantName>()).transpose()?;
        match (role, &tenant) {
            (Role::Operator, Some(_)) => Err(Error::invalid_argument(
                "an operator is of no tenant: leave `tenant` away, or use another role",
            )),
            (Role::Operator, None) if self.namespace.is_some() => {
                Err(Error::invalid_argument("an operator sees all: leave `namespace` away"))
            }
            (role, None) if role != Role::Operator => {
                Err(Error::invalid_argument(format!("a {role} is of a tenant: say which (tenant = \"…\")")))
            }
            _ => Ok(Rule { claims: self.claims, tenant, role, namespace: self.namespace }),
        }
    }
}

impl Rule {
    fn fits(&self, claims: &Map<String, Value>) -> bool {
        self.claims.iter().all(|(name, wanted)| has(claims, name, wanted))
    }
}

/// Whether a claim is this text, or a list that has it.
fn has(claims: &Map<String, Value>, name: &str, wanted: &str) -> bool {
    // Names of claims may be URLs, but none begins with a slash.
    let found = match name.strip_prefix('/').map(|path| path.split_once('/').unwrap_or((path, ""))) {
        Some((first, "")) => claims.get(first),
        Some((first, rest)) => claims.get(first).and_then(|value| value.pointer(&format!("/{rest}"))),
        None => claims.get(name),
    };
    match found {
        Some(Value::String(text)) => text == wanted,
        Some(Value::Array(items)) => items.iter().any(|item| item.as_str() == Some(wanted)),
        _ => false,
    }
}

/// Whether something may be fetched from there: what is not on this machine by TLS alone.
pub(crate) fn check_url(text: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    let is_loopback = match url.host_str() {
        Some(host) => {
            let host = host.trim_matches(['[', ']']);
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|at| at.is_loopback())
        }
        None => false,
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        _ => Err(format!("{text:?} is not https: whoever carries it could say what keys are the issuer's")),
    }
}
