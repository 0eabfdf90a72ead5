//! The bounds of connections: a number in all, a number from one address, and a reserve for probes.
//!
//! A connection beyond the bounds gets a place in the reserve, where the server answers one request
//! of a probe and nothing else. When the reserve is full, the oldest connection makes room: a probe
//! needs its place only for a moment, so a connection that holds one for long is not a probe's. A
//! further concurrent request on an HTTP/2 connection takes a place like a connection.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::http::Extensions;
use tokio_util::sync::CancellationToken;

use crate::model::lock;

/// The bounds of the number of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most connections in all.
    pub total: usize,
    /// The most connections from one address.
    pub per_address: usize,
    /// The places beyond those, for probes.
    pub reserve: usize,
}

/// The address of the peer of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerAddress(pub(super) SocketAddr);

impl PeerAddress {
    /// Returns the network that a request came from; the unspecified one where there is no
    /// connection.
    pub(super) fn network_of(request: &Extensions) -> IpAddr {
        let peer = request.get::<Self>();
        peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Self(peer)| network(peer.ip()))
    }
}

/// Marks requests on connections where only probes are answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserved;

/// The present connections. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bounds: Bounds,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_network: HashMap<IpAddr, usize>,
    /// The reserved connections, the oldest first.
    reserve: VecDeque<(u64, CancellationToken)>,
    next: u64,
}

impl Connections {
    /// Makes a table without connections.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Shared { bounds, open: Mutex::default() }))
    }

    /// Returns a place for a connection of this peer, which holds it until the place is dropped.
    pub(super) fn admit(&self, peer: IpAddr) -> Place {
        self.within_bounds(peer).unwrap_or_else(|| self.in_reserve())
    }

    /// Returns a place within the bounds, if there is one: for a connection, or for a further
    /// concurrent request of one. Without the latter, HTTP/2 would raise the bounds a hundredfold.
    pub(super) fn within_bounds(&self, peer: IpAddr) -> Option<Place> {
        let network = network(peer);
        let Shared { bounds, .. } = &*self.0;
        let mut open = self.0.open();
        let mine = open.by_network.get(&network).copied().unwrap_or_default();
        if open.total >= bounds.total || mine >= bounds.per_address {
            return None;
        }
        open.total += 1;
        open.by_network.insert(network, mine + 1);
        Some(self.place(Kind::Ordinary(network)))
    }

    fn in_reserve(&self) -> Place {
        let mut open = self.0.open();
        while open.reserve.len() >= self.0.bounds.reserve.max(1) {
            let Some((_, oldest)) = open.reserve.pop_front() else { break };
            oldest.cancel();
        }
        open.next += 1;
        let (id, evicted) = (open.next, CancellationToken::new());
        open.reserve.push_back((id, evicted.clone()));
        self.place(Kind::Reserved { id, evicted })
    }

    fn place(&self, kind: Kind) -> Place {
        Place { shared: Arc::clone(&self.0), kind }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        // Every change is complete before anything in it could panic.
        lock(&self.open)
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Ordinary(IpAddr),
    Reserved { id: u64, evicted: CancellationToken },
}

impl Place {
    /// Returns whether only probes are answered on this connection.
    pub(super) fn is_reserved(&self) -> bool {
        matches!(self.kind, Kind::Reserved { .. })
    }

    /// Resolves once the connection has to make room.
    pub(super) async fn evicted(&self) {
        match &self.kind {
            Kind::Ordinary(_) => std::future::pending().await,
            Kind::Reserved { evicted, .. } => evicted.cancelled().await,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.shared.open();
        match &self.kind {
            Kind::Ordinary(network) => {
                open.total = open.total.saturating_sub(1);
                if let Some(count) = open.by_network.get_mut(network) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        open.by_network.remove(network);
                    }
                }
            }
            Kind::Reserved { id, .. } => open.reserve.retain(|(other, _)| other != id),
        }
    }
}

/// Returns the network that counts as one address: of IPv6 a /64, since a single machine has all of
/// it.
fn network(peer: IpAddr) -> IpAddr {
    /// The bits of an IPv6 address that name a machine within its network.
    const HOST_BITS: u32 = 64;
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> HOST_BITS << HOST_BITS))
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const BOUNDS: Bounds = Bounds { total: 3, per_address: 2, reserve: 2 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_does_not_take_the_places_of_others() {
        let connections = Connections::new(BOUNDS);
        let held = [connections.admit(ip("10.0.0.1")), connections.admit(ip("::ffff:10.0.0.1"))];
        assert!(held.iter().all(|place| !place.is_reserved()));
        assert!(connections.admit(ip("10.0.0.1")).is_reserved());
        let other = connections.admit(ip("10.0.0.2"));
        assert!(!other.is_reserved());
        assert!(connections.admit(ip("10.0.0.3")).is_reserved(), "three is all");
        drop(held);
        assert!(!connections.admit(ip("10.0.0.1")).is_reserved());
    }

    #[test]
    fn machines_of_one_ipv6_network_count_as_one() {
        let connections = Connections::new(BOUNDS);
        let _held = [connections.admit(ip("2001:db8::1")), connections.admit(ip("2001:db8::2"))];
        assert!(connections.admit(ip("2001:db8::3")).is_reserved());
        assert!(!connections.admit(ip("2001:db8:0:1::3")).is_reserved());
    }

    #[test]
    fn the_oldest_of_the_reserve_makes_room() {
        let connections = Connections::new(Bounds { total: 0, ..BOUNDS });
        let evicted = |place: &Place| place.evicted().now_or_never().is_some();
        let [first, second] = [connections.admit(ip("::1")), connections.admit(ip("::1"))];
        assert!(!evicted(&first) && !evicted(&second));
        let third = connections.admit(ip("::1"));
        assert!(evicted(&first) && !evicted(&second) && !evicted(&third));
        drop(third);
        let _fourth = connections.admit(ip("::1"));
        assert!(!evicted(&second));
    }

    #[test]
    fn what_ends_leaves_nothing_behind() {
        let connections = Connections::new(BOUNDS);
        for _ in 0..100 {
            let places: Vec<_> = (0..9).map(|n| connections.admit(IpAddr::from([n; 4]))).collect();
            drop(places);
        }
        let open = connections.0.open();
        assert_eq!((open.total, open.by_network.len(), open.reserve.len()), (0, 0, 0));
    }
}
