//! Kind 1: ids that are guessed, and what listings and errors say of what is another tenant's.

use engine_client::messages::{Filter, Kind};
use engine_client::{Client, ErrorCode};
use engine_tests::{Up, until};
use serde_json::{Value, json};

use super::{batches, runtime, two, unharmed};
use crate::tenants::{Tenant, as_if_never_there, never};

/// The ids of what a job of `keep` has, once it has said them.
pub(super) fn kept(who: &Tenant<'_>, job: &str) -> Value {
    until("it has said what it holds", || {
        let said = who.engine(&["logs", job]).exits(0).stdout;
        let line = said.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
        line.ok_or(said)
    })
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

// contract: I1
/// Tricks with an id that is known: other indexes, other runs, other cases of letters, filters that name it.
#[test]
fn what_is_known_of_an_id_tells_nothing_of_it() {
    let up = Up::with(&["--cpus", "4"]);
    let [red, blue] = two(up.place());
    let job = blue.attacks_on(&["--submission-id", "nightly"], "keep", &[json!("the secret of blue")]);
    let held = kept(&blue, &job);
    let (task, object, actor) = (text(&held["task"]), text(&held["object"]), text(&held["actor"]));
    let output = format!("{}.0", task.replace("task-", "obj-"));
    for (kind, id) in [
        ("task", task.to_owned()),
        ("object", object.to_owned()),
        ("object", output),
        // What was put after it, what it streams, what a rerun of the job is.
        ("object", object.replace(".p0", ".p1")),
        ("actor", actor.to_owned()),
        ("job", "nightly".to_owned()),
    ] {
        let other = if id == "nightly" { "weekly".to_owned() } else { never(&id) };
        as_if_never_there(&red, &["get", kind], &id, &other);
    }
    // A job, and an actor, have no others by their index.
    for (kind, id) in
        [("job", format!("{job}.0")), ("job", format!("{job}.p0")), ("actor", format!("{actor}.1"))]
    {
        let said = red.engine(&["get", kind, &id]).exits(2).says(&["NOT_FOUND"]).stderr;
        let of_none = red.engine(&["get", kind, &never(&id)]).exits(2).stderr;
        let without_digits = |text: &str| text.replace(|c: char| c.is_ascii_hexdigit(), "");
        assert_eq!(without_digits(&said), without_digits(&of_none));
    }
    as_if_never_there(&red, &["explain"], task, &never(task));
    as_if_never_there(&red, &["job", "stop"], "nightly", "weekly");
    // Of one kind as another, with other letters, or with more around it: said before anything is looked for.
    for (kind, id) in [
        ("task", task.replace("task-", "job-")),
        ("actor", actor.to_uppercase()),
        ("task", format!(" {task}")),
        ("task", format!("{task}\u{200b}")),
        ("object", format!("{object}.p4294967295")),
        ("object", String::new()),
        ("task", "task-../../../../etc/passwd".to_owned()),
        ("task", "x".repeat(100_000)),
    ] {
        let refused = red.engine(&["get", kind, &id]).exits(2).says(&["INVALID_ARGUMENT"]);
        assert!(refused.stderr.len() < 2_000, "{refused}");
    }
    // Conditions of a listing see no more than the listing.
    for (kind, conditions) in [
        (
            "tasks",
            vec![format!("job={job}"), format!("id={task}"), "function!=x".into(), "state=RUNNING".into()],
        ),
        ("objects", vec![format!("id={object}"), format!("task={task}"), "state!=x".into()]),
        ("actors", vec![format!("job={job}"), format!("id={actor}"), "state=ALIVE".into()]),
        (
            "jobs",
            vec![
                format!("id={job}"),
                "submission_id=nightly".into(),
                "tenant=blue".into(),
                "state!=x".into(),
            ],
        ),
        ("events", vec![format!("job={job}"), "kind=JOB_SUBMITTED".into(), "severity!=x".into()]),
    ] {
        for condition in conditions {
            let listed = red.json(&["list", kind, "--filter", &condition]);
            assert_eq!(
                (&listed["items"], listed["total"].as_u64().unwrap_or(0)),
                (&json!([]), 0),
                "{condition}"
            );
            assert!(!blue.json(&["list", kind, "--filter", &condition])["items"].is_null());
        }
    }
    let usage = red.json(&["tenant", "usage"]);
    assert!(!usage.to_string().contains("blue"), "{usage}");
    // The token of another is taken back by nobody else, and whether there is one is not told.
    for id in [blue.token_id(), red.token_id()] {
        red.engine(&["token", "revoke", &id]).exits(2).says(&["PERMISSION_DENIED"]);
    }
    assert_eq!(blue.json(&["job", "status", &job])["state"], "RUNNING", "all of it did nothing");
    let said = blue.engine(&["job", "stop", &job]).exits(0);
    assert!(said.stdout.contains("STOPPED"), "{said}");
    unharmed(up);
}

/// The ids of one tenant say nothing of those that another gets at the same time.
// contract: I1
#[test]
fn ids_of_one_tenant_are_not_next_to_those_of_another() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let bits = |id: &str| {
        let (_, digits) = id.rsplit_once('-').expect("an id");
        u128::from_str_radix(&digits[..24], 16).expect("digits")
    };
    let mut last = None;
    for turn in 0..12 {
        let who = if turn % 2 == 0 { &red } else { &blue };
        let now = bits(&who.submitted(&[], &["nothing"]));
        if let Some(before) = last.replace(now) {
            let same = 96 - (now ^ before).count_ones();
            // Of 96 random bits about half are the same; 85 are by chance once in 10^14.
            assert!((11..85).contains(&same), "{same} bits of two ids are the same");
            assert!(now.abs_diff(before) > 1 << 40, "they follow on one another");
        }
    }
    unharmed(up);
}

