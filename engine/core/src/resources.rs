//! Resource arithmetic in fixed point (contract T5).

use std::fmt;
use std::sync::Arc;

/// Ten-thousandths of a unit of a CPU, a GPU or a custom resource.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(pub u64);

/// How many parts one unit has.
pub const PARTS_PER_UNIT: u64 = 10_000;

impl Quantity {
    /// Nothing.
    pub const ZERO: Quantity = Quantity(0);

    /// So many whole units, saturating.
    pub fn units(units: u64) -> Self {
        Self(units.saturating_mul(PARTS_PER_UNIT))
    }

    /// `units` rounded down to a ten-thousandth; none when negative, not a number, or too large.
    pub fn from_f64(units: f64) -> Option<Self> {
        // 0.3 × 10 000 is 2999.9999…: what is meant is the nearest decimal, then down.
        let parts = (units * PARTS_PER_UNIT as f64 + 1e-6).floor();
        (units >= 0.0 && parts < 9.0e15).then_some(Self(parts as u64))
    }

    /// In units, for people.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / PARTS_PER_UNIT as f64
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An amount of every kind of resource: what a node has, what is free, what a task asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Resources {
    /// CPUs.
    pub cpus: Quantity,
    /// GPUs.
    pub gpus: Quantity,
    /// Bytes of guest memory.
    pub memory: u64,
    /// Custom resources, sorted by name, none of them zero.
    pub(crate) custom: Vec<(Arc<str>, Quantity)>,
}

impl Resources {
    /// Custom resources, sorted by name.
    pub fn custom(&self) -> &[(Arc<str>, Quantity)] {
        &self.custom
    }

    /// Sets a custom resource.
    pub fn set_custom(&mut self, name: &str, quantity: Quantity) {
        match self.custom.binary_search_by(|(n, _)| n.as_ref().cmp(name)) {
            Ok(at) if quantity == Quantity::ZERO => drop(self.custom.remove(at)),
            Ok(at) => self.custom[at].1 = quantity,
            Err(_) if quantity == Quantity::ZERO => {}
            Err(at) => self.custom.insert(at, (Arc::from(name), quantity)),
        }
    }

    /// How much of a custom resource there is.
    pub fn get_custom(&self, name: &str) -> Quantity {
        self.custom
            .binary_search_by(|(n, _)| n.as_ref().cmp(name))
            .map_or(Quantity::ZERO, |at| self.custom[at].1)
    }

    /// The kinds of which there is something.
    pub fn kinds(&self) -> impl Iterator<Item = ResourceKind> {
        let plain = [ResourceKind::Cpus, ResourceKind::Gpus, ResourceKind::Memory];
        let custom = self.custom.iter().map(|(name, _)| ResourceKind::Custom(name.clone()));
        plain.into_iter().chain(custom).filter(|kind| self.of(kind) > 0)
    }

    /// How much there is of a kind: bytes of memory, ten-thousandths of the others.
    pub fn of(&self, kind: &ResourceKind) -> u64 {
        match kind {
            ResourceKind::Cpus => self.cpus.0,
            ResourceKind::Gpus => self.gpus.0,
            ResourceKind::Memory => self.memory,
            ResourceKind::Custom(name) => self.get_custom(name).0,
        }
    }

    /// Makes it so much of a kind: bytes of memory, ten-thousandths of the others.
    pub fn set(&mut self, kind: &ResourceKind, amount: u64) {
        match kind {
            ResourceKind::Cpus => self.cpus = Quantity(amount),
            ResourceKind::Gpus => self.gpus = Quantity(amount),
            ResourceKind::Memory => self.memory = amount,
            ResourceKind::Custom(name) => self.set_custom(name, Quantity(amount)),
        }
    }

    /// So often as much, up to the largest amount there is.
    pub fn multiplied(&self, count: u64) -> Self {
        let custom = self.custom.iter().map(|(name, q)| (name.clone(), Quantity(q.0.saturating_mul(count))));
        Self {
            cpus: Quantity(self.cpus.0.saturating_mul(count)),
            gpus: Quantity(self.gpus.0.saturating_mul(count)),
            memory: self.memory.saturating_mul(count),
            custom: custom.collect(),
        }
    }

    /// How many times this has so much, of what is wanted at all.
    pub fn times(&self, wanted: &Resources) -> u64 {
        let of = |had: u64, wanted: u64| had.checked_div(wanted).unwrap_or(u64::MAX);
        let custom = wanted.custom.iter().map(|(name, wanted)| of(self.get_custom(name).0, wanted.0));
        let plain =
            [of(self.cpus.0, wanted.cpus.0), of(self.gpus.0, wanted.gpus.0), of(self.memory, wanted.memory)];
        custom.chain(plain).min().unwrap_or(u64::MAX)
    }

    /// Whether `self` has at least what `wanted` asks for, of every kind.
    pub fn covers(&self, wanted: &Resources) -> bool {
        self.cpus >= wanted.cpus
            && self.gpus >= wanted.gpus
            && self.memory >= wanted.memory
            && wanted.custom.iter().all(|(name, q)| self.get_custom(name) >= *q)
    }

    /// Takes `wanted` away. The caller has made sure that it is there.
    pub fn take(&mut self, wanted: &Resources) {
        assert!(self.covers(wanted), "took {wanted:?} of {self:?}");
        self.cpus.0 -= wanted.cpus.0;
        self.gpus.0 -= wanted.gpus.0;
        self.memory -= wanted.memory;
        for (name, q) in &wanted.custom {
            let left = Quantity(self.get_custom(name).0 - q.0);
            self.set_custom(name, left);
        }
    }

