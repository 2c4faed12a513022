//! What can be done, and which roles may.

use std::fmt;
use std::str::FromStr;

use engine_core::Error;

/// What a request does. Each method of the API is of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Looks at jobs and at what is of them.
    View,
    /// Uploads components, starts jobs, and attaches clients to them.
    Submit,
    /// Stops and deletes jobs.
    Stop,
    /// Makes and revokes tokens of the own tenant.
    Token,
    /// Sets and deletes secrets of the own tenant.
    Secret,
    /// Reads the audit log, of the own tenant.
    Audit,
    /// Changes what there is for all: drains nodes, makes tokens of any tenant.
    Operate,
}

/// Every verb, and its name.
pub const VERBS: &[(Verb, &str)] = &[
    (Verb::View, "view"),
    (Verb::Submit, "submit"),
    (Verb::Stop, "stop"),
    (Verb::Token, "token"),
    (Verb::Secret, "secret"),
    (Verb::Audit, "audit"),
    (Verb::Operate, "operate"),
];

impl Verb {
    /// As it is written.
    pub fn name(self) -> &'static str {
        VERBS.iter().find(|(verb, _)| *verb == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Verb {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = VERBS.iter().find(|(_, name)| *name == text).map(|(verb, _)| *verb);
        found.ok_or_else(|| unknown("a verb", text, VERBS.iter().map(|(_, name)| *name)))
    }
}

/// For whom a token is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Who keeps the engine: of no tenant, and sees all.
    Operator,
    /// Who hands out tokens of one tenant.
    TenantAdmin,
    /// Who gives work.
    Submitter,
    /// Who looks.
    Viewer,
}

/// Every role, its name, and its verbs.
pub const ROLES: &[(Role, &str, Verbs)] = &[
    (
        Role::Operator,
        "operator",
        Verbs::of(&[
            Verb::View,
            Verb::Submit,
            Verb::Stop,
            Verb::Token,
            Verb::Secret,
            Verb::Audit,
            Verb::Operate,
        ]),
    ),
    (
        Role::TenantAdmin,
        "tenant-admin",
        Verbs::of(&[Verb::View, Verb::Submit, Verb::Stop, Verb::Token, Verb::Secret, Verb::Audit]),
    ),
    (Role::Submitter, "submitter", Verbs::of(&[Verb::View, Verb::Submit, Verb::Stop])),
    (Role::Viewer, "viewer", Verbs::of(&[Verb::View])),
];

impl Role {
    /// As it is written.
    pub fn name(self) -> &'static str {
        ROLES.iter().find(|(role, ..)| *role == self).map_or("", |(_, name, _)| name)
    }

    /// What it may do.
    pub fn verbs(self) -> Verbs {
        ROLES.iter().find(|(role, ..)| *role == self).map_or(Verbs::NONE, |(.., verbs)| *verbs)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = ROLES.iter().find(|(_, name, _)| *name == text).map(|(role, ..)| *role);
        found.ok_or_else(|| unknown("a role", text, ROLES.iter().map(|(_, name, _)| *name)))
    }
}

fn unknown(what: &str, text: &str, names: impl Iterator<Item = &'static str>) -> Error {
    let names: Vec<&str> = names.collect();
    let text: String = text.chars().take(40).collect();
    Error::invalid_argument(format!("{text:?} is not {what}: use one of {}", names.join(", ")))
}

/// Some of the verbs.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Verbs(u8);

impl Verbs {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// These.
    pub const fn of(verbs: &[Verb]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < verbs.len() {
            bits |= 1 << verbs[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Whether this is one of them.
    pub fn has(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u8) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are among others too.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        VERBS.iter().map(|(verb, _)| *verb).filter(move |verb| self.has(*verb))
    }
}

impl FromIterator<Verb> for Verbs {
    fn from_iter<I: IntoIterator<Item = Verb>>(verbs: I) -> Self {
        verbs.into_iter().fold(Self::NONE, |all, verb| Self(all.0 | Self::of(&[verb]).0))
    }
}

impl fmt::Display for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Verb::name).collect();
        match names.is_empty() {
            true => f.write_str("nothing"),
            false => f.write_str(&names.join(", ")),
        }
    }
}

impl fmt::Debug for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for (verb, name) in VERBS {
            assert_eq!((name.parse::<Verb>().unwrap(), verb.to_string().as_str()), (*verb, *name));
        }
        for (role, name, verbs) in ROLES {
            assert_eq!((name.parse::<Role>().unwrap(), role.to_string().as_str()), (*role, *name));
            assert_eq!(role.verbs(), *verbs);
            assert_eq!(verbs.iter().collect::<Verbs>(), *verbs);
        }
        let error = "admin".parse::<Role>().unwrap_err().to_string();
        assert!(error.contains("tenant-admin"), "{error}");
    }

    #[test]
    fn each_role_may_all_that_the_next_one_may() {
        for pair in ROLES.windows(2) {
            assert_eq!(pair[0].2.and(pair[1].2), pair[1].2, "{} and {}", pair[0].1, pair[1].1);
        }
        assert!(!Role::TenantAdmin.verbs().has(Verb::Operate));
        assert_eq!(Verbs::NONE.to_string(), "nothing");
    }
}
