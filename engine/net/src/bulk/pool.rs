//! A client's connections: those in use, which can be cut, and idle ones, which are used again.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use engine_core::NodeId;
use engine_core::ids::IdMap;
use engine_tls::Wire;
use parking_lot::Mutex;

use super::limits::{IDLE_CONNECTIONS_MAX, IDLE_PER_HOLDER_MAX};

#[derive(Default)]
pub(super) struct Pool(Mutex<State>);

#[derive(Default)]
struct State {
    holders: IdMap<NodeId, Holder>,
    /// Idle connections in all.
    idle: usize,
    /// Of the next lease.
    number: u64,
}

/// Kept as long as it has a lease or an idle connection.
#[derive(Default)]
struct Holder {
    leases: Vec<(u64, Option<Arc<TcpStream>>)>,
    idle: Vec<(SocketAddr, Wire)>,
}

impl Holder {
    fn has_lease(&self, number: u64) -> bool {
        self.leases.iter().any(|(own, _)| *own == number)
    }
}

/// One transfer's place in the pool.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    holder: NodeId,
    number: u64,
}

impl Pool {
    pub(super) fn lease(&self, holder: NodeId) -> Lease<'_> {
        let mut state = self.0.lock();
        state.number += 1;
        let number = state.number;
        state.holders.entry(holder).or_default().leases.push((number, None));
        Lease { pool: self, holder, number }
    }

    /// Closes the holder's connections; its leases are forgotten.
    pub(super) fn forget(&self, holder: NodeId) {
        let mut state = self.0.lock();
        let Some(gone) = state.holders.remove(&holder) else { return };
        state.idle -= gone.idle.len();
        for stream in gone.leases.iter().filter_map(|(_, stream)| stream.as_ref()) {
            // It fails when the holder has closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.0.lock().idle
    }

    #[cfg(test)]
    pub(super) fn holders(&self) -> usize {
        self.0.lock().holders.len()
    }
}

impl Lease<'_> {
    /// An idle connection to this address, which is in use from now on.
    pub(super) fn idle(&self, at: SocketAddr) -> Option<Wire> {
        let mut state = self.pool.0.lock();
        let holder = state.holders.get_mut(&self.holder)?;
        let index = holder.idle.iter().rposition(|(address, _)| *address == at)?;
        let (_, wire) = holder.idle.swap_remove(index);
        state.idle -= 1;
        drop(state);
        self.uses(wire.socket()).then_some(wire)
    }

    /// Says which connection is used. False when the holder was forgotten meanwhile.
    pub(super) fn uses(&self, stream: &Arc<TcpStream>) -> bool {
        let mut state = self.pool.0.lock();
        let own = state
            .holders
            .get_mut(&self.holder)
            .and_then(|holder| holder.leases.iter_mut().find(|(number, _)| *number == self.number));
        own.map(|(_, used)| *used = Some(stream.clone())).is_some()
    }

    /// The holder was forgotten since this lease began.
    pub(super) fn is_forgotten(&self) -> bool {
        let state = self.pool.0.lock();
        !state.holders.get(&self.holder).is_some_and(|holder| holder.has_lease(self.number))
    }

    /// Keeps a connection, on which nothing is under way, for the next transfer; closes it where there
    /// are enough.
    pub(super) fn keep(&self, at: SocketAddr, wire: Wire) {
        let mut state = self.pool.0.lock();
        let has_room = state.idle < IDLE_CONNECTIONS_MAX;
        if let Some(holder) = state.holders.get_mut(&self.holder)
            && holder.has_lease(self.number)
            && has_room
            && holder.idle.len() < IDLE_PER_HOLDER_MAX
        {
            holder.idle.push((at, wire));
            state.idle += 1;
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.0.lock();
        let Some(holder) = state.holders.get_mut(&self.holder) else { return };
        holder.leases.retain(|(number, _)| *number != self.number);
        if holder.leases.is_empty() && holder.idle.is_empty() {
            state.holders.remove(&self.holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn idle_connections_are_bounded_and_nothing_is_left_of_a_forgotten_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let stream = || Arc::new(TcpStream::connect(at).unwrap());
        let wire = || Wire::plain(stream());
        let pool = Pool::default();
        let node = |n: u64| NodeId::from_bits(n, 0);
        for holder in 0..3 {
            let lease = pool.lease(node(holder));
            (0..IDLE_PER_HOLDER_MAX + 2).for_each(|_| lease.keep(at, wire()));
        }
        assert_eq!((pool.idle(), pool.holders()), (3 * IDLE_PER_HOLDER_MAX, 3));
        let lease = pool.lease(node(0));
        assert!(lease.idle(at).is_some());
        assert!(lease.idle("127.0.0.1:9".parse().unwrap()).is_none());
        pool.forget(node(0));
        assert!(lease.is_forgotten());
        assert!(!lease.uses(&stream()));
        // The same holder again: the lease of before keeps nothing for it.
        drop(pool.lease(node(0)));
        lease.keep(at, wire());
        assert!(lease.idle(at).is_none());
        drop(lease);
        pool.forget(node(1));
        assert_eq!((pool.idle(), pool.holders()), (IDLE_PER_HOLDER_MAX, 1));
        pool.forget(node(2));
        assert_eq!((pool.idle(), pool.holders()), (0, 0));
    }
}
