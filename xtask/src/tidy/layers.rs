//! A crate knows only what stands below it, and only a few know wasmtime or tonic.

use super::Violation;
use super::tree::{File, Tree};

/// Every crate of the engine and the SDKs, and which of ours it may know.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("engine-core", &[]),
    ("engine-proto", &["engine-core"]),
    ("engine-objects", &["engine-core"]),
    ("engine-arrays", &[]),
    ("engine-gpu", &[]),
    ("engine-runtime", &["engine-core", "engine-objects", "engine-arrays"]),
    ("engine-worker", &["engine-core", "engine-objects", "engine-runtime", "engine-proto"]),
    ("engine-private", &[]),
    ("engine-tls", &["engine-core", "engine-private"]),
    ("engine-access", &["engine-core", "engine-private"]),
    ("engine-oidc", &["engine-core", "engine-access"]),
    ("engine-audit", &["engine-private"]),
    (
        "engine-net",
        &["engine-core", "engine-proto", "engine-tls", "engine-access", "engine-oidc", "engine-audit"],
    ),
    ("engine-head", &["engine-core", "engine-private", "engine-proto", "engine-tls", "engine-net"]),
    (
        "engine-agent",
        &[
            "engine-core",
            "engine-objects",
            "engine-runtime",
            "engine-worker",
            "engine-proto",
            "engine-tls",
            "engine-net",
            "engine-head",
        ],
    ),
    (
        "engine-embedded",
        &[
            "engine-core",
            "engine-access",
            "engine-agent",
            "engine-head",
            "engine-net",
            "engine-proto",
            "engine-toolchain",
        ],
    ),
    ("engine-toolchain", &[]),
    (
        "engine-python",
        &[
            "engine-core",
            "engine-objects",
            "engine-runtime",
            "engine-proto",
            "engine-agent",
            "engine-embedded",
            "engine-client",
        ],
    ),
    ("engine-client", &["engine-core", "engine-proto", "engine-tls"]),
    (
        "engine-cli",
        &[
            "engine-core",
            "engine-access",
            "engine-oidc",
            "engine-private",
            "engine-audit",
            "engine-agent",
            "engine-embedded",
            "engine-head",
            "engine-net",
            "engine-client",
            "engine-proto",
            "engine-tls",
            "engine-toolchain",
            "engine-worker",
        ],
    ),
    ("engine-macros", &[]),
    ("engine-sdk", &["engine-macros"]),
];

/// Libraries that only some crates may know: the prefix of their names, who may, and why.
const RESERVED: &[(&str, &[&str], &str)] = &[
    (
        "wasmtime",
        &["engine-runtime", "engine-benches"],
        "sandboxes are the runtime's; go through engine-runtime",
    ),
    ("wgpu", &["engine-gpu"], "devices are engine-gpu's; go through it"),
    ("libloading", &["engine-gpu"], "drivers are loaded in one place; go through engine-gpu"),
    ("pyo3", &["engine-python"], "Python is the binding's; go through engine-python"),
    ("rustls", &["engine-tls"], "who is believed is decided in one place; go through engine-tls"),
    ("tokio-rustls", &["engine-tls"], "who is believed is decided in one place; go through engine-tls"),
    ("rcgen", &["engine-tls"], "certificates are engine-tls's to make"),
    (
        "biscuit-auth",
        &["engine-access"],
        "what a token grants is decided in one place; go through engine-access",
    ),
    ("tonic", &EDGES, "the wire is the edge's; go through engine-net or engine-proto"),
    ("prost", &PROST, "the wire is the edge's; go through engine-net or engine-proto"),
];

const EDGES: [&str; 6] =
    ["engine-proto", "engine-net", "engine-head", "engine-agent", "engine-client", "engine-cli"];
/// A GPU worker speaks over a socket of its own.
const PROST: [&str; 7] = [EDGES[0], EDGES[1], EDGES[2], EDGES[3], EDGES[4], EDGES[5], "engine-gpu"];

/// What core may never depend on: each brings a clock, randomness, threads, I/O or a sandbox.
const NOT_IN_CORE: &[&str] = &[
    "tokio",
    "tonic",
    "prost",
    "wasmtime",
    "rand",
    "getrandom",
    "fastrand",
    "parking_lot",
    "rustix",
    "libc",
    "futures",
    "tracing",
    "tempfile",
    "mio",
    "crossbeam",
    "rayon",
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let manifests = tree.files.iter().filter(|file| {
        file.path.ends_with("/Cargo.toml")
            && (file.path.starts_with("engine/") || file.path.starts_with("sdk/"))
    });
    manifests.flat_map(check_manifest).collect()
}

