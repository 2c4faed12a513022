//! Python programs, each with the modules beside it that it imports. What runs one is the component with
//! the interpreter, the runner: the program is its argument (`engine submit`), or part of a copy of it
//! (`engine build`).

mod component;

pub(crate) use component::component;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Names the component with the interpreter.
const RUNNER_VARIABLE: &str = "ENGINE_PYTHON_RUNNER";
const RUNNER_FILE: &str = "python.wasm";
/// The runner, as jobs know it.
pub(crate) const RUNNER: &str = "python";
/// Its other form, whose actors interleave their calls, as jobs know it.
pub(crate) const CONCURRENT_RUNNER: &str = "python-concurrent";
/// Where it may be, from the folder of this binary: beside it, as installed, and as built from source.
const RUNNER_FOLDERS: [&str; 3] = [".", "../lib/engine", "../python"];
/// Bytes of a program and its modules together.
const PROGRAM_BYTES_MAX: usize = 2 << 20;

/// Whether this is a Python program.
pub(crate) fn is_program(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py") && !path.is_dir()
}

/// A program, and the files of the modules beside it that it imports, by their paths there.
struct Program {
    source: String,
    modules: BTreeMap<String, String>,
}

impl Program {
    fn read(path: &Path) -> Result<Self, Failure> {
        let source = read(path)?;
        let modules = modules(path.parent().unwrap_or(Path::new("")), &source)?;
        let bytes = source.len() + modules.values().map(String::len).sum::<usize>();
        if bytes > PROGRAM_BYTES_MAX {
            return Err(Failure::Usage(format!(
                "{} and the modules beside it that it imports have {bytes} bytes, and a program may have \
                 {PROGRAM_BYTES_MAX} (program_bytes_max): grant a folder with --dir, and import from there",
                path.display()
            )));
        }
        Ok(Self { source, modules })
    }
}

/// The arguments of the runner's main that make it run this program with these arguments.
pub(crate) fn arguments(path: &Path, arguments: &[String]) -> Result<Vec<String>, Failure> {
    let program = Program::read(path)?;
    let mut all = Vec::new();
    for (name, source) in program.modules {
        all.extend(["--module".to_owned(), name, source]);
    }
    all.extend(["--script".to_owned(), path.to_string_lossy().into_owned(), program.source]);
    all.extend(arguments.iter().cloned());
    Ok(all)
}

/// The component with the interpreter.
pub(crate) fn runner() -> Result<PathBuf, Failure> {
    if let Some(named) = std::env::var_os(RUNNER_VARIABLE).filter(|named| !named.is_empty()) {
        return Ok(named.into());
    }
    let folder = std::env::current_exe().ok().and_then(|binary| Some(binary.parent()?.to_owned()));
    let folders = RUNNER_FOLDERS.iter().filter_map(|relative| Some(folder.as_ref()?.join(relative)));
    let found = folders.map(|folder| folder.join(RUNNER_FILE)).find(|path| path.is_file());
    found.ok_or_else(|| {
        Failure::Usage(format!(
            "there is no {RUNNER_FILE}, which runs Python, beside this program: make it with `cargo xtask \
             python-runner`, or name it by ${RUNNER_VARIABLE}"
        ))
    })
}

/// The component for those actors of a Python program whose calls interleave, where there is one beside the runner.
pub(crate) fn concurrent_runner(module: &Path) -> Result<Option<PathBuf>, Failure> {
    if !is_program(module) {
        return Ok(None);
    }
    Ok(concurrent_beside(&runner()?))
}

/// The other form of the runner, where there is one beside it.
pub(crate) fn concurrent_beside(runner: &Path) -> Option<PathBuf> {
    let stem = runner.file_stem().unwrap_or_default().to_string_lossy();
    let concurrent = runner.with_file_name(format!("{stem}-concurrent.wasm"));
    concurrent.is_file().then_some(concurrent)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))
}

/// The files in `folder` of the modules that this source imports, and of those that they import, by their paths
/// there: `shop.py`, `shop/__init__.py`. A package goes whole.
fn modules(folder: &Path, source: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut files = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut wanted: Vec<String> = imported(source).collect();
    while let Some(name) = wanted.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let mut found = Vec::new();
        let file = folder.join(format!("{name}.py"));
        if folder.join(&name).join("__init__.py").is_file() {
            package(folder, Path::new(&name), &mut found);
        } else if file.is_file() {
            found.push(PathBuf::from(format!("{name}.py")));
        }
        for relative in found {
            let source = read(&folder.join(&relative))?;
            wanted.extend(imported(&source));
            files.insert(relative.to_string_lossy().into_owned(), source);
        }
    }
    Ok(files)
}

/// The files of a package, by their paths from `folder`.
fn package(folder: &Path, relative: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder.join(relative)) else { return };
    for entry in entries.flatten() {
        let relative = relative.join(entry.file_name());
        if entry.path().is_dir() {
            package(folder, &relative, found);
        } else if is_program(&relative) {
            found.push(relative);
        }
    }
}

/// The first names of what is imported. A line of a text that looks like an import costs a look for a file.
fn imported(source: &str) -> impl Iterator<Item = String> + '_ {
    let names = |line: &str| -> Vec<String> {
        let line = line.trim_start();
        let names = match (line.strip_prefix("import "), line.strip_prefix("from ")) {
            (Some(names), _) => names.split(',').collect(),
            (None, Some(names)) => vec![names],
            (None, None) => Vec::new(),
        };
        let first = |name: &str| {
            let name = name.trim_start();
            let end = name.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
            name[..end.unwrap_or(name.len())].to_owned()
        };
        names.into_iter().map(first).filter(|name| !name.is_empty()).collect()
    };
    source.lines().flat_map(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_goes_to_the_runner_as_its_argument() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("app.py");
        std::fs::write(&path, "import sys, os.path as p\nprint(1)\n").unwrap();
        assert!(is_program(&path) && !is_program(Path::new("app.wasm")) && !is_program(temp.path()));
        let all = arguments(&path, &["x".to_owned()]).unwrap();
        assert_eq!(all, ["--script", path.to_str().unwrap(), "import sys, os.path as p\nprint(1)\n", "x"]);
        let Err(Failure::Usage(text)) = arguments(Path::new("/nowhere/app.py"), &[]) else { panic!("read") };
        assert!(text.contains("cannot read /nowhere/app.py"), "{text}");
    }

    #[test]
    fn what_it_imports_from_beside_it_comes_along() {
        let temp = tempfile::tempdir().unwrap();
        let write = |name: &str, source: &str| {
            let path = temp.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, source).unwrap();
        };
        write("app.py", "import json, shop.prices\nfrom helpers import one\nfrom . import x\n");
        write("helpers.py", "def one():\n    import deeper\n");
        write("deeper.py", "import helpers\n");
        write("other.py", "");
        write("shop/__init__.py", "");
        write("shop/prices/__init__.py", "");
        write("shop/prices/data.txt", "");
        let all = arguments(&temp.path().join("app.py"), &[]).unwrap();
        let modules: Vec<&str> =
            all.chunks(3).filter(|part| part[0] == "--module").map(|part| &*part[1]).collect();
        assert_eq!(modules, ["deeper.py", "helpers.py", "shop/__init__.py", "shop/prices/__init__.py"]);
    }

    #[test]
    fn a_program_without_end_is_refused_with_the_bound() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("app.py");
        std::fs::write(&path, "#".repeat(PROGRAM_BYTES_MAX + 1)).unwrap();
        let Err(Failure::Usage(text)) = arguments(&path, &[]) else { panic!("it was taken") };
        assert!(text.contains("program_bytes_max"), "{text}");
    }
}
