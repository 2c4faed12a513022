use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use engine_access::{Role, Verb};
use engine_core::ErrorCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::*;

/// A key of an issuer.
struct Secret {
    id: &'static str,
    algorithm: Algorithm,
    encoding: EncodingKey,
    jwk: Value,
}

impl Secret {
    fn p256(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        // 4, and both coordinates.
        let point = pair.public_key().as_ref()[1..].to_vec();
        let (x, y) = point.split_at(32);
        let text = |bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": text(x), "y": text(y) });
        Self { id, algorithm: Algorithm::ES256, encoding: EncodingKey::from_ec_der(pkcs8.as_ref()), jwk }
    }

    fn ed25519(id: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "alg": "EdDSA", "x": x });
        Self { id, algorithm: Algorithm::EdDSA, encoding: EncodingKey::from_ed_der(pkcs8.as_ref()), jwk }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.encoding).unwrap()
    }
}

/// What answers as an issuer does.
struct Issuer {
    url: String,
    keys: Arc<Mutex<Value>>,
    /// Questions for the keys.
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn with(keys: &[&Secret]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (own, set, asked) = (url.clone(), Arc::new(Mutex::new(set(keys))), Arc::<AtomicUsize>::default());
        let (keys, count) = (set.clone(), asked.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap();
                let is_for_keys = String::from_utf8_lossy(&head[..read]).starts_with("GET /keys ");
                let body = match is_for_keys {
                    true => {
                        count.fetch_add(1, Ordering::SeqCst);
                        set.lock().await.to_string()
                    }
                    false => json!({ "issuer": own, "jwks_uri": format!("{own}/keys") }).to_string(),
                };
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
        });
        Self { url, keys, asked: count_of(&asked) }
    }

    fn oidc(&self, pause: Duration) -> Oidc {
        let rules = Rules::parse(&rules(&self.url)).unwrap();
        let keys = Keys::new(&rules.issuer, pause).unwrap();
        Oidc { rules, keys }
    }

    /// The claims of somebody whom a rule fits.
    fn claims(&self) -> Value {
        json!({ "iss": self.url, "aud": "engine", "sub": "ann", "exp": now() + 600, "groups": ["x", "team-red"] })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn count_of(asked: &Arc<AtomicUsize>) -> Arc<AtomicUsize> {
    asked.clone()
}

fn set(keys: &[&Secret]) -> Value {
    let mut all: Vec<Value> = keys.iter().map(|key| key.jwk.clone()).collect();
    // Of a kind that nobody here knows, and a secret that is none.
    all.push(json!({ "kty": "NEW", "kid": "new" }));
    all.push(json!({ "kty": "oct", "kid": "secret", "k": "c2VjcmV0" }));
    json!({ "keys": all })
}

fn rules(issuer: &str) -> String {
    format!(
        "issuer = \"{issuer}\"\naudience = \"engine\"\n\
         [[rule]]\nclaims = {{ groups = \"team-red\" }}\ntenant = \"red\"\nrole = \"submitter\"\n\
         [[rule]]\nclaims = {{ groups = \"team-red\", sub = \"ann\" }}\ntenant = \"blue\"\nrole = \"viewer\"\n\
         [[rule]]\nclaims = {{ \"/access/roles\" = \"admin\" }}\nrole = \"operator\"\n"
    )
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[track_caller]
fn refusal(result: Result<Login, Error>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unauthenticated, "{error}");
    error.message().to_owned()
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[tokio::test]
async fn whom_the_issuer_knows_gets_what_the_first_rule_that_fits_says() {
    for key in [Secret::p256("a"), Secret::ed25519("b")] {
        let issuer = Issuer::with(&[&key]).await;
        let oidc = issuer.oidc(Duration::ZERO);
        let token = key.sign(&issuer.claims());
        let login = oidc.login(&token, "").await.unwrap();
        assert_eq!(login.subject, "ann");
        assert_eq!(login.grant.scope.tenant, Some("red".parse().unwrap()));
        assert_eq!(login.grant.verbs, Role::Submitter.verbs());
        assert_eq!(login.grant.lifetime, limits::LOGIN_LIFETIME_DEFAULT);
        let blue = oidc.login(&token, "blue").await.unwrap().grant;
        assert_eq!((blue.scope.tenant, blue.verbs), (Some("blue".parse().unwrap()), Role::Viewer.verbs()));
        assert_eq!(oidc.login(&token, "green").await.unwrap_err().code(), ErrorCode::PermissionDenied);
        let of_one = with(issuer.claims(), "aud", json!(["other", "engine"]));
        oidc.login(&key.sign(&of_one), "").await.unwrap();
        let admin = with(issuer.claims(), "groups", json!("none"));
        let admin = with(admin, "access", json!({ "roles": ["admin"] }));
        assert!(oidc.login(&key.sign(&admin), "").await.unwrap().grant.verbs.has(Verb::Operate));
        let other = with(issuer.claims(), "groups", json!(["team-redder"]));
        let error = oidc.login(&key.sign(&other), "").await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::PermissionDenied);
        assert_eq!(issuer.asked(), 1, "the keys are fetched once");
    }
}

#[tokio::test]
async fn what_is_not_for_this_engine_or_not_of_this_time_is_refused() {
    let key = Secret::p256("a");
    let issuer = Issuer::with(&[&key]).await;
    let oidc = issuer.oidc(Duration::ZERO);
    for (name, value, why) in [
        ("aud", json!("other"), "audience"),
        ("aud", json!([]), "audience"),
        ("iss", json!("http://127.0.0.1:1"), "issuer"),
        ("exp", json!(now() - 120), "expired"),
        ("exp", Value::Null, "exp"),
        ("nbf", json!(now() + 120), "not good yet"),
        ("sub", json!(""), "subject"),
    ] {
        let token = key.sign(&with(issuer.claims(), name, value));
        let said = refusal(oidc.login(&token, "").await);
        assert!(said.contains(why) && !said.contains(&token[..40]), "{name}: {said}");
    }
    for name in ["aud", "iss", "exp"] {
        let mut claims = issuer.claims();
        claims.as_object_mut().unwrap().remove(name);
        refusal(oidc.login(&key.sign(&claims), "").await);
    }
}

#[tokio::test]
async fn what_no_key_of_the_issuer_has_signed_is_refused() {
    let (key, other) = (Secret::p256("a"), Secret::p256("a"));
    let issuer = Issuer::with(&[&key]).await;
    let oidc = issuer.oidc(Duration::from_secs(3600));
    let token = key.sign(&issuer.claims());
    let (head, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let mine = part(&with(issuer.claims(), "sub", json!("root")));
    let none = part(&json!({ "alg": "none", "typ": "JWT" }));
    let crit = part(&json!({ "alg": "ES256", "kid": "a", "crit": ["b64"], "b64": false }));
    let header = |algorithm| Header { kid: Some("secret".to_owned()), ..Header::new(algorithm) };
    let mac = |secret: &[u8]| {
        let key = EncodingKey::from_secret(secret);
        jsonwebtoken::encode(&header(Algorithm::HS256), &issuer.claims(), &key).unwrap()
    };
    for (bad, why) in [
        (other.sign(&issuer.claims()), "signature"),
        (format!("{head}.{mine}.{signature}"), "signature"),
        (format!("{head}.{body}."), "signature"),
        (format!("{none}.{body}."), "none"),
        (format!("{none}.{body}.{signature}"), "none"),
        (format!("{crit}.{body}.{signature}"), "crit"),
        (mac(b"secret"), "HS256"),
        (mac(key.jwk.to_string().as_bytes()), "HS256"),
        (format!("{head}.{body}"), "malformed"),
        (format!("{token}.x"), "malformed"),
        (String::new(), "malformed"),
        ("x".repeat(limits::ID_TOKEN_BYTES_MAX + 1), "id_token_bytes_max"),
    ] {
        let said = refusal(oidc.login(&bad, "").await);
        assert!(said.contains(why), "{why}: {said}");
    }
    oidc.login(&token, "").await.unwrap();
}

#[tokio::test]
async fn keys_that_the_issuer_changes_are_fetched_and_not_more_often_than_bounded() {
    let (old, new) = (Secret::p256("old"), Secret::ed25519("new"));
    let issuer = Issuer::with(&[&old]).await;
    let (eager, slow) = (issuer.oidc(Duration::ZERO), issuer.oidc(Duration::from_secs(3600)));
    for oidc in [&eager, &slow] {
        oidc.login(&old.sign(&issuer.claims()), "").await.unwrap();
    }
    *issuer.keys.lock().await = set(&[&new]);
    let before = issuer.asked();
    for _ in 0..20 {
        let said = refusal(slow.login(&new.sign(&issuer.claims()), "").await);
        assert!(said.contains("none of the issuer's"), "{said}");
    }
    assert_eq!(issuer.asked(), before, "a stranger does not have the issuer asked");
    eager.login(&new.sign(&issuer.claims()), "").await.unwrap();
    let said = refusal(eager.login(&old.sign(&issuer.claims()), "").await);
    assert!(said.contains("none of the issuer's"), "what was taken back is good no more: {said}");
}

#[tokio::test]
async fn an_issuer_that_is_another_or_does_not_answer_is_said() {
    let key = Secret::p256("a");
    let issuer = Issuer::with(&[&key]).await;
    let claims = issuer.claims();
    let text = rules(&format!("{}/", issuer.url));
    let oidc = Oidc::new(Rules::parse(&text).unwrap()).unwrap();
    assert!(refusal(oidc.login(&key.sign(&claims), "").await).contains("about another issuer"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let oidc = Oidc::new(Rules::parse(&rules(&format!("http://{closed}"))).unwrap()).unwrap();
    let said = refusal(oidc.login(&key.sign(&claims), "").await);
    assert!(said.contains("cannot be fetched") && said.contains("well-known"), "{said}");
}

#[test]
fn a_file_says_where_it_is_wrong() {
    let good = rules("https://login.example.com");
    Rules::parse(&good).unwrap();
    for (from, to, why) in [
        ("https://", "http://", "is not https"),
        ("https://login.example.com", "x", "issuer"),
        ("audience = \"engine\"", "audience = \"\"", "audience"),
        ("audience = \"engine\"", "", "audience"),
        ("audience = \"engine\"", "audience = \"engine\"\nlifetime = \"25h\"", "login_lifetime_max"),
        ("audience = \"engine\"", "audience = \"engine\"\nlifetimes = \"1h\"", "lifetimes"),
        ("{ groups = \"team-red\" }", "{}", "rule 1: it has no claims"),
        ("role = \"submitter\"", "role = \"admin\"", "rule 1: \"admin\""),
        ("tenant = \"blue\"\n", "", "rule 2: a viewer is of a tenant"),
        (
            "role = \"operator\"",
            "role = \"operator\"\ntenant = \"red\"",
            "rule 3: an operator is of no tenant",
        ),
    ] {
        let error = Rules::parse(&good.replacen(from, to, 1)).unwrap_err();
        assert!(error.message().contains(why), "{why}: {error}");
    }
    let none: String = good.lines().take(2).map(|line| format!("{line}\n")).collect();
    assert!(Rules::parse(&none).unwrap_err().message().contains("0 rules"));
}
