//! `sesari`: what an operator does beside the services. `sesari --help` lists the commands.

mod args;
mod doctor;
mod import;
mod print;
mod upkeep;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{Arguments, Command};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What a command came to, as an exit code. Wrong usage is 2, from clap.
enum Found {
    Nothing,
    Something,
}

impl From<Found> for ExitCode {
    fn from(found: Found) -> Self {
        match found {
            Found::Nothing => Self::SUCCESS,
            Found::Something => Self::from(1),
        }
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(found) => found.into(),
        Err(error) => {
            eprintln!("sesari: {error}");
            ExitCode::from(3)
        }
    }
}

fn run(command: Command) -> Outcome<Found> {
    match command {
        Command::Doctor(command) => doctor::run(command),
        Command::Migrate(command) => upkeep::migrate(&command),
        Command::Keys(command) => upkeep::keys(command),
        Command::Retire(command) => upkeep::retire(&command),
        Command::Import(command) => import::run(&command),
        Command::Verify(command) => upkeep::verify(command),
        Command::Rotate(command) => upkeep::rotate(&command),
        Command::Rezone(command) => upkeep::rezone(&command),
        Command::Pack(command) => upkeep::pack(&command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "sesari", &mut script);
            print::text(&String::from_utf8(script)?);
            Ok(Found::Nothing)
        }
    }
}
