use base64::Engine as _;
use ed25519_dalek::Signer as _;
use p256::ecdsa::SigningKey as P256Secret;
use p256::pkcs8::LineEnding;

use super::*;

const BYTES: &[u8] = b"\0asm: a component";

fn id(bytes: &[u8]) -> ComponentId {
    ComponentId(Sha256::digest(bytes).into())
}

fn p256(seed: u8) -> P256Secret {
    P256Secret::from_slice(&[seed; 32]).unwrap()
}

fn ed25519(seed: u8) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[seed; 32])
}

fn pem(key: &impl EncodePublicKey) -> String {
    key.to_public_key_pem(LineEnding::LF).unwrap()
}

fn signed(secret: &P256Secret, bytes: &[u8]) -> Vec<u8> {
    let signature: p256::ecdsa::Signature = secret.sign(bytes);
    signature.to_der().as_bytes().to_vec()
}

fn required(signers: &[Signer]) -> ComponentPolicy {
    let requirement = Some(Requirement::SignedBy(signers.to_vec()));
    ComponentPolicy::default().changed(PolicyChange { requirement, ..PolicyChange::default() }).unwrap()
}

#[track_caller]
fn check(policy: &ComponentPolicy, bytes: &[u8], signature: &[u8]) -> Result<(), String> {
    let id = id(bytes);
    let given = if policy.needs_bytes(id, signature) { bytes } else { &[] };
    let offered = Offered { name: "main", id, signature, bytes: given };
    policy.check(&"red".parse().unwrap(), offered).map_err(|error| {
        assert_eq!(error.code(), ErrorCode::PermissionDenied);
        error.message().to_owned()
    })
}

#[test]
fn keys_of_both_kinds_sign_and_nothing_else_passes() {
    let (ours, other, third) = (p256(1), p256(2), ed25519(3));
    let signers = [
        Signer::from_pem(&pem(ours.verifying_key())).unwrap(),
        Signer::from_pem(&pem(&third.verifying_key())).unwrap(),
    ];
    let policy = required(&signers);
    check(&policy, BYTES, &signed(&ours, BYTES)).unwrap();
    check(&policy, BYTES, &third.sign(BYTES).to_bytes()).unwrap();
    let unsigned = check(&policy, BYTES, &[]).unwrap_err();
    assert!(unsigned.contains("is not signed") && unsigned.contains("engine tenant allow red sha256:"));
    for bad in [
        signed(&other, BYTES),
        signed(&ours, b"\0asm: another component"),
        ed25519(4).sign(BYTES).to_bytes().to_vec(),
        third.sign(b"\0asm: another component").to_bytes().to_vec(),
        signed(&ours, BYTES)[1..].to_vec(),
        vec![0; 64],
        b"nonsense".to_vec(),
    ] {
        let refused = check(&policy, BYTES, &bad).unwrap_err();
        assert!(refused.contains("is not good") && refused.contains("one of its 2 keys"), "{refused}");
    }
    assert!(check(&policy, b"\0asm: a tampered component", &signed(&ours, BYTES)).is_err());
    // A key that is taken away signs no more.
    check(&required(&signers[1..]), BYTES, &signed(&ours, BYTES)).unwrap_err();
}

#[test]
fn what_is_allowed_needs_no_signature_and_what_is_not_required_nothing() {
    let policy = required(&[]);
    assert!(check(&policy, BYTES, &[]).unwrap_err().contains("is not allowed"));
    let allow = PolicyChange { allow: vec![id(BYTES)], ..PolicyChange::default() };
    let policy = policy.changed(allow.clone()).unwrap();
    check(&policy, BYTES, &[]).unwrap();
    assert!(check(&policy, b"\0asm", &[]).is_err());
    assert_eq!(policy.for_components(&[id(b"x")]).allowed.len(), 0);
    check(&policy.for_components(&[id(BYTES)]), BYTES, &[]).unwrap();
    let disallow = PolicyChange { disallow: vec![id(BYTES)], ..PolicyChange::default() };
    assert!(check(&policy.changed(disallow).unwrap(), BYTES, &[]).is_err());

    let nothing = PolicyChange { requirement: Some(Requirement::Nothing), ..PolicyChange::default() };
    let none = policy.changed(nothing).unwrap();
    check(&none, b"\0asm", &[]).unwrap();
    assert!(!none.is_empty(), "what was allowed stays");
    check(&ComponentPolicy::default().changed(allow).unwrap(), b"\0asm", &[]).unwrap();
}

