//! imagechain: a Kubernetes operator that builds, tests and publishes chains of machine images.
