//! `engine::Error`: what every call of this crate fails with, and what `?` turns others into.
use crate::bindings::engine::compute::types as wit;
use crate::code::ErrorCode;
use crate::codec::{self, Value};
use crate::failure::Failure;
use std::any::Any;
use std::error::Error as StdError;
use std::fmt;

/// `std::result::Result` with [`Error`] filled in.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something failed: a code of the taxonomy, a message for people, and where it came from.
///
/// `?` turns any `std::error::Error` into one (as `anyhow` does), so `main` and tasks may return
/// [`engine::Result<T>`](crate::Result). For that, `Error` itself is not a `std::error::Error`;
/// [`Error::into_std`] gives one where a library asks for it.
pub struct Error(Box<Inner>);

struct Inner {
    wire: wit::Error,
    /// Whether a task that fails with it passes it on as it is, with its code and path.
    is_passed_on: bool,
}

/// One step of the path that an error took through tasks, innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The task's id.
    pub task: String,
    /// The function or `Actor.method` that failed or passed the error on.
    pub function: String,
    /// The node it ran on.
    pub node: String,
    /// Which attempt it was, from 0.
    pub attempt: u32,
}

impl Error {
    /// A failure of the program's own: `kind` is matched by `retry_on`, `message` is for people.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::make(ErrorCode::TaskFailed, Some(kind.into()), message.into())
    }

    /// A failure of the program's own without a particular kind (it is `Error`).
    pub fn msg(message: impl fmt::Display) -> Self {
        Self::new("Error", message.to_string())
    }

    pub(crate) fn coded(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::make(code, None, message.into())
    }

    pub(crate) fn make(code: ErrorCode, kind: Option<String>, message: String) -> Self {
        let is_passed_on = code != ErrorCode::TaskFailed;
        let code = code.into_wire();
        let wire = wit::Error { code, kind, message, path: Vec::new(), backtrace: None, payload: None };
        Error(Box::new(Inner { wire, is_passed_on }))
    }

    pub(crate) fn from_wire(wire: wit::Error) -> Self {
        Error(Box::new(Inner { wire, is_passed_on: true }))
    }

    /// The code: what kind of thing went wrong, the same in every language.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::from_wire(self.0.wire.code)
    }

    /// The failing program's own name for it, when it was a failure of the program.
    pub fn kind(&self) -> Option<&str> {
        self.0.wire.kind.as_deref()
    }

    /// For people: what happened, where, and what to do.
    pub fn message(&self) -> &str {
        &self.0.wire.message
    }

    /// The tasks that the error came through, innermost first.
    pub fn path(&self) -> impl ExactSizeIterator<Item = Frame> + '_ {
        self.0.wire.path.iter().map(|frame| Frame {
            task: frame.task.clone(),
            function: frame.function.clone(),
            node: frame.node.clone(),
            attempt: frame.attempt,
        })
    }

    /// Where in the guest's code it happened, when that is known.
    pub fn backtrace(&self) -> Option<&str> {
        self.0.wire.backtrace.as_deref()
    }

    /// What the failing program attached with [`Failure::with_payload`].
    ///
    /// # Errors
    /// INVALID_ARGUMENT when there is a payload and it is not a `T`.
    pub fn payload<T: Value>(&self) -> Result<Option<T>> {
        let Some(payload) = &self.0.wire.payload else { return Ok(None) };
        codec::decode_lent(payload).map(Some).map_err(|cause| {
            Error::coded(
                ErrorCode::InvalidArgument,
                format!("the payload of an error does not decode: {cause}"),
            )
        })
    }

    /// Says what was being done when it failed; the code, kind and path stay.
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.wire.message = format!("{what}: {}", self.0.wire.message);
        self
    }

    /// As a `std::error::Error`, for libraries that ask for one. `?` turns it back unharmed.
    pub fn into_std(self) -> StandardError {
        StandardError(self)
    }

    pub(crate) fn into_failure(self) -> Failure {
        let Inner { wire, is_passed_on } = *self.0;
        let kind = wire.kind.clone().unwrap_or_else(|| ErrorCode::from_wire(wire.code).as_str().to_owned());
        let message = wire.message.clone();
        if is_passed_on {
            return Failure::passing_on(kind, message, wire);
        }
        Failure::own(kind, message, wire.payload)
    }

    pub(crate) fn from_failure(failure: Failure) -> Self {
        let (kind, message, payload, cause) = failure.into_parts();
        if let Some(cause) = cause {
            return Error::from_wire(cause);
        }
        let mut error = Error::new(kind, message);
        error.0.wire.payload = payload;
        error
    }
}

