//! Tenants that take only components which are signed or allowed: each other one is refused before it is looked at.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine_tests::{Outcome, Place, Up, guest, until};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::{EncodePublicKey, LineEnding};
use serde_json::Value;

use super::tenants::{Tenant, tenant};

/// Who signs.
struct Key {
    secret: SigningKey,
    /// Its public half, in a file.
    public: PathBuf,
}

impl Key {
    fn new(place: &Place, seed: u8) -> Self {
        let secret = SigningKey::from_slice(&[seed; 32]).expect("a key");
        let pem = secret.verifying_key().to_public_key_pem(LineEnding::LF).expect("it is written");
        Self { secret, public: place.file(&format!("key-{seed}.pem"), pem) }
    }

    /// As `cosign sign-blob --key` writes it.
    fn sign(&self, bytes: &[u8]) -> String {
        let signature: Signature = self.secret.sign(bytes);
        BASE64_STANDARD.encode(signature.to_der()) + "\n"
    }

    fn named(&self) -> [&str; 2] {
        ["--require-signed-by", text(&self.public)]
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

fn set(place: &Place, words: &[&str]) -> Outcome {
    place.engine(["tenant", "set", "red"].iter().chain(words)).run()
}

fn allow(place: &Place, words: &[&str]) -> Outcome {
    place.engine(["tenant", "allow", "red"].iter().chain(words)).run()
}

fn submit(red: &Tenant<'_>, module: &Path, options: &[&str]) -> Outcome {
    let words: Vec<&str> = ["submit", text(module)].iter().chain(options).copied().collect();
    red.engine(&words)
}

fn listed(place: &Place) -> Value {
    let all = place.engine(["tenant", "list", "red", "--format", "json"]).run().exits(0).json();
    all["items"][0].clone()
}

#[test]
fn a_tenant_that_takes_only_signed_components_takes_no_other() {
    let up = Up::start();
    let place = up.place();
    let (ours, other) = (Key::new(place, 1), Key::new(place, 2));
    place.engine(["tenant", "create", "red", "--actors-max", "7"]).run().exits(0);
    let red = tenant(place, None, "red", "submitter");
    let bytes = fs::read(guest("squares")).expect("the guest");
    let module = place.file("job.wasm", &bytes);
    // Before, so that it lies compiled in every cache.
    submit(&red, &module, &[]).exits(0);
    let sleeping = red.submitted(&[], &["sleeps", "3", "1500"]);

    set(place, &ours.named()).exits(0).says(&["signed by 1 key, and no other"]);
    submit(&red, &module, &[]).exits(2).says(&[
        "PERMISSION_DENIED",
        "the component main (sha256:",
        "is not signed",
        "--signature FILE",
        "engine tenant allow red sha256:",
    ]);
    let signature = place.file("job.wasm.sig", ours.sign(&bytes));
    submit(&red, &module, &[]).exits(0).prints(&["285"]);
    let elsewhere = place.file("elsewhere", ours.sign(&bytes));
    fs::remove_file(&signature).expect("it was there");
    submit(&red, &module, &["--signature", text(&elsewhere)]).exits(0);

    // Of another key, of another component, of none.
    for bad in [other.sign(&bytes), ours.sign(b"another"), BASE64_STANDARD.encode([0; 70])] {
        fs::write(&signature, bad).expect("it is written");
        submit(&red, &module, &[]).exits(2).says(&["PERMISSION_DENIED", "the signature of", "is not good"]);
    }
    // What has the header of a component and is none: nobody has looked further.
    fs::write(&signature, ours.sign(&bytes)).expect("it is written");
    let tampered: Vec<u8> = bytes[..8].iter().chain(b"tampered").copied().collect();
    let tampered = place.file("tampered.wasm", tampered);
    submit(&red, &tampered, &["--signature", text(&signature)]).exits(2).says(&["PERMISSION_DENIED"]);
    submit(&red, &tampered, &[]).exits(2).says(&["PERMISSION_DENIED", "is not signed"]);

    // Each component of a job.
    let with = place.file("other.wasm", fs::read(guest("plain-component")).expect("the guest"));
    let named = format!("other={}", text(&with));
    submit(&red, &module, &["--with", &named]).exits(2).says(&["PERMISSION_DENIED", "is not signed"]);
    place.file("other.wasm.sig", ours.sign(&fs::read(&with).expect("it is there")));
    submit(&red, &module, &["--with", &named]).exits(0);

    // Keys are changed for others, and a component is allowed without one.
    set(place, &other.named()).exits(0);
    submit(&red, &module, &[]).exits(2).says(&["is not good"]);
    let both: Vec<&str> = ours.named().into_iter().chain(other.named()).collect();
    set(place, &both).exits(0).says(&["one of 2 keys"]);
    submit(&red, &module, &[]).exits(0);
    set(place, &["--require-allowed"]).exits(0);
    submit(&red, &module, &[]).exits(2).says(&["is not allowed"]);
    allow(place, &[text(&module)]).exits(0).says(&["1 components, and no other"]);
    submit(&red, &module, &[]).exits(0);
    allow(place, &[text(&module), "--remove"]).exits(0);
    submit(&red, &module, &[]).exits(2);

    // What holds is told, and is the operator's to change alone; quotas are another matter.
    set(place, &ours.named()).exits(0);
    set(place, &["--actors-max", "8", "--weight", "2"]).exits(0);
    let view = listed(place);
    assert_eq!(view["components"]["is_required"], true, "{view:#}");
    assert_eq!(view["components"]["signers"].as_array().map(Vec::len), Some(1), "{view:#}");
    assert_eq!((&view["quotas"]["actors_max"], &view["weight"]), (&8.into(), &2.into()), "{view:#}");
    let admin = tenant(place, None, "red", "tenant-admin");
    for words in
        [&["tenant", "set", "red", "--no-requirement"][..], &["tenant", "allow", "red", text(&module)]]
    {
        admin.engine(words).exits(2).says(&["PERMISSION_DENIED", "verb operate"]);
    }
    let blue = tenant(place, None, "blue", "submitter");
    submit(&blue, &tampered, &[]).exits(2).says(&["INVALID_COMPONENT"]);
    let unsigned = place.file("unsigned.wasm", &bytes);
    submit(&blue, &unsigned, &[]).exits(0);
    submit(&red, &unsigned, &[]).exits(2).says(&["is not signed"]);

    // What ran before went on.
    until("it has ended", || match red.json(&["job", "status", &sleeping])["state"].as_str() {
        Some("SUCCEEDED") => Ok(()),
        state => Err(format!("{state:?}")),
    });
    set(place, &["--no-requirement"]).exits(0).says(&["any component"]);
    submit(&red, &unsigned, &[]).exits(0);
}

#[test]
fn a_job_of_signed_components_runs_on_every_node_and_its_head_remembers() {
    let up = Up::with(&["--nodes", "3", "--cpus", "1"]);
    let place = up.place();
    let key = Key::new(place, 3);
    place.engine(["tenant", "create", "red"]).run().exits(0);
    set(place, &key.named()).exits(0);
    let red = tenant(place, None, "red", "submitter");
    let signature = place.file("signature", key.sign(&fs::read(guest("selftest")).expect("the guest")));
    red.submit(&[], &["sleeps", "9", "300"]).exits(2).says(&["PERMISSION_DENIED", "is not signed"]);
    red.submit(&["--signature", text(&signature)], &["sleeps", "9", "300"]).exits(0);
    let tasks = red.items("tasks");
    let nodes: std::collections::BTreeSet<&str> =
        tasks.iter().filter_map(|task| task["node_id"].as_str()).collect();
    assert_eq!(nodes.len(), 3, "{tasks:?}");
    drop(up);

    let place = Place::new();
    let start = || {
        let folder = place.path("head");
        let mut head = place.engine(["head", "--listen", "127.0.0.1:0", "--data-dir", text(&folder)]).start();
        head.wait_for_stderr("listening on ");
        head
    };
    let head = start();
    set(&place, &Key::new(&place, 4).named()).exits(0);
    allow(&place, &[text(&guest("squares"))]).exits(0);
    let said = listed(&place)["components"].clone();
    assert_eq!(
        (said["is_required"].as_bool(), said["allowed"].as_array().map(Vec::len)),
        (Some(true), Some(1))
    );
    head.kill();
    let head = start();
    assert_eq!(listed(&place)["components"], said);
    place.engine(["tenant", "delete", "red"]).run().exits(0);
    place.engine(["tenant", "list", "red"]).run().exits(2).says(&["NOT_FOUND"]);
    drop(head);
}
