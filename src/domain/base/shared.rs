//! Maps whose copies share what did not change.
//!
//! A cell is copied at every step, so that a step whose commit fails leaves nothing behind and a
//! reader keeps what it was given. With these a copy costs the same whether a cluster has one closed
//! incident or a hundred thousand.

/// A sorted map; a copy of it costs the same whatever its size.
pub type SharedMap<K, V> = rpds::RedBlackTreeMapSync<K, V>;

/// A sorted set, likewise.
pub type SharedSet<T> = rpds::RedBlackTreeSetSync<T>;
