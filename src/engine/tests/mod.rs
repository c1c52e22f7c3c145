//! The engine on modelled targets, a memory store and a paused clock.

mod bed;
mod crowd;
mod durable;
mod gate;
mod golden;
mod grace;
mod guards;
mod in_doubt;
mod laws;
mod path;
mod people;
mod reload;
mod rest;
mod simulation;
mod words;
