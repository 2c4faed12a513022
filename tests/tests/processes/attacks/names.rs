//! Kinds 1 and 6: names that are to be taken for others, amounts that are none, and paths that lead elsewhere.

use engine_tests::Up;
use serde_json::{Value, json};

use super::{two, unharmed};

// contract: A8, I1
/// A named actor of one tenant is found by no name and no namespace of another.
#[test]
fn no_name_reaches_into_another_tenants_namespace() {
    let up = Up::with(&["--cpus", "4"]);
    let [red, blue] = two(up.place());
    let made = blue.attack(&["--namespace", "shared"], "detach", &[json!("vault")]).exits(0).last_json();
    assert_eq!(made["value"], "blue", "{made}");
    let slashed = blue.attacks("detach", &[json!("vault"), json!("a/b")]);
    assert_eq!(slashed["value"], "blue", "{slashed}");
    let long = "n".repeat(100_000);
    let namespaces = [
        "shared",
        "blue/shared",
        "/blue/shared",
        "../blue/shared",
        "red/../blue/shared",
        "blue\0/shared",
        "a/b",
        "blue/a/b",
        "SHARED",
        "shared ",
        " shared",
        "shared\u{200b}",
        "ѕhared",
        "",
        "default",
        "default/shared",
        ".",
        "..",
        "*",
        "%",
        "shared%00",
        "shared\n",
        "blue\u{2215}shared",
        long.as_str(),
    ];
    let names = [
        "vault",
        "shared/vault",
        "blue/shared/vault",
        "../shared/vault",
        "vault\0",
        "VAULT",
        "vаult",
        "*",
        "",
    ];
    for namespace in namespaces {
        for name in names {
            // All of them in the usual namespace, and the usual name in all of them.
            if namespace != "shared" && name != "vault" {
                continue;
            }
            let found = red.attacks("lookup", &[json!(name), json!(namespace)]);
            assert!(found["value"].is_null(), "{name:?} in {namespace:?}: {found}");
            let code = found["code"].as_str().expect("a code");
            assert!(["NOT_FOUND", "INVALID_ARGUMENT", "LIMIT_EXCEEDED"].contains(&code), "{found}");
            let said = found["message"].as_str().expect("a message");
            assert!(said.len() < 4_000 && !said.contains("blue's"), "{said}");
        }
    }
    // What blue has there is still there, under the names that it gave, and under no other.
    let own = |name: &str, namespace: &str| blue.attacks("lookup", &[json!(name), json!(namespace)]);
    assert_eq!(own("vault", "shared")["value"], "blue");
    assert_eq!(own("vault", "a/b")["value"], "blue");
    assert_eq!(own("vault", "blue/shared")["code"], "NOT_FOUND");
    assert_eq!(own("b/vault", "a")["code"], "NOT_FOUND");
    // Of the same name there is one for each tenant.
    let of_red = red.attack(&["--namespace", "shared"], "detach", &[json!("vault")]).exits(0).last_json();
    assert_eq!(of_red["value"], "red");
    assert_eq!(own("vault", "shared")["value"], "blue");
    // Namespaces of jobs are held to the same.
    for namespace in ["a\nb", "\u{1b}[2J", &"n".repeat(129)] {
        let outcome = red.attack(&["--namespace", namespace], "lookup", &[json!("vault")]);
        assert_eq!(outcome.status, 2, "{namespace:?}: {outcome}");
    }
    for (who, jobs) in [(&red, 2), (&blue, 3)] {
        assert!(who.items("actors").len() < jobs, "what was not made is not there");
    }
}

// contract: E2
/// Amounts that are none, names that are others', and variables that are none: refused by name, or asked for in vain.
#[test]
fn odd_amounts_and_names_are_refused_or_wait_for_what_is_not_there() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let came = red.attacks("odd-resources", &[]);
    let came = came.as_object().expect("an object");
    assert_eq!(came.len(), 15);
    for (what, came) in came {
        let code = came["code"].as_str().unwrap_or_default();
        let is_named =
            ["INVALID_ARGUMENT", "LIMIT_EXCEEDED", "UNSCHEDULABLE", "OUT_OF_MEMORY", "QUOTA_EXCEEDED"]
                .contains(&code);
        // No program can say "less than nothing": an SDK makes nothing of it, and so it runs.
        let is_nothing = came["value"] == "ran" && ["nan", "negative"].iter().any(|odd| what.contains(odd));
        assert!(is_named || is_nothing, "{what}: {came}");
        assert!(came["message"].as_str().unwrap_or_default().len() < 4_000, "{what}: {came}");
    }
    assert_eq!(blue.attacks("honest", &[json!(50)])["right"], 50);
    unharmed(up);
}

/// What a tenant may not name on the machine: directories, and components by paths.
#[test]
fn no_path_of_the_machine_is_a_tenants_to_name() {
    let up = Up::start();
    let [red, _] = two(up.place());
    let own = up.place().path("");
    for host in ["/", "/etc", "/proc/self", "/proc/self/root", own.to_str().expect("text")] {
        let refused = red.attack(&["--dir", &format!("{host}::/data")], "lookup", &[json!("x")]);
        refused.exits(2).says(&["PERMISSION_DENIED", "directories"]);
    }
    // Variables of the engine's own process are none of a guest's, and a guest's none of the engine's.
    let said = red.attack(&["--env", "LD_PRELOAD=/x.so", "--env", "PATH=/x"], "lookup", &[json!("x")]);
    assert_eq!(said.exits(0).last_json()["code"], "NOT_FOUND");
    let names: Vec<Value> = red.items("jobs").iter().map(|job| job["name"].clone()).collect();
    assert!(!names.is_empty());
    unharmed(up);
}
