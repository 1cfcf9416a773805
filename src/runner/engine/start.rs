//! How a container of an image is started for tests.

use serde::Deserialize;

/// As users start it. Its standard input stays open, so that a shell does not end.
const RUN: [&str; 3] = ["run", "--detach", "--interactive"];
/// What an init system needs besides: groups of its own, and folders that are empty when it boots.
const BOOT: [&str; 4] = ["--privileged", "--cgroupns=private", "--tmpfs=/run", "--tmpfs=/run/lock"];

/// The programs that boot a system.
const INITS: [&str; 7] = [
    "/sbin/init",
    "/usr/sbin/init",
    "/usr/local/sbin/init",
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
    "/bin/systemd",
    "/usr/bin/systemd",
];
/// The signal that asks systemd to power off: nothing else is stopped by it.
const POWER_OFF: [&str; 2] = ["SIGRTMIN+3", "37"];

/// How `docker image inspect` is asked for a [`Config`].
pub(super) const FORM: &str = "{\"Entrypoint\":{{json .Config.Entrypoint}},\"Cmd\":{{json .Config.Cmd}},\
                               \"StopSignal\":{{json .Config.StopSignal}}}";

/// The part of an image's configuration that says what runs in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Config {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    stop_signal: Option<String>,
}

impl Config {
    /// The arguments of docker before the name of the image.
    pub(super) fn arguments(&self) -> Vec<&'static str> {
        let boot: &[&str] = if self.boots() { &BOOT } else { &[] };
        [&RUN, boot].concat()
    }

    /// Whether an init system is its first process. A script may start it, at the end of its own arguments.
    fn boots(&self) -> bool {
        let arguments = [&self.entrypoint, &self.cmd].into_iter().flatten().flatten();
        let names_init = arguments.flat_map(|text| text.split_whitespace()).any(|word| INITS.contains(&word));
        names_init || self.stop_signal.as_deref().is_some_and(|signal| POWER_OFF.contains(&signal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boots(config: &str) -> bool {
        let config: Config = serde_json::from_str(config).unwrap();
        let arguments = config.arguments().join(" ");
        assert!(arguments.starts_with("run --detach --interactive"), "{arguments}");
        arguments.contains("--privileged") && arguments.contains("--tmpfs=/run ")
    }

    #[test]
    fn only_an_init_system_boots() {
        // As `docker image inspect` shows them.
        for (what, config, expected) in [
            ("the demo's", r#"{"Cmd":["/lib/systemd/systemd"],"Entrypoint":null,"StopSignal":"SIGRTMIN+3"}"#, true),
            ("geerlingguy's", r#"{"Cmd":["/lib/systemd/systemd"],"Entrypoint":null,"Image":"sha256:0"}"#, true),
            ("centos'", r#"{"Cmd":["/usr/sbin/init"],"Entrypoint":null}"#, true),
            ("in a shell", r#"{"Cmd":["/bin/sh","-c","exec /sbin/init"],"Entrypoint":null}"#, true),
            ("by a script", r#"{"Cmd":["/sbin/init"],"Entrypoint":["/entrypoint.sh"]}"#, true),
            ("by a script alone", r#"{"Cmd":null,"Entrypoint":["/boot.sh"],"StopSignal":"SIGRTMIN+3"}"#, true),
            ("a shell", r#"{"Cmd":["bash"],"Entrypoint":null}"#, false),
            ("a server", r#"{"Cmd":["nginx","-g","daemon off;"],"Entrypoint":["/docker-entrypoint.sh"]}"#, false),
            ("a small init", r#"{"Cmd":["app"],"Entrypoint":["/sbin/tini","--"]}"#, false),
            ("s6", r#"{"Cmd":null,"Entrypoint":["/init"]}"#, false),
            ("nothing", "{}", false),
        ] {
            assert_eq!(boots(config), expected, "{what}");
        }
    }
}
