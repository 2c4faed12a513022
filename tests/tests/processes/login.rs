//! Logging in with ID tokens of a real issuer: a process that `cargo xtask test-servers` provides.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use engine_tests::{Outcome, Place, Up, until};
use serde_json::{Value, json};

use super::tenants::Secure;

/// Names the issuer's program.
const VARIABLE: &str = "ENGINE_OIDC_ISSUER";

/// An issuer that knows ann, of the group team-red, and eve, of none.
struct Issuer {
    process: Child,
    at: SocketAddr,
}

impl Issuer {
    /// None where nobody provides one; then these tests say so.
    fn start() -> Option<Self> {
        let Some(program) = std::env::var_os(VARIABLE) else {
            assert!(std::env::var_os("CI").is_none(), "{VARIABLE} names no issuer");
            eprintln!("ignored: {VARIABLE} names no issuer; `cargo xtask test-servers` provides one");
            return None;
        };
        let at = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let people = [json!({ "sub": "ann", "groups": ["team-red", "staff"] }), json!({ "sub": "eve" })];
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--port", &at.port().to_string()]);
        for person in people {
            command.args(["--user-claims", &person.to_string()]);
        }
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let issuer = Self { process, at };
        until("the issuer answers", || issuer.ask("GET /jwks", "").map(drop));
        Some(issuer)
    }

    /// What it answers to a request, `METHOD PATH`, with a form.
    fn ask(&self, request: &str, form: &str) -> Result<String, String> {
        let failed = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect(self.at).map_err(failed)?;
        let head = format!(
            "{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n",
            self.at,
            form.len()
        );
        stream.write_all((head + form).as_bytes()).map_err(failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(failed)?;
        Ok(answer)
    }

    /// An ID token of somebody, for an audience, as a browser and a client would get it.
    fn id_token(&self, who: &str, audience: &str) -> String {
        let back = "http://127.0.0.1/back";
        let authorize = format!(
            "POST /oauth2/authorize?client_id={audience}&redirect_uri={back}&response_type=code&scope=openid%20profile"
        );
        let answer = self.ask(&authorize, &format!("sub={who}")).expect("it answers");
        let code = answer.split_once("code=").map(|(_, rest)| rest).expect(&answer);
        let code: String = code.chars().take_while(|letter| !matches!(letter, '&' | '\r' | '"')).collect();
        let form = format!(
            "grant_type=authorization_code&code={code}&redirect_uri={back}&client_id={audience}&client_secret=x"
        );
        let answer = self.ask("POST /oauth2/token", &form).expect("it answers");
        let from = answer.find('{').expect(&answer);
        let to = answer.rfind('}').expect(&answer);
        let fields: Value = serde_json::from_str(&answer[from..=to]).expect(&answer);
        fields["id_token"].as_str().expect(&answer).to_owned()
    }

    fn rules(&self, place: &Place) -> String {
        let text = format!(
            "issuer = \"http://{}\"\naudience = \"engine\"\nlifetime = \"2h\"\n\n[[rule]]\n\
             claims = {{ groups = \"team-red\" }}\ntenant = \"red\"\nrole = \"submitter\"\n",
            self.at
        );
        text_of(&place.file("login.toml", text)).to_owned()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

fn login(place: &Place, address: &[&str], id_token: &str) -> Outcome {
    let words = address.iter().chain(&["login", "--id-token", "-"]);
    place.engine(words).input(&format!("{id_token}\n")).run()
}

/// No part of an ID token that says something stands in it.
#[track_caller]
fn does_not_tell(text: &str, id_token: &str) {
    for part in id_token.split('.').skip(1) {
        assert!(!text.contains(&part[..part.len().min(40)]), "{text}");
    }
}

/// Each text file below a folder.
fn texts(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => all += &texts(&path),
            false => all += &String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()),
        }
    }
    all
}

