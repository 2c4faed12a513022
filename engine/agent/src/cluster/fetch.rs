//! The bytes of objects that are on other nodes.

use engine_core::node::RemotePlace;
use engine_core::transfer::{Parts, Route, Way};
use engine_core::{Error, ErrorCode, NodeId, Place};
use engine_net::bulk::{Asking, BulkSink, Fetched};
use engine_objects::{Filling, Piece, Store};

use super::coming::{Announced, Coming};
use crate::cluster::Network;

/// A part of an object that comes from one node, and goes to its place in the arena.
struct Receiving<'a> {
    store: &'a Store,
    coming: &'a Coming,
    room: Option<Filling>,
    piece: Option<Piece>,
}

impl BulkSink for Receiving<'_> {
    fn size(&mut self, bytes: u64) -> Result<(), Error> {
        self.room = Some(self.coming.room(self.store, bytes)?);
        Ok(())
    }

    fn written(&self) -> u64 {
        self.piece.as_ref().map_or(0, |piece| piece.written() as u64)
    }

    fn room(
        &mut self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let piece = match &mut self.piece {
            Some(piece) => piece,
            none => {
                let room =
                    self.room.as_ref().ok_or_else(|| Error::internal("bytes came before their size"))?;
                none.insert(room.take(0..room.size())?)
            }
        };
        piece.append_with(length, fill)?;
        self.coming.has_more();
        Ok(())
    }
}

fn not_a_node(remote: RemotePlace) -> Error {
    let RemotePlace { object, holder } = remote;
    Error::new(
        ErrorCode::ObjectLost,
        format!("{object}: {holder}, which has its bytes, is no node of the cluster"),
    )
}

/// Whatever the holder or the way to it says, the bytes are not to be had there; that there is no room
/// here is another matter.
fn unless_full(remote: RemotePlace, error: Error) -> Error {
    match error.code() {
        ErrorCode::ObjectLost | ErrorCode::StoreFull => error,
        code => Error::new(
            ErrorCode::ObjectLost,
            format!("{} could not be had from {}: {code}: {}", remote.object, remote.holder, error.message()),
        ),
    }
}

impl Network {
    /// Fetches an object into the arena, asking whom the core says. Blocks.
    pub(crate) fn fetch(
        &self,
        store: &Store,
        remote: RemotePlace,
        announced: &Announced,
    ) -> Result<Place, Error> {
        let coming = &*announced.coming;
        let mut sink = Receiving { store, coming, room: None, piece: None };
        let mut route = Route::new(remote.holder);
        loop {
            let (holder, way) = route.next();
            let from = RemotePlace { holder, ..remote };
            let failure = match self.ask(from, way, None, &mut sink) {
                Ok(Fetched::All) => break,
                Ok(Fetched::Several(others)) => match &sink.room {
                    Some(room) => {
                        self.fetch_parts(store, remote, &others, (coming, room))?;
                        break;
                    }
                    None => Error::internal("an object has several holders and no size"),
                },
                Ok(Fetched::Ask(other)) if route.sent_on(other) => continue,
                Ok(Fetched::Ask(other)) => {
                    let message = format!("{}: {holder} sends this node on to {other} again", remote.object);
                    return Err(Error::new(ErrorCode::ObjectLost, message));
                }
                Err(error) => error,
            };
            if !route.failed(&failure) {
                return Err(unless_full(from, failure));
            }
            tracing::debug!(object = %remote.object, %holder, %failure, "its bytes are asked of the first holder again");
        }
        let room = sink.room.ok_or_else(|| Error::internal("an object came without its size"))?;
        room.seal()
    }

    fn ask(
        &self,
        from: RemotePlace,
        way: Way,
        part: Option<std::ops::Range<u64>>,
        sink: &mut dyn BulkSink,
    ) -> Result<Fetched, Error> {
        let RemotePlace { object, holder } = from;
        let at = self.bulk_address(holder).ok_or_else(|| not_a_node(from))?;
        self.bulk.fetch(&Asking { at, holder, object, way }, part, sink)
    }

    /// Fetches the parts of an object from several nodes at once. Blocks.
    fn fetch_parts(
        &self,
        store: &Store,
        remote: RemotePlace,
        others: &[NodeId],
        (coming, room): (&Coming, &Filling),
    ) -> Result<(), Error> {
        let RemotePlace { object, holder } = remote;
        let known = |holder| Some(Asking { at: self.bulk_address(holder)?, holder, object, way: Way::Part });
        let sources: Vec<Asking> = others.iter().copied().chain([holder]).filter_map(known).collect();
        let parts = Parts::new(room.size() as u64, sources.len());
        let fetched = self.bulk.fetch_parts(parts, &sources, |part| {
            let range = part.start as usize..part.end as usize;
            Ok(Receiving { store, coming, room: None, piece: Some(room.take(range)?) })
        });
        fetched.map_err(|error| unless_full(remote, error))
    }

    /// Reads part of an object. Blocks.
    pub(crate) fn read(&self, remote: RemotePlace, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        let at = self.bulk_address(remote.holder).ok_or_else(|| not_a_node(remote))?;
        let read = self.bulk.read(at, remote.holder, remote.object, offset, length);
        read.map_err(|error| unless_full(remote, error))
    }
}
