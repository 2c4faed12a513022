//! Builds guest crates by cargo, and reads from its messages where the modules are.

use crate::{
    Error, Progress, Toolchain,
    componentize::{Kind, componentize_with, kind_of},
    process,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const BUILD_TIMEOUT: Duration = Duration::from_secs(60 * 60);
const METADATA_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const HINT: &str = "install Rust, see https://rustup.rs";
const NO_CDYLIB: &str = "no package here makes a WebAssembly library; its Cargo.toml needs\n    \
                         [lib]\n    crate-type = [\"cdylib\"]";

/// How a guest is built.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The cargo profile; `release` by default.
    pub profile: String,
    /// Keep the debug sections (line numbers in backtraces, larger files). Function names are
    /// always kept.
    pub keep_debug: bool,
    /// Where cargo builds; by default `guest` in the crate's own target folder.
    pub target_dir: Option<PathBuf>,
    /// Where progress is told.
    pub progress: Progress,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self { profile: "release".into(), keep_debug: false, target_dir: None, progress: Progress::quiet() }
    }
}

/// Makes a component of what `path` names: a crate's folder, its `Cargo.toml`, or a core `.wasm`.
pub fn build(path: &Path, options: &BuildOptions) -> Result<Vec<u8>, Error> {
    let refuse = |reason: &str| Error::NotBuildable { path: path.into(), reason: reason.into() };
    if path.is_dir() {
        return build_crate(path, options);
    }
    if path.file_name().is_some_and(|name| name == "Cargo.toml") {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        return build_crate(dir.unwrap_or(Path::new(".")), options);
    }
    let bytes = std::fs::read(path).map_err(Error::io("cannot read", path))?;
    match kind_of(&bytes) {
        Kind::CoreModule => componentize_with(&bytes, options.keep_debug),
        Kind::Component => Err(refuse("is a component already; give it to `engine submit` as it is")),
        Kind::NotWasm => Err(refuse(
            "is not WebAssembly; give the folder of a crate, its Cargo.toml, or a core .wasm module",
        )),
    }
}

/// Builds the one guest crate in `dir` and makes a component of it.
pub fn build_crate(dir: &Path, options: &BuildOptions) -> Result<Vec<u8>, Error> {
    let metadata = Metadata::read(dir)?;
    let guests = metadata.guests();
    let manifest = dir.join("Cargo.toml");
    let wrong = |reason: String| Error::Crate { manifest, reason };
    match guests.as_slice() {
        [] => Err(wrong(NO_CDYLIB.into())),
        [one] => {
            let name = one.name.clone();
            let mut built = cargo_build(dir, &metadata, std::slice::from_ref(&name), options)?;
            built.remove(&name).ok_or_else(|| wrong(no_artifact(&name)))
        }
        several => {
            let names: Vec<_> = several.iter().map(|package| package.name.as_str()).collect();
            let reason = "holds several guest packages; give the folder of one of them";
            Err(wrong(format!("{reason}: {}", names.join(", "))))
        }
    }
}

/// Builds every guest crate of the workspace in `dir`, in one run of cargo. Components by the
/// names of their packages.
pub fn build_workspace(dir: &Path, options: &BuildOptions) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let metadata = Metadata::read(dir)?;
    let names: Vec<String> = metadata.guests().iter().map(|package| package.name.clone()).collect();
    let manifest = dir.join("Cargo.toml");
    if names.is_empty() {
        return Err(Error::Crate { manifest, reason: NO_CDYLIB.into() });
    }
    let built = cargo_build(dir, &metadata, &names, options)?;
    match names.iter().find(|name| !built.contains_key(*name)) {
        Some(name) => Err(Error::Crate { manifest, reason: no_artifact(name) }),
        None => Ok(built),
    }
}

fn no_artifact(package: &str) -> String {
    format!("cargo built {package} but named no .wasm file")
}

fn cargo_build(
    dir: &Path,
    metadata: &Metadata,
    packages: &[String],
    options: &BuildOptions,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let toolchain = Toolchain::find(dir, &options.progress)?;
    let target_dir = options.target_dir.clone().unwrap_or_else(|| metadata.target_directory.join("guest"));
    let mut command = Command::new("cargo");
    clean_environment(&mut command);
    command
        .args(["build", "--lib", "--profile", &options.profile, "--target", &toolchain.target])
        .arg("--message-format=json-render-diagnostics")
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(dir);
    for package in packages {
        command.args(["--package", package]);
    }
    if let Some(rustc) = &toolchain.rustc {
        command.env("RUSTC", rustc);
    }
    let step = options.progress.step(format!("building {} for {}", packages.join(", "), toolchain.target));
    let output = process::run(&mut command, BUILD_TIMEOUT, HINT, Some(&step))?;
    let mut built = BTreeMap::new();
    for (name, path) in artifacts(&output.stdout, metadata) {
        let bytes = std::fs::read(&path).map_err(Error::io("cannot read", &path))?;
        built.insert(name, componentize_with(&bytes, options.keep_debug)?);
    }
    step.finish();
    if let Some(warnings) = warnings(&output.stderr) {
        options.progress.note(warnings);
    }
    Ok(built)
}

/// What the compiler had to say about a build that went well.
fn warnings(stderr: &str) -> Option<&str> {
    let begins = if stderr.starts_with("warning") { 0 } else { stderr.find("\nwarning")? + 1 };
    Some(stderr[begins..].trim_end())
}

/// The `.wasm` of each package's library, from cargo's messages.
fn artifacts(messages: &str, metadata: &Metadata) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<Message>(line) else { continue };
        let package =
            metadata.packages.iter().find(|package| Some(&package.id) == message.package_id.as_ref());
        let (Some(package), Some(target)) = (package, message.target) else { continue };
        if message.reason != "compiler-artifact" || !target.is_cdylib() {
            continue;
        }
        let wasm =
            message.filenames.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "wasm"));
        found.extend(wasm.map(|path| (package.name.clone(), path)));
    }
    found
}

