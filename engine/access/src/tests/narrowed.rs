//! What a narrowed token may: never more than the one that it was made of.

use std::time::{Duration, SystemTime};

use biscuit_auth::{BlockBuilder, UnverifiedBiscuit};
use engine_core::ErrorCode;
use proptest::prelude::*;

use super::{HOUR, made, of, refused};
use crate::limits::TOKEN_BLOCKS_MAX;
use crate::{Gate, Narrowing, ROLES, Role, Scope, VERBS, Verb, Verbs, inspect, narrow};

fn less(text: &str, by: &Narrowing) -> String {
    narrow(text, by, SystemTime::now()).unwrap()
}

fn verbs(of: &[Verb]) -> Narrowing {
    Narrowing { verbs: Some(Verbs::of(of)), ..Narrowing::default() }
}

fn namespace(name: &str) -> Narrowing {
    Narrowing { namespace: Some(name.to_owned()), ..Narrowing::default() }
}

/// A token to which somebody has added a block of any other kind.
fn with(text: &str, source: &str) -> String {
    let block = BlockBuilder::new().code(source).unwrap();
    UnverifiedBiscuit::from_base64(text).unwrap().append(block).unwrap().to_base64().unwrap()
}

#[test]
fn each_level_takes_something_away() {
    let gate = Gate::in_memory();
    let text = made(&gate, of("a"), Role::TenantAdmin);
    let text = less(&text, &verbs(&[Verb::View, Verb::Submit, Verb::Operate]));
    let text = less(&text, &namespace("n"));
    let text = less(&text, &Narrowing { lifetime: Some(HOUR / 2), ..verbs(&[Verb::View, Verb::Stop]) });
    let shown = gate.judge(&text).unwrap();
    assert_eq!(shown.verbs, Verbs::of(&[Verb::View]));
    assert_eq!(shown.scope, Scope { namespace: Some("n".to_owned()), ..of("a") });
    let left = gate.time_left(&shown).unwrap();
    assert!(left <= HOUR / 2 && left > HOUR / 3, "{left:?}");

    let blocks = inspect(&text).unwrap();
    assert_eq!(blocks.len(), 4);
    assert_eq!((&blocks[0].tenant, blocks[0].verbs), (&of("a").tenant, Some(Role::TenantAdmin.verbs())));
    assert_eq!((blocks[2].namespace.as_deref(), blocks[2].verbs), (Some("n"), None));
    assert_eq!(blocks[3].id, *shown.token_id().unwrap());
}

#[test]
fn no_level_gives_anything_back() {
    let gate = Gate::in_memory();
    let text = made(&gate, Scope { namespace: Some("n".to_owned()), ..of("a") }, Role::Viewer);
    let longer = less(&text, &Narrowing { lifetime: Some(HOUR * 9), ..Narrowing::default() });
    assert!(gate.time_left(&gate.judge(&longer).unwrap()).unwrap() <= HOUR);
    let more = less(&text, &verbs(&[Verb::View, Verb::Submit, Verb::Operate]));
    assert_eq!(gate.judge(&more).unwrap().verbs, Role::Viewer.verbs());
    assert!(refused(&gate, &less(&text, &namespace("m"))).contains("contradicts"));
    assert!(refused(&gate, &less(&text, &verbs(&[Verb::Stop]))).contains("nothing is left"));
    assert!(refused(&gate, &less(&text, &verbs(&[]))).contains("nothing is left"));
}