/// A number of no known pattern: splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::Job, "job"),
    (Kind::Task, "task"),
    (Kind::Actor, "actor"),
    (Kind::Object, "obj"),
    (Kind::PlacementGroup, "pg"),
    (Kind::Event, "event"),
];

async fn guess(client: &Client, kind: Kind, id: &str) {
    let error = client.get(kind, id).await.expect_err("it is nobody's");
    assert_eq!(error.code(), Some(ErrorCode::NotFound), "{id}: {error}");
}

// contract: I1
#[test]
fn guessed_ids_are_nobodys() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let job = blue.attacks_on(&[], "keep", &[json!("the secret of blue")]);
    let held = kept(&blue, &job);
    let runtime = runtime();
    let client = runtime.block_on(red.client());
    let known: Vec<u128> = ["task", "object", "actor"]
        .map(|kind| {
            let (_, digits) = text(&held[kind]).rsplit_once('-').expect("an id");
            u128::from_str_radix(&digits[..24], 16).expect("digits")
        })
        .into();
    let mut random = Random(7);
    batches("ids were guessed", 1_200, 1_000_000, 600, |_, count| {
        runtime.block_on(async {
            for _ in 0..count {
                let (kind, prefix) = random.one_of(&KINDS);
                // Far from what is there, and near to it.
                let bits = match random.below(3) {
                    0 => u128::from(random.next()) << 32 | u128::from(random.next() as u32),
                    1 => random.one_of(&known).wrapping_add(u128::from(random.below(64))),
                    _ => random.one_of(&known) ^ 1 << random.below(96),
                } & ((1 << 96) - 1);
                guess(&client, kind, &format!("{prefix}-{bits:024x}")).await;
            }
        });
    });
    // Filters too many, too long or of no field are refused, and nothing is looked through.
    runtime.block_on(async {
        let filter = |key: &str, value: &str| Filter { key: key.into(), value: value.into(), negated: false };
        for filters in [vec![filter("id", "x"); 1_000], vec![filter("tenant", "blue")], vec![filter("", "")]]
        {
            let error = client.list(Kind::Task, filters, 10).await.expect_err("it is refused");
            assert_eq!(error.code(), Some(ErrorCode::InvalidArgument), "{error}");
        }
        let error = client.list(Kind::Task, Vec::new(), u32::MAX).await.expect_err("it is refused");
        assert_eq!(error.code(), Some(ErrorCode::InvalidArgument), "{error}");
    });
    blue.engine(&["job", "stop", &job]).exits(0);
    unharmed(up);
}