/// What a surrounding cargo, or the person's own shell, has set for the host must not reach a
/// guest's build.
pub(crate) fn clean_environment(command: &mut Command) {
    for name in [
        "CARGO_BUILD_RUSTC",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
    ] {
        command.env_remove(name);
    }
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    id: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
    crate_types: Vec<String>,
}

impl Target {
    fn is_cdylib(&self) -> bool {
        self.crate_types.iter().any(|kind| kind == "cdylib")
            && !self.kind.iter().any(|kind| kind == "example")
    }
}

#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

impl Metadata {
    fn read(dir: &Path) -> Result<Self, Error> {
        let manifest = dir.join("Cargo.toml");
        if !manifest.is_file() {
            let reason = "there is no crate here (no Cargo.toml)".into();
            return Err(Error::Crate { manifest, reason });
        }
        let mut command = Command::new("cargo");
        clean_environment(&mut command);
        command.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(dir);
        let text = process::run(&mut command, METADATA_TIMEOUT, HINT, None)?.stdout;
        let mut metadata: Self = serde_json::from_str(&text).map_err(|error| Error::Crate {
            manifest: manifest.clone(),
            reason: format!("cannot read cargo's metadata: {error}"),
        })?;
        metadata.keep_what_was_asked(&manifest);
        Ok(metadata)
    }

    /// Cargo lists the whole workspace, also for the folder of one member.
    fn keep_what_was_asked(&mut self, manifest: &Path) {
        let Ok(asked) = manifest.canonicalize() else { return };
        let is_asked =
            |package: &Package| package.manifest_path.canonicalize().is_ok_and(|path| path == asked);
        if self.packages.iter().any(is_asked) {
            self.packages.retain(is_asked);
        }
    }

    fn guests(&self) -> Vec<&Package> {
        self.packages.iter().filter(|package| package.targets.iter().any(Target::is_cdylib)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_with(manifest: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("src")).unwrap();
        std::fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
        std::fs::write(dir.path().join("src/lib.rs"), "").unwrap();
        dir
    }

    fn refusal(path: &Path) -> String {
        build(path, &BuildOptions::default()).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_without_a_crate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refusal(dir.path()).contains("no Cargo.toml"));
    }

    #[test]
    fn a_crate_without_a_cdylib_is_told_what_to_write() {
        let dir = crate_with("[package]\nname = \"plain\"\n[workspace]\n");
        let text = refusal(dir.path());
        assert!(text.contains("crate-type = [\"cdylib\"]"), "{text}");
    }

    #[test]
    fn a_broken_manifest_gives_cargos_own_words() {
        let dir = crate_with("[package\n");
        let text = refusal(&dir.path().join("Cargo.toml"));
        assert!(text.contains("Cargo.toml") && text.contains("-->"), "{text}");
    }

    #[test]
    fn several_guests_are_named() {
        let dir = crate_with("[workspace]\nmembers = [\"one\", \"two\"]\nresolver = \"3\"\n");
        for name in ["one", "two"] {
            let src = dir.path().join(name).join("src");
            std::fs::create_dir_all(&src).unwrap();
            std::fs::write(src.join("lib.rs"), "").unwrap();
            let manifest = format!("[package]\nname = \"{name}\"\n[lib]\ncrate-type = [\"cdylib\"]\n");
            std::fs::write(dir.path().join(name).join("Cargo.toml"), manifest).unwrap();
        }
        let text = refusal(dir.path());
        assert!(text.contains("one, two"), "{text}");
        // The folder of one member means that member alone.
        assert_eq!(Metadata::read(&dir.path().join("two")).unwrap().guests().len(), 1);
    }

    #[test]
    fn what_is_no_core_module_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let component = dir.path().join("done.wasm");
        std::fs::write(&component, wat::parse_str("(component)").unwrap()).unwrap();
        assert!(refusal(&component).contains("is a component already"));
        let text = dir.path().join("notes.txt");
        std::fs::write(&text, "hello").unwrap();
        assert!(refusal(&text).contains("is not WebAssembly"));
        assert!(refusal(&dir.path().join("absent.wasm")).contains("cannot read"));
    }

    #[test]
    fn warnings_of_a_good_build_are_passed_on() {
        assert_eq!(warnings("   Compiling a\n    Finished\n"), None);
        let text = "   Compiling a\nwarning: unused\n --> src/lib.rs\n\n    Finished\n";
        assert_eq!(warnings(text), Some("warning: unused\n --> src/lib.rs\n\n    Finished"));
    }

    #[test]
    fn the_module_is_taken_from_cargos_messages() {
        let metadata: Metadata = serde_json::from_str(
            r#"{"target_directory":"/t","packages":[{"name":"g","id":"path+g#0.1.0","manifest_path":"/g/Cargo.toml","targets":[]}]}"#,
        )
        .unwrap();
        let line = |id: &str, kind: &str, file: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"{id}","target":{{"kind":["{kind}"],"crate_types":["{kind}"]}},"filenames":["{file}"]}}"#
            )
        };
        let messages = [
            line("registry+dep#1.0.0", "cdylib", "/t/dep.wasm"),
            line("path+g#0.1.0", "lib", "/t/libg.rlib"),
            line("path+g#0.1.0", "cdylib", "/t/g.wasm"),
            r#"{"reason":"build-finished","success":true}"#.into(),
        ]
        .join("\n");
        assert_eq!(artifacts(&messages, &metadata), [("g".to_owned(), PathBuf::from("/t/g.wasm"))]);
    }
}