    /// Raises each kind to what `other` has of it, where that is more.
    pub fn raise_to(&mut self, other: &Resources) {
        self.cpus = self.cpus.max(other.cpus);
        self.gpus = self.gpus.max(other.gpus);
        self.memory = self.memory.max(other.memory);
        for (name, q) in &other.custom {
            let most = self.get_custom(name).max(*q);
            self.set_custom(name, most);
        }
    }

    /// Takes as much of `wanted` away as there is.
    pub fn take_what_is_there(&mut self, wanted: &Resources) {
        self.cpus.0 = self.cpus.0.saturating_sub(wanted.cpus.0);
        self.gpus.0 = self.gpus.0.saturating_sub(wanted.gpus.0);
        self.memory = self.memory.saturating_sub(wanted.memory);
        for (name, q) in &wanted.custom {
            let left = Quantity(self.get_custom(name).0.saturating_sub(q.0));
            self.set_custom(name, left);
        }
    }

    /// Gives `returned` back.
    pub fn give(&mut self, returned: &Resources) {
        self.cpus.0 += returned.cpus.0;
        self.gpus.0 += returned.gpus.0;
        self.memory += returned.memory;
        for (name, q) in &returned.custom {
            let sum = Quantity(self.get_custom(name).0 + q.0);
            self.set_custom(name, sum);
        }
    }

    /// How much of what `self` is in all is in use, with so much free, once `needs` are taken too: of the
    /// kind of which the least is left, in thousandths.
    pub fn used_with(&self, free: &Resources, needs: &Resources) -> u64 {
        let part = |total: u64, free: u64, needs: u64| match total {
            0 => 0,
            _ => (total.saturating_sub(free).saturating_add(needs)).saturating_mul(1000) / total,
        };
        let custom = needs
            .custom
            .iter()
            .map(|(name, wanted)| part(self.get_custom(name).0, free.get_custom(name).0, wanted.0));
        let gpus = if needs.gpus.0 > 0 { part(self.gpus.0, free.gpus.0, needs.gpus.0) } else { 0 };
        [part(self.cpus.0, free.cpus.0, needs.cpus.0), part(self.memory, free.memory, needs.memory), gpus]
            .into_iter()
            .chain(custom)
            .max()
            .unwrap_or(0)
    }

    /// The kinds of which `self` has less than `wanted`: name, wanted, had.
    pub fn lacking(&self, wanted: &Resources) -> Vec<Lack> {
        let units = |name: &str, wanted: Quantity, had: Quantity| Lack {
            resource: name.to_owned(),
            wanted: wanted.to_string(),
            had: had.to_string(),
        };
        let mut lacks = Vec::new();
        if self.cpus < wanted.cpus {
            lacks.push(units("cpus", wanted.cpus, self.cpus));
        }
        if self.gpus < wanted.gpus {
            lacks.push(units("gpus", wanted.gpus, self.gpus));
        }
        if self.memory < wanted.memory {
            lacks.push(Lack {
                resource: "memory".into(),
                wanted: bytes(wanted.memory),
                had: bytes(self.memory),
            });
        }
        for (name, q) in &wanted.custom {
            let had = self.get_custom(name);
            if had < *q {
                lacks.push(units(name, *q, had));
            }
        }
        lacks
    }
}

/// A kind of resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceKind {
    /// CPUs.
    Cpus,
    /// GPUs.
    Gpus,
    /// Bytes of guest memory.
    Memory,
    /// One that the operator has named.
    Custom(Arc<str>),
}

/// One resource of which there is too little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// The resource's name.
    pub resource: String,
    /// How much was asked for, for people.
    pub wanted: String,
    /// How much there is, for people.
    pub had: String,
}

/// A number of bytes for people: `64 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value.fract() == 0.0 {
        format!("{value} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // contract: T5
    #[test]
    fn quantities_round_down_to_a_ten_thousandth() {
        assert_eq!(Quantity::from_f64(0.3), Some(Quantity(3_000)));
        assert_eq!(Quantity::from_f64(0.00019), Some(Quantity(1)));
        assert_eq!(Quantity::from_f64(2.0), Some(Quantity::units(2)));
        assert_eq!(Quantity::from_f64(-1.0), None);
        assert_eq!(Quantity::from_f64(f64::NAN), None);
        assert_eq!(Quantity::from_f64(f64::INFINITY), None);
    }

    #[test]
    fn what_is_taken_and_given_back_leaves_the_total() {
        let mut total = Resources { cpus: Quantity::units(4), memory: 100, ..Resources::default() };
        total.set_custom("disk", Quantity::units(1));
        let mut task = Resources { cpus: Quantity(1), memory: 40, ..Resources::default() };
        task.set_custom("disk", Quantity::units(1));
        let before = total.clone();
        total.take(&task);
        assert!(!total.covers(&task));
        assert_eq!(total.lacking(&task).len(), 1, "only the disk is used up: {:?}", total.lacking(&task));
        total.give(&task);
        assert_eq!(total, before);
    }

    #[test]
    fn so_often_as_much_is_as_much_so_often() {
        let mut needs = Resources { cpus: Quantity::units(2), memory: 10, ..Resources::default() };
        needs.set_custom("disk", Quantity::units(1));
        let thrice = needs.multiplied(3);
        assert!(thrice.covers(&needs) && thrice.times(&needs) == 3);
        let kinds: Vec<(ResourceKind, u64)> =
            thrice.kinds().map(|kind| (kind.clone(), thrice.of(&kind))).collect();
        let disk = ResourceKind::Custom("disk".into());
        assert_eq!(kinds, [(ResourceKind::Cpus, 60_000), (ResourceKind::Memory, 30), (disk, 30_000)]);
    }

    #[test]
    fn bytes_are_printed_for_people() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(1536), "1.5 KiB");
    }
}