#[test]
fn keys_are_known_by_their_fingerprints_and_read_back() {
    for key in [pem(p256(1).verifying_key()), pem(&ed25519(1).verifying_key())] {
        let signer = Signer::from_pem(&key).unwrap();
        assert_eq!(Signer::from_der(signer.der()).unwrap(), signer);
        assert_eq!(signer.fingerprint().len(), "SHA256:".len() + 64);
    }
    for bad in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "key"] {
        assert_eq!(Signer::from_pem(bad).unwrap_err().code(), ErrorCode::InvalidArgument);
    }
    assert_eq!(Signer::from_der(b"x").unwrap_err().code(), ErrorCode::InvalidArgument);
}

#[test]
fn a_file_has_a_signature_as_text_or_as_bytes() {
    let bytes = signed(&p256(1), BYTES);
    let text = BASE64_STANDARD.encode(&bytes);
    let (begin, end) = text.split_at(40);
    for file in [text.clone(), format!("{text}\n"), format!("{begin}\n{end}\n")] {
        assert_eq!(signature(file.as_bytes()).unwrap(), bytes);
    }
    assert_eq!(signature(&bytes).unwrap(), bytes);
    assert_eq!(signature(b" \n").unwrap_err().code(), ErrorCode::InvalidArgument);
    let error = signature(&[0xff; SIGNATURE_BYTES_MAX + 1]).unwrap_err();
    assert!(error.message().contains("signature_bytes_max"), "{error}");
}

#[test]
fn there_is_a_bound_on_each() {
    let many: Vec<Signer> = (1..=SIGNERS_MAX as u8 + 1)
        .map(|seed| Signer::from_pem(&pem(&ed25519(seed).verifying_key())).unwrap())
        .collect();
    let requirement = Some(Requirement::SignedBy(many));
    let change = PolicyChange { requirement, ..PolicyChange::default() };
    let error = ComponentPolicy::default().changed(change).unwrap_err();
    assert!(error.message().contains("signers_max"), "{error}");
    let allow = (0..=ALLOWED_COMPONENTS_MAX as u64).map(|n| id(&n.to_le_bytes())).collect();
    let change = PolicyChange { allow, ..PolicyChange::default() };
    let error = ComponentPolicy::default().changed(change).unwrap_err();
    assert!(error.message().contains("allowed_components_max"), "{error}");
}

/// What `openssl dgst -sha256 -sign` and `openssl pkeyutl -sign -rawin` have made of [`BYTES`], with their keys.
const BY_OPENSSL: [(&str, &str); 2] = [
    (
        "-----BEGIN PUBLIC KEY-----\n\
         MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAERE5ZBjsdDmy3SebyMcWJpJJiml6R\n\
         p+ARXJQc9iPpOF8Oc3AEATSN6yGLtpbssNpZFdDEEJiUVYskdVyeGNDjXQ==\n\
         -----END PUBLIC KEY-----\n",
        "MEQCICGqgs0fNXjjedlfV7OSte1liWaTcvu+Ps1Y0NjQ0XnjAiAlXFsRIh6xN1MOFnK6iMM+aBCSCim82AJvCV8vYJDGNg==",
    ),
    (
        "-----BEGIN PUBLIC KEY-----\n\
         MCowBQYDK2VwAyEAMMBa4FZgmMpEtOkerq5C9DCrgfwMz+Gd7LwHycyAuZ0=\n\
         -----END PUBLIC KEY-----\n",
        "OYc+9xLlhT1KAtntRd87iy/VGtVHxXxgYaJv3z2yMdR1WQpyUgX9fZcnPofaoYwyYzv7qJALSdJLkQgLYOM2Cw==",
    ),
];

#[test]
fn what_openssl_signs_is_signed() {
    for (key, file) in BY_OPENSSL {
        let policy = required(&[Signer::from_pem(key).unwrap()]);
        let signature = signature(file.as_bytes()).unwrap();
        check(&policy, BYTES, &signature).unwrap();
        check(&policy, b"\0asm: another component", &signature).unwrap_err();
    }
}
