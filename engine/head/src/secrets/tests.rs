use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

fn value(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

fn wants(name: &str, variable: &str) -> v1::JobSecret {
    v1::JobSecret { name: name.to_owned(), variable: variable.to_owned() }
}

struct Kept {
    temp: tempfile::TempDir,
}

impl Kept {
    fn new() -> Self {
        Self { temp: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn open(&self) -> Result<Secrets, SecretsError> {
        Secrets::open(&self.path("secrets"), &self.path("tls/secret-key"))
    }
}

#[test]
fn a_tenant_has_its_own_and_they_outlive_the_engine() {
    let kept = Kept::new();
    let (red, blue) = (tenant("red"), tenant("blue"));
    let secrets = kept.open().unwrap();
    secrets.set(&red, "db.password", value("hunter-2")).unwrap();
    secrets.set(&red, "db.password", value("hunter-3")).unwrap();
    secrets.set(&red, "KEY", value("")).unwrap();
    secrets.set(&blue, "KEY", value("of blue")).unwrap();
    for secrets in [&secrets, &kept.open().unwrap()] {
        let names: Vec<String> = secrets.names(&red).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["KEY", "db.password"]);
        let given =
            secrets.environment(&red, &[wants("db.password", "PASSWORD"), wants("KEY", "KEY")]).unwrap();
        assert_eq!((given["PASSWORD"].as_str(), given["KEY"].as_str(), given.len()), ("hunter-3", "", 2));
        let error = secrets.environment(&blue, &[wants("db.password", "X")]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::NotFound);
        assert!(error.message().contains("db.password") && error.message().contains("blue"), "{error}");
    }
    secrets.delete(&red, "KEY").unwrap();
    assert_eq!(secrets.delete(&red, "KEY").unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(kept.open().unwrap().names(&red).len(), 1);
    for entry in fs::read_dir(kept.path("secrets")).unwrap().chain(fs::read_dir(kept.path("tls")).unwrap()) {
        let path = entry.unwrap().path();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"hunter"), "{}", path.display());
    }
}

#[test]
fn a_file_that_was_changed_moved_or_sealed_by_another_key_is_refused() {
    let kept = Kept::new();
    let secrets = kept.open().unwrap();
    secrets.set(&tenant("red"), "a", value("1")).unwrap();
    secrets.set(&tenant("blue"), "a", value("2")).unwrap();
    let (red, blue) = (kept.path("secrets/red.a"), kept.path("secrets/blue.a"));
    let whole = fs::read(&red).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    for bad in [fs::read(&blue).unwrap(), changed, whole[..20].to_vec(), b"nonsense".to_vec()] {
        fs::write(&red, bad).unwrap();
        assert!(matches!(kept.open(), Err(SecretsError::Damaged { path, .. }) if path == red));
    }
    fs::write(&red, &whole).unwrap();
    kept.open().unwrap();
    let key = kept.path("tls/secret-key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(kept.open(), Err(SecretsError::Open { mode: 0o640, is_folder: false, .. })));
    fs::remove_file(&key).unwrap();
    assert!(matches!(kept.open(), Err(SecretsError::Damaged { .. })), "of another key");
}

#[test]
fn what_is_no_name_or_too_much_is_refused_and_changes_nothing() {
    let secrets = Secrets::default();
    let red = tenant("red");
    for bad in ["", ".a", "a/b", "a b", "ü", &"x".repeat(129)] {
        assert_eq!(
            secrets.set(&red, bad, value("1")).unwrap_err().code(),
            ErrorCode::InvalidArgument,
            "{bad}"
        );
    }
    let long = "x".repeat(SECRET_BYTES_MAX + 1);
    let error = secrets.set(&red, "a", value(&long)).unwrap_err();
    assert!(error.message().contains("secret_bytes_max") && !error.message().contains("xxx"), "{error}");
    assert_eq!(secrets.set(&red, "a", value("a\0b")).unwrap_err().code(), ErrorCode::InvalidArgument);
    for number in 0..SECRETS_MAX {
        secrets.set(&red, &format!("s{number}"), value("1")).unwrap();
    }
    let error = secrets.set(&red, "more", value("1")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::LimitExceeded);
    assert!(error.message().contains("secrets_max"), "{error}");
    secrets.set(&red, "s0", value("2")).unwrap();
    assert_eq!(secrets.names(&red).len(), SECRETS_MAX);
}

/// A folder that is gone stands for a disk that refuses.
#[test]
fn what_cannot_be_kept_is_not_set() {
    let kept = Kept::new();
    let secrets = kept.open().unwrap();
    secrets.set(&tenant("red"), "a", value("1")).unwrap();
    fs::remove_dir_all(kept.path("secrets")).unwrap();
    secrets.set(&tenant("red"), "a", value("2")).unwrap_err();
    assert_eq!(secrets.environment(&tenant("red"), &[wants("a", "A")]).unwrap()["A"], "1");
}
