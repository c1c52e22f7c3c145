//! Ports on loopback that no other test of this process gets.
//!
//! Taken from below the kernel's range for outgoing connections, so that the port of a member which
//! a test has killed is still free when the test starts it again.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::Mutex,
};

const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// One port.
pub(crate) fn free_port() -> u16 {
    free_ports(1)
}

/// The first of `count` ports in a row.
pub(crate) fn free_ports(count: u16) -> u16 {
    let mut next = NEXT.lock().unwrap();
    // Where a process begins depends on its id: two runs at once seldom try the same ports.
    let span = LAST - FIRST;
    let mut from =
        next.unwrap_or_else(|| FIRST + u16::try_from(process::id() * 97 % 12_000).unwrap() % span);
    for _ in 0..span {
        if from > LAST - count {
            from = FIRST;
        }
        if (from..from + count).all(is_free) {
            *next = Some(from + count);
            return from;
        }
        from += 1;
    }
    panic!("no {count} free ports in a row between {FIRST} and {LAST}");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
