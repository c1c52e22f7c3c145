//! The fault domain etcd: what is read of a cluster's members, what it says of their quorum, what a
//! rebuild would lose, and what a person's approval of one is bound to.

pub mod digest;
pub mod evidence;
pub mod loss;
pub mod observation;
pub mod reading;
pub mod verdict;
pub mod versions;
