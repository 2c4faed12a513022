//! What of a request stands in the audit log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use engine_access::Principal;
use engine_audit::{AuditLog, Broken, Entry, OK, Who};
use engine_core::{Error, ErrorCode};
use engine_proto::error_from_status;
use engine_tls::Peer;
use parking_lot::Mutex;
use tonic::codegen::http::HeaderMap;
use tonic::{Code, Status};

use super::{For, Rule, Shows};

/// The outcome of a request whose answer nobody has waited for: it was done, in part, or not.
const ABANDONED: &str = "ABANDONED";

/// What a request is done to, as its service finds out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject(Arc<Mutex<BTreeMap<String, String>>>);

impl Subject {
    pub(super) fn add(&self, what: &'static str, which: String) {
        if !which.is_empty() {
            self.0.lock().insert(what.to_owned(), which);
        }
    }
}

/// A request that is being served, and may have to stand in the log.
pub(super) struct Audited {
    log: Arc<AuditLog>,
    entry: Entry,
    subject: Subject,
    is_change: bool,
    /// Whether it is a node's, which is never held up: one that cannot join again is dead.
    is_of_node: bool,
    /// Whether it is to stand in the log, and does not yet.
    is_due: bool,
}

impl Audited {
    /// `method`: as the rule has it, or as the request names one that there is not. `principal`: who asks, as
    /// far as what it shows is good.
    pub(super) fn new(
        log: Arc<AuditLog>,
        rule: Option<&Rule>,
        method: &str,
        from: String,
        principal: Option<&Principal>,
        shows: Option<Shows<'_>>,
    ) -> Self {
        let peer = shows.map_or(Peer::Unproven, |shows| shows.peer);
        let token = principal.and_then(Principal::token_id);
        let (who, certificate) = match (token, peer) {
            (Some(_), _) => (Who::Token, None),
            // Who comes to get a token is nobody yet.
            _ if rule.is_some_and(|rule| rule.whom == For::Newcomers) => (Who::Nobody, None),
            _ if shows.is_none_or(|shows| shows.token.is_some()) => (Who::Nobody, None),
            (None, Peer::Proven(name)) => (Who::Certificate, Some(name.to_string())),
            (None, Peer::Local) if principal.is_some() => (Who::Operator, None),
            (None, Peer::Local | Peer::Unproven) => (Who::Nobody, None),
        };
        let scope = principal.map(|principal| &principal.scope);
        let entry = Entry {
            time: SystemTime::now(),
            method: method.to_owned(),
            verb: rule.and_then(|rule| rule.verb).map(|verb| verb.to_string()),
            outcome: ABANDONED.to_owned(),
            who,
            certificate,
            token_id: token.map(ToString::to_string),
            tenant: scope.and_then(|scope| scope.tenant.as_ref()).map(ToString::to_string),
            namespace: scope.and_then(|scope| scope.namespace.clone()),
            from,
            on: BTreeMap::new(),
        };
        let is_change = rule.is_none_or(|rule| rule.is_change);
        let is_of_node = rule.is_some_and(|rule| rule.whom == For::Nodes);
        Self { log, entry, subject: Subject::default(), is_change, is_of_node, is_due: is_change }
    }

    /// Where the service says what the request is done to.
    pub(super) fn subject(&self) -> Subject {
        self.subject.clone()
    }

    /// Whether it may be done: what changes something has to be told of.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.is_change && !self.is_of_node {
            true => self.log.check().map_err(refused),
            false => Ok(()),
        }
    }

    /// The request is refused, as the log cannot be written: what was not done is noted if there is room.
    pub(super) fn refused(mut self, error: &Error) {
        self.ended(error.code().as_str().to_owned());
        self.is_due = false;
        if !self.log.try_note(self.entry.clone()) {
            tracing::warn!(
                method = self.entry.method,
                "a request was refused that the audit log has no room for"
            );
        }
    }

    /// It was answered with these headers, which say whether it failed. Waits while the log's queue is full.
    pub(super) async fn answered(mut self, headers: &HeaderMap) {
        let outcome = outcome(headers);
        let is_denied = [ErrorCode::PermissionDenied, ErrorCode::Unauthenticated].map(ErrorCode::as_str);
        self.is_due |= is_denied.contains(&outcome.as_str());
        if !self.is_due {
            return;
        }
        self.ended(outcome);
        if self.is_of_node {
            self.is_due = !self.log.try_note(self.entry.clone());
            return;
        }
        if let Err(error) = self.log.note(self.entry.clone()).await {
            tracing::error!(method = self.entry.method, %error, "a request is not in the audit log");
        }
        self.is_due = false;
    }

    fn ended(&mut self, outcome: String) {
        let on = self.subject.0.lock().clone();
        self.entry = Entry { time: SystemTime::now(), outcome, on, ..self.entry.clone() };
    }
}

impl Drop for Audited {
    /// Who asked went away before the answer, or before it stands in the log.
    fn drop(&mut self) {
        if self.is_due {
            let outcome = std::mem::take(&mut self.entry.outcome);
            self.ended(outcome);
            AuditLog::note_later(&self.log, self.entry.clone());
        }
    }
}

fn refused(broken: Broken) -> Error {
    let code = if broken.is_full { ErrorCode::OutOfDisk } else { ErrorCode::Internal };
    Error::new(code, broken.to_string())
}

/// The name of what headers of an answer say. A stream that begins well is well, however it ends.
fn outcome(headers: &HeaderMap) -> String {
    let Some(status) = Status::from_header_map(headers) else { return OK.to_owned() };
    match (error_from_status(&status), status.code()) {
        (Some(error), _) => error.code().as_str().to_owned(),
        (None, Code::Ok) => OK.to_owned(),
        (None, Code::Unavailable) => ErrorCode::NodeDied.as_str().to_owned(),
        (None, Code::Unimplemented) => ErrorCode::Unsupported.as_str().to_owned(),
        (None, _) => ErrorCode::Internal.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use engine_proto::status_from_error;
    use tonic::body::Body;

    use super::*;

    #[test]
    fn an_answer_says_what_came_of_it() {
        let of = |status: Status| outcome(status.into_http::<Body>().headers());
        for code in ErrorCode::ALL {
            assert_eq!(of(status_from_error(&Error::new(*code, "x"))), code.as_str());
        }
        assert_eq!(of(Status::unimplemented("x")), "UNSUPPORTED");
        assert_eq!(of(Status::unavailable("x")), "NODE_DIED");
        assert_eq!(outcome(&HeaderMap::new()), "OK");
    }
}
