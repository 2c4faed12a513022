//! Tokens as a whole: made, narrowed, judged, damaged.

mod damaged;
mod narrowed;

use std::time::Duration;

use engine_core::ErrorCode;

use crate::{Gate, Grant, Narrowing, Principal, Role, Scope, Verb, Verbs, inspect, narrow};

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);

pub(crate) fn of(tenant: &str) -> Scope {
    Scope { tenant: Some(tenant.parse().unwrap()), ..Scope::ALL }
}

pub(crate) fn made(gate: &Gate, scope: Scope, role: Role) -> String {
    gate.issue(&Grant { scope, verbs: role.verbs(), lifetime: HOUR }).unwrap().text
}

/// Why a token is refused.
pub(crate) fn refused(gate: &Gate, text: &str) -> String {
    let error = gate.judge(text).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unauthenticated, "{error}");
    assert!(text.len() < 20 || !error.to_string().contains(&text[..20]), "{error}");
    error.to_string()
}

#[test]
fn a_token_says_who_shows_it() {
    let gate = Gate::in_memory();
    for role in [Role::TenantAdmin, Role::Submitter, Role::Viewer] {
        let scope = Scope { namespace: Some("n".to_owned()), ..of("team-7") };
        let shown = gate.judge(&made(&gate, scope.clone(), role)).unwrap();
        assert_eq!((shown.scope, shown.verbs), (scope, role.verbs()));
    }
    let operator = gate.judge(&made(&gate, Scope::ALL, Role::Operator)).unwrap();
    assert_eq!((operator.scope, operator.verbs), (Scope::ALL, Role::Operator.verbs()));
}

#[test]
fn a_refusal_says_which_verb_is_lacking_and_what_there_is() {
    let gate = Gate::in_memory();
    let viewer = gate.judge(&made(&gate, of("a"), Role::Viewer)).unwrap();
    viewer.check(Verb::View).unwrap();
    let error = viewer.check(Verb::Submit).unwrap_err();
    assert_eq!(error.code(), ErrorCode::PermissionDenied);
    assert!(error.message().contains("verb submit") && error.message().contains("may: view"), "{error}");
    Principal::operator().check(Verb::Operate).unwrap();
}

#[test]
fn a_token_is_judged_by_the_key_that_made_it() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("tls");
    let text = made(&Gate::open(&folder).unwrap(), of("a"), Role::Viewer);
    Gate::open(&folder).unwrap().judge(&text).unwrap();
    assert!(refused(&Gate::in_memory(), &text).contains("not of this engine's key"));
    assert!(refused(&Gate::for_tickets(), &text).contains("takes no tokens"));
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(folder.join("token-key")).unwrap().mode() & 0o777, 0o600);
    std::fs::write(folder.join("token-key"), "nonsense").unwrap();
    assert!(Gate::open(&folder).err().unwrap().to_string().contains("damaged"));
}

#[test]
fn a_token_expires_also_when_it_is_known() {
    let gate = Gate::in_memory();
    let grant = Grant { scope: of("a"), verbs: Role::Viewer.verbs(), lifetime: Duration::from_secs(2) };
    let text = gate.issue(&grant).unwrap().text;
    let known = gate.judge(&text).unwrap();
    std::thread::sleep(Duration::from_millis(2_100));
    assert!(refused(&gate, &text).contains("expired"));
    assert!(gate.check(&known).unwrap_err().message().contains("expired"));
}

#[test]
fn a_lifetime_is_bounded() {
    let gate = Gate::in_memory();
    for lifetime in [Duration::ZERO, HOUR * 24 * 366] {
        let grant = Grant { scope: of("a"), verbs: Role::Viewer.verbs(), lifetime };
        assert_eq!(gate.issue(&grant).unwrap_err().code(), ErrorCode::InvalidArgument);
    }
}

#[test]
fn a_revoked_token_is_refused_at_once_and_after_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("tls");
    let gate = Gate::open(&folder).unwrap();
    let text = made(&gate, of("a"), Role::Submitter);
    let less = narrow(
        &text,
        &Narrowing { verbs: Some(Verbs::of(&[Verb::View])), ..Default::default() },
        std::time::SystemTime::now(),
    );
    let less = less.unwrap();
    let (shown, narrowed) = (gate.judge(&text).unwrap(), gate.judge(&less).unwrap());
    assert_eq!(inspect(&text).unwrap()[0].id, *shown.token_id().unwrap());

    // Only the narrowed one, and only by who may: nothing of a tenant's is another's to revoke.
    gate.revoke(*narrowed.token_id().unwrap(), &of("b")).unwrap();
    gate.judge(&less).unwrap();
    gate.revoke(*narrowed.token_id().unwrap(), &of("a")).unwrap();
    assert!(refused(&gate, &less).contains("revoked"));
    gate.judge(&text).unwrap();

    gate.revoke(*shown.token_id().unwrap(), &Scope::ALL).unwrap();
    assert!(refused(&gate, &text).contains("revoked"));
    let again = Gate::open(&folder).unwrap();
    assert!(refused(&again, &text).contains("revoked"));
    assert!(refused(&again, &less).contains("revoked"), "it was made of the one that is revoked");
}

#[test]
fn a_ticket_is_for_a_node_and_one_job() {
    let (head, node) = (Gate::in_memory(), Gate::for_tickets());
    let job = engine_core::JobId::from_bits(3, 0);
    let text = made(&head, of("a"), Role::Submitter);
    let shown = head.judge(&text).unwrap();
    let ticket = head.ticket(&shown, job).unwrap();
    assert!(refused(&node, &ticket).contains("takes no tokens"));
    node.learn(&head.public_key());
    let at_node = node.judge(&ticket).unwrap();
    assert_eq!(at_node.scope, Scope { job: Some(job), ..of("a") });
    assert!(at_node.check(Verb::View).is_err());
    assert!(refused(&node, &text).contains("ask the head"));
    assert!(refused(&head, &ticket).contains("ticket"));
    node.learn(&Gate::in_memory().public_key());
    assert!(refused(&node, &ticket).contains("key"));
}

#[test]
fn a_token_that_is_known_is_not_verified_again() {
    let mut gate = Gate::in_memory();
    let text = made(&gate, of("a"), Role::Submitter);
    let first = gate.judge(&text).unwrap();
    let other = made(&gate, of("a"), Role::Submitter);
    gate.key = Gate::in_memory().key;
    assert_eq!(gate.judge(&text).unwrap(), first);
    assert!(refused(&gate, &other).contains("key"), "of what is not known the key counts");
}

/// What a look at a token costs: `cargo test --release --package engine-access measure -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn measure_judging() {
    let gate = Gate::in_memory();
    let text = made(&gate, of("a"), Role::Submitter);
    let rounds = 1_000_u32;
    let timed = |look: &dyn Fn()| {
        let since = std::time::Instant::now();
        (0..rounds).for_each(|_| look());
        since.elapsed() / rounds
    };
    let known = timed(&|| drop(gate.judge(&text).unwrap()));
    let new = timed(&|| {
        gate.known.lock().clear();
        drop(gate.judge(&text).unwrap());
    });
    println!("a known token: {known:?}; one that is not: {new:?}");
}
