//! By which proxies servers are reached.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What is never asked for through a proxy: the machine itself, and names of the cluster.
pub const NEVER: [&str; 5] = ["localhost", "127.0.0.1", "::1", ".svc", ".cluster.local"];

/// The proxies by which servers are reached. None: directly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proxy {
    /// The URL of the one for http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The URL of the one for https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// What is asked for directly, besides [`NEVER`]: hosts, domains, addresses and ranges of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_proxy: Vec<String>,
}

impl Proxy {
    /// Whether everything is asked for directly.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    /// All that is asked for directly, as programs take it.
    #[must_use]
    pub fn exceptions(&self) -> String {
        let all: Vec<&str> = NEVER.into_iter().chain(self.no_proxy.iter().map(String::as_str)).collect();
        all.join(",")
    }

    /// The variables that programs read, in both cases: there are programs for each, and none that mind the other.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        if self.is_none() {
            return Vec::new();
        }
        let exceptions = Some(self.exceptions());
        let all = [
            ("http_proxy", self.http.clone()),
            ("HTTP_PROXY", self.http.clone()),
            ("https_proxy", self.https.clone()),
            ("HTTPS_PROXY", self.https.clone()),
            ("no_proxy", exceptions.clone()),
            ("NO_PROXY", exceptions),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// What Docker's command line is told, so that the containers that it starts have the variables; `None` for none.
    #[must_use]
    pub fn for_docker(&self) -> Option<Value> {
        if self.is_none() {
            return None;
        }
        let mut told = Map::from_iter([("noProxy".to_owned(), self.exceptions().into())]);
        told.extend(self.http.iter().map(|url| ("httpProxy".to_owned(), url.as_str().into())));
        told.extend(self.https.iter().map(|url| ("httpsProxy".to_owned(), url.as_str().into())));
        Some(json!({"default": told}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_in_both_cases() {
        let proxy = Proxy {
            http: None,
            https: Some("http://proxy.example:3128".to_owned()),
            no_proxy: vec![".corp.example".to_owned(), "10.0.0.0/8".to_owned()],
        };
        let direct = "localhost,127.0.0.1,::1,.svc,.cluster.local,.corp.example,10.0.0.0/8";
        assert_eq!(
            proxy.environment(),
            [
                ("https_proxy", "http://proxy.example:3128"),
                ("HTTPS_PROXY", "http://proxy.example:3128"),
                ("no_proxy", direct),
                ("NO_PROXY", direct),
            ]
            .map(|(name, value)| (name, value.to_owned()))
        );
        assert_eq!(
            proxy.for_docker(),
            Some(json!({"default": {"httpsProxy": "http://proxy.example:3128", "noProxy": direct}}))
        );
        let nothing = Proxy { no_proxy: vec!["a".to_owned()], ..Proxy::default() };
        assert!(nothing.is_none() && nothing.environment().is_empty() && nothing.for_docker().is_none());
    }
}