#[test]
fn whom_the_issuer_knows_gets_a_token_by_the_operators_rules() {
    let Some(issuer) = Issuer::start() else { return };
    let place = Place::new();
    let (rules, audit) = (issuer.rules(&place), place.path("audit"));
    let sizes = ["--cpus", "2", "--memory", "4GiB"];
    let edge = ["--require-token", "--oidc", &rules, "--audit-log", text_of(&audit)];
    let words = ["up"].iter().chain(&sizes).chain(&edge);
    let mut running = place.engine(words).env("RUST_LOG", "debug").start();
    let said = running.wait_for_stderr("listening on ");
    let line = said.lines().find(|line| line.contains("the operator's stands in")).expect("it says where");
    let operator = line.rsplit(' ').next().expect("a path").to_owned();
    let up = Up::around(running, place);
    let place = up.place();
    up.engine(&["job", "list"]).exits(2).says(&["UNAUTHENTICATED"]);

    let ann = issuer.id_token("ann", "engine");
    login(place, &[], &ann).exits(0).says(&["ann is logged in", "of tenant red", "until "]);
    place.submit("selftest", &["nothing"]).run().exits(0);
    assert_eq!(up.json(&["job", "list"])["total"], 1);
    up.engine(&["tenant", "set", "red"]).exits(2).says(&["PERMISSION_DENIED", "verb operate"]);
    // What is named counts before what is kept.
    up.engine(&["--token-file", &operator, "tenant", "set", "red"]).exits(0);

    let (head, rest) = ann.split_once('.').expect("three parts");
    let (body, signature) = rest.split_once('.').expect("three parts");
    let eve = issuer.id_token("eve", "engine");
    let of_eve = eve.split('.').nth(1).expect("three parts");
    let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for (bad, why) in [
        (issuer.id_token("ann", "other"), "audience"),
        (format!("{head}.{of_eve}.{signature}"), "signature"),
        (format!("{unsigned}.{body}."), "none"),
        ("x".to_owned(), "malformed"),
    ] {
        let said = login(place, &[], &bad).exits(2).says(&["UNAUTHENTICATED", why]);
        does_not_tell(&said.stderr, &ann);
    }
    login(place, &[], &eve).exits(2).says(&["PERMISSION_DENIED", "no rule fits \"eve\""]);
    let other = place.engine(["login", "--id-token", "-", "--tenant", "blue"]).input(&ann).run();
    other.exits(2).says(&["PERMISSION_DENIED"]);
    // Those that went wrong changed nothing.
    up.engine(&["job", "list"]).exits(0);
    up.engine(&["login", "--forget"]).exits(0);
    up.engine(&["job", "list"]).exits(2).says(&["UNAUTHENTICATED"]);
    let token = place.engine(["login", "--id-token", "-", "--print"]).input(&ann).run().exits(0).stdout;
    place.engine(["job", "list"]).env("ENGINE_TOKEN", token.trim()).run().exits(0);

    let logins = until("the logins stand in the audit log", || {
        let words = ["--token-file", &operator, "audit", "--format", "json"];
        let shown = up.engine(&words).exits(0).stdout;
        let lines = shown.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let logins: Vec<Value> = lines.filter(|line| line["method"] == "Tokens.Login").collect();
        if logins.len() >= 8 { Ok(logins) } else { Err(shown) }
    });
    let good: Vec<&Value> = logins.iter().filter(|line| line["outcome"] == "OK").collect();
    assert_eq!(good.len(), 2, "{logins:#?}");
    assert!(good.iter().all(|line| line["on"]["subject"] == "ann" && line["on"]["tenant"] == "red"));
    for id_token in [&ann, &eve] {
        does_not_tell(&texts(&audit), id_token);
        does_not_tell(&up.stderr_so_far(), id_token);
    }
}

#[test]
fn who_logs_in_to_a_cluster_knows_it_by_its_fingerprint() {
    let Some(issuer) = Issuer::start() else { return };
    let rules = Place::new();
    let cluster = Secure::start(&["--oidc", &issuer.rules(&rules)]);
    let said = cluster.head.stderr_so_far();
    let (_, rest) = said.split_once("fingerprint of its authority: ").expect("it says so");
    let fingerprint = rest.lines().next().expect("a line").trim().to_owned();
    let elsewhere = Place::new();
    let at = ["--address", cluster.at.as_str()];
    let ann = issuer.id_token("ann", "engine");
    let words = |authority: &str| {
        let words = ["login", "--id-token", "-", "--authority", authority];
        elsewhere.engine(at.iter().chain(&words)).input(&ann).run()
    };
    let wrong = format!("{}{}", if fingerprint.starts_with('0') { "1" } else { "0" }, &fingerprint[1..]);
    words(&wrong).exits(3);
    login(&elsewhere, &at, &ann).exits(3);
    words(&fingerprint).exits(0).says(&["ann is logged in", "of tenant red"]);
    // With nothing but the address.
    let list: Vec<&str> = at.iter().copied().chain(["job", "list"]).collect();
    elsewhere.engine(&list).run().exits(0);
}
