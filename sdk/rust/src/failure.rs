//! How a task says that it failed.
use crate::bindings::engine::compute::types as wit;
use crate::code::ErrorCode;
use crate::codec::{self, Value};
use crate::error::{Error, Result, chain, short_type_name};
use std::any::Any;
use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;

/// A failure whose kind the program chooses, for `retry_on` and for whoever reads the result.
///
/// A task may return `Result<T, Failure>`, or pass one on with `?` where [`engine::Result`](Result)
/// is returned.
///
/// ```
/// use engine::Failure;
/// fn load(path: &str) -> Result<String, Failure> {
///     std::fs::read_to_string(path).map_err(|e| Failure::new("Unreadable", format!("{path}: {e}")))
/// }
/// assert_eq!(load("/nowhere").unwrap_err().kind(), "Unreadable");
/// ```
pub struct Failure {
    kind: String,
    message: String,
    payload: Option<wit::Value>,
    cause: Option<Box<wit::Error>>,
}

type Parts = (String, String, Option<wit::Value>, Option<wit::Error>);

impl Failure {
    /// A failure of this kind; the message is for people.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Failure { kind: kind.into(), message: message.into(), payload: None, cause: None }
    }

    /// Attaches a value that the reader takes out with [`Error::payload`].
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the value does not encode.
    pub fn with_payload<T: Value>(mut self, value: &T) -> Result<Self> {
        self.payload = Some(codec::encode(value)?.into_owned_wire());
        Ok(self)
    }

    /// The kind, as `retry_on` matches it.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// For people.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn passing_on(kind: String, message: String, cause: wit::Error) -> Self {
        Failure { kind, message, payload: None, cause: Some(Box::new(cause)) }
    }

    pub(crate) fn own(kind: String, message: String, payload: Option<wit::Value>) -> Self {
        Failure { kind, message, payload, cause: None }
    }

    /// A failure of the call itself, before or after the program's own code: it keeps its code.
    pub(crate) fn coded(code: ErrorCode, message: impl Into<String>) -> Self {
        Error::coded(code, message).into_failure()
    }

    pub(crate) fn into_parts(self) -> Parts {
        (self.kind, self.message, self.payload, self.cause.map(|cause| *cause))
    }

    pub(crate) fn into_wire(self) -> wit::Failure {
        let (kind, message, payload, cause) = self.into_parts();
        wit::Failure { kind, message, backtrace: None, payload, cause }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl StdError for Failure {}

/// Lets an error type choose the kind of failure that each of its values is.
///
/// Without it the kind is the type's name. It is looked at when a task returns `Result<T, E>` with
/// the type itself as `E`.
///
/// ```
/// # use std::fmt;
/// enum FetchError { Timeout, NotFound(String) }
///
/// impl engine::Kind for FetchError {
///     fn kind(&self) -> &str {
///         match self {
///             FetchError::Timeout => "Timeout",
///             FetchError::NotFound(_) => "NotFound",
///         }
///     }
/// }
/// # impl fmt::Display for FetchError {
/// #     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("…") }
/// # }
/// # fn main() {}
/// ```
pub trait Kind {
    /// The kind, as `retry_on` matches it.
    fn kind(&self) -> &str;
}

impl Kind for Failure {
    fn kind(&self) -> &str {
        &self.kind
    }
}

/// Holds the error of a task while the way to turn it into a [`Failure`] is chosen by its traits:
/// engine's own error, then [`Kind`], then `std::error::Error`, then `Display` alone.
#[doc(hidden)]
pub struct Returned<E> {
    error: Cell<Option<E>>,
    show: fn(&E) -> String,
}

/// What may be the `E` of a task's `Result<T, E>`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a task",
    label = "the error of a task must implement `std::error::Error`, or at least `Display`",
    note = "whoever reads the result is shown the error's text; `engine::Error` and `engine::Failure` will do too"
)]
pub trait TaskError {
    fn show(&self) -> String;
}

impl<E: fmt::Display> TaskError for E {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl<E> Returned<E> {
    #[doc(hidden)]
    pub fn new(error: E) -> Self
    where
        E: TaskError,
    {
        Returned { error: Cell::new(Some(error)), show: E::show }
    }

    fn take(&self) -> Option<E> {
        self.error.take()
    }
}

fn nothing() -> Failure {
    Failure::new("Error", "an error without a description")
}

#[doc(hidden)]
pub trait OfEngine {
    fn failure(&self) -> Failure;
}
impl OfEngine for &&&Returned<Error> {
    fn failure(&self) -> Failure {
        self.take().map_or_else(nothing, Error::into_failure)
    }
}

#[doc(hidden)]
pub trait OfKind {
    fn failure(&self) -> Failure;
}
impl<E: Kind + fmt::Display + 'static> OfKind for &&Returned<E> {
    fn failure(&self) -> Failure {
        let mut error = self.take();
        let any: &mut dyn Any = &mut error;
        if let Some(failure) = any.downcast_mut::<Option<Failure>>().and_then(Option::take) {
            return failure;
        }
        error.map_or_else(nothing, |error| Failure::new(error.kind(), error.to_string()))
    }
}

#[doc(hidden)]
pub trait OfStandard {
    fn failure(&self) -> Failure;
}
impl<E: StdError + 'static> OfStandard for &Returned<E> {
    fn failure(&self) -> Failure {
        self.take().map_or_else(nothing, |error| Failure::new(short_type_name::<E>(), chain(&error)))
    }
}

#[doc(hidden)]
pub trait OfDisplay {
    fn failure(&self) -> Failure;
}
impl<E> OfDisplay for Returned<E> {
    fn failure(&self) -> Failure {
        let kind = match short_type_name::<E>() {
            // Text alone names no kind.
            name if name == "String" || name.ends_with("str") => "Error".to_owned(),
            name => name,
        };
        self.take().map_or_else(nothing, |error| Failure::new(kind, (self.show)(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Coded(u8);
    impl Kind for Coded {
        fn kind(&self) -> &str {
            if self.0 == 0 { "Zero" } else { "More" }
        }
    }
    impl fmt::Display for Coded {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "coded {}", self.0)
        }
    }

    macro_rules! failure {
        ($error:expr) => {
            (&&&&Returned::new($error)).failure()
        };
    }

    #[test]
    fn the_kind_comes_from_the_error_itself_else_from_its_type() {
        assert_eq!(failure!(Coded(0)).kind(), "Zero");
        assert_eq!(failure!(Coded(1)).kind(), "More");
        assert_eq!(failure!("x".parse::<u8>().unwrap_err()).kind(), "ParseIntError");
        assert_eq!(failure!(Failure::new("Flaky", "")).kind(), "Flaky");
        assert_eq!(failure!("just text".to_owned()).kind(), "Error");
        assert_eq!(failure!("just text").message(), "just text");
        assert_eq!(failure!(Error::new("Own", "m")).kind(), "Own");
    }

    // contract: T6
    #[test]
    fn an_error_of_the_host_is_passed_on_whole() {
        let wire = wit::Error {
            code: ErrorCode::OutOfMemory.into_wire(),
            kind: None,
            message: "too much".into(),
            path: vec![wit::Frame { task: "t".into(), function: "f".into(), node: "n".into(), attempt: 2 }],
            backtrace: Some("at f".into()),
            payload: None,
        };
        let failure = failure!(Error::from_wire(wire)).into_wire();
        assert_eq!(failure.kind, "OUT_OF_MEMORY");
        let cause = failure.cause.unwrap();
        assert_eq!(cause.path[0].attempt, 2);
        assert_eq!(cause.backtrace.as_deref(), Some("at f"));
    }
}
