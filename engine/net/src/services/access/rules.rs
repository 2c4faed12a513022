//! The methods of the API: for whom each is, and of which verb.

use engine_access::Verb;

use super::For;

/// For whom a method is, and which verb it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// As people write it: `Jobs.Submit`.
    pub method: &'static str,
    /// For whom it is.
    pub whom: For,
    /// What who asks has to be allowed; none: nothing more.
    pub verb: Option<Verb>,
    /// Whether it changes something: then it stands in the audit log, whatever comes of it, and is refused when
    /// that cannot be written. What does not stands there when it is refused.
    pub is_change: bool,
}

const fn changes(method: &'static str, verb: Verb) -> Rule {
    Rule { method, whom: For::Cluster, verb: Some(verb), is_change: true }
}

const fn reads(method: &'static str, verb: Verb) -> Rule {
    Rule { is_change: false, ..changes(method, verb) }
}

const fn cluster(method: &'static str, whom: For, is_change: bool) -> Rule {
    Rule { method, whom, verb: None, is_change }
}

/// All methods. One that is not here is refused.
pub const RULES: &[Rule] = &[
    cluster("Handshake.Hello", For::Cluster, false),
    reads("Components.Has", Verb::Submit),
    changes("Components.Upload", Verb::Submit),
    changes("Clients.Locate", Verb::Submit),
    changes("Clients.Attach", Verb::Submit),
    changes("Jobs.Submit", Verb::Submit),
    reads("Jobs.Get", Verb::View),
    reads("Jobs.List", Verb::View),
    changes("Jobs.Stop", Verb::Stop),
    changes("Jobs.Delete", Verb::Stop),
    reads("Jobs.Watch", Verb::View),
    reads("Jobs.Logs", Verb::View),
    reads("State.List", Verb::View),
    reads("State.Get", Verb::View),
    reads("State.Status", Verb::View),
    reads("State.Explain", Verb::View),
    changes("Nodes.Drain", Verb::Operate),
    reads("Tenants.List", Verb::View),
    reads("Tenants.Usage", Verb::View),
    changes("Tenants.Set", Verb::Operate),
    changes("Tenants.Delete", Verb::Operate),
    changes("Tenants.SetPolicy", Verb::Operate),
    changes("Tokens.Create", Verb::Token),
    changes("Tokens.Revoke", Verb::Token),
    changes("Secrets.Set", Verb::Secret),
    changes("Secrets.Delete", Verb::Secret),
    reads("Secrets.List", Verb::Submit),
    reads("Audit.Read", Verb::Audit),
    cluster("Tokens.Login", For::Newcomers, true),
    cluster("Enrollment.Enroll", For::Anybody, true),
    cluster("Cluster.Join", For::Nodes, true),
    cluster("Cluster.Component", For::Nodes, false),
    cluster("Peer.Grants", For::HeadAndNodes, false),
    cluster("Peer.Progress", For::HeadAndNodes, false),
    cluster("Peer.Start", For::HeadAndNodes, true),
];

#[cfg(test)]
mod tests {
    use engine_access::{ROLES, VERBS};
    use engine_proto::methods::METHODS;

    use super::*;

    #[test]
    fn every_method_has_one_rule() {
        for method in METHODS {
            let rules = RULES.iter().filter(|rule| rule.method == method.name).count();
            assert_eq!(rules, 1, "{}", method.name);
        }
        assert_eq!(RULES.len(), METHODS.len());
    }

    /// What the table of a page says, as rows of cells.
    fn table(page: &str, first_column: &str) -> Vec<Vec<String>> {
        let head = format!("| {first_column} |");
        let rows =
            page.lines().skip_while(|line| !line.starts_with(&head)).take_while(|line| line.starts_with('|'));
        let cells =
            |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        rows.filter(|line| !line.starts_with("|-")).map(cells).collect()
    }

    #[test]
    fn the_pages_tables_are_those_of_the_code() {
        let page = include_str!("../../../../../docs/tenants.md");
        let verbs = VERBS.iter().map(|(_, name)| (*name).to_owned());
        let mut roles = vec![std::iter::once("role".to_owned()).chain(verbs).collect::<Vec<_>>()];
        roles.extend(ROLES.iter().map(|(_, name, verbs)| {
            let has = VERBS.iter().map(|(verb, _)| if verbs.has(*verb) { "yes" } else { "" }.to_owned());
            std::iter::once((*name).to_owned()).chain(has).collect()
        }));
        assert_eq!(table(page, "role"), roles);

        let mut methods = vec![vec!["verb".to_owned(), "methods".to_owned()]];
        methods.extend(VERBS.iter().map(|(verb, name)| {
            let of: Vec<&str> =
                RULES.iter().filter(|rule| rule.verb == Some(*verb)).map(|rule| rule.method).collect();
            vec![(*name).to_owned(), of.join(", ")]
        }));
        assert_eq!(table(page, "verb"), methods);
    }
}
