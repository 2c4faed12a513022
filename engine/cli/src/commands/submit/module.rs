//! What is to be run, read or built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine_toolchain::{BuildOptions, Kind, Progress};

use super::{Submit, signature};
use crate::commands::build;
use crate::failure::Failure;
use crate::python;

/// The name under which a job knows the component that it starts.
pub(super) const MAIN: &str = "main";

/// A component under a name.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// Whether it is compiled only when something of it is to start.
    pub(super) on_demand: bool,
    /// Empty: it has none.
    pub(super) signature: Vec<u8>,
}

/// The main component and those that it comes with.
pub(super) fn load_all(args: &Submit) -> Result<Vec<Module>, Failure> {
    if python::is_program(&args.module) && args.invoke.is_some() {
        return Err(Failure::Usage(format!(
            "--invoke calls a function of a component, and {} is a Python program: it is run from its first line",
            args.module.display()
        )));
    }
    let mut given = signatures(args)?;
    let mut module = |name: &str, path: &Path, on_demand| {
        let signature = match given.remove(name) {
            Some(named) => signature::read(&named)?,
            None => signature::beside(path)?,
        };
        Ok::<_, Failure>(Module { name: name.to_owned(), bytes: load(path)?, on_demand, signature })
    };
    let main = match python::is_program(&args.module) {
        true => python::runner()?,
        false => args.module.clone(),
    };
    let mut modules = vec![module(MAIN, &main, false)?];
    if let Some(concurrent) = python::concurrent_runner(&args.module)? {
        modules.push(module(python::CONCURRENT_RUNNER, &concurrent, true)?);
    }
    for (name, path) in &args.with {
        if modules.iter().any(|module| module.name == *name) {
            return Err(Failure::Usage(format!(
                "two components are named {name}: name them apart ({MAIN} is the one that is started)"
            )));
        }
        modules.push(module(name, Path::new(path), false)?);
    }
    match given.into_keys().next() {
        None => Ok(modules),
        Some(name) => Err(Failure::Usage(format!(
            "--signature {name}=…: the job brings no component {name}; {MAIN} is the one that is started, others are \
             named by --with"
        ))),
    }
}

/// The files of signatures that were named, by the components that they are of.
fn signatures(args: &Submit) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut given = BTreeMap::new();
    for text in &args.signature {
        let (name, path) = text.split_once('=').unwrap_or((MAIN, text));
        if given.insert(name.to_owned(), PathBuf::from(path)).is_some() {
            return Err(Failure::Usage(format!("two signatures of the component {name} are given")));
        }
    }
    Ok(given)
}

fn load(path: &Path) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    if path.is_dir() {
        let options = BuildOptions { progress: Progress::stderr(), ..BuildOptions::default() };
        return engine_toolchain::build(path, &options).map_err(|error| build::failure(&error));
    }
    let bytes =
        std::fs::read(path).map_err(|error| Failure::Usage(format!("cannot read {shown}: {error}")))?;
    match engine_toolchain::kind_of(&bytes) {
        Kind::Component => Ok(bytes),
        Kind::CoreModule => Err(Failure::Usage(format!(
            "{shown} is a core module, and the engine runs components: make one of it with \
             `engine build {shown} -o component.wasm`"
        ))),
        Kind::NotWasm => Err(Failure::Usage(format!(
            "{shown} is not WebAssembly: give a component, the folder of a crate that makes one, or a Python program \
             (.py)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::submit::args::parse;

    fn refused(name: &str, bytes: &[u8]) -> String {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        match load(&path) {
            Err(Failure::Usage(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_a_component_is_refused_with_what_to_do() {
        assert!(refused("notes.txt", b"hello").contains("notes.txt is not WebAssembly"));
        let core = refused("core.wasm", b"\0asm\x01\0\0\0");
        assert!(core.contains("core.wasm is a core module") && core.contains("`engine build "), "{core}");
        let Err(Failure::Usage(text)) = load(Path::new("/nowhere/m.wasm")) else { panic!("it was read") };
        assert!(text.contains("cannot read /nowhere/m.wasm"), "{text}");
    }

    #[test]
    fn components_have_names_of_their_own() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("c.wasm");
        std::fs::write(&path, b"\0asm\x0d\0\x01\0").unwrap();
        let line = |with: &str| format!("{0} --with {with}={0}", path.display());
        let modules = load_all(&parse(&line("b")).unwrap()).unwrap();
        assert_eq!(modules.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), [MAIN, "b"]);
        assert!(matches!(load_all(&parse(&line(MAIN)).unwrap()), Err(Failure::Usage(_))));
    }
}