impl<E: StdError + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let mut error = Some(error);
        let any: &mut dyn Any = &mut error;
        if let Some(failure) = any.downcast_mut::<Option<Failure>>().and_then(Option::take) {
            return Error::from_failure(failure);
        }
        if let Some(standard) = any.downcast_mut::<Option<StandardError>>().and_then(Option::take) {
            return standard.0;
        }
        // Writers and readers wrap what went wrong beneath them.
        let beneath = any.downcast_mut::<Option<std::io::Error>>().and_then(|error| match error.take() {
            Some(io) => match io.downcast::<StandardError>() {
                Ok(standard) => Some(standard.0),
                Err(io) => {
                    *error = Some(io);
                    None
                }
            },
            None => None,
        });
        if let Some(beneath) = beneath {
            return beneath;
        }
        match error {
            Some(error) => Error::new(short_type_name::<E>(), chain(&error)),
            None => Error::msg("an error without a description"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Some(kind) => write!(f, "{kind}: {}", self.message()),
            None => write!(f, "{}: {}", self.code(), self.message()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        if self.kind().is_some() {
            write!(f, " ({})", self.code())?;
        }
        for frame in self.path() {
            let Frame { task, function, node, attempt } = frame;
            write!(f, "\n  in {function}, task {task}, attempt {attempt}, on node {node}")?;
        }
        match self.backtrace() {
            Some(backtrace) => write!(f, "\n{backtrace}"),
            None => Ok(()),
        }
    }
}

/// An [`Error`] where a `std::error::Error` is wanted; made by [`Error::into_std`].
pub struct StandardError(Error);

impl fmt::Display for StandardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for StandardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl StdError for StandardError {}

/// `.context("reading the index")` on results, as on [`Error`].
pub trait ResultExt<T> {
    /// Says what was being done when it failed.
    ///
    /// # Errors
    /// The error that was there, with the words before its message.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().context(what))
    }
}

impl<T> ResultExt<T> for Option<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Error::msg(what))
    }
}

/// Returns early with an [`Error`] made from a format string, kind `Error`.
#[macro_export]
macro_rules! bail {
    ($($message:tt)*) => {
        return ::core::result::Result::Err($crate::Error::msg(::std::format!($($message)*)).into())
    };
}

/// [`bail!`](crate::bail) unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            $crate::bail!($($message)*);
        }
    };
}

/// The error's message and those of its sources, outermost first.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many libraries repeat their source in their own message.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// `Flaky` of `my_crate::errors::Flaky<T>`; a type called just `Error` keeps its module: `io::Error`.
pub(crate) fn short_type_name<T: ?Sized>() -> String {
    let name = std::any::type_name::<T>();
    let name = name.split('<').next().unwrap_or(name);
    let mut segments = name.rsplit("::").filter(|segment| *segment != "error");
    match (segments.next(), segments.next()) {
        (Some("Error"), Some(module)) => format!("{module}::Error"),
        (Some(last), _) => last.to_owned(),
        (None, _) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the configuration is wrong")
        }
    }
    impl StdError for Outer {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    fn parse() -> Result<u32> {
        Ok("x".parse::<u32>().map_err(Outer)?)
    }

    #[test]
    fn any_error_becomes_one_with_its_type_as_kind_and_its_chain_as_message() {
        let error = parse().unwrap_err();
        assert_eq!(error.code(), ErrorCode::TaskFailed);
        assert_eq!(error.kind(), Some("Outer"));
        assert_eq!(error.message(), "the configuration is wrong: invalid digit found in string");
    }

    #[test]
    fn a_failure_keeps_its_kind_through_the_question_mark() {
        fn flaky() -> Result<()> {
            Err(Failure::new("Flaky", "try again"))?
        }
        let error = flaky().context("fetching").unwrap_err();
        assert_eq!((error.kind(), error.message()), (Some("Flaky"), "fetching: try again"));
        assert_eq!(error.to_string(), "Flaky: fetching: try again");
    }

    #[test]
    fn an_error_passes_through_the_standard_trait_unharmed() {
        fn through() -> Result<()> {
            Err(Error::coded(ErrorCode::NotFound, "no actor").into_std())?
        }
        assert_eq!(through().unwrap_err().code(), ErrorCode::NotFound);

        fn wrapped() -> Result<()> {
            Err(std::io::Error::other(Error::coded(ErrorCode::StoreFull, "no room").into_std()))?
        }
        assert_eq!(wrapped().unwrap_err().code(), ErrorCode::StoreFull);
    }

    #[test]
    fn a_type_called_error_is_named_with_its_module() {
        fn open() -> Result<()> {
            Err(std::io::Error::other("the disk is on fire"))?
        }
        let error = open().unwrap_err();
        assert_eq!((error.kind(), error.message()), (Some("io::Error"), "the disk is on fire"));
    }

    #[test]
    fn bail_and_ensure_make_errors_of_the_kind_error() {
        fn check(n: u32) -> Result<u32> {
            crate::ensure!(n < 10, "{n} is too large");
            Ok(n)
        }
        assert!(check(1).is_ok());
        assert_eq!(check(11).unwrap_err().to_string(), "Error: 11 is too large");
    }
}
