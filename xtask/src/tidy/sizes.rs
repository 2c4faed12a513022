//! Files are small rooms.

use super::Violation;
use super::tree::Tree;

const FILE_LINES_MAX: usize = 800;

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.rust_below("engine/")
        .chain(tree.rust_below("sdk/"))
        .filter(|file| file.text.lines().count() > FILE_LINES_MAX)
        .map(|file| {
            let lines = file.text.lines().count();
            let what = format!("{lines} lines are more than {FILE_LINES_MAX}; split it by question");
            Violation::new(&file.path, FILE_LINES_MAX + 1, what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_files_are_found() {
        let fits = "\n".repeat(FILE_LINES_MAX);
        let long = "\n".repeat(FILE_LINES_MAX + 1);
        let tree =
            Tree::of(&[("engine/a/src/a.rs", &fits), ("engine/a/src/b.rs", &long), ("tests/c.rs", &long)]);
        let found = check(&tree);
        assert_eq!((found.len(), found[0].path.as_str()), (1, "engine/a/src/b.rs"));
    }
}
