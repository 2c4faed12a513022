//! A line that outlives its connections: what each side says is numbered from 1 on and kept until the other
//! has heard it, so that the next connection goes on where the last one broke, and nothing takes effect twice.

use std::collections::VecDeque;

use engine_core::Error;

/// What one side has said, and the other has not heard as far as is known.
#[derive(Debug)]
pub struct Outbox<M> {
    /// The number of the first that is kept.
    first: u64,
    kept: VecDeque<(M, usize)>,
    bytes: usize,
}

impl<M> Default for Outbox<M> {
    fn default() -> Self {
        Self { first: 1, kept: VecDeque::new(), bytes: 0 }
    }
}

impl<M: Clone> Outbox<M> {
    /// Says something of about so many bytes; its number.
    pub fn say(&mut self, message: M, bytes: usize) -> u64 {
        self.kept.push_back((message, bytes));
        self.bytes += bytes;
        self.first + self.kept.len() as u64 - 1
    }

    /// The other side has heard what was said up to this number.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when so much was never said.
    pub fn heard(&mut self, number: u64) -> Result<(), Error> {
        let last = self.first + self.kept.len() as u64 - 1;
        if number > last {
            return Err(Error::invalid_argument(format!(
                "message {number} is said to be heard, and {last} was the last one"
            )));
        }
        while self.first <= number
            && let Some((_, bytes)) = self.kept.pop_front()
        {
            self.first += 1;
            self.bytes -= bytes;
        }
        Ok(())
    }

    /// What follows on this number, which was said before, if anything does.
    pub fn after(&self, number: u64) -> Option<(u64, M)> {
        let number = (number + 1).max(self.first);
        let at = usize::try_from(number - self.first).ok()?;
        self.kept.get(at).map(|(message, _)| (number, message.clone()))
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages that are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether all was heard.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// How far one side has heard the other.
#[derive(Debug, Default)]
pub struct Inbox {
    heard: u64,
}

impl Inbox {
    /// Whether the message of this number is new, and is to take effect. It counts as heard then.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when one before it is missing.
    pub fn hear(&mut self, number: u64) -> Result<bool, Error> {
        if number > self.heard + 1 {
            return Err(Error::invalid_argument(format!(
                "message {number} came after message {}: what lies between is missing",
                self.heard
            )));
        }
        let is_new = number == self.heard + 1;
        self.heard = self.heard.max(number);
        Ok(is_new)
    }

    /// The number of the last one.
    pub fn heard(&self) -> u64 {
        self.heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_heard_is_said_again_in_order_and_takes_effect_once() {
        let (mut out, mut inbox, mut effects) = (Outbox::default(), Inbox::default(), Vec::new());
        for word in ["a", "b", "c", "d"] {
            out.say(word, 10);
        }
        // A connection that breaks after two, and one that begins where the last one is known to have been.
        for (begin, end) in [(0, 2), (1, 4)] {
            let mut at = begin;
            while at < end {
                let (number, word) = out.after(at).expect("it was said");
                if inbox.hear(number).expect("nothing is missing") {
                    effects.push(word);
                }
                at = number;
            }
            out.heard(begin).expect("it was said");
        }
        assert_eq!(effects, ["a", "b", "c", "d"]);
        assert_eq!((out.bytes(), out.is_empty()), (30, false), "one is known to be heard");
        out.heard(inbox.heard()).expect("it was said");
        assert_eq!((out.bytes(), out.is_empty(), out.after(0)), (0, true, None));
        assert_eq!(out.say("e", 1), 5);
        assert_eq!(out.after(4), Some((5, "e")));
    }

    #[test]
    fn nonsense_is_refused() {
        let mut out = Outbox::default();
        out.say("a", 1);
        assert!(out.heard(2).is_err(), "it was never said");
        let mut inbox = Inbox::default();
        assert!(inbox.hear(2).is_err(), "the first is missing");
        assert!(inbox.hear(1).expect("it is the next"));
        assert!(!inbox.hear(1).expect("it came before"));
    }
}
