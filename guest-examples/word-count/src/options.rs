//! The command line.
use engine::prelude::*;

/// What is to be counted, and in pieces of what size.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The directory, as the guest sees it.
    pub root: String,
    /// A map task is given files of at least so many bytes together (the last may get fewer).
    pub tasks_bytes: u64,
}

const TASKS_BYTES: u64 = 1 << 20;
const USAGE: &str = "usage: word-count DIR [--tasks-bytes N], with DIR granted by --dir HOST_DIR::DIR";

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// What is wrong with them, and how to call the program.
    pub fn parse(args: Vec<String>) -> Result<Self> {
        let mut args = args.into_iter();
        let (mut root, mut tasks_bytes) = (None, TASKS_BYTES);
        while let Some(arg) = args.next() {
            if arg == "--tasks-bytes" {
                let number = args.next().context("--tasks-bytes is given no number")?;
                tasks_bytes = number.parse().context(format_args!("--tasks-bytes {number}"))?;
                engine::ensure!(tasks_bytes > 0, "--tasks-bytes must be at least 1");
            } else if arg.starts_with("--") || root.is_some() {
                engine::bail!("unexpected argument `{arg}`; {USAGE}");
            } else {
                root = Some(arg);
            }
        }
        Ok(Options { root: root.context(USAGE)?, tasks_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(args.iter().map(|&arg| arg.to_owned()).collect())
    }

    #[test]
    fn arguments_are_read_in_any_order_and_wrong_ones_are_named() {
        let expected = Options { root: "/data".into(), tasks_bytes: 7 };
        assert_eq!(parse(&["/data", "--tasks-bytes", "7"]).unwrap(), expected);
        assert_eq!(parse(&["--tasks-bytes", "7", "/data"]).unwrap(), expected);
        assert_eq!(parse(&["/data"]).unwrap().tasks_bytes, TASKS_BYTES);
        assert!(parse(&[]).unwrap_err().message().contains("usage"));
        assert!(parse(&["/a", "/b"]).unwrap_err().message().contains("`/b`"));
        assert!(parse(&["/a", "--tasks-bytes", "x"]).unwrap_err().message().contains("invalid digit"));
        assert!(parse(&["/a", "--tasks-bytes", "0"]).is_err());
    }
}
