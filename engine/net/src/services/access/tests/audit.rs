//! What of the requests to a served engine stands in its audit log.

use std::fs;
use std::path::Path;

use engine_access::{Gate, ROLES, Role, Verb};
use engine_audit::{AuditLog, Limits, Line, Who, verify};
use engine_core::ErrorCode;
use engine_proto::methods::{METHODS, Method};

use super::walk::{Served, served_with};
use crate::services::access::{For, RULES};

async fn audited(gate: Gate) -> Served {
    served_with(gate, |folder| Some(AuditLog::open(&folder.join("audit"), Limits::default()).unwrap())).await
}

/// The lines that are kept, once the engine has ended.
async fn lines(served: Served) -> (Vec<Line>, String) {
    let folder = served.stopped().await;
    let folder = folder.path().join("audit");
    let text: String = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    if !lines.is_empty() {
        assert_eq!(verify(&folder, None).unwrap().last, lines.len() as u64);
    }
    (lines, text)
}

fn method(name: &str) -> &'static Method {
    METHODS.iter().find(|method| method.name == name).unwrap()
}

/// The methods that are served here, for clients.
fn methods() -> impl Iterator<Item = &'static Method> {
    let rule = |method: &Method| RULES.iter().find(|rule| rule.method == method.name).unwrap();
    METHODS.iter().filter(move |method| rule(method).whom == For::Cluster)
}

#[tokio::test]
async fn each_change_stands_in_the_log_and_each_refusal() {
    let served = audited(Gate::in_memory()).await;
    let mut expected = Vec::new();
    for (role, name, verbs) in ROLES {
        let token = served.token(*role);
        let id = served.gate.judge(&token).unwrap().token_id().unwrap().to_string();
        for method in methods() {
            let said = served.asked(method, Some(&token)).await;
            let rule = RULES.iter().find(|rule| rule.method == method.name).unwrap();
            let is_refused = rule.verb.is_some_and(|verb| !verbs.has(verb));
            assert_eq!(is_refused, said == Some(ErrorCode::PermissionDenied), "{name}: {}", method.name);
            if rule.is_change || is_refused {
                let outcome = said.map_or("OK", ErrorCode::as_str);
                expected.push((method.name, outcome, id.clone(), rule.verb.map(Verb::name)));
            }
        }
    }
    let token = served.token(Role::Submitter);
    let (lines, text) = lines(served).await;
    let found: Vec<_> = lines.iter().map(|line| &line.entry).collect();
    assert_eq!(found.len(), expected.len());
    for (entry, (method, outcome, id, verb)) in found.into_iter().zip(expected) {
        let said =
            (entry.method.as_str(), entry.outcome.as_str(), entry.token_id.as_deref(), entry.verb.as_deref());
        assert_eq!(said, (method, outcome, Some(id.as_str()), verb));
        assert_eq!(entry.who, Who::Token);
        let me = format!("uid={} pid={}", rustix::process::geteuid().as_raw(), std::process::id());
        assert_eq!(entry.from, me);
    }
    assert!(!text.contains(&token[..40]), "what all tokens begin with, and no more of any");
}

#[tokio::test]
async fn who_shows_nothing_good_is_nobody_and_a_method_that_is_none_is_told_of() {
    let served = audited(Gate::in_memory().require_token()).await;
    let list = method("Jobs.List");
    let guess = Method { name: "Jobs.Guess", path: "/engine.v1.Jobs/Guess", is_streamed: false };
    for (method, token) in [(list, None), (list, Some("x")), (&guess, None)] {
        served.asked(method, token).await.unwrap();
    }
    let (lines, _) = lines(served).await;
    let said: Vec<_> =
        lines.iter().map(|line| (line.entry.method.as_str(), line.entry.outcome.as_str())).collect();
    let refused = ("Jobs.List", "UNAUTHENTICATED");
    assert_eq!(said, [refused, refused, ("/engine.v1.Jobs/Guess", "UNSUPPORTED")]);
    assert!(lines.iter().all(|line| line.entry.who == Who::Nobody && line.entry.tenant.is_none()));
}

#[tokio::test]
async fn on_its_own_socket_who_asks_is_the_operator() {
    let served = audited(Gate::in_memory()).await;
    for name in ["Jobs.List", "Tenants.Delete", "State.Status"] {
        served.asked(method(name), None).await;
    }
    let (lines, _) = lines(served).await;
    assert_eq!(lines.len(), 1, "what only looks is not told of");
    assert_eq!((lines[0].entry.who, lines[0].entry.method.as_str()), (Who::Operator, "Tenants.Delete"));
}

/// A folder that is gone stands for a disk that refuses.
#[tokio::test]
async fn what_cannot_be_told_of_is_not_done_and_what_only_looks_goes_on() {
    let served = audited(Gate::in_memory()).await;
    let (folder, away) = (served.folder.path().join("audit"), served.folder.path().join("away"));
    let moved = |from: &Path, to: &Path| fs::rename(from, to).unwrap();
    moved(&folder, &away);
    let (stop, list) = (method("Jobs.Stop"), method("Jobs.List"));
    // The first one finds out.
    while served.asked(stop, None).await != Some(ErrorCode::Internal) {}
    assert_eq!(served.asked(stop, None).await, Some(ErrorCode::Internal));
    assert_eq!(served.asked(list, None).await, Some(ErrorCode::NotFound), "as the backend says");
    moved(&away, &folder);
    while served.asked(stop, None).await == Some(ErrorCode::Internal) {}
    let (lines, _) = lines(served).await;
    let outcomes: Vec<_> = lines.iter().map(|line| line.entry.outcome.as_str()).collect();
    assert!(outcomes.contains(&"INTERNAL") && !outcomes.contains(&"ABANDONED"), "{outcomes:?}");
}