#[test]
fn what_others_add_grants_nothing() {
    let gate = Gate::in_memory();
    let text = made(&gate, of("a"), Role::Viewer);
    let before = gate.judge(&text).unwrap();
    for source in [
        "tenant(\"b\");",
        "operator(true);",
        "verbs([\"view\", \"operate\"]);",
        "verb(\"operate\"); time(1970-01-01T00:00:00Z);",
        "verbs($x) <- verbs($x); tenant(\"b\") <- expires($x);",
        "expires(2999-01-01T00:00:00Z);",
        "job(\"job-00000000000000000000000000000000\");",
    ] {
        let shown = gate.judge(&with(&text, source)).unwrap();
        assert_eq!(
            (&shown.scope, shown.verbs, shown.expires()),
            (&before.scope, before.verbs, before.expires()),
            "{source}"
        );
    }
    // A namespace that is claimed is no more than a narrower view; a check of any kind counts.
    assert_eq!(gate.judge(&with(&text, "namespace(\"n\");")).unwrap().scope.namespace.as_deref(), Some("n"));
    assert!(refused(&gate, &with(&text, "check if false;")).contains("nothing is left"));
    assert!(refused(&gate, &with(&text, "check if in_namespace(\"n\");")).contains("nothing is left"));
    assert!(
        refused(&gate, &with(&text, "check if time($t), $t < 2000-01-01T00:00:00Z;")).contains("nothing")
    );
}

#[test]
fn what_takes_long_to_look_at_is_refused() {
    let gate = Gate::in_memory();
    let text = made(&gate, of("a"), Role::Viewer);
    let facts: String = (0..60).map(|number| format!("n({number});")).collect();
    let many = with(&text, &format!("{facts} p($a, $b, $c) <- n($a), n($b), n($c);"));
    assert!(refused(&gate, &many).contains("takes more"));
}

#[test]
fn tokens_are_bounded() {
    let gate = Gate::in_memory();
    let mut text = made(&gate, of("a"), Role::Viewer);
    for _ in 1..TOKEN_BLOCKS_MAX {
        text = less(&text, &verbs(&[Verb::View]));
    }
    gate.judge(&text).unwrap();
    let error = narrow(&text, &verbs(&[Verb::View]), SystemTime::now()).unwrap_err();
    assert!(error.message().contains("token_blocks_max"), "{error}");
    assert!(refused(&gate, &with(&text, "check if true;")).contains("token_blocks_max"));
    let long = with(&made(&gate, of("a"), Role::Viewer), &format!("x(\"{}\");", "x".repeat(5_000)));
    assert!(refused(&gate, &long).contains("token_bytes_max"));
    let error = narrow(&long, &verbs(&[Verb::View]), SystemTime::now()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unauthenticated);
    let nothing = narrow(&made(&gate, of("a"), Role::Viewer), &Narrowing::default(), SystemTime::now());
    assert_eq!(nothing.unwrap_err().code(), ErrorCode::InvalidArgument);
}

fn narrowing() -> impl Strategy<Value = Narrowing> {
    let some = proptest::collection::vec(0..VERBS.len(), 0..4);
    let verbs = some.prop_map(|some| some.into_iter().map(|at| VERBS[at].0).collect::<Verbs>());
    let name = prop_oneof!["[a-c]", "[ -~]{1,20}"];
    (proptest::option::of(verbs), proptest::option::of(name), proptest::option::of(1_u64..100_000))
        .prop_filter("nothing", |(verbs, name, time)| verbs.is_some() || name.is_some() || time.is_some())
        .prop_map(|(verbs, namespace, time)| Narrowing {
            verbs,
            namespace,
            lifetime: time.map(Duration::from_secs),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_narrowed_token_never_may_more(
        role in 1..ROLES.len(),
        by in proptest::collection::vec(narrowing(), 1..4),
    ) {
        let gate = Gate::in_memory();
        let mut text = made(&gate, of("a"), ROLES[role].0);
        let mut before = gate.judge(&text).unwrap();
        for by in by {
            text = less(&text, &by);
            let Ok(shown) = gate.judge(&text) else { break };
            prop_assert_eq!(before.verbs.and(shown.verbs), shown.verbs);
            prop_assert_eq!(by.verbs.unwrap_or(before.verbs).and(before.verbs), shown.verbs);
            prop_assert!(shown.expires() <= before.expires());
            prop_assert_eq!(&shown.scope.tenant, &before.scope.tenant);
            prop_assert!(before.scope.namespace.is_none() || shown.scope.namespace == before.scope.namespace);
            prop_assert!(by.namespace.is_none() || shown.scope.namespace == by.namespace);
            before = shown;
        }
    }
}
