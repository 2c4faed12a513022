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
}

const fn clients(method: &'static str, verb: Verb) -> Rule {
    Rule { method, whom: For::Cluster, verb: Some(verb) }
}

const fn cluster(method: &'static str, whom: For) -> Rule {
    Rule { method, whom, verb: None }
}

/// All methods. One that is not here is refused.
pub const RULES: &[Rule] = &[
    cluster("Handshake.Hello", For::Cluster),
    clients("Components.Has", Verb::Submit),
    clients("Components.Upload", Verb::Submit),
    clients("Clients.Locate", Verb::Submit),
    clients("Clients.Attach", Verb::Submit),
    clients("Jobs.Submit", Verb::Submit),
    clients("Jobs.Get", Verb::View),
    clients("Jobs.List", Verb::View),
    clients("Jobs.Stop", Verb::Stop),
    clients("Jobs.Delete", Verb::Stop),
    clients("Jobs.Watch", Verb::View),
    clients("Jobs.Logs", Verb::View),
    clients("State.List", Verb::View),
    clients("State.Get", Verb::View),
    clients("State.Status", Verb::View),
    clients("State.Explain", Verb::View),
    clients("Nodes.Drain", Verb::Operate),
    clients("Tenants.List", Verb::View),
    clients("Tenants.Set", Verb::Operate),
    clients("Tenants.Delete", Verb::Operate),
    clients("Tokens.Create", Verb::Token),
    clients("Tokens.Revoke", Verb::Token),
    cluster("Enrollment.Enroll", For::Anybody),
    cluster("Cluster.Join", For::Nodes),
    cluster("Cluster.Component", For::Nodes),
    cluster("Peer.Grants", For::HeadAndNodes),
    cluster("Peer.Progress", For::HeadAndNodes),
    cluster("Peer.Start", For::HeadAndNodes),
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
