//! A request on its way: its values, and itself once all of them are said.

use std::sync::Arc;

use bytes::Bytes;
use engine_core::{Codec, Error};
use engine_proto::convert::client::{self, Came};
use engine_proto::convert::peer::id;
use engine_proto::limits::{PIECE_BYTES_MAX, VALUES_INLINE_BYTES_MAX};
use engine_proto::v1;
use engine_proto::v1::client_request::Request;

use crate::session::answer::Answer;
use crate::session::line::Line;
use crate::session::value::{Argument, Failure, Value};

/// A request whose values are being said.
pub(super) struct Saying<'a> {
    line: &'a Arc<Line>,
    inline_left: usize,
    /// The values that have gone in pieces, and that the request has yet to name.
    in_pieces: Vec<u64>,
}

impl<'a> Saying<'a> {
    pub(super) fn new(line: &'a Arc<Line>) -> Self {
        Self { line, inline_left: VALUES_INLINE_BYTES_MAX, in_pieces: Vec::new() }
    }

    /// A value as the request names it. Waits while the node has yet to hear too much of what was said.
    pub(super) async fn value(&mut self, value: &Value) -> Result<v1::ClientValue, Error> {
        let bytes = value.bytes.clone();
        let came = match bytes.len() <= self.inline_left {
            true => {
                self.inline_left -= bytes.len();
                Came::Inline(bytes)
            }
            false => Came::Pieces(self.pieces(bytes).await?),
        };
        Ok(client::value(value.codec, &value.handles, came))
    }

    async fn pieces(&mut self, mut bytes: Bytes) -> Result<u64, Error> {
        let of = self.line.new_value();
        let mut is_first = true;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
            self.line.say_piece(v1::Piece { of, bytes: piece }).await?;
            if std::mem::take(&mut is_first) {
                self.in_pieces.push(of);
            }
        }
        Ok(of)
    }

    pub(super) async fn arguments(
        &mut self,
        arguments: &[Argument],
    ) -> Result<Vec<v1::ClientArgument>, Error> {
        use v1::client_argument::Argument as Wire;
        let mut said = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let argument = match argument {
                Argument::Value(value) => Wire::Value(self.value(value).await?),
                Argument::Object(object) => Wire::Object(id(*object)),
            };
            said.push(v1::ClientArgument { argument: Some(argument) });
        }
        Ok(said)
    }

    /// Asks, and gives what becomes of it. `lane`: the one that the request names for an actor.
    pub(super) async fn ask(mut self, request: Request, lane: Option<u64>) -> Result<Answer, Failure> {
        let asked = self.line.ask(request, lane)?;
        self.in_pieces.clear();
        drop(self);
        asked.answer().await
    }
}

impl Drop for Saying<'_> {
    /// Given up on the way: the node would keep pieces that no request names, so that one does, and what it
    /// makes of them is given back at once.
    fn drop(&mut self) {
        for number in self.in_pieces.drain(..) {
            let value = client::value(Codec::Raw, &[], Came::Pieces(number));
            self.line.ask_for_nobody(Request::Put(value));
        }
    }
}
