//! `traffic-probe`: what was typed, to what is done, to an exit code.

use std::process::ExitCode;

use anyhow::Context;
use probe_user::{
    causes::with_causes,
    check,
    cli::{BadCommand, Cli, Command},
    detach,
    live::{Screen, say},
    logs, monitor, replay, reporting, run,
};

/// Exit code of a command line that makes no sense: `clap`'s own.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(BadCommand::Typed(error)) => error.exit(),
        Err(error) => return usage(&error),
    };
    let screen = Screen::detect();
    let done = logs::init(&cli.log, &screen).and_then(|()| match cli.command {
        Command::Run(flags) => match flags.settings() {
            Ok(settings) => run::run(&settings, &screen).map(|()| ExitCode::SUCCESS),
            Err(error) => Ok(usage(&error)),
        },
        Command::Report(flags) => reporting::report(&flags).map(|()| ExitCode::SUCCESS),
        Command::Monitor(flags) => monitor::monitor(&flags),
        Command::Check(flags) => match flags.run.settings() {
            Ok(settings) => check::check(&settings, flags.format).context("cannot show the findings"),
            Err(error) => Ok(usage(&error)),
        },
        Command::Replay(flags) => replay::replay(&flags),
        Command::Config(flags) => match flags.show(&mut std::io::stdout().lock()) {
            Ok(shown) => shown.map(|()| ExitCode::SUCCESS).context("cannot show the settings"),
            Err(error) => Ok(usage(&error)),
        },
        Command::Detach(flags) => detach::detach(&flags).map(|()| ExitCode::SUCCESS),
    });
    done.unwrap_or_else(|error| {
        say(&format!("error: {}", with_causes(&*error)));
        ExitCode::FAILURE
    })
}

fn usage(error: &dyn std::error::Error) -> ExitCode {
    say(&format!("error: {error}"));
    ExitCode::from(USAGE)
}
