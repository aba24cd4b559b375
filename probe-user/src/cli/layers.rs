//! Flags, then the environment, then the configuration file: what is said in an earlier one goes before.

use std::path::Path;

use clap::{ArgMatches, Command as Definition, CommandFactory, FromArgMatches, parser::ValueSource};

use super::{Cli, Command, RunArgs};
use crate::config::{self, BadConfig, ConfigFile};

/// The commands that a configuration file is for.
const CONFIGURED: [&str; 3] = ["run", "config", "check"];

/// Flags that make no sense in the file, or are no setting of `run`.
const NOT_IN_FILE: [&str; 5] = ["config", "tier", "format", "help", "version"];

/// Why there is no command to run.
#[derive(Debug, thiserror::Error)]
pub enum BadCommand {
    /// What was typed, or what is in the file, is not a valid value; or help was asked for.
    #[error("{0}")]
    Typed(#[from] clap::Error),
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] BadConfig),
}

/// A setting as `traffic-probe config` shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    /// The flag's name.
    pub name: String,
    /// What it is set to; empty if it is not.
    pub value: String,
    /// Who set it.
    pub source: String,
}

impl Cli {
    /// What was typed, over the environment, over the configuration file, if one is named.
    pub fn read(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Self, BadCommand> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let matches = Self::command().try_get_matches_from(&arguments)?;
        let cli = Self::from_arg_matches(&matches)?;
        let file = match cli.run_args().and_then(|run| run.config.as_deref()) {
            None => None,
            Some(path) => Some(ConfigFile::read(path, &keys())?),
        };
        let definition = file.as_ref().map_or_else(Self::command, with_defaults);
        let matches = definition.try_get_matches_from(&arguments)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        let settings = settings(&matches, file.as_ref());
        if let Command::Run(run)
        | Command::Config(super::ConfigArgs { run, .. })
        | Command::Check(super::CheckArgs { run, .. }) = &mut cli.command
        {
            run.settings_shown = settings;
            run.tiers_of_file = file.map(|file| file.tiers).unwrap_or_default();
        }
        Ok(cli)
    }

    fn run_args(&self) -> Option<&RunArgs> {
        match &self.command {
            Command::Run(run)
            | Command::Config(super::ConfigArgs { run, .. })
            | Command::Check(super::CheckArgs { run, .. }) => Some(run),
            _ => None,
        }
    }
}

/// The keys of a configuration file: the long names of the flags of `run`.
fn keys() -> Vec<String> {
    let definition = Cli::command();
    let run = definition.find_subcommand(CONFIGURED[0]);
    let flags = run.into_iter().flat_map(Definition::get_arguments).chain(definition.get_arguments());
    flags
        .filter_map(|flag| flag.get_long())
        .filter(|name| !NOT_IN_FILE.contains(name))
        .map(str::to_owned)
        .collect()
}

/// The command line, with what is in the file in place of its defaults.
fn with_defaults(file: &ConfigFile) -> Definition {
    let mut definition = Cli::command();
    for (key, values) in &file.settings {
        let default = |flag: clap::Arg| {
            if flag.get_long() == Some(key) { flag.default_values(values.clone()) } else { flag }
        };
        definition = definition.mut_args(default);
        for command in CONFIGURED {
            definition = definition.mut_subcommand(command, |command| command.mut_args(default));
        }
    }
    definition
}

/// Each setting of the command that was typed, with its source.
fn settings(matches: &ArgMatches, file: Option<&ConfigFile>) -> Vec<Setting> {
    let Some((name, of_command)) = matches.subcommand() else { return Vec::new() };
    let definition = Cli::command();
    let Some(command) = definition.find_subcommand(name) else { return Vec::new() };
    command
        .get_arguments()
        .filter_map(|flag| {
            let key = flag.get_long().filter(|key| !NOT_IN_FILE.contains(key))?;
            let id = flag.get_id().as_str();
            let raw = of_command.get_raw(id).into_iter().flatten();
            let values: Vec<_> = raw.map(|value| value.to_string_lossy()).collect();
            let source = match of_command.value_source(id) {
                Some(ValueSource::CommandLine) => format!("flag --{key}"),
                Some(ValueSource::EnvVariable) => {
                    let variable = flag.get_env().unwrap_or_default().to_string_lossy();
                    format!("environment {variable}")
                }
                Some(_) => of_file(file, key).unwrap_or_else(|| "default".to_owned()),
                None => "default".to_owned(),
            };
            Some(Setting { name: key.to_owned(), value: values.join(","), source })
        })
        .collect()
}

