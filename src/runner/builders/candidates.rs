//! What a builder answers with, before one product of it is picked.

/// What a builder says it made.
pub(super) struct Candidates {
    /// What may be the product of the build.
    pub(super) made: Vec<Candidate>,
    /// What it left elsewhere, for people.
    pub(super) elsewhere: Vec<String>,
    /// The base that it pulled by itself.
    pub(super) pulled: Option<String>,
    /// What of the recipe would have published by itself, and was left out.
    pub(super) left_out: Vec<String>,
    /// What to say where these are not exactly one product.
    pub(super) advice: Advice,
}

/// Something that may be the product of the build.
pub(super) struct Candidate {
    /// Which part of the recipe made it.
    pub(super) build: String,
    /// Its name in the engine.
    pub(super) name: String,
}

/// How a recipe makes exactly one product, for people.
#[derive(Clone, Copy)]
pub(super) struct Advice {
    /// What the recipe is, as the subject of a sentence.
    pub(super) recipe: &'static str,
    /// The message where it made nothing.
    pub(super) nothing: &'static str,
    /// How to pick one of several.
    pub(super) several: &'static str,
}
