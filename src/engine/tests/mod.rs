//! The engine on modelled targets, a memory store and a paused clock.

mod abandoned;
mod alive;
mod bed;
mod crowd;
mod durable;
mod gate;
mod golden;
mod gone;
mod grace;
mod guards;
mod in_doubt;
mod laws;
mod outcomes;
mod path;
mod people;
mod reload;
mod rest;
mod simulation;
mod snapshots;
mod stops;
mod way_back;
mod words;