fn of_file(file: Option<&ConfigFile>, key: &str) -> Option<String> {
    let file = file.filter(|file| file.settings.contains_key(key))?;
    Some(format!("file {}", Path::display(&file.path)))
}

/// A setting of tiers as it is typed: `high.requests_per_second=500`.
pub(super) fn tier(typed: &str) -> Result<toml::Table, String> {
    let table: toml::Table = typed.parse().map_err(|_| {
        format!("`{typed}` is not a tier setting: write a key of [tiers] and its value, such as high.requests_per_second=500")
    })?;
    crate::tier::Policy::from_table(table.clone())
        .err()
        // Whether thresholds are in their order shows when all are together.
        .filter(|error| matches!(error, crate::tier::BadTiers::Malformed(_)))
        .map_or(Ok(table), |error| Err(error.to_string()))
}

/// The table of the file with what was typed over it.
pub(super) fn tiers(file: &toml::Table, typed: &[toml::Table]) -> toml::Table {
    typed.iter().cloned().fold(file.clone(), config::merged)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(file: &str, flags: &[&str]) -> Result<RunArgs, BadCommand> {
        let mut written = tempfile::NamedTempFile::new().unwrap();
        written.write_all(file.as_bytes()).unwrap();
        let path = written.path().to_str().unwrap();
        let command = ["traffic-probe", "run", "--config", path];
        match Cli::read(command.iter().chain(flags).map(Into::into))?.command {
            Command::Run(run) => Ok(run),
            _ => unreachable!("`run` was typed"),
        }
    }

    fn source(run: &RunArgs, name: &str) -> (String, String) {
        let setting = run.settings_shown.iter().find(|setting| setting.name == name).unwrap();
        (setting.value.clone(), setting.source.split(' ').next().unwrap().to_owned())
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let run = read(
            "interval = \"2s\"\nwindow = \"20s\"\ninterfaces = [\"eth*\", \"!eth1\"]",
            &["--window", "30s"],
        );
        let run = run.unwrap();
        let shown = |name: &str| source(&run, name);
        assert_eq!(shown("interval"), ("2s".into(), "file".into()));
        assert_eq!(shown("window"), ("30s".into(), "flag".into()));
        assert_eq!(shown("users-window"), ("60s".into(), "default".into()));
        let settings = run.settings().unwrap();
        assert_eq!(settings.interval.as_secs(), 2);
        assert_eq!(settings.window.as_secs(), 30);
        assert!(settings.interfaces.admits("eth0") && !settings.interfaces.admits("eth1"));
    }

    #[test]
    fn a_switch_is_set_by_the_file_too() {
        let switched = |file: &str| read(file, &[]).unwrap().settings().unwrap().capacities.routes.is_some();
        assert!(switched("routes = true"));
        assert!(!switched("routes = false"));
        assert!(!switched(""));
    }

    #[test]
    fn tiers_of_the_file_give_way_to_those_of_flags() {
        let file = "[tiers]\nnormal.requests_per_second = 10\nhigh.requests_per_second = 20";
        let settings = read(file, &["--tier", "high.requests_per_second=40"]).unwrap().settings().unwrap();
        let thresholds = settings.tiers.thresholds;
        assert_eq!((thresholds.normal.requests, thresholds.high.requests), (10.0, 40.0));
    }

    #[test]
    fn what_is_wrong_in_the_file_is_told() {
        let sentence = |file: &str| match read(file, &[]) {
            Err(error) => error.to_string(),
            Ok(run) => run.settings().unwrap_err().to_string(),
        };
        assert!(sentence("interval = \"soon\"").contains("'soon' for '--interval <DURATION>'"));
        assert!(sentence("windw = \"1s\"").ends_with("unknown key `windw`; did you mean `window`?"));
        assert!(sentence("config = \"a\"").contains("unknown key `config`"));
        assert!(sentence("[tiers]\nhysteresi = 1").contains("did you mean `hysteresis`?"));
    }

    #[test]
    fn a_tier_that_is_typed_wrong_is_a_wrong_flag() {
        let typed = |tier: &str| {
            Cli::read(["traffic-probe", "run", "--tier", tier].map(Into::into)).unwrap_err().to_string()
        };
        assert!(typed("high").contains("high.requests_per_second=500"));
        assert!(typed("hgh.users=5").contains("did you mean `high`?"));
    }
}
