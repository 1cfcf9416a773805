//! `/livez`, `/readyz` and `/metrics`, in plain HTTP, and nothing else.
//!
//! `/livez` answers as long as the process does: what a restart cannot mend is told by `/readyz`.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};

use super::{clock, health::Health, metrics::Metrics};
use crate::serve::{
    listener::{Answer, Listener},
    text::{answer, text},
};

/// The text format that [`Metrics::text`] writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is answered from.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// For `/readyz`.
    pub health: Health,
    /// For `/metrics`.
    pub metrics: Metrics,
}

/// The server of the endpoints.
pub type Server = Listener<Endpoints>;

impl Answer for Endpoints {
    const CONNECTIONS: u32 = 64;
    const WITHIN: Duration = Duration::from_secs(30);
    type Body = Full<Bytes>;

    async fn answer(self, request: Request<Incoming>) -> Response<Self::Body> {
        self.answer_to(request.method(), request.uri().path())
    }
}

impl Endpoints {
    fn answer_to(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/livez" | "/readyz" | "/metrics") {
            return text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n".to_owned());
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        }
        match path {
            "/metrics" => self.metrics(),
            "/readyz" => match self.health.report(clock::monotonic()) {
                (true, report) => text(StatusCode::OK, report),
                (false, report) => text(StatusCode::SERVICE_UNAVAILABLE, report),
            },
            _ => text(StatusCode::OK, "alive\n".to_owned()),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        match self.metrics.text() {
            Ok(metrics) => answer(StatusCode::OK, OPEN_METRICS, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}