fn check_manifest(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    let manifest = Manifest::of(&file.text);
    let Some((_, may_know)) = MAY_KNOW.iter().find(|(name, _)| *name == manifest.name) else {
        let what = format!(
            "`{}` has no place in the house; give it one in xtask/src/tidy/layers.rs and ARCHITECTURE.md",
            manifest.name
        );
        return vec![Violation::new(&file.path, 1, what)];
    };
    for (line, name) in &manifest.dependencies {
        let is_ours = MAY_KNOW.iter().any(|(ours, _)| ours == name);
        if is_ours && !may_know.contains(&name.as_str()) {
            let what = format!(
                "{} may not know {name}, which does not stand below it; it may know: {}",
                manifest.name,
                if may_know.is_empty() { "none of ours".into() } else { may_know.join(", ") }
            );
            found.push(Violation::new(&file.path, *line, what));
        }
        for (prefix, who, instead) in RESERVED {
            if name.starts_with(prefix) && !who.contains(&manifest.name.as_str()) {
                let what = format!("{} may not name {name}: {instead}", manifest.name);
                found.push(Violation::new(&file.path, *line, what));
            }
        }
        let heads = |banned: &&&str| name == **banned || name.starts_with(&format!("{banned}-"));
        if manifest.name == "engine-core" && NOT_IN_CORE.iter().find(heads).is_some() {
            let what = format!("core is pure and may not depend on {name}; let it come in with an event");
            found.push(Violation::new(&file.path, *line, what));
        }
    }
    found
}

/// What we need of a manifest: the package's name, and what it depends on outside tests.
#[derive(Debug, Default)]
struct Manifest {
    name: String,
    dependencies: Vec<(usize, String)>,
}

impl Manifest {
    fn of(text: &str) -> Self {
        let mut manifest = Self::default();
        let mut section = String::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_end_matches(']').trim_matches('[').to_owned();
                for kind in ["dependencies.", "build-dependencies."] {
                    if let Some(name) = section.strip_prefix(kind) {
                        manifest.dependencies.push((index + 1, name.to_owned()));
                    }
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let key = key.trim().split('.').next().unwrap_or_default().trim_matches('"');
            let lists = section == "dependencies"
                || section == "build-dependencies"
                || section.starts_with("target.") && section.ends_with(".dependencies");
            if lists && !key.starts_with('#') {
                manifest.dependencies.push((index + 1, key.to_owned()));
            } else if section == "package" && key == "name" {
                manifest.name = value.trim().trim_matches('"').to_owned();
            }
        }
        manifest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, dependencies: &str) -> Vec<Violation> {
        let text = format!("[package]\nname = \"{name}\"\n\n[dependencies]\n{dependencies}\n");
        check(&Tree::of(&[("engine/x/Cargo.toml", &text)]))
    }

    #[test]
    fn what_stands_below_may_be_known() {
        assert_eq!(found("engine-runtime", "engine-core.workspace = true\nwasmtime = \"48\""), []);
    }

    #[test]
    fn what_stands_above_may_not() {
        let found = found("engine-objects", "serde = \"1\"\nengine-agent.workspace = true");
        assert_eq!((found.len(), found[0].line), (1, 6));
    }

    #[test]
    fn core_stays_pure() {
        for name in
            ["tokio = \"1\"", "parking_lot.workspace = true", "wasmtime = \"48\"", "tokio-util = \"1\""]
        {
            assert!(!found("engine-core", name).is_empty(), "{name}");
        }
        assert_eq!(found("engine-core", "siphasher = \"1\""), []);
    }

    #[test]
    fn only_the_runtime_names_wasmtime_and_only_edges_tonic() {
        assert_eq!(found("engine-agent", "wasmtime-wasi = \"48\"").len(), 1);
        assert_eq!(found("engine-runtime", "tonic = \"0.14\"").len(), 1);
        assert_eq!(found("engine-net", "tonic = \"0.14\""), []);
    }

    #[test]
    fn tests_may_know_more() {
        let text = "[package]\nname = \"engine-core\"\n[dev-dependencies]\ntokio = \"1\"\n";
        assert_eq!(check(&Tree::of(&[("engine/core/Cargo.toml", text)])), []);
    }

    #[test]
    fn a_new_crate_needs_a_place() {
        assert!(found("engine-attic", "")[0].what.contains("no place"));
    }
}
