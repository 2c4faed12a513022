//! Nothing names a path of somebody's machine, or the host of a package registry.

use super::Violation;
use super::tree::Tree;
use std::path::Path;

/// Split in two, or this file would name them itself.
const HOSTS: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("files.python", "hosted.org"),
    concat!("registry.npm", "js.org"),
    concat!("deb.debian", ".org"),
    concat!("archive.ubuntu", ".com"),
];
const HOMES: [&str; 3] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
/// Written by cargo, not by us.
const GENERATED: [&str; 1] = ["Cargo.lock"];

/// The paths of this checkout and of whoever works in it.
pub(super) fn own_paths(root: &Path) -> Vec<String> {
    let mut own = vec![root.to_string_lossy().into_owned()];
    if let Some(home) = std::env::var_os("HOME") {
        own.push(format!("{}/", home.to_string_lossy().trim_end_matches('/')));
    }
    own.retain(|path| path.trim_matches('/').len() > 1);
    own
}

pub(super) fn check(tree: &Tree, own: &[String]) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in &tree.files {
        if GENERATED.iter().any(|name| file.path.ends_with(name)) {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            if let Some(host) = HOSTS.iter().find(|host| line.contains(**host)) {
                let what = format!("names the package registry {host}; leave the host to cargo, pip or apt");
                found.push(Violation::new(&file.path, index + 1, what));
            }
            let of_home = HOMES.iter().find(|home| line.contains(**home)).map(|home| (*home).to_owned());
            let path = of_home.or_else(|| own.iter().find(|own| line.contains(own.as_str())).cloned());
            if let Some(path) = path {
                let what = format!("names a path of one machine ({path}…); make it relative, or an option");
                found.push(Violation::new(&file.path, index + 1, what));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)]), &["/checkout/of/me".into()]).len()
    }

    #[test]
    fn hosts_and_paths_are_found() {
        assert_eq!(found("a.md", &format!("see https://{}/x", HOSTS[0])), 1);
        assert_eq!(found("a.rs", &format!("open(\"{}me/x\")", HOMES[1])), 1);
        assert_eq!(found("a.sh", "cd /checkout/of/me"), 1);
    }

    #[test]
    fn lock_files_and_ordinary_paths_are_fine() {
        assert_eq!(found("Cargo.lock", &format!("registry+https://{}", HOSTS[0])), 0);
        assert_eq!(found("a.md", "cd docs; ls ~/.cache/engine; see crates-io; /data/home"), 0);
    }
}
