//! Keeps `docs/reference/flags.md` true: the page is rendered from the same definitions as `--help`.

use std::{collections::BTreeSet, env, fmt::Write, fs};

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::Cli;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/flags.md");

const HEAD: &str = "\
# Flags

<!-- Made from the definitions of the flags: `TRAFFIC_PROBE_FLAGS=update cargo test -p probe-user --lib flags_reference` -->

Every flag has an environment variable. `--config FILE` names a TOML file whose keys are the long names of the flags of `run`, with a
table `[tiers]` for the thresholds of [tiers](counting.md#tiers). Flags override the environment, which overrides the file.
An unknown key is an error that names the nearest valid one. `traffic-probe config` shows the settings in force and where each comes from.

Repeatable flags also take a list separated by commas. Durations are numbers with a unit: `100ms`, `1s`, `5m`, `1h`.
";

#[test]
fn the_flags_reference_is_what_help_says() {
    let rendered = reference();
    if env::var("TRAFFIC_PROBE_FLAGS").as_deref() == Ok("update") {
        fs::write(FILE, &rendered).unwrap();
    }
    assert!(
        fs::read_to_string(FILE).unwrap() == rendered,
        "docs/reference/flags.md differs from the flags' definitions; \
         `TRAFFIC_PROBE_FLAGS=update cargo test -p probe-user --lib flags_reference` rewrites it"
    );
}

fn reference() -> String {
    let mut page = HEAD.to_owned();
    let mut command = Cli::command();
    // Spreads flags that every command has.
    command.build();
    let flags_of_run: BTreeSet<_> = flags(command.find_subcommand("run").unwrap()).map(Arg::get_id).collect();
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let name = subcommand.get_name();
        let about = subcommand.get_about().unwrap();
        write!(page, "\n## traffic-probe {name}\n\n{about}.\n").unwrap();
        // `check` and `config` take all of them.
        let like_run = name != "run"
            && flags(subcommand).filter(|flag| flags_of_run.contains(flag.get_id())).count() > 20;
        if like_run {
            page.push_str("\nTakes the flags of [run](#traffic-probe-run), and:\n");
        }
        let own = |flag: &&Arg| {
            !(like_run && flags_of_run.contains(flag.get_id())) && (name == "run" || !flag.is_global_set())
        };
        let mut headings: Vec<Option<&str>> = Vec::new();
        for flag in flags(subcommand).filter(own) {
            if !headings.contains(&flag.get_help_heading()) {
                headings.push(flag.get_help_heading());
            }
        }
        for heading in headings {
            // Headings are anchors, so each is there once.
            match heading {
                Some(heading) if name == "run" => writeln!(page, "\n### {heading}").unwrap(),
                Some(heading) => writeln!(page, "\n### {heading} of {name}").unwrap(),
                None => {}
            }
            page.push_str("\n| flag | environment | default | meaning |\n|---|---|---|---|\n");
            for flag in flags(subcommand).filter(own).filter(|flag| flag.get_help_heading() == heading) {
                page.push_str(&row(flag));
            }
        }
    }
    page
}

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|flag| !["help", "version"].contains(&flag.get_id().as_str()))
}

fn row(flag: &Arg) -> String {
    let value = flag.get_value_names().map(|names| names[0].to_string()).unwrap_or_default();
    let takes_value = matches!(flag.get_action(), ArgAction::Set | ArgAction::Append);
    let values: Vec<_> = flag.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let one_of = !values.is_empty() && flag.get_value_delimiter().is_none();
    let written = match flag.get_long() {
        None => format!("`{value}`"),
        Some(long) if takes_value && one_of => format!("`--{long} {}`", values.join("\\|")),
        Some(long) if takes_value => format!("`--{long} {value}`"),
        Some(long) => format!("`--{long}`"),
    };
    let mut help = flag.get_help().unwrap().to_string().replace('|', "\\|").replace("[tiers]", "`[tiers]`");
    let mut default = flag
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(",");
    if let Some(at) = help.rfind(" [default: ") {
        help[at..].trim_end_matches(']')[" [default: ".len()..].clone_into(&mut default);
        help.truncate(at);
    } else if !default.is_empty() && takes_value {
        default = format!("`{default}`");
    } else {
        let otherwise = match takes_value {
            true if flag.is_required_set() => "required",
            true => "none",
            false => "off",
        };
        otherwise.clone_into(&mut default);
    }
    if takes_value && !one_of && !values.is_empty() {
        write!(help, ": `{}`", values.join("`, `")).unwrap();
    }
    format!("| {written} | `{}` | {default} | {help} |\n", flag.get_env().unwrap().to_string_lossy())
}
