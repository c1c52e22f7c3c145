//! Which cluster an alert is about: the one whose `match` its labels satisfy.
//!
//! An index over what clusters demand of single labels: the cost of one alert does not depend on how
//! many clusters there are, save for those that demand no label to be equal to anything (patterns and
//! negations only); they are tried one by one. It answers as trying all of them would.

use std::collections::BTreeMap;

use crate::domain::{
    alert::labels::{Labels, Matchers},
    base::id::ClusterName,
};

/// Which cluster an alert is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This one.
    Cluster(ClusterName),
    /// None matches.
    Unmatched,
    /// Several match: refused, so that nothing is repaired by mistake.
    Ambiguous(Vec<ClusterName>),
}

/// The clusters of an inventory, found by labels.
#[derive(Debug)]
pub struct Owners {
    clusters: Vec<(ClusterName, Matchers)>,
    /// Each cluster under one label that it demands: the hash of its name and value, and its place.
    /// Sorted by bucket.
    filed: Vec<(u64, u32)>,
    /// Where each bucket begins in `filed`; one more than there are buckets, a power of two.
    starts: Vec<u32>,
    /// Clusters that demand no label to be equal to anything.
    rest: Vec<u32>,
}

impl Owners {
    /// Makes the index of clusters and their `match`. Each is filed under the label that fewest
    /// others demand.
    pub fn new(clusters: impl IntoIterator<Item = (ClusterName, Matchers)>) -> Self {
        let clusters: Vec<_> = clusters.into_iter().collect();
        let mut demanded: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for label in clusters.iter().flat_map(|(_, matches)| matches.equalities()) {
            *demanded.entry(label).or_default() += 1;
        }
        let (mut filed, mut rest) = (Vec::with_capacity(clusters.len()), Vec::new());
        for (place, (_, matches)) in (0..).zip(&clusters) {
            let rarest = matches.equalities().min_by_key(|label| demanded.get(label));
            match rarest {
                Some((name, value)) => filed.push((hash(name, value), place)),
                None => rest.push(place),
            }
        }
        let buckets = (filed.len() * 2).next_power_of_two();
        filed.sort_unstable_by_key(|(hash, place)| (bucket(*hash, buckets), *place));
        let mut starts = vec![0; buckets + 1];
        for (hash, _) in &filed {
            starts[bucket(*hash, buckets) + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        Self { clusters, filed, starts, rest }
    }

    /// The clusters it was made of, in their order.
    pub fn names(&self) -> impl Iterator<Item = &ClusterName> {
        self.clusters.iter().map(|(name, _)| name)
    }

    /// The place of the one cluster that owns these labels.
    pub fn place(&self, labels: &Labels) -> Option<usize> {
        let mut hits = self.hits(labels);
        hits.next().filter(|_| hits.next().is_none())
    }

    /// The cluster that owns these labels, or why none does.
    pub fn owner(&self, labels: &Labels) -> Owner {
        let mut places: Vec<usize> = self.hits(labels).collect();
        places.sort_unstable();
        let mut names = places.iter().map(|place| self.clusters[*place].0.clone());
        match places.len() {
            0 => Owner::Unmatched,
            1 => names.next().map_or(Owner::Unmatched, Owner::Cluster),
            _ => Owner::Ambiguous(names.collect()),
        }
    }

    /// Every cluster whose `match` the labels satisfy, in no order.
    fn hits<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = usize> + 'a {
        let buckets = self.starts.len() - 1;
        let filed = labels.iter().flat_map(move |(name, value)| {
            let hash = hash(name, value);
            let at = bucket(hash, buckets);
            let of_bucket = self.starts[at] as usize..self.starts[at + 1] as usize;
            self.filed[of_bucket].iter().filter(move |(filed, _)| *filed == hash)
        });
        let places = filed.map(|(_, place)| *place).chain(self.rest.iter().copied());
        let places = places.map(|place| place as usize);
        places.filter(|place| self.clusters[*place].1.matches(labels))
    }
}

/// FNV-1a over name and value. What collides is told apart by the matchers themselves.
fn hash(name: &str, value: &str) -> u64 {
    let bytes = name.bytes().chain([0xff]).chain(value.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[expect(clippy::cast_possible_truncation, reason = "only the low bits count")]
fn bucket(hash: u64, buckets: usize) -> usize {
    hash as usize & (buckets - 1)
}

#[cfg(test)]
mod tests;
